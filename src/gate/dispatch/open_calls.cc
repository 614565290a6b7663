// open(2) and its kin.
#include <linux/openat2.h>
#include <sys/statfs.h>

#include "gate/dispatch/device_calls.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/kept_shadows.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/native_first.h"
#include "gate/dispatch/own_descriptors.h"
#include "gate/dispatch/path_engine.h"
#include "gate/dispatch/proc_files.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/roots.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

struct Open {
  PathArgument argument;
  uint64_t flags = 0;
  uint64_t mode = 0;
  uint64_t resolve = 0;  // RESOLVE_ flags
};

bool follows(uint64_t flags) { return (flags & O_NOFOLLOW) == 0 && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL); }

bool is_top_of_proc(int fd) {
  constexpr long proc_magic = 0x9fa0, root_inode = 1;
  struct statfs fs {};
  struct stat st {};
  return fd != AT_FDCWD && native::fstat(fd, &st) == 0 && st.st_ino == root_inode &&
         raw_syscall(SYS_fstatfs, fd, native::of(&fs)) == 0 && fs.f_type == proc_magic;
}

// A relative path that may name such a file is put behind the directory of /proc that it starts in.
bool is_in_proc(int dirfd, std::string_view path, Text<128>& whole) {
  if (!may_be_proc_file(dirfd == AT_FDCWD, path) || path.find("..") != std::string_view::npos) return false;
  while (path.starts_with("./")) path.remove_prefix(2);
  PathText base;
  // Under a root that has changed meanwhile its name is another, or none.
  if (is_top_of_proc(dirfd))
    base.assign("/proc");
  else if (!canonical_base(dirfd, base))
    return false;
  if (base.view() != "/proc" && !base.view().starts_with("/proc/")) return false;
  return !whole.assign(base.view()).add('/').add(path).overflowed();
}

// Files that the namespace shows differently from the host kernel, by their usual names.
bool open_special(int dirfd, const char* path, uint64_t flags, long& result) {
  Text<64> given;
  Text<128> name;
  const long n = copy_string_from_program(given.data(), path, 64);
  if (n <= 0) return false;
  given.set_length(static_cast<size_t>(n));
  if (VirtualFile root; virtual_root(root)) return false;
  if (given.view().starts_with('/')) {
    name.assign(given.view());
  } else if (!is_in_proc(dirfd, given.view(), name)) {
    return false;
  }
  if (!name.view().starts_with("/dev/") && !name.view().starts_with("/proc/") && name.view() != "/etc/mtab") {
    return false;
  }
  if (name.view() == "/dev/fuse") {
    result = open_device(flags);
    return true;
  }
  const ProcName file = proc_file_named(name.view());
  if (file.file == ProcFile::none) return false;
  result = open_proc_file(file, name.c_str(), flags);
  return true;
}

// "name/" cannot be made, and O_CREAT says so before O_EXCL finds what is there already: of a mount point's name only
// the gate sees the slash.
bool demands_directory(const char* path) {
  PathText text;
  const long n = copy_string_from_program(text.data(), path, path_room);
  if (n <= 0) return false;
  text.set_length(static_cast<size_t>(n));
  const std::string_view name = last_component(text.view());
  return text.view().ends_with('/') && !name.empty() && name != "." && name != "..";
}

constexpr uint64_t tmpfile_flag = O_TMPFILE & ~O_DIRECTORY;  // __O_TMPFILE
constexpr uint64_t creating_flags = O_CREAT | tmpfile_flag;
// An open that may change something must not do so and then find no descriptor free.
constexpr uint64_t changing_flags = creating_flags | O_TRUNC;

}  // namespace

long open_behind(int fd, uint64_t flags) {
  Process& p = process();
  const int held = keep_internal(p, fd, true);
  if (held < 0) return held;
  const auto link = native::OwnFile::descriptor(held);
  const auto real_flags = static_cast<long>(flags & ~uint64_t{O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW | O_NOATIME});
  const long opened = raw_sleep(SYS_openat, link.directory, native::of(link.name.c_str()), real_flags, 0);
  forget_internal(p, held);
  return opened == -EINTR ? interrupted_sleep() : opened;
}

