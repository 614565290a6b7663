// Making, removing and moving names.
#include <linux/fs.h>

#include "gate/dispatch/handlers.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/path_engine.h"
#include "gate/dispatch/roots.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;

constexpr How no_follow{.follow = false};
constexpr How new_name{.follow = false, .makes = true};

// One path, whose last component is the new name.
long name_call(const CallFrame& f, PathArgument argument, CallNumber number, int64_t arg0, int64_t arg1 = 0) {
  argument.how = new_name;
  return path_call(
      f, argument, number, {},
      [=](RingCall& call) {
        call.set_arg(0, arg0);
        call.set_arg(1, arg1);
        return 0L;
      },
      plain_result);
}

// may_mknod: a wrong type comes before the path.
long node_call(const CallFrame& f, PathArgument argument, long mode, long rdev) {
  const bool known =
      (mode & S_IFMT) == 0 || S_ISREG(mode) || S_ISCHR(mode) || S_ISBLK(mode) || S_ISFIFO(mode) || S_ISSOCK(mode);
  if (!known) return S_ISDIR(mode) ? -EPERM : -EINVAL;
  return name_call(f, argument, CallNumber::mknodat, mode & 0177777, static_cast<uint32_t>(rdev));
}

long symlink_call(const CallFrame& f, PathArgument argument, long target) {
  PathText text;
  const long n = copy_string_from_program(text.data(), reinterpret_cast<const char*>(target), path_room);
  if (n <= 0) return n < 0 ? n : -ENOENT;
  text.set_length(static_cast<size_t>(n));
  argument.how = new_name;
  return path_call(
      f, argument, CallNumber::symlinkat, {},
      [&](RingCall& call) {
        call.set_path2(text.view());
        return 0L;
      },
      plain_result);
}

// What is mounted somewhere is busy: its mount point is neither removed nor moved.
long remove_call(const CallFrame& f, PathArgument argument, long at_flags) {
  if ((at_flags & ~AT_REMOVEDIR) != 0) return -EINVAL;
  argument.how = no_follow;
  Where where;
  long r = resolve_argument(f, argument, where);
  Leaves leaves;
  while (r == 0) {
    if (!where.is_virtual) return pass_natively(f, argument, where);
    if (where.is_mount_root()) return (at_flags & AT_REMOVEDIR) != 0 ? -EBUSY : -EISDIR;
    RingCall call(where.start.connection, CallNumber::unlinkat, f.nr);
    if (call.error() != 0) return call.error();
    r = place_path(call, where, {});
    call.set_arg(0, at_flags);
    if (r == 0) r = call.run();
    if (r != left_mount) return r;
    r = follow_leave(call, argument.how, leaves, where);
  }
  return r;
}

// The two paths of rename and link.
struct TwoPaths {
  PathArgument from, to;
  CallNumber number;
  long flags;
  bool flags_are_at;  // AT_ flags, of `from`
};

long pass_both_on(const CallFrame& f, const TwoPaths& call, const Where& from, const Where& to) {
  if (!from.rewritten && !to.rewritten) return pass_on;
  CallFrame changed = f;
  const auto use = [&](const PathArgument& argument, const Where& where) {
    if (!where.rewritten) return;
    changed.arg[argument.path_index] = native::of(where.text.c_str());
    if (argument.dirfd_index >= 0) changed.arg[argument.dirfd_index] = AT_FDCWD;
  };
  use(call.from, from);
  use(call.to, to);
  return native::call(changed);
}

// The second path as the ring wants it: a start without a name is its own "." (which the host refuses as Linux does).
long place_second(RingCall& call, const Where& to) {
  call.set_start2(to.start);
  // Of a mount's root "/", which asks for no right to enter it.
  const std::string_view itself = to.start.token == 0 ? "/" : ".";
  call.set_path2(to.text.empty() ? itself : to.text.view());
  return 0;
}

// One try in one mount. left_mount: `which` of the two walks left, and that place has been found anew.
long try_both(const CallFrame& f, const TwoPaths& two, Where& from, Where& to, Leaves& leaves) {
  RingCall call(from.start.connection, two.number, f.nr);
  if (call.error() != 0) return call.error();
  const bool from_may_be_start = two.flags_are_at;
  long r = place_path(call, from, from_may_be_start ? AtFlags{0, two.flags} : AtFlags{});
  if (r == 0) r = place_second(call, to);
  if (!from_may_be_start) call.set_arg(0, two.flags);
  if (r == 0) r = call.run();
  if (r != left_mount) return r;
  Where& left = call.leave_which() == 0 ? from : to;
  r = follow_leave(call, call.leave_which() == 0 ? two.from.how : two.to.how, leaves, left);
  return r < 0 ? r : left_mount;
}

