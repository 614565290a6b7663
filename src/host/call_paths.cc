// Calls by path.
#include "host/call_parts.h"

namespace fusewire::host {

using kernel::Errno;
using kernel::Result;
using kernel::Task;
using kernel::abi::o_nofollow;
using syscall::OpenFile;
using syscall::Place;
using syscall::Timespec;

namespace {

Number opened(Call& call, const Result<OpenFile*>& result) {
  if (!result) return kernel::error(result.error());
  call.opened = *result;
  return 0;
}

Number opened_or_behind(Call& call, const Result<OpenFile*>& result) {
  if (!result || !SpecialFiles::is_special(**result)) return opened(call, result);
  return handed(call, call.special->open(**result), abi::opened_special);
}

}  // namespace

Task<Number> run_openat(Call& call) {
  Place place = place1(call);
  place.resolve = arg32(call, 2);
  auto result = co_await call.mount->sys_openat(call.caller, place, arg32(call, 0), arg32(call, 1), call.leave);
  co_return opened_or_behind(call, result);
}

Task<Number> run_open_handle(Call& call) {
  auto result =
      co_await call.mount->sys_open_handle(call.caller, place1(call), arg64(call, 0), arg32(call, 1), arg32(call, 2));
  co_return opened_or_behind(call, result);
}

Task<Number> run_file_handle(Call& call) {
  const Place place = place1(call);
  auto result = co_await call.mount->sys_file_handle(call.caller, place, arg32(call, 0), call.leave);
  co_return value(call, result);
}

Task<Number> run_open_exec(Call& call) {
  const Place place = place1(call);
  const bool nofollow = (arg32(call, 0) & o_nofollow) != 0;
  auto result = co_await call.mount->sys_open_exec(call.caller, place, call.leave, nofollow);
  co_return opened(call, result);
}

Task<Number> run_chdir(Call& call) {
  const Place place = place1(call);
  auto result = co_await call.mount->sys_chdir(call.caller, place, call.leave);
  co_return opened(call, result);
}

Task<Number> run_statx(Call& call) {
  const Place place = place1(call);
  auto result = co_await call.mount->sys_statx(call.caller, place, arg32(call, 0), arg32(call, 1), call.leave);
  if (place.start) call.inode_row = call.view->handle_of(place.start->inode->view_row);
  co_return value(call, result);
}

Task<Number> run_statfs(Call& call) {
  const Place place = place1(call);
  auto result = co_await call.mount->sys_statfs(call.caller, place, call.leave);
  co_return value(call, result);
}

Task<Number> run_readlinkat(Call& call) {
  if (call.fields.arg[0] <= 0) co_return kernel::error(Errno::einval);
  const Place place = place1(call);
  const std::span<char> target = characters(room(call, 0, path_max));
  auto result = co_await call.mount->sys_readlinkat(call.caller, place, target, call.leave);
  co_return bytes(call, result, true);
}

Task<Number> run_faccessat(Call& call) {
  const Place place = place1(call);
  auto result = co_await call.mount->sys_faccessat(call.caller, place, arg32(call, 0), arg32(call, 1), call.leave);
  co_return number(result);
}

Task<Number> run_mkdirat(Call& call) {
  const Place place = place1(call);
  auto result = co_await call.mount->sys_mkdirat(call.caller, place, arg32(call, 0), call.leave);
  co_return number(result);
}

Task<Number> run_mknodat(Call& call) {
  const Place place = place1(call);
  auto result = co_await call.mount->sys_mknodat(call.caller, place, arg32(call, 0), arg32(call, 1), call.leave);
  co_return number(result);
}

Task<Number> run_symlinkat(Call& call) {
  const Place place = place1(call);
  auto result = co_await call.mount->sys_symlinkat(call.caller, call.path2, place, call.leave);
  co_return number(result);
}

Task<Number> run_unlinkat(Call& call) {
  const Place place = place1(call);
  auto result = co_await call.mount->sys_unlinkat(call.caller, place, arg32(call, 0), call.leave);
  co_return number(result);
}

Task<Number> run_renameat2(Call& call) {
  const Place from = place1(call), to = place2(call);
  auto result = co_await call.mount->sys_renameat2(call.caller, from, to, arg32(call, 0), call.leave);
  co_return number(result);
}

Task<Number> run_linkat(Call& call) {
  const Place from = place1(call), to = place2(call);
  auto result = co_await call.mount->sys_linkat(call.caller, from, to, arg32(call, 0), call.leave);
  co_return number(result);
}

Task<Number> run_fchmodat(Call& call) {
  const Place place = place1(call);
  auto result = co_await call.mount->sys_fchmodat(call.caller, place, arg32(call, 0), arg32(call, 1), call.leave);
  co_return number(result);
}

Task<Number> run_fchownat(Call& call) {
  const Place place = place1(call);
  auto result =
      co_await call.mount->sys_fchownat(call.caller, place, arg32(call, 0), arg32(call, 1), arg32(call, 2), call.leave);
  co_return number(result);
}

Task<Number> run_truncate(Call& call) {
  const Place place = place1(call);
  auto result = co_await call.mount->sys_truncate(call.caller, place, arg64(call, 0), call.leave);
  co_return number(result);
}

Task<Number> run_utimensat(Call& call) {
  const Place place = place1(call);
  const Timespec atime = time_at(call, 0), mtime = time_at(call, 2);
  auto result = co_await call.mount->sys_utimensat(call.caller, place, atime, mtime, arg32(call, 4), call.leave);
  co_return number(result);
}

}  // namespace fusewire::host
