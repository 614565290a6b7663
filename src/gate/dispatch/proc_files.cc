#include "gate/dispatch/proc_files.h"

#include <sys/sysmacros.h>

#include "gate/dispatch/file_call.h"
#include "gate/dispatch/memory_files.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/paths.h"
#include "gate/dispatch/places.h"
#include "gate/dispatch/prepared_code.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/process_links.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::MountEntry;

// Collects text in pieces into a memfd.
class Output {
 public:
  explicit Output(MemoryFile& file) : file_(file) {}
  void add(std::string_view text) {
    if (error_ < 0) return;
    error_ = file_.put(text.data(), text.size(), length_);
    length_ += text.size();
  }
  void add(uint64_t number) {
    Text<24> digits;
    add(digits.add_digits(number).view());
  }
  // As the kernel's seq_path: what would break a line or a field is octal.
  void add_escaped(std::string_view text) {
    for (const char c : text) {
      switch (c) {
        case ' ':
          add("\\040");
          break;
        case '\t':
          add("\\011");
          break;
        case '\n':
          add("\\012");
          break;
        case '\\':
          add("\\134");
          break;
        default:
          add({&c, 1});
      }
    }
  }
  // 0 or -errno.
  long finish() { return error_ < 0 ? error_ : file_.resize(length_); }

 private:
  MemoryFile& file_;
  uint64_t length_ = 0;
  long error_ = 0;
};

// What our lines of mountinfo need to know of the native ones.
class MountinfoReader {
 public:
  void see(std::string_view text) {
    for (const char c : text) see(c);
  }
  uint64_t largest_id() const { return largest_; }
  uint64_t root_id() const { return root_; }

 private:
  void see(char c) {
    if (c == '\n') {
      field_ = 0;
      id_ = 0;
      return;
    }
    if (c == ' ') {
      if (field_ == 0 && id_ > largest_) largest_ = id_;
      if (field_ == 4 && path_length_ == 1 && root_ == 0) root_ = id_;
      field_++;
      path_length_ = 0;
      return;
    }
    if (field_ == 0 && c >= '0' && c <= '9') id_ = id_ * 10 + static_cast<uint64_t>(c - '0');
    if (field_ == 4) path_length_++;
  }
  unsigned field_ = 0;
  size_t path_length_ = 0;
  uint64_t id_ = 0, largest_ = 0, root_ = 0;
};

std::string_view text_of(const char* text) { return {text, text_length(text)}; }

bool is_read_only(const MountEntry& e) { return (e.flags & 1) != 0 || e.super_read_only != 0; }

void add_mount_flags(Output& out, const MountEntry& e, bool read_only) {
  out.add(read_only ? "ro" : "rw");
  if ((e.flags & 2) != 0) out.add(",nosuid");
  if ((e.flags & 4) != 0) out.add(",nodev");
  if ((e.flags & 8) != 0) out.add(",noexec");
  if ((e.flags & 1024) != 0) out.add(",noatime");
  if ((e.flags & 2048) != 0) out.add(",nodiratime");
  if ((e.flags & 1024) == 0) out.add(",relatime");
}

void add_fuse_options(Output& out, const MountEntry& e) {
  if (!text_of(e.type).starts_with("fuse") || text_of(e.type) == "fusectl") return;
  out.add(",user_id=");
  out.add(e.user_id);
  out.add(",group_id=");
  out.add(e.group_id);
  if (e.default_permissions != 0) out.add(",default_permissions");
  if (e.allow_other != 0) out.add(",allow_other");
  if (e.max_read == 0 || e.max_read == UINT32_MAX) return;
  out.add(",max_read=");
  out.add(e.max_read);
}

std::string_view source_of(const MountEntry& e) { return e.source[0] == 0 ? text_of(e.type) : text_of(e.source); }

void add_mounts_line(Output& out, const MountEntry& e, std::string_view path) {
  out.add_escaped(source_of(e));
  out.add(" ");
  out.add_escaped(path);
  out.add(" ");
  out.add_escaped(text_of(e.type));
  out.add(" ");
  add_mount_flags(out, e, is_read_only(e));
  add_fuse_options(out, e);
  out.add(" 0 0\n");
}