// A mount point's name lies in the file system around it.
bool is_outside(const TwoPaths& two, const Where& w) {
  return !w.is_virtual || (!two.flags_are_at && w.is_mount_root());
}

// --- Between two file systems the call is EXDEV, once both walks came to their end. So that each walk's own error is
// seen first, it is made alone: the other side is then a root, with which the call always fails in a known way.

enum class SideIs : uint8_t { from, to };

struct NativePath {
  long dirfd;
  long path;
};

NativePath native_path(const CallFrame& f, const PathArgument& argument, const Where& where) {
  if (where.rewritten) return {AT_FDCWD, native::of(where.text.c_str())};
  return {argument.dirfd_index < 0 ? AT_FDCWD : f.arg[argument.dirfd_index], f.arg[argument.path_index]};
}

long walk_natively(const CallFrame& f, const TwoPaths& two, SideIs side, const Where& where) {
  static const char root[] = "/";
  const NativePath path = native_path(f, side == SideIs::from ? two.from : two.to, where);
  const NativePath top{AT_FDCWD, native::of(root)};
  if (!two.flags_are_at) {
    const NativePath from = side == SideIs::from ? path : top, to = side == SideIs::from ? top : path;
    return raw_syscall(SYS_renameat2, from.dirfd, from.path, to.dirfd, to.path, 0);
  }
  if (side == SideIs::to) return raw_syscall(SYS_linkat, top.dirfd, top.path, path.dirfd, path.path, 0);
  struct stat st;
  const long nofollow = (two.flags & AT_SYMLINK_FOLLOW) != 0 ? 0 : AT_SYMLINK_NOFOLLOW;
  return raw_syscall(SYS_newfstatat, path.dirfd, path.path, native::of(&st), nofollow | (two.flags & AT_EMPTY_PATH));
}

long walk_in_mount(const TwoPaths& two, SideIs side, const Where& where, RingCall& call) {
  if (side == SideIs::to) {
    call.set_start({where.start.connection, 0, mount_of(where.start)});
    call.set_path1("/");
    place_second(call, where);
    return call.run();
  }
  const long nofollow = (two.flags & AT_SYMLINK_FOLLOW) != 0 ? 0 : AT_SYMLINK_NOFOLLOW;
  const long r =
      place_path(call, where, two.flags_are_at ? AtFlags{0, nofollow | (two.flags & AT_EMPTY_PATH)} : AtFlags{});
  if (r < 0) return r;
  call.set_start2({where.start.connection, 0, mount_of(where.start)});
  if (!two.flags_are_at) call.set_path2("/");
  return call.run();
}

// The call's own answer to a root on the other side.
bool came_to_the_end(long result) { return result >= 0 || result == -EXDEV || result == -EBUSY || result == -EPERM; }

// 0 when the walk came to its end.
long walk_error(const CallFrame& f, const TwoPaths& two, SideIs side, Where& where) {
  const PathArgument& argument = side == SideIs::from ? two.from : two.to;
  const bool looks = two.flags_are_at && side == SideIs::from;
  Leaves leaves;
  for (;;) {
    if (!where.is_virtual || is_outside(two, where)) {
      const long r = where.is_virtual ? 0 : walk_natively(f, two, side, where);
      return came_to_the_end(r) ? 0 : r;
    }
    RingCall call(where.start.connection, looks ? CallNumber::statx : two.number, f.nr);
    if (call.error() != 0) return call.error();
    const long r = walk_in_mount(two, side, where, call);
    if (r != left_mount) return came_to_the_end(r) ? 0 : r;
    if (const long left = follow_leave(call, argument.how, leaves, where); left < 0) return left;
  }
}

bool apart(const TwoPaths& two, const Where& from, const Where& to) {
  const bool from_outside = is_outside(two, from), to_outside = is_outside(two, to);
  if (from_outside || to_outside) return from_outside != to_outside;
  return from.start.connection != to.start.connection;
}

// 0 when a walk has led the two together after all.
long between_file_systems(const CallFrame& f, const TwoPaths& two, Where& from, Where& to) {
  long r = walk_error(f, two, SideIs::from, from);
  if (r == 0) r = walk_error(f, two, SideIs::to, to);
  if (r < 0) return r;
  return apart(two, from, to) ? -EXDEV : 0;
}

