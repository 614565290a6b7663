#include "gate/dispatch/paths.h"

#include "abi/mount_rules.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/native_first.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/process_links.h"
#include "gate/dispatch/roots.h"
#include "gate/native.h"

namespace fusewire::gate {

bool virtual_start(int dirfd, VirtualFile& start) {
  if (dirfd != AT_FDCWD) return is_virtual(dirfd, start);
  return possible.virtual_cwd && virtual_cwd(process(), start);
}

namespace {

struct Walk {
  PathText prefix;   // canonical, walked; "" is "/"
  PathText pending;  // still to walk, from `at` on
  PathText scratch;
  size_t at = 0;
  bool rewritten = false;

  std::string_view rest() const { return pending.view().substr(at); }
};

std::string_view without_leading_slashes(std::string_view path) {
  while (path.starts_with('/')) path.remove_prefix(1);
  return path;
}

bool next_component(std::string_view path, size_t& at, std::string_view& component) {
  while (at < path.size() && path[at] == '/') at++;
  const size_t from = at;
  while (at < path.size() && path[at] != '/') at++;
  component = path.substr(from, at - from);
  return !component.empty();
}

void pop_component(PathText& path) {
  const size_t slash = path.view().rfind('/');
  path.set_length(slash == std::string_view::npos ? 0 : slash);
}

long enter(Where& where, VirtualFile start, std::string_view rest) {
  where.is_virtual = true;
  where.rewritten = false;
  where.start = start;
  where.text.assign(without_leading_slashes(rest));
  return 0;
}

// An absolute path of a process whose root lies in a mount.
bool enter_root(Where& where, std::string_view path) {
  VirtualFile root;
  if (!virtual_root(root)) return false;
  enter(where, root, path);
  if (where.text.empty()) where.text.assign(".");
  return true;
}

// The walk ends in the native file system.
long stay_native(const Walk& walk, Where& where) {
  where.is_virtual = false;
  where.rewritten = walk.rewritten;
  if (!walk.rewritten) return 0;
  where.text.assign(walk.prefix.view()).add(walk.rest());
  if (where.text.empty()) where.text.add('/');
  return where.text.overflowed() ? -ENAMETOOLONG : 0;
}

enum class Scan { entered, no_mount, unsure };

// The path taken literally, as if it held no symlink. That is right up to a mount point that it names: mount points are
// canonical, so nothing before one is a symlink. /proc is left to the walk: its links are not what they read.
Scan scan_literally(Walk& walk, Where& where) {
  PathText& path = walk.scratch;
  path.assign(walk.prefix.view());
  bool popped = false;
  size_t at = walk.at;
  std::string_view component;
  while (next_component(walk.pending.view(), at, component)) {
    if (component == ".") continue;
    if (component == "..") {
      pop_component(path);
      popped = true;
      continue;
    }
    path.add('/').add(component);
    if (path.overflowed()) return Scan::unsure;
    if (path.view() == "/proc" || path.view().starts_with("/proc/")) return Scan::unsure;
    const MountPoint mount = mount_at(path.view());
    if (!mount.found) continue;
    if (popped) return Scan::unsure;
    enter(where, {mount.connection, 0, mount.mount}, walk.pending.view().substr(at));
    return Scan::entered;
  }
  return Scan::no_mount;
}

// Whether the kernel finds no symlink on the way, so that the literal path is the whole truth.
bool has_no_symlink(int dirfd, const Walk& walk, bool follow) {
  const long walked = walk_without_symlinks(dirfd, walk.pending.c_str() + walk.at, follow);
  return walked == 0 || ends_a_walk(walked);
}

struct ProcLink {
  enum Kind { none, fd, cwd, exe } kind = none;
  bool own = false;
  int number = -1;
};

bool take(std::string_view& text, std::string_view front) {
  if (!text.starts_with(front)) return false;
  text.remove_prefix(front.size());
  return true;
}

bool take_number(std::string_view& text, int& number) {
  size_t digits = 0;
  number = static_cast<int>(parse_decimal(text, &digits));
  text.remove_prefix(digits);
  return digits != 0;
}

// /proc/<pid>[/task/<tid>]/{fd/<n>,cwd,exe}
ProcLink parse_proc_link(std::string_view path) {
  ProcLink link;
  int pid = 0, tid = 0;
  if (!take(path, "/proc/") || !take_number(path, pid) || !take(path, "/")) return link;
  if (take(path, "task/") && (!take_number(path, tid) || !take(path, "/"))) return link;
  link.own = pid == native::getpid();
  if (path == "cwd") {
    link.kind = ProcLink::cwd;
  } else if (path == "exe") {
    link.kind = ProcLink::exe;
  } else if (take(path, "fd/") && take_number(path, link.number) && path.empty()) {
    link.kind = ProcLink::fd;
  }
  return link;
}

// What an own link of /proc stands for, where that is not what it reads.
Magic magic_of(const ProcLink& link, VirtualFile& file) {
  if (!link.own) return Magic::none;
  if (link.kind == ProcLink::exe) return Magic::exe;
  if (link.kind == ProcLink::fd) return is_virtual(link.number, file) ? Magic::file : Magic::none;
  return link.kind == ProcLink::cwd && virtual_cwd(process(), file) ? Magic::cwd : Magic::none;
}

// The symlink at the end of prefix, its text in scratch, is replaced by what it leads to.
bool follow_text(Walk& walk) {
  if (walk.scratch.view().starts_with('/')) {
    walk.prefix.clear();
  } else {
    pop_component(walk.prefix);
  }
  walk.scratch.add(walk.rest());
  walk.pending.assign(walk.scratch.view());
  walk.at = 0;
  return !walk.scratch.overflowed();
}

enum class Step { on, native, entered };

// What a magic link leads to; a slash behind the link demands a directory.
Step enter_itself(const Walk& walk, VirtualFile file, Where& where) {
  enter(where, file, walk.rest());
  if (where.text.empty() && !walk.rest().empty()) where.text.assign(".");
  return Step::entered;
}

// The directory of the process whose link stands at the end of prefix.
std::string_view process_of(const Walk& walk) { return walk.prefix.view().substr(0, walk.prefix.view().rfind('/')); }

// The virtual file that another process's link names, whose text is in walk.scratch. That process may keep the shadow
// for another file (kept_shadows.h) until the host has heard of us; so the link is read once more after that.
bool is_file_of_other(Walk& walk, VirtualFile& file) {
  constexpr int looks = 8;
  for (int i = 0; i < looks; i++) {
    VirtualFile seen;
    if (!parse_shadow_link(walk.scratch.view(), seen)) return false;
    const bool confirmed = i > 0 && seen.token == file.token;
    file = seen;
    if (confirmed) return true;
    file_call(file, abi::CallNumber::getfl, SYS_readlink);
    const long n = native::readlink(walk.prefix.c_str(), walk.scratch.data(), path_room - 1);
    walk.scratch.set_length(n > 0 ? static_cast<size_t>(n) : 0);
  }
  return true;
}

// A magic link goes to the object itself; its text is the canonical path, where it has one.
Step follow_magic(Walk& walk, const ProcLink& link, Where& where) {
  VirtualFile file;
  switch (magic_of(link, file)) {
    case Magic::exe:
      walk.rewritten = true;
      walk.scratch.assign(exe_path());
      return follow_text(walk) ? Step::on : Step::native;
    case Magic::file:
    case Magic::cwd:
      return enter_itself(walk, file, where);
    case Magic::program:
    case Magic::none:
      break;
  }
  if (link.kind == ProcLink::exe) {
    if (!program_of(process_of(walk), walk.scratch)) return Step::native;
    walk.rewritten = true;
    return follow_text(walk) ? Step::on : Step::native;
  }
  if (is_file_of_other(walk, file)) return enter_itself(walk, file, where);
  const std::string_view text = walk.scratch.view();
  if (parse_nowhere_link(text, file)) return enter_itself(walk, file, where);
  if (!text.starts_with('/') || text.ends_with(" (deleted)") || walk.rest().empty()) return Step::native;
  walk.prefix.assign(text == "/" ? std::string_view() : text);
  return Step::on;
}

// The link itself is meant. Who looks at another process (lsof, fuser) is told of its virtual files, its working
// directory and its program by their paths too.
Magic look_at_magic(Walk& walk, const ProcLink& link, Where& where) {
  const Magic magic = magic_of(link, where.start);
  if (magic != Magic::none || link.own) return magic;
  if (link.kind == ProcLink::exe) {
    where.process.assign(process_of(walk));
    return is_under_gate(where.process.view()) ? Magic::program : Magic::none;
  }
  const long n = native::readlink(walk.prefix.c_str(), walk.scratch.data(), path_room - 1);
  const std::string_view text(walk.scratch.data(), n > 0 ? static_cast<size_t>(n) : 0);
  const bool is_ours =
      link.kind == ProcLink::fd ? parse_shadow_link(text, where.start) : parse_nowhere_link(text, where.start);
  return is_ours ? Magic::file : Magic::none;
}

Step follow_link(Walk& walk, bool last, How how, uint32_t& links, Where& where) {
  const bool stop_here = last && !how.follow;
  const ProcLink magic = parse_proc_link(walk.prefix.view());
  if (stop_here) {
    if (magic.kind != ProcLink::none) where.magic = look_at_magic(walk, magic, where);
    return Step::native;
  }
  const long n = native::readlink(walk.prefix.c_str(), walk.scratch.data(), path_room - 1);
  if (n == -EINVAL) return Step::on;
  if (n < 0) return Step::native;
  walk.scratch.set_length(static_cast<size_t>(n));
  if (++links > abi::symlinks_max) return Step::native;
  if (magic.kind != ProcLink::none) return follow_magic(walk, magic, where);
  if (walk.scratch.view().starts_with('/')) {
    walk.scratch.add(walk.rest());
    if (!walk.scratch.overflowed() && enter_root(where, walk.scratch.view())) return Step::entered;
    walk.scratch.set_length(static_cast<size_t>(n));
  }
  return follow_text(walk) ? Step::on : Step::native;
}

// Component by component, as the kernel walks. What cannot be looked at is left to the native call, whose error it is.
long walk_on(Walk& walk, How how, Where& where) {
  uint32_t links = 0;
  std::string_view component;
  for (;;) {
    const size_t before = walk.at;
    const size_t prefix_length = walk.prefix.length();
    if (!next_component(walk.pending.view(), walk.at, component)) {
      walk.at = before;  // the slashes at the end demand a directory
      return stay_native(walk, where);
    }
    if (component == ".") continue;
    if (component == "..") {
      pop_component(walk.prefix);
      continue;
    }
    walk.prefix.add('/').add(component);
    if (walk.prefix.overflowed()) return walk.rewritten ? -ENAMETOOLONG : stay_native(walk, where);
    const MountPoint mount = mount_at(walk.prefix.view());
    if (mount.found) return enter(where, {mount.connection, 0, mount.mount}, walk.rest());
    if (is_above_mount(walk.prefix.view())) continue;
    const Step step = follow_link(walk, walk.rest().empty(), how, links, where);
    if (step == Step::entered) return 0;
    if (step == Step::on) continue;
    walk.at = before;
    walk.prefix.set_length(prefix_length);
    return stay_native(walk, where);
  }
}

long resolve_empty(int dirfd, How how, Where& where) {
  VirtualFile start;
  if (!virtual_start(dirfd, start) && (dirfd == AT_FDCWD || !has_virtual_inode(dirfd, start))) return 0;
  return how.empty_path ? enter(where, start, "") : -ENOENT;
}

long resolve_text(int dirfd, Walk& walk, How how, Where& where) {
  const std::string_view path = walk.pending.view();
  const bool absolute = path.starts_with('/');
  VirtualFile start;
  if (!absolute && virtual_start(dirfd, start)) {
    where.start_fd = dirfd;
    return enter(where, start, path);
  }
  if (absolute && enter_root(where, path)) return where.text.overflowed() ? -ENAMETOOLONG : 0;
  const bool special = path.starts_with("/proc") || path.starts_with("/dev/");
  if (!special && !anything_mounted() && !possible.virtual_file) return 0;
  if (is_native_path(NativeLook(dirfd, path), how.follow, how.makes)) return 0;
  if (!absolute && !canonical_base(dirfd, walk.prefix)) return 0;
  const Scan scan = scan_literally(walk, where);
  if (scan == Scan::entered) return 0;
  if (scan == Scan::no_mount && has_no_symlink(dirfd, walk, how.follow)) return 0;
  return walk_on(walk, how, where);
}

void reset(Where& where) {
  where.is_virtual = where.rewritten = false;
  where.start = {};
  where.start_fd = -1;
  where.magic = Magic::none;
  where.text.clear();
}

}  // namespace

bool canonical_base(int dirfd, PathText& base) {
  if (dirfd == AT_FDCWD) {
    const long n = native::getcwd(base.data(), path_room);
    base.set_length(n > 0 ? static_cast<size_t>(n - 1) : 0);
  } else if (native::descriptor_path(dirfd, base) != 0) {
    return false;
  }
  if (!base.view().starts_with('/') || base.view().ends_with(" (deleted)")) return false;
  if (base.length() == 1) base.clear();
  return true;
}

long resolve(int dirfd, const char* path, How how, Where& where) {
  reset(where);
  Walk walk;
  const long n = copy_string_from_program(walk.pending.data(), path, path_room);
  if (n < 0) return n;
  walk.pending.set_length(static_cast<size_t>(n));
  return n == 0 ? resolve_empty(dirfd, how, where) : resolve_text(dirfd, walk, how, where);
}

namespace {

// What is mounted there may be gone from the table a moment before its host has let go of it, and the walk is made
// anew then.
long enter_mount(uint32_t mount, std::string_view rest, Where& where) {
  constexpr uint32_t times_max = 20'000;
  const MountPoint top = top_mount(mount);
  if (!top.found) {
    raw_syscall(SYS_sched_yield);
    return ++where.again < times_max ? 0 : -ENOENT;
  }
  return enter(where, {top.connection, 0, top.mount}, rest);
}

// Beside the mount point, in the mount around it.
long enter_parent(const Standing& standing, std::string_view rest, Where& where) {
  PathText text;
  text.add("..");
  if (rest != ".") text.add('/').add(rest);
  if (text.overflowed()) return -ENAMETOOLONG;
  return enter(where, {standing.parent_connection, 0, standing.mount | abi::mount_point}, text.view());
}

long leave_natively(const PathText& mount_point, bool from_parent, std::string_view rest, How how, Where& where) {
  Walk walk;
  if (!from_parent && virtual_root(where.start)) {
    walk.pending.assign(rest);
    reset(where);
    return enter_root(where, walk.pending.view()) && !where.text.overflowed() ? 0 : -ENAMETOOLONG;
  }
  if (from_parent) {
    walk.pending.assign(mount_point.view());
    pop_component(walk.pending);
  }
  if (!rest.empty() || walk.pending.empty()) walk.pending.add('/').add(rest);
  if (walk.pending.overflowed()) return -ENAMETOOLONG;
  reset(where);
  walk.rewritten = true;
  if (scan_literally(walk, where) == Scan::entered) return 0;
  const long r = walk_on(walk, how, where);
  // Calls that take names look at whether a path ends in dots.
  const bool keeps_dots = from_parent && (rest.ends_with("/.") || rest.ends_with("..") || rest == ".");
  if (r != 0 || where.is_virtual || !keeps_dots) return r;
  where.text.assign(mount_point.view()).add("/../").add(rest);
  return where.text.overflowed() ? -ENAMETOOLONG : 0;
}

// The path of a place from the root of its mount.
long path_from_root(VirtualFile file, PathText& path, uint32_t& mount, bool whole = false) {
  RingCall call(file.connection, abi::CallNumber::path, SYS_getcwd);
  if (call.error() != 0) return call.error();
  call.set_start(file);
  call.set_arg(0, path_room - 1);
  call.set_arg(1, whole ? 1 : 0);
  const long n = call.run();
  // As d_path: it is given PATH_MAX bytes, whatever room the program has.
  if (n == -ERANGE) return -ENAMETOOLONG;
  if (n < 0) return n;
  mount = call.leave_mount();
  const auto data = call.result_data(static_cast<size_t>(n));
  path.assign({data.data(), data.size()});
  return path.overflowed() ? -ENAMETOOLONG : 0;
}

// What the process calls a file when its root lies in a mount. path: the file's, from the root of `mount`.
long path_below_root(uint32_t mount, VirtualFile root, PathText& path) {
  PathText front, above;
  Standing at;
  uint32_t root_mount = 0;
  if (const long r = path_from_root(root, above, root_mount); r < 0) return r;
  for (uint32_t i = 0; mount != root_mount && i < abi::mount_entries; i++) {
    if (!standing_of(mount, at, front) || at.parent == 0) break;
    if (path_from_root({at.parent_connection, 0, at.mount | abi::mount_point}, front, mount) != 0) break;
    if (path.view() != "/") front.add(path.view());
    path.assign(front.view());
    mount = at.parent;
  }
  if (above.length() == 1) above.clear();
  const bool is_below = mount == root_mount && path.view().starts_with(above.view()) &&
                        (path.length() == above.length() || path.view()[above.length()] == '/');
  front.assign(is_below ? path.view().substr(above.length()) : "(unreachable)");
  if (!is_below) front.add(path.view());
  if (front.empty()) front.add('/');
  path.assign(front.view());
  return path.overflowed() ? -ENAMETOOLONG : 0;
}

}  // namespace

long resolve_leave(abi::LeaveTo to, uint32_t mount, std::string_view rest, How how, Where& where) {
  if (to == abi::LeaveTo::mount) return enter_mount(mount, rest, where);
  const bool from_parent = to == abi::LeaveTo::parent;
  Standing standing;
  PathText mount_point;
  if (from_parent && !standing_of(mount, standing, mount_point)) return -ENOENT;
  if (standing.parent != 0) return enter_parent(standing, rest, where);
  return from_parent && mount_point.empty() ? -ENOENT : leave_natively(mount_point, from_parent, rest, how, where);
}

long path_in_mount(VirtualFile file, PathText& path, uint32_t& mount) {
  const long r = path_from_root(file, path, mount);
  if (r == 0 && mount == 0) mount = mount_of(file);
  return r;
}

long path_of_root(uint32_t connection, uint32_t mount, PathText& path) {
  uint32_t unused = 0;
  return path_from_root({connection, 0, mount}, path, unused, true);
}

bool mount_path_of(uint32_t mount, PathText& path, uint32_t n) {
  path.clear();
  PathText front;
  // From the mount outwards.
  for (uint32_t i = 0; i < abi::mount_entries; i++) {
    Standing at;
    if (!standing_of(mount, at, front, n)) return false;
    PathText inside;
    const VirtualFile point{at.parent_connection, 0, at.mount | abi::mount_point};
    const bool is_known = at.parent != 0 && path_from_root(point, inside, mount) == 0;
    if (is_known) front.assign(inside.view());
    if (!is_known && (front.empty() || (at.parent != 0 && n != 0))) return false;
    if (front.add(path.view()).overflowed()) return false;
    path.assign(front.view());
    if (!is_known) return true;
    mount = at.parent;
  }
  return false;
}

long path_of_file(VirtualFile file, PathText& path) {
  PathText inside;
  uint32_t mount = 0;
  const long r = path_in_mount(file, inside, mount);
  if (r < 0) return r;
  if (VirtualFile root; virtual_root(root)) {
    path.assign(inside.view());
    return path_below_root(mount, root, path);
  }
  if (!mount_path_of(mount, path)) path.assign("(unreachable)");
  if (inside.view() != "/") path.add(inside.view());
  return path.overflowed() ? -ENAMETOOLONG : 0;
}

}  // namespace fusewire::gate
