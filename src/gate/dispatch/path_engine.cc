#include "gate/dispatch/path_engine.h"

#include "gate/native.h"

namespace fusewire::gate {

namespace {

constexpr uint32_t times_max = path_room;  // without symlinks each uses up a component

}  // namespace

CallFrame with_path(const CallFrame& frame, const PathArgument& argument, const Where& where) {
  CallFrame changed = frame;
  if (!where.rewritten) return changed;
  changed.arg[argument.path_index] = native::of(where.text.c_str());
  if (argument.dirfd_index >= 0) changed.arg[argument.dirfd_index] = AT_FDCWD;
  return changed;
}

long pass_natively(const CallFrame& frame, const PathArgument& argument, const Where& where) {
  return where.rewritten ? native::call(with_path(frame, argument, where)) : pass_on;
}

long place_path(RingCall& call, const Where& where, AtFlags at) {
  call.set_start(where.start);
  std::string_view path = where.text.view();
  PathText own_path;
  if (path.empty() && at.index >= 0) {
    at.value |= AT_EMPTY_PATH;
  } else if (path.empty() && at.takes_start && where.start.token != 0) {
    // The start itself.
  } else if (path.empty() && where.start.token == 0) {
    // The mount's root, which may be a file: "." would be searched for in it.
  } else if (path.empty()) {
    uint32_t mount = 0;
    const long r = path_in_mount(where.start, own_path, mount);
    if (r < 0) return r;
    path = own_path.length() == 1 ? std::string_view(".") : own_path.view().substr(1);
    call.set_start({where.start.connection, 0, mount});
  }
  if (at.index >= 0) call.set_arg(static_cast<unsigned>(at.index), at.value);
  call.set_path1(path);
  return 0;
}

long resolve_argument(const CallFrame& frame, const PathArgument& argument, Where& where) {
  const int dirfd = argument.dirfd_index < 0 ? AT_FDCWD : static_cast<int>(frame.arg[argument.dirfd_index]);
  return resolve(dirfd, reinterpret_cast<const char*>(frame.arg[argument.path_index]), argument.how, where);
}

long follow_leave(const RingCall& call, How how, Leaves& leaves, Where& where) {
  const uint32_t links = call.leave_links();
  leaves.links += links < abi::symlinks_max ? links : abi::symlinks_max;
  if (leaves.links > abi::symlinks_max || ++leaves.times > times_max) return -ELOOP;
  return resolve_leave(call.leave_to(), call.leave_mount(), call.leave_rest(), how, where);
}

long opened_descriptor(RingCall& call, long result, bool close_on_exec) {
  return result < 0 ? result : call.take_descriptor(close_on_exec);
}

}  // namespace fusewire::gate