// A mount's number: behind those of the native ones.
uint64_t number_of(uint32_t mount, const MountinfoReader& seen) { return seen.largest_id() + mount; }

// From the root of its file system.
void add_root(Output& out, const MountEntry& e) {
  constexpr std::string_view deleted = " (deleted)";
  PathText root;
  if (e.of_part == 0 || path_of_root(e.connection, e.id, root) != 0) return out.add("/");
  const bool gone = root.view().ends_with(deleted);
  out.add_escaped(gone ? root.view().substr(0, root.length() - deleted.size()) : root.view());
  if (gone) out.add("//deleted");
}

void add_mountinfo_line(Output& out, const MountEntry& e, std::string_view path, const MountinfoReader& seen) {
  out.add(number_of(e.id, seen));
  out.add(" ");
  const uint64_t native_parent = e.parent == 0 ? native_mount_of(path) : 0;
  out.add(e.parent != 0 ? number_of(e.parent, seen) : native_parent != 0 ? native_parent : seen.root_id());
  out.add(" ");
  out.add(major(e.dev));
  out.add(":");
  out.add(minor(e.dev));
  out.add(" ");
  add_root(out, e);
  out.add(" ");
  out.add_escaped(path);
  out.add(" ");
  add_mount_flags(out, e, (e.flags & 1) != 0);
  out.add(" - ");
  out.add_escaped(text_of(e.type));
  out.add(" ");
  out.add_escaped(source_of(e));
  out.add(e.super_read_only != 0 ? " ro" : " rw");
  add_fuse_options(out, e);
  out.add("\n");
}

void add_mountstats_line(Output& out, const MountEntry& e, std::string_view path) {
  out.add("device ");
  out.add_escaped(source_of(e));
  out.add(" mounted on ");
  out.add_escaped(path);
  out.add(" with fstype ");
  out.add_escaped(text_of(e.type));
  out.add("\n");
}

void add_our_lines(ProcFile file, Output& out, const MountinfoReader& seen) {
  if (file == ProcFile::filesystems) {
    out.add("nodev\tfuse\nnodev\tfusectl\n");
    return;
  }
  MountEntry e;
  PathText path;
  for (uint32_t from = 0; next_mount(from, e); from = e.id + 1) {
    for (uint32_t n = 0; mount_path_of(e.id, path, n); n++) {
      if (file == ProcFile::mounts) add_mounts_line(out, e, path.view());
      if (file == ProcFile::mountstats) add_mountstats_line(out, e, path.view());
      if (file == ProcFile::mountinfo) add_mountinfo_line(out, e, path.view(), seen);
    }
  }
}

// The native text; for filesystems, whether the host kernel knows FUSE already.
long copy_native(const char* path, Output& out, MountinfoReader& seen, bool& knows_fuse) {
  const int fd = native::open_in_proc(path);
  if (fd < 0) return fd;
  char buffer[2048];
  long n;
  while ((n = native::read(fd, buffer, sizeof buffer)) > 0) {
    const std::string_view text(buffer, static_cast<size_t>(n));
    out.add(text);
    seen.see(text);
    knows_fuse |= text.find("\tfuse\n") != std::string_view::npos;
  }
  native::close(fd);
  return n;
}

// Of prepared code the file that it is of.
bool add_prepared_code(std::string_view line, Output& out) {
  MapsLine parts;
  uint64_t offset = 0;
  if (!code_is_prepared() || !read_maps_line(line, parts)) return false;
  const abi::PreparedCode* code = prepared_code_of(parts, offset);
  if (code == nullptr) return false;
  Text<512> text;
  text.add(parts.front).add_hex(offset, 8).add(' ');
  text.add_hex(major(code->file.device), 2).add(':').add_hex(minor(code->file.device), 2);
  text.add(' ').add_digits(code->file.inode);
  // As seq_pad in fs/proc/task_mmu.c.
  constexpr size_t name_column = 25 + sizeof(void*) * 6;
  do text.add(' ');
  while (text.length() < name_column);
  text.add(std::string_view(code->path, text_length(code->path))).add('\n');
  out.add(text.view());
  return true;
}