// A mount point's name for the kernel, which must not rename what lies under it: the directory it stands in, as ".".
void hide_mount_point(Where& where) {
  if (!where.is_mount_root()) return;
  const uint32_t mount = mount_of(where.start);
  where.is_virtual = false;
  where.rewritten = true;
  if (!mount_path_of(mount, where.text)) where.text.clear();
  const size_t slash = where.text.view().rfind('/');
  where.text.set_length(slash == std::string_view::npos ? 0 : slash);
  where.text.add("/.");
}

bool exists(const CallFrame& f, const PathArgument& argument, const Where& where) {
  struct stat st;
  const NativePath path = native_path(f, argument, where);
  return raw_syscall(SYS_newfstatat, path.dirfd, path.path, native::of(&st), AT_SYMLINK_NOFOLLOW) == 0;
}

bool ends_in_dots(const CallFrame& f, const PathArgument& argument, const Where& where) {
  PathText text;
  if (where.rewritten) {
    text.assign(where.text.view());
  } else {
    const long n =
        copy_string_from_program(text.data(), reinterpret_cast<const char*>(f.arg[argument.path_index]), path_room);
    text.set_length(n > 0 ? static_cast<size_t>(n) : 0);
  }
  const std::string_view name = last_component(text.view());
  return name == "." || name == "..";
}

// What is mounted somewhere is busy, after all else that may be wrong.
long rename_mount_point(const CallFrame& f, const TwoPaths& two, Where& from, Where& to) {
  const bool moves = from.is_mount_root(), replaces = to.is_mount_root();
  const bool exclusive = (two.flags & RENAME_NOREPLACE) != 0;
  if (moves && replaces) return exclusive ? -EEXIST : 0;
  if (moves && exclusive && ends_in_dots(f, two.to, to)) return -EEXIST;
  hide_mount_point(from);
  hide_mount_point(to);
  const long r = pass_both_on(f, two, from, to);
  if (r != -EBUSY && r != -EEXIST) return r;
  if (!moves && !exists(f, two.from, from)) return -ENOENT;
  if (!replaces && (two.flags & RENAME_EXCHANGE) != 0 && !exists(f, two.to, to)) return -ENOENT;
  return r;
}

// A path that cannot even be read is the error only when the walk to the first found none.
long with_bad_second(const CallFrame& f, const TwoPaths& two, Where& from, long second_error) {
  const long r = walk_error(f, two, SideIs::from, from);
  return r < 0 ? r : second_error;
}

// The last component of a path, with whatever slashes stand behind it; the path keeps what stands in front.
long take_last(const NativePath& from, PathText& path, PathText& name) {
  const long n = copy_string_from_program(path.data(), reinterpret_cast<const char*>(from.path), path_room);
  if (n < 0) return n;
  path.set_length(static_cast<size_t>(n));
  name.assign(last_component(path.view()));
  while (path.view().ends_with('/')) path.set_length(path.length() - 1);
  path.set_length(path.length() < name.length() ? 0 : path.length() - name.length());
  return 0;
}

