#include "gate/dispatch/places.h"

#include <sys/mman.h>
#include <sys/statfs.h>

#include <new>
#include <span>

#include "abi/mount_rules.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/process_links.h"
#include "gate/dispatch/roots.h"
#include "gate/machinery/lock.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::MountEntry;
using abi::MountTable;

struct Seen {
  uint32_t mount = 0;           // 0: a twin is seen in its place
  uint32_t at = 0, length = 0;  // in the text
};

struct Places {
  static constexpr uint32_t seen_max = 512, text_room = 128 * 1024;

  SpinLock lock;
  std::atomic<uint32_t> version{0};  // odd while they change
  // What they were made of; pid 0: nothing yet.
  std::atomic<int> pid{0};
  std::atomic<uint32_t> changes{0}, generation{0}, root{0};
  std::atomic<uint64_t> mount_namespace{0};
  uint32_t count = 0, used = 0;
  Seen seen[seen_max];
  char text[text_room];

  bool are_of(int process_id, const MountTable& table, uint32_t root_index) const {
    return pid == process_id && changes == table.native_changes.load() && root == root_index &&
           generation == table.generation.load(std::memory_order_acquire);
  }
  std::string_view path_of(const Seen& each) const { return {text + each.at, each.length}; }
  bool has(uint32_t mount, std::string_view path) const {
    for (uint32_t i = 0; i < count; i++) {
      if (seen[i].mount == mount && path == path_of(seen[i])) return true;
    }
    return false;
  }
  void add(uint32_t mount, std::string_view path) {
    if (count == seen_max || path.size() > text_room - used || has(mount, path)) return;
    __builtin_memcpy(text + used, path.data(), path.size());
    seen[count++] = {mount, used, static_cast<uint32_t>(path.size())};
    used += static_cast<uint32_t>(path.size());
  }
};

std::atomic<Places*> known{nullptr};