namespace {

// The ring call of an open, and what the program gets of it.
class VirtualOpen {
 public:
  VirtualOpen(const Open& open, const char* path) : open_(open), path_(path) {}

  long fill(RingCall& call) {
    call.offer_shadow(offered_ = shadow_to_offer(process(), call.connection()));
    call.set_arg(0, static_cast<int64_t>(open_.flags));
    call.set_arg(1, static_cast<int64_t>(open_.mode));
    call.set_arg(2, static_cast<int64_t>(open_.resolve));
    possible.virtual_file = true;
    return (open_.flags & changing_flags) != 0 ? call.check_room_for_descriptor() : 0;
  }
  long finish(RingCall& call, long result) {
    if (result == -EEXIST && demands_directory(path_)) return -static_cast<long>(EISDIR);
    const bool special = result == abi::opened_special;
    result = result == 0 ? virtual_descriptor(call) : opened_descriptor(call, result, true);
    if (special && result >= 0) behind_ = static_cast<int>(result);
    return result;
  }
  // When the ring's slot is free again.
  long descriptor(long opened) const { return behind_ >= 0 ? open_behind(behind_, open_.flags) : opened; }

 private:
  long virtual_descriptor(RingCall& call) {
    Process& p = process();
    const VirtualFile file{call.connection(), call.opened_token()};
    const bool close_on_exec = (open_.flags & O_CLOEXEC) != 0, serves = offered_ != 0 && call.shadow() == offered_;
    if (offered_ != 0 && !serves) drop_shadow(p, offered_);
    const long fd = serves ? serve_shadow(p, offered_, file, close_on_exec) : opened_descriptor(call, 0, close_on_exec);
    if (fd >= 0) {
      opened_virtual(static_cast<int>(fd), file, call.begun());
      learn_inode(static_cast<int>(fd), file.token, call.inode_row());
      learn_position(static_cast<int>(fd), file.token, call.position());
    }
    if (serves && fd < 0) drop_shadow(p, offered_);
    if (!serves) opened_alone(p, static_cast<int>(fd), file);
    return fd;
  }