// Of a mapped file the path, instead of the memfd that holds its bytes.
long copy_maps(const char* path, Output& out) {
  LineReader maps(path);
  for (std::string_view line; maps.next(line);) {
    if (add_prepared_code(line, out)) continue;
    const MappingName name = find_mapping_name(line);
    out.add(line.substr(0, name.length == 0 ? line.size() : name.at));
    if (name.length == 0) continue;
    out.add(name.path);
    out.add(line.substr(name.at + name.length));
  }
  return maps.error();
}

bool closes_on_exec(const char* fdinfo) {
  LineReader lines(fdinfo);
  for (std::string_view line; lines.next(line);) {
    if (!line.starts_with("flags:\t")) continue;
    uint64_t flags = 0;
    for (const char c : line.substr(7)) {
      if (c >= '0' && c <= '7') flags = flags * 8 + static_cast<uint64_t>(c - '0');
    }
    return (flags & O_CLOEXEC) != 0;
  }
  return false;
}

// Linux seq_show of fs/proc/fd.c.
long write_fdinfo(VirtualFile file, const char* path, Output& out) {
  const long flags = file_call(file, abi::CallNumber::getfl, SYS_openat);
  if (flags < 0) return flags;
  const long position = file_call(file, abi::CallNumber::lseek, SYS_openat, {0, SEEK_CUR});
  abi::Stat st{};
  (void)file_status(file, SYS_openat, st);
  out.add("pos:\t");
  out.add(static_cast<uint64_t>(position < 0 ? 0 : position));
  out.add("\nflags:\t0");
  const auto all = static_cast<uint64_t>(flags) | (closes_on_exec(path) ? uint64_t{O_CLOEXEC} : 0);
  Text<24> octal;
  for (int shift = 30; shift >= 0; shift -= 3) {
    if (all >> shift != 0) octal.add(static_cast<char>('0' + (all >> shift & 7)));
  }
  out.add(octal.view());
  out.add("\nmnt_id:\t");
  out.add(mount_number(file));
  out.add("\nino:\t");
  out.add(st.ino);
  out.add("\n");
  return 0;
}

bool take_digits(std::string_view& path, uint64_t& number) {
  size_t digits = 0;
  number = parse_decimal(path, &digits);
  path.remove_prefix(digits);
  return digits != 0;
}

bool take(std::string_view& path, std::string_view front) {
  if (!path.starts_with(front)) return false;
  path.remove_prefix(front.size());
  return true;
}

struct ProcDirectory {
  std::string_view path;  // without a slash at the end; empty: it is none
  bool own = false;
};

// The directory of a process or thread at the front of the path, which is taken off.
ProcDirectory take_directory(std::string_view& path) {
  const std::string_view whole = path;
  ProcDirectory directory;
  uint64_t pid = 0, tid = 0;
  if (!take(path, "/proc/")) return directory;
  if (take(path, "self/") || take(path, "thread-self/")) {
    directory.own = true;
  } else if (take_digits(path, pid) && take(path, "/")) {
    directory.own = pid == static_cast<uint64_t>(native::getpid());
  } else {
    return directory;
  }
  if (take(path, "task/") && (!take_digits(path, tid) || !take(path, "/"))) return directory;
  directory.path = whole.substr(0, whole.size() - path.size() - 1);
  return directory;
}

// The virtual file whose fdinfo is meant.
bool virtual_of(const ProcDirectory& directory, uint64_t number, VirtualFile& file) {
  if (directory.own) return is_virtual(static_cast<int>(number), file);
  Text<80> link;
  Text<128> text;
  link.add(directory.path).add("/fd/").add_digits(number);
  const long n = native::readlink(link.c_str(), text.data(), 127);
  if (n <= 0) return false;
  text.set_length(static_cast<size_t>(n));
  return parse_shadow_link(text.view(), file);
}