Places* places() {
  if (Places* there = known) return there;
  const long at = map_aside(sizeof(Places), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  if (at < 0 && at > -4096) return nullptr;
  auto* made = new (reinterpret_cast<void*>(at)) Places;
  Places* expected = nullptr;
  if (known.compare_exchange_strong(expected, made)) return made;
  raw_syscall(SYS_munmap, at, sizeof(Places));
  return expected;
}

// ---- mountinfo

struct NativeMount {
  uint64_t id = 0, file_system = 0;
  bool read_only = false;
  PathText root, point;
};

std::string_view take_word(std::string_view& line) {
  const size_t space = line.find(' ');
  const std::string_view word = line.substr(0, space);
  line = space == std::string_view::npos ? std::string_view() : line.substr(space + 1);
  return word;
}

// What seq_path has made octal.
void unescape(std::string_view word, PathText& to) {
  to.clear();
  for (size_t i = 0; i < word.size(); i++) {
    if (word[i] != '\\' || i + 3 >= word.size()) {
      to.add(word[i]);
      continue;
    }
    to.add(static_cast<char>((word[i + 1] - '0') * 64 + (word[i + 2] - '0') * 8 + (word[i + 3] - '0')));
    i += 3;
  }
}

// "36 35 98:0 /root /point options …"
bool parse(std::string_view line, NativeMount& mount) {
  size_t digits = 0;
  mount.id = parse_decimal(take_word(line), &digits);
  if (digits == 0) return false;
  take_word(line);
  std::string_view device = take_word(line);
  const uint64_t major = parse_decimal(device, &digits);
  if (digits == 0 || digits + 1 >= device.size()) return false;
  mount.file_system = major << 32 | parse_decimal(device.substr(digits + 1), &digits);
  unescape(take_word(line), mount.root);
  unescape(take_word(line), mount.point);
  const std::string_view options = take_word(line);
  mount.read_only = options == "ro" || options.starts_with("ro,");
  if (mount.root.view() == "/") mount.root.clear();
  if (mount.point.view() == "/") mount.point.clear();
  return !mount.root.overflowed() && !mount.point.overflowed();
}

template <class Look>
void for_native_mounts(Look look) {
  const native::OwnFile file("mountinfo");
  LineReader lines(file);
  NativeMount mount;
  for (std::string_view line; lines.next(line);) {
    if (parse(line, mount)) look(mount);
  }
}

uint64_t mount_id_of(int directory, const char* path, int flags) {
  struct statx st {};
  constexpr unsigned want_mount = 0x1000;  // STATX_MNT_ID
  const long r = raw_syscall(SYS_statx, directory, native::of(path), flags, want_mount, native::of(&st));
  return r == 0 && (st.stx_mask & want_mount) != 0 ? st.stx_mnt_id : 0;
}

// What follows a directory's name in the path of something in it, or of itself.
bool is_in(std::string_view path, std::string_view directory, std::string_view& rest) {
  if (!path.starts_with(directory)) return false;
  rest = path.substr(directory.size());
  return rest.empty() || rest.front() == '/';
}

// ---- looking

std::string_view text_of(const char (&text)[abi::mount_path_max]) {
  size_t n = 0;
  while (n < sizeof text - 1 && text[n] != 0) n++;
  return {text, n};
}

// Whether the path leads to the mount point, and not to what covers it now. Who may not look takes it at its word.
bool leads_to(const PathText& path, const MountEntry& e) {
  struct stat st {};
  const long r = raw_syscall(SYS_newfstatat, AT_FDCWD, native::of(path.c_str()), native::of(&st), AT_SYMLINK_NOFOLLOW);
  return r == -EACCES || (r == 0 && st.st_dev == e.point_device && st.st_ino == e.point_inode);
}

// Whether the path lies on the native mount, and not on one that covers a directory above.
bool lies_on(const PathText& path, const NativeMount& mount) {
  const uint64_t id = mount_id_of(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW);
  return id == 0 || id == mount.id;
}

template <class Look>
void for_points(const MountTable& table, Look look) {
  for (uint32_t i = 0; i < abi::mount_entries; i++) {
    const MountEntry& e = table.entry[i];
    if (is_mounted(e) && e.parent == 0) look(e, text_of(table.path[i]), text_of(table.point[i]));
  }
}

bool is_here(const MountEntry& e, const NativeMount& mount) {
  if (e.twin_of == 0 || e.twin_place == abi::TwinPlace::anywhere) return true;
  return mount.read_only == (e.twin_place == abi::TwinPlace::read_only);
}

void hide_behind_twins(const MountTable& table, Places& places) {
  for_points(table, [&](const MountEntry& e, std::string_view, std::string_view) {
    for (uint32_t i = 0; e.twin_of != 0 && i < places.count; i++) {
      if (places.seen[i].mount != e.id) continue;
      for (Seen& each : std::span(places.seen, places.count)) {
        if (each.mount == e.twin_of && places.path_of(each) == places.path_of(places.seen[i])) each.mount = 0;
      }
    }
  });
}

void look(const MountTable& table, Places& to) {
  PathText path;
  for_points(table, [&](const MountEntry& e, std::string_view name, std::string_view) {
    std::string_view seen;
    // On which native mount its path lies is not known here.
    if (!is_in_sight(table, e, to.mount_namespace) || e.twin_of != 0) return;
    if (as_seen(name, seen) && (e.point_inode == 0 || leads_to(path.assign(seen), e))) to.add(e.id, seen);
  });
  for_native_mounts([&](const NativeMount& mount) {
    for_points(table, [&](const MountEntry& e, std::string_view, std::string_view point) {
      std::string_view rest;
      if (e.point_inode == 0 || e.point_file_system != mount.file_system || !is_in(point, mount.root.view(), rest))
        return;
      if (!is_in_sight(table, e, to.mount_namespace) || !is_here(e, mount)) return;
      path.assign(mount.point.view()).add(rest);
      if (path.empty() || path.overflowed() || !leads_to(path, e)) return;
      if (e.twin_of == 0 || lies_on(path, mount)) to.add(e.id, path.view());
    });
  });
  hide_behind_twins(table, to);
}

}  // namespace

void describe_point(int fd, abi::LeaderRequest& request) {
  const uint64_t id = mount_id_of(fd, "", AT_EMPTY_PATH);
  struct stat st;
  PathText path;
  if (id == 0 || native::fstat(fd, &st) != 0 || native::descriptor_path(fd, path) != 0) return;
  for_native_mounts([&](const NativeMount& mount) {
    std::string_view rest;
    if (mount.id != id || !is_in(path.view(), mount.point.view(), rest)) return;
    PathText point;
    point.add(mount.root.view()).add(rest);
    if (point.overflowed() || !set_field(request.point, point.view())) return;
    request.point_device = st.st_dev;
    request.point_inode = st.st_ino;
    request.point_file_system = mount.file_system;
  });
}