  const Open& open_;
  const char* path_;
  uint64_t offered_ = 0;
  int behind_ = -1;  // of a fifo or device
};

long open_path(const CallFrame& frame, Open open) {
  const auto* path = reinterpret_cast<const char*>(frame.arg[open.argument.path_index]);
  const int index = open.argument.dirfd_index;
  const int start = index < 0 ? AT_FDCWD : static_cast<int>(frame.arg[index]);
  long special = 0;
  if (open_special(start, path, open.flags, special)) return special;
  open.argument.how.follow = follows(open.flags);
  open.argument.how.makes = (open.flags & creating_flags) != 0;
  const long first = open_first(NativeLook(frame, open.argument), open.flags, open.mode);
  if (first != unsure) return first;
  VirtualOpen to_open(open, path);
  const long opened = path_call(
      frame, open.argument, abi::CallNumber::openat, start_itself, [&](RingCall& call) { return to_open.fill(call); },
      [&](RingCall& call, long result) { return to_open.finish(call, result); }, pass_natively,
      [&](const Where& where) { return open.argument.how.makes ? not_known : known_missing(where, open.flags); });
  return to_open.descriptor(opened);
}

// build_open_flags: what is wrong with flags and mode comes before the path. openat2 is strict, the older calls drop
// what they do not know.
bool is_sane(uint64_t flags, uint64_t mode) {
  const bool creates = (flags & creating_flags) != 0;
  if (creates ? (mode & ~uint64_t{07777}) != 0 : mode != 0) return false;
  if ((flags & (O_DIRECTORY | O_CREAT)) == (O_DIRECTORY | O_CREAT)) return false;
  if ((flags & tmpfile_flag) == 0) return true;
  return (flags & O_DIRECTORY) != 0 && (flags & O_ACCMODE) != O_RDONLY;
}

constexpr uint64_t path_flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

bool is_sane_strictly(uint64_t flags, uint64_t mode) {
  constexpr uint64_t known = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |
                             O_ASYNC | O_DIRECT | 0100000 /* O_LARGEFILE */ | O_NOFOLLOW | O_NOATIME | O_CLOEXEC |
                             O_PATH | O_TMPFILE;
  if ((flags & ~known) != 0) return false;
  if ((flags & O_PATH) != 0 && (flags & ~path_flags) != 0) return false;
  return is_sane(flags, mode);
}

long open_loosely(const CallFrame& frame, Open open) {
  if ((open.flags & O_PATH) != 0) open.flags &= path_flags;
  if ((open.flags & creating_flags) == 0) open.mode = 0;
  return is_sane(open.flags, open.mode) ? open_path(frame, open) : -EINVAL;
}

uint64_t flags_of(long argument) { return static_cast<uint32_t>(argument); }
uint64_t mode_of(long argument) { return static_cast<uint64_t>(argument) & 07777; }

// ---- openat2

constexpr uint64_t no_escape = RESOLVE_BENEATH | RESOLVE_IN_ROOT;

// copy_struct_from_user: larger than it is known here it may be when the rest is zero.
long copy_how(const CallFrame& f, open_how& how) {
  const auto* from = reinterpret_cast<const char*>(f.arg[2]);
  const auto bytes = static_cast<size_t>(f.arg[3]);
  if (bytes < sizeof how) return -EINVAL;
  constexpr size_t page = 4096;
  if (bytes > page) return -E2BIG;
  for (size_t at = sizeof how; at < bytes; at++) {
    char byte = 0;
    if (copy_from_program(&byte, from + at, 1) != 0) return -EFAULT;
    if (byte != 0) return -E2BIG;
  }
  return copy_from_program(&how, from, sizeof how);
}

bool is_sane_resolution(uint64_t resolve) {
  constexpr uint64_t known = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | no_escape | RESOLVE_CACHED;
  return (resolve & ~known) == 0 && (resolve & no_escape) != no_escape;
}

struct Start {
  VirtualFile file;  // token 0: the mount's root
  std::string_view rest;
};

long open_at(const CallFrame& f, const Open& open, Start start) {
  // Linux may always say that it would have to ask; whoever asks for less goes on without the flag.
  if ((open.resolve & RESOLVE_CACHED) != 0) return -EAGAIN;
  VirtualOpen to_open(open, reinterpret_cast<const char*>(f.arg[1]));
  long r = 0;
  MountPoint into;
  PathText rest;
  {
    RingCall call(start.file.connection, abi::CallNumber::openat, f.nr);
    if (call.error() != 0) return call.error();
    call.set_start(start.file);
    call.set_path1(start.rest.empty() && start.file.token != 0 ? std::string_view(".") : start.rest);
    r = to_open.fill(call);
    if (r == 0) r = call.run();
    if (r == left_mount && call.leave_to() == abi::LeaveTo::mount) into = top_mount(call.leave_mount());
    if (r == left_mount && !into.found)
      return refuse(-EXDEV, "openat2", start.rest, "a restricted walk that leaves a mount");
    if (into.found) {
      rest.assign(call.leave_rest());
    } else {
      r = to_open.finish(call, r);
    }
  }
  if (into.found) return open_at(f, open, {{into.connection, 0, into.mount}, rest.view()});
  return to_open.descriptor(r);
}

// Walks natively, under the call's restrictions, until a mount is entered. 1: one was; 0: none is on the way; or
// -errno.
long find_mount(int dirfd, PathText& path, const Open& open, Start& start) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = open.resolve;
  for (size_t at = 0; at < path.length();) {
    while (path.data()[at] == '/') at++;
    while (at < path.length() && path.data()[at] != '/') at++;
    const char kept = path.data()[at];
    path.data()[at] = 0;
    const bool last = path.view().find_first_not_of('/', at + 1) == std::string_view::npos;
    if (last && !open.argument.how.follow) how.flags |= O_NOFOLLOW;
    const long fd = raw_syscall(SYS_openat2, dirfd, native::of(path.data()), native::of(&how), sizeof how);
    path.data()[at] = kept;
    if (fd < 0) return fd == -ENOENT && last ? 0 : fd;
    PathText place;
    const int known = native::descriptor_path(static_cast<int>(fd), place);
    native::close(static_cast<int>(fd));
    const MountPoint mount = known == 0 ? mount_at(place.view()) : MountPoint{};
    if (!mount.found) continue;
    start = {{mount.connection, 0, mount.mount}, path.view().substr(at)};
    return 1;
  }
  return 0;
}