// The canonical path of a name, which need not exist.
[[gnu::noinline]] bool canonical_name(const NativePath& of, PathText& path) {
  PathText name;
  if (take_last(of, path, name) < 0) return false;
  if (path.empty()) path.assign(".");
  const long directory = raw_syscall(SYS_openat, of.dirfd, native::of(path.c_str()), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return false;
  const bool known = native::descriptor_path(static_cast<int>(directory), path) == 0 && path.view().starts_with('/');
  native::close(static_cast<int>(directory));
  if (path.length() == 1) path.clear();
  return known && !path.add('/').add(name.view()).overflowed();
}

[[gnu::noinline]] bool may_be_above_mount(const NativePath& of) {
  PathText path, name;
  return take_last(of, path, name) == 0 && !name.empty() && is_name_above_mount(name.view());
}

// The leader looks at what has become of the mount points.
[[gnu::noinline]] long rename_with_mounts(const CallFrame& f, const TwoPaths& two, Where& from, Where& to) {
  abi::LeaderRequest request;
  PathText path;
  start_request(request, abi::LeaderOperation::directory_renamed);
  request.value[0] = (two.flags & RENAME_EXCHANGE) != 0 ? 1 : 0;
  bool known = canonical_name(native_path(f, two.from, from), path) &&
               set_field(request.path, in_namespaces_root(path.view()).view());
  known = known && canonical_name(native_path(f, two.to, to), path) &&
          set_field(request.point, in_namespaces_root(path.view()).view());
  long r = pass_both_on(f, two, from, to);
  if (r == pass_on) r = native::call(f);
  if (r == 0 && known) ask_leader(request, -1, nullptr);
  return r;
}

// Mounts go with the directory that they stand below, as on Linux with its dentry.
long rename_natively(const CallFrame& f, const TwoPaths& two, Where& from, Where& to) {
  const bool exchange = (two.flags & RENAME_EXCHANGE) != 0;
  const NativePath old_name = native_path(f, two.from, from), new_name = native_path(f, two.to, to);
  const bool concerns_mounts = !two.flags_are_at && anything_mounted() &&
                               (may_be_above_mount(old_name) || (exchange && may_be_above_mount(new_name)));
  return concerns_mounts ? rename_with_mounts(f, two, from, to) : pass_both_on(f, two, from, to);
}

long two_path_call(const CallFrame& f, const TwoPaths& two) {
  Where from, to;
  long r = resolve_argument(f, two.from, from);
  if (r < 0) return r;
  r = resolve_argument(f, two.to, to);
  if (r < 0) return with_bad_second(f, two, from, r);
  Leaves leaves;
  while (r == 0) {
    if (!from.is_virtual && !to.is_virtual) return rename_natively(f, two, from, to);
    if (apart(two, from, to)) {
      r = between_file_systems(f, two, from, to);
      continue;
    }
    if (is_outside(two, from)) return rename_mount_point(f, two, from, to);
    r = try_both(f, two, from, to, leaves);
    if (r != left_mount) return r;
    r = 0;
  }
  return r;
}

bool knows_rename_flags(long flags) {
  const bool exclusive = (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) != 0;
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) != 0) return false;
  return !exclusive || (flags & RENAME_EXCHANGE) == 0;
}

long rename_call(const CallFrame& f, PathArgument from, PathArgument to, long flags) {
  if (!knows_rename_flags(flags)) return -EINVAL;
  from.how = no_follow;
  to.how = new_name;
  return two_path_call(f, {from, to, CallNumber::renameat2, flags, false});
}

long link_call(const CallFrame& f, PathArgument from, PathArgument to, long at_flags) {
  if ((at_flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0) return -EINVAL;
  from.how = {.follow = (at_flags & AT_SYMLINK_FOLLOW) != 0, .empty_path = (at_flags & AT_EMPTY_PATH) != 0};
  to.how = new_name;
  return two_path_call(f, {from, to, CallNumber::linkat, at_flags, true});
}

}  // namespace

long call_mkdir(const CallFrame& f) { return name_call(f, {-1, 0, {}}, CallNumber::mkdirat, f.arg[1] & 07777); }
long call_mkdirat(const CallFrame& f) { return name_call(f, {0, 1, {}}, CallNumber::mkdirat, f.arg[2] & 07777); }

long call_mknod(const CallFrame& f) { return node_call(f, {-1, 0, {}}, f.arg[1], f.arg[2]); }
long call_mknodat(const CallFrame& f) { return node_call(f, {0, 1, {}}, f.arg[2], f.arg[3]); }

long call_symlink(const CallFrame& f) { return symlink_call(f, {-1, 1, {}}, f.arg[0]); }
long call_symlinkat(const CallFrame& f) { return symlink_call(f, {1, 2, {}}, f.arg[0]); }

long call_unlink(const CallFrame& f) { return remove_call(f, {-1, 0, {}}, 0); }
long call_unlinkat(const CallFrame& f) { return remove_call(f, {0, 1, {}}, static_cast<int>(f.arg[2])); }
long call_rmdir(const CallFrame& f) { return remove_call(f, {-1, 0, {}}, AT_REMOVEDIR); }

long call_rename(const CallFrame& f) { return rename_call(f, {-1, 0, {}}, {-1, 1, {}}, 0); }
long call_renameat(const CallFrame& f) { return rename_call(f, {0, 1, {}}, {2, 3, {}}, 0); }
long call_renameat2(const CallFrame& f) {
  return rename_call(f, {0, 1, {}}, {2, 3, {}}, static_cast<uint32_t>(f.arg[4]));
}

long call_link(const CallFrame& f) { return link_call(f, {-1, 0, {}}, {-1, 1, {}}, 0); }
long call_linkat(const CallFrame& f) { return link_call(f, {0, 1, {}}, {2, 3, {}}, static_cast<int>(f.arg[4])); }

}  // namespace fusewire::gate