uint64_t native_mount_of(std::string_view path) {
  uint64_t id = 0;
  size_t length = 0;
  for_native_mounts([&](const NativeMount& mount) {
    std::string_view rest;
    if (!is_in(path, mount.point.view(), rest) || mount.point.length() < length) return;
    id = mount.id;
    length = mount.point.length();
  });
  return id;
}

uint64_t own_mount_namespace() {
  const auto fd =
      static_cast<int>(with_room(process(), [] { return native::OwnFile("ns/mnt").open(O_RDONLY | O_CLOEXEC); }));
  if (fd < 0) return 0;
  uint64_t id = 0;
  struct stat st {};
  if (raw_syscall(SYS_ioctl, fd, abi::get_mount_namespace_id, native::of(&id)) < 0 && native::fstat(fd, &st) == 0)
    id = st.st_ino;
  native::close(fd);
  return id;
}

long native_mounts_changed(long result) {
  if (result < 0) return result;
  abi::LeaderRequest request;
  start_request(request, abi::LeaderOperation::native_mounts_changed);
  (void)ask_leader(request, -1, nullptr);  // without a leader nothing is found anywhere
  return result;
}

bool refresh_places(const MountTable& table) {
  if (table.native_changes.load(std::memory_order_acquire) == 0) return false;
  Places* p = places();
  if (p == nullptr) return false;
  const int pid = native::getpid();
  const uint32_t root = process().root;
  if (p->are_of(pid, table, root)) return true;
  const Locked locked(p->lock);
  if (p->are_of(pid, table, root)) return true;
  p->version = p->version | 1;
  p->pid = 0;
  p->changes = table.native_changes.load();
  p->generation = table.generation.load(std::memory_order_acquire);
  p->root = root;
  p->count = p->used = 0;
  p->mount_namespace = own_mount_namespace();
  look(table, *p);
  p->pid = pid;
  p->version++;
  return true;
}

uint32_t places_version() {
  const Places* p = known;
  return p == nullptr ? 0 : p->version.load(std::memory_order_acquire);
}

bool is_in_own_sight(const MountTable& table, const MountEntry& e) {
  const Places* p = known;
  return is_in_sight(table, e, p == nullptr ? 0 : p->mount_namespace.load());
}

void leave_places() {
  if (Places* p = known) p->pid = 0;
}

long leave_mount_namespace(const CallFrame& f) {
  abi::LeaderRequest request;
  start_request(request, abi::LeaderOperation::native_mounts_changed);
  request.parent_namespace = own_mount_namespace();
  const long r = native::call(f);
  if (r < 0) return r;
  leave_places();
  // Who leaves that one goes on to see all that is seen there.
  if (request.parent_namespace == leaders_mount_namespace()) return r;
  request.mount_namespace = own_mount_namespace();
  (void)ask_leader(request, -1, nullptr);
  return r;
}

abi::TwinPlace twin_place_of(std::string_view path) {
  PathText at;
  at.assign(path);
  struct statfs fs {};
  const char* const top = path.starts_with('/') ? "/" : ".";
  while (raw_syscall(SYS_statfs, native::of(at.empty() ? top : at.c_str()), native::of(&fs)) < 0) {
    const size_t slash = at.view().rfind('/');
    if (at.empty()) return abi::TwinPlace::writable;
    at.set_length(slash == std::string_view::npos ? 0 : slash);
  }
  constexpr long st_read_only = 1;
  return (fs.f_flags & st_read_only) != 0 ? abi::TwinPlace::read_only : abi::TwinPlace::writable;
}

bool place_of(uint32_t mount, uint32_t n, std::string_view& path) {
  const Places* p = known;
  const uint32_t count = p == nullptr ? 0 : p->count;
  for (uint32_t i = 0; i < count && i < Places::seen_max; i++) {
    const Seen& seen = p->seen[i];
    if (seen.mount != mount || n-- != 0) continue;
    if (seen.at > Places::text_room || seen.length > Places::text_room - seen.at) return false;
    path = {p->text + seen.at, seen.length};
    return true;
  }
  return false;
}

void forget_places() {
  Places* p = known;
  if (p == nullptr) return;
  p->lock.reset();
  p->pid = 0;
}

}  // namespace fusewire::gate
