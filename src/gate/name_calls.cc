// Making, removing and moving names.
#include "gate/handlers.h"
#include "gate/leader.h"
#include "gate/native.h"
#include "gate/path_engine.h"

namespace fusewire::gate {

namespace {

using host::CallNumber;

constexpr How no_follow{.follow = false};

// One path, whose last component is the name itself.
long name_call(const CallFrame& f, PathArgument argument, CallNumber number, int64_t arg0, int64_t arg1 = 0) {
  argument.how = no_follow;
  return path_call(
      f, argument, number, {},
      [=](RingCall& call) {
        call.set_arg(0, arg0);
        call.set_arg(1, arg1);
        return 0L;
      },
      plain_result);
}

long symlink_call(const CallFrame& f, PathArgument argument, long target) {
  PathText text;
  const long n = copy_string_from_program(text.data(), reinterpret_cast<const char*>(target), path_room);
  if (n < 0) return n;
  text.set_length(static_cast<size_t>(n));
  argument.how = no_follow;
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
  argument.how = no_follow;
  Where where;
  long r = resolve_argument(f, argument, where);
  int leaves = 0;
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
  call.set_file2(to.start.token);
  call.set_path2(to.text.empty() ? std::string_view(".") : to.text.view());
  return 0;
}

// One try in one mount. left_mount: `which` of the two walks left, and that place has been found anew.
long try_both(const CallFrame& f, const TwoPaths& two, Where& from, Where& to, int& leaves) {
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

// A mount point's name lies in the file system around it: between two such names a rename is no EXDEV, but busy.
bool moves_mount_point(const TwoPaths& two, const Where& from, const Where& to) {
  const auto outside = [](const Where& w) { return !w.is_virtual || w.is_mount_root(); };
  return !two.flags_are_at && outside(from) && outside(to) && (from.is_mount_root() || to.is_mount_root());
}

long two_path_call(const CallFrame& f, const TwoPaths& two) {
  Where from, to;
  long r = resolve_argument(f, two.from, from);
  if (r == 0) r = resolve_argument(f, two.to, to);
  int leaves = 0;
  while (r == 0) {
    if (!from.is_virtual && !to.is_virtual) return pass_both_on(f, two, from, to);
    if (moves_mount_point(two, from, to)) return -EBUSY;
    if (from.is_virtual != to.is_virtual || from.start.connection != to.start.connection) return -EXDEV;
    r = try_both(f, two, from, to, leaves);
    if (r != left_mount) return r;
    r = 0;
  }
  return r;
}

long rename_call(const CallFrame& f, PathArgument from, PathArgument to, long flags) {
  from.how = to.how = no_follow;
  return two_path_call(f, {from, to, CallNumber::renameat2, flags, false});
}

long link_call(const CallFrame& f, PathArgument from, PathArgument to, long at_flags) {
  from.how = {.follow = (at_flags & AT_SYMLINK_FOLLOW) != 0, .empty_path = (at_flags & AT_EMPTY_PATH) != 0};
  to.how = no_follow;
  return two_path_call(f, {from, to, CallNumber::linkat, at_flags, true});
}

}  // namespace

long call_mkdir(const CallFrame& f) { return name_call(f, {-1, 0, {}}, CallNumber::mkdirat, f.arg[1] & 07777); }
long call_mkdirat(const CallFrame& f) { return name_call(f, {0, 1, {}}, CallNumber::mkdirat, f.arg[2] & 07777); }

long call_mknod(const CallFrame& f) {
  return name_call(f, {-1, 0, {}}, CallNumber::mknodat, f.arg[1] & 0177777, static_cast<uint32_t>(f.arg[2]));
}
long call_mknodat(const CallFrame& f) {
  return name_call(f, {0, 1, {}}, CallNumber::mknodat, f.arg[2] & 0177777, static_cast<uint32_t>(f.arg[3]));
}

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
