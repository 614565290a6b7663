// Extended attributes, by path and by open file.
#include "host/call_parts.h"

namespace fusewire::host {

using kernel::Errno;
using kernel::Result;
using kernel::Task;
using syscall::OpenFile;
using syscall::Place;

namespace {

// No room was given: only the size is asked.
bool wants_bytes(const Call& call) { return call.fields.arg[0] != 0; }

}  // namespace

Task<Number> run_setxattr(Call& call) {
  const Place place = place1(call);
  const std::string_view name = call.path2;
  const std::span<const std::byte> data = call.data;
  auto result =
      co_await call.mount->sys_setxattr(call.caller, place, name, data, arg32(call, 0), arg32(call, 1), call.leave);
  co_return number(result);
}

Task<Number> run_getxattr(Call& call) {
  const Place place = place1(call);
  const std::string_view name = call.path2;
  const std::span<std::byte> buffer = room(call, 0, xattr_size_max);
  auto result = co_await call.mount->sys_getxattr(call.caller, place, name, buffer, arg32(call, 1), call.leave);
  co_return bytes(call, result, wants_bytes(call));
}

Task<Number> run_listxattr(Call& call) {
  const Place place = place1(call);
  const std::span<char> list = characters(room(call, 0, xattr_size_max));
  auto result = co_await call.mount->sys_listxattr(call.caller, place, list, arg32(call, 1), call.leave);
  co_return bytes(call, result, wants_bytes(call));
}

Task<Number> run_removexattr(Call& call) {
  const Place place = place1(call);
  const std::string_view name = call.path2;
  auto result = co_await call.mount->sys_removexattr(call.caller, place, name, arg32(call, 1), call.leave);
  co_return number(result);
}

Task<Number> run_fsetxattr(Call& call) {
  OpenFile& file = file_of(call);
  const std::string_view name = call.path2;
  const std::span<const std::byte> data = call.data;
  auto result = co_await call.mount->sys_fsetxattr(call.caller, file, name, data, arg32(call, 0));
  co_return number(result);
}

Task<Number> run_fgetxattr(Call& call) {
  OpenFile& file = file_of(call);
  const std::string_view name = call.path2;
  const std::span<std::byte> buffer = room(call, 0, xattr_size_max);
  auto result = co_await call.mount->sys_fgetxattr(call.caller, file, name, buffer);
  co_return bytes(call, result, wants_bytes(call));
}

Task<Number> run_flistxattr(Call& call) {
  OpenFile& file = file_of(call);
  const std::span<char> list = characters(room(call, 0, xattr_size_max));
  auto result = co_await call.mount->sys_flistxattr(call.caller, file, list);
  co_return bytes(call, result, wants_bytes(call));
}

Task<Number> run_fremovexattr(Call& call) {
  OpenFile& file = file_of(call);
  const std::string_view name = call.path2;
  auto result = co_await call.mount->sys_fremovexattr(call.caller, file, name);
  co_return number(result);
}

}  // namespace fusewire::host