ProcFile file_of_mounts(std::string_view name) {
  if (name == "mounts") return ProcFile::mounts;
  if (name == "mountstats") return ProcFile::mountstats;
  return name == "mountinfo" ? ProcFile::mountinfo : ProcFile::none;
}

bool is_maps(std::string_view name) { return name == "maps" || name == "smaps"; }

bool mtab_is_proc() {
  Text<64> link;
  const long n = native::readlink("/etc/mtab", link.data(), 63);
  if (n <= 0) return false;
  link.set_length(static_cast<size_t>(n));
  return link.view().find("proc/") != std::string_view::npos && link.view().ends_with("mounts");
}

}  // namespace

bool may_be_proc_file(bool starts_at_cwd, std::string_view path) {
  std::string_view last = last_component(path);
  if (is_maps(last) && code_is_prepared()) return true;
  if (!anything_mounted() && !possible.virtual_file) return false;
  if (file_of_mounts(last) != ProcFile::none || is_maps(last)) return true;
  uint64_t number = 0;
  if (!take_digits(last, number) || !last.empty()) return false;
  return !starts_at_cwd || possible.virtual_file || path.find("fdinfo/") != std::string_view::npos;
}

ProcName proc_file_named(std::string_view path) {
  if (path == "/proc/filesystems") return {ProcFile::filesystems};
  const bool only_maps = !anything_mounted() && !possible.virtual_file;
  if (only_maps && !(code_is_prepared() && is_maps(last_component(path)))) return {};
  if (path == "/proc/mounts") return {ProcFile::mounts};
  if (path == "/etc/mtab") return {mtab_is_proc() ? ProcFile::mounts : ProcFile::none};
  const ProcDirectory directory = take_directory(path);
  if (directory.path.empty()) return {};
  ProcName name{file_of_mounts(path)};
  uint64_t number = 0;
  if (is_maps(path) && (!directory.own || possible.virtual_file || code_is_prepared())) name.file = ProcFile::maps;
  const bool is_fdinfo = take(path, "fdinfo/") && take_digits(path, number) && path.empty();
  if (is_fdinfo && virtual_of(directory, number, name.open_file)) name.file = ProcFile::fdinfo;
  if (name.file == ProcFile::none || directory.own || is_under_gate(directory.path)) return name;
  return {};
}

long open_proc_file(const ProcName& name, const char* path, uint64_t flags) {
  if ((flags & (O_ACCMODE | O_PATH | O_DIRECTORY)) != 0) {
    return native::open(path, static_cast<int>(flags & ~uint64_t{O_CREAT}));
  }
  constexpr uint64_t most = 1 << 26;
  MemoryFile file(last_component({path, text_length(path)}).data(), most,
                  (flags & O_CLOEXEC) != 0 ? 1u /* MFD_CLOEXEC */ : 0u);
  if (file.fd() < 0) return file.fd();
  Output out(file);
  long r = 0;
  if (name.file == ProcFile::maps) {
    r = copy_maps(path, out);
  } else if (name.file == ProcFile::fdinfo) {
    r = write_fdinfo(name.open_file, path, out);
  } else {
    MountinfoReader seen;
    bool knows_fuse = false;
    r = copy_native(path, out, seen, knows_fuse);
    if (r == 0 && (name.file != ProcFile::filesystems || !knows_fuse)) add_our_lines(name.file, out, seen);
  }
  if (r == 0) r = out.finish();
  return r < 0 ? r : file.release();
}

uint64_t mount_number(VirtualFile file) {
  MountinfoReader seen;
  LineReader native("/proc/self/mountinfo");
  for (std::string_view line; native.next(line);) seen.see(line);
  PathText path;
  uint32_t mount = file.mount;
  if (mount == 0 && path_in_mount(file, path, mount) < 0) return 0;
  return mount == 0 ? 0 : number_of(mount, seen);
}

}  // namespace fusewire::gate
