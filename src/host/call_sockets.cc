// Calls on local sockets that are bound in the mount.
#include "host/call_parts.h"

namespace fusewire::host {

using kernel::Errno;
using kernel::Task;

Task<Number> run_bind_socket(Call& call) {
  if (!call.socket) co_return kernel::error(Errno::ebadf);
  const syscall::Place place = place1(call);
  auto made = co_await call.mount->sys_bind_socket(call.caller, place, arg32(call, 0), call.leave);
  if (!made) co_return kernel::error(made.error());
  const std::string_view address(reinterpret_cast<const char*>(call.data.data()), call.data.size());
  const int error = call.special->bind(**made, call.socket.get(), address);
  call.socket.reset();
  if (error == 0) co_return 0;
  // unix_bind_bsd: a socket that cannot be bound leaves no name behind.
  (void)co_await call.mount->sys_unlinkat(call.caller, place, 0, call.leave);
  call.mount->release(**made);
  co_return kernel::error(static_cast<Errno>(-error));
}

Task<Number> run_reach_socket(Call& call) {
  auto reached = co_await call.mount->sys_reach_socket(call.caller, place1(call), call.leave);
  if (!reached) co_return kernel::error(reached.error());
  co_return handed(call, call.special->reach(**reached), 0);
}

Task<Number> run_socket_name(Call& call) {
  const std::string_view address = call.special->address_of(arg64(call, 0));
  if (address.empty()) co_return kernel::error(Errno::einval);
  const auto text = std::as_bytes(std::span(address));
  call.data.assign(text.begin(), text.end());
  call.output = call.data.size();
  co_return static_cast<int64_t>(call.output);
}

}  // namespace fusewire::host
