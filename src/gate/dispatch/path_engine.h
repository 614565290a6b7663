// How a path call runs: find where the path leads, pass it on or ask the host, and go on elsewhere when its walk leaves
// the mount.
#pragma once

#include <string_view>

#include "gate/dispatch/client.h"
#include "gate/dispatch/paths.h"
#include "gate/dispatch/view_calls.h"
#include "gate/gate.h"

namespace fusewire::gate {

// Errno::eleave: the walk left the mount.
inline constexpr long left_mount = -4001;

// Where a call's frame holds its path.
struct PathArgument {
  int dirfd_index = -1;  // -1: the call has none, AT_FDCWD is meant
  int path_index = 0;
  How how;
};

// Which of the ring call's arguments takes AT_ flags (-1: none), and their value. takes_start: the host takes "" for
// the start itself without a flag: so a file whose name is gone is found through its descriptor's link in /proc.
struct AtFlags {
  int index = -1;
  long value = 0;
  bool takes_start = false;
};
inline constexpr AtFlags start_itself{-1, 0, true};

// The call with the absolute path that the walk found, where it found one.
CallFrame with_path(const CallFrame& frame, const PathArgument& argument, const Where& where);
// pass_on when the call may go as it came; else its result with that path.
long pass_natively(const CallFrame& frame, const PathArgument& argument, const Where& where);
// Sets file, path and AT_ flags of a ring call. The start itself ("") is said in the way the call knows.
long place_path(RingCall& call, const Where& where, AtFlags at);
// Runs where the path leads to; see path_call.
long resolve_argument(const CallFrame& frame, const PathArgument& argument, Where& where);
// What a path has cost so far that leads in and out of mounts.
struct Leaves {
  uint32_t links = 0;  // symlinks followed in mounts
  uint32_t times = 0;
};
// After a walk that left: the next place to go on, or ELOOP.
long follow_leave(const RingCall& call, How how, Leaves& leaves, Where& where);

inline constexpr auto nothing_known = [](const Where&) { return not_known; };

// known(where): the program's result without the host, or not_known (view_calls.h).
// fill(call) adds arguments and data: 0 or -errno. finish(call, result) makes the program's result of the host's.
// natively: for a path that leads, or has led, out of mounts.
template <class Fill, class Finish, class Natively = decltype(&pass_natively), class Known = decltype(nothing_known)>
long path_call(const CallFrame& frame, const PathArgument& argument, abi::CallNumber number, AtFlags at, Fill fill,
               Finish finish, Natively natively = pass_natively, Known known = nothing_known) {
  Where where;
  long r = resolve_argument(frame, argument, where);
  Leaves leaves;
  while (r == 0) {
    if (!where.is_virtual) return natively(frame, argument, where);
    if (const long k = known(where); k != not_known) return k;
    RingCall call(where.start.connection, number, frame.nr);
    if (call.error() != 0) return call.error();
    r = place_path(call, where, at);
    if (r == 0) r = fill(call);
    if (r == 0) r = call.run();
    if (call.inode_row() != 0 && number == abi::CallNumber::statx) learn_start(where, call.inode_row());
    if (r != left_mount) return finish(call, r);
    r = follow_leave(call, argument.how, leaves, where);
  }
  return r;
}

inline constexpr auto no_fill = [](RingCall&) { return 0L; };
inline constexpr auto plain_result = [](RingCall&, long result) { return result; };

// Opens the real fifo or device that fd, which ends here, leads to; flags: O_*. It may sleep until the other side of a
// fifo opens, so no RingCall lives by then.
long open_behind(int fd, uint64_t flags);
// The descriptor of the file just opened becomes the program's. May_hold_virtual is set by the caller, before.
long opened_descriptor(RingCall& call, long result, bool close_on_exec);

}  // namespace fusewire::gate