// Whether the way there keeps to the restrictions: 0 or -errno.
long look_natively(int dirfd, const char* path, const Open& open) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC | (open.argument.how.follow ? 0 : O_NOFOLLOW);
  how.resolve = open.resolve & ~uint64_t{RESOLVE_CACHED};
  const long fd = raw_syscall(SYS_openat2, dirfd, native::of(path), native::of(&how), sizeof how);
  if (fd >= 0) native::close(static_cast<int>(fd));
  return fd < 0 ? fd : 0;
}

long open_restricted(const CallFrame& f, Open open) {
  const auto dirfd = static_cast<int>(f.arg[0]);
  PathText path;
  const long n = copy_string_from_program(path.data(), reinterpret_cast<const char*>(f.arg[1]), path_room);
  if (n <= 0) return n < 0 ? n : -ENOENT;
  path.set_length(static_cast<size_t>(n));
  const bool absolute = path.view().starts_with('/');
  Start start;
  if ((!absolute || (open.resolve & no_escape) != 0) && virtual_start(dirfd, start.file)) {
    if (absolute && (open.resolve & RESOLVE_BENEATH) != 0) return -EXDEV;
    start.rest = path.view();
    return open_at(f, open, start);
  }
  if (long special = 0; (!absolute || (open.resolve & no_escape) == 0) &&
                        open_special(dirfd, reinterpret_cast<const char*>(f.arg[1]), open.flags, special)) {
    if (special < 0) return special;
    const long allowed = look_natively(dirfd, path.data(), open);
    if (allowed < 0) native::close(static_cast<int>(special));
    return allowed < 0 ? allowed : special;
  }
  Where where;
  const long r = resolve_argument(f, open.argument, where);
  if (r < 0 || !where.is_virtual) return r < 0 ? r : pass_on;
  const long found = find_mount(dirfd, path, open, start);
  if (found <= 0) return found < 0 ? found : pass_on;
  if ((open.resolve & RESOLVE_NO_XDEV) != 0) return -EXDEV;
  // The root of the walk lies above the mount: there is no way to it from inside.
  if ((open.resolve & RESOLVE_IN_ROOT) != 0) open.resolve ^= RESOLVE_IN_ROOT | RESOLVE_BENEATH;
  while (start.rest.starts_with('/')) start.rest.remove_prefix(1);
  return open_at(f, open, start);
}

}  // namespace

long call_open(const CallFrame& f) {
  return open_loosely(f, {.argument = {-1, 0, {}}, .flags = flags_of(f.arg[1]), .mode = mode_of(f.arg[2])});
}

long call_creat(const CallFrame& f) {
  return open_path(f, {.argument = {-1, 0, {}}, .flags = O_CREAT | O_WRONLY | O_TRUNC, .mode = mode_of(f.arg[1])});
}

long call_openat(const CallFrame& f) {
  return open_loosely(f, {.argument = {0, 1, {}}, .flags = flags_of(f.arg[2]), .mode = mode_of(f.arg[3])});
}

long call_openat2(const CallFrame& f) {
  open_how how{};
  if (const long r = copy_how(f, how); r < 0) return r;
  if (!is_sane_strictly(how.flags, how.mode) || !is_sane_resolution(how.resolve)) return -EINVAL;
  const PathArgument argument{0, 1, {.follow = follows(how.flags)}};
  const Open open{.argument = argument, .flags = how.flags, .mode = how.mode, .resolve = how.resolve};
  return how.resolve == 0 ? open_path(f, open) : open_restricted(f, open);
}

}  // namespace fusewire::gate
