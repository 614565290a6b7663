// Calls on an open file, and on the connection.
#include <optional>

#include "host/call_parts.h"

namespace fusewire::host {

using kernel::Errno;
using kernel::Result;
using kernel::Task;
using syscall::OpenFile;
using syscall::Timespec;

namespace {

Result<syscall::Lock> lock_of(const Call& call) {
  syscall::Lock lock;
  if (call.data.size() < sizeof lock) return kernel::error(Errno::einval);
  std::memcpy(&lock, call.data.data(), sizeof lock);
  return lock;
}

kernel::LockOf owner_of(const Call& call) {
  return arg32(call, 1) == 1 ? kernel::LockOf::open_file : kernel::LockOf::process;
}

// Where `bytes` of a transfer stand: in the slot, or in its area. Empty: there is no such room.
std::optional<std::span<std::byte>> transfer_room(const Call& call, uint64_t bytes) {
  const std::span<std::byte> area = bytes <= abi::io_bytes_max ? call.slot_data() : call.client->area(call.slot);
  if (bytes > area.size() || bytes > abi::transfer_bytes_max) return {};
  return area.first(bytes);
}

}  // namespace

Task<Number> run_read(Call& call) {
  OpenFile& file = file_of(call);
  const int64_t offset = call.fields.arg[0];
  const auto to = transfer_room(call, arg64(call, 1));
  if (offset < -1 || !to) co_return kernel::error(Errno::einval);
  auto result = co_await call.mount->sys_read(call.caller, file, *to, offset, arg32(call, 2));
  co_return number(result);
}

Task<Number> run_write(Call& call) {
  OpenFile& file = file_of(call);
  const int64_t offset = call.fields.arg[0];
  const uint64_t in_area = arg64(call, 1);
  std::span<const std::byte> from = call.client->area(call.slot);
  if (offset < -1 || in_area > std::min(from.size(), abi::transfer_bytes_max)) co_return kernel::error(Errno::einval);
  const uint64_t start = abi::call_data_offset(call.fields.path1_length, call.fields.path2_length);
  from = in_area != 0 ? from.first(in_area) : call.slot_data().subspan(start, call.fields.data_length);
  auto result = co_await call.mount->sys_write(call.caller, file, from, offset, arg32(call, 2));
  co_return number(result);
}

Task<Number> run_lseek(Call& call) {
  OpenFile& file = file_of(call);
  auto result = co_await call.mount->sys_lseek(call.caller, file, call.fields.arg[0], arg32(call, 1));
  co_return number(result);
}

Task<Number> run_getdents64(Call& call) {
  OpenFile& file = file_of(call);
  const std::span<std::byte> to = room(call, 0, abi::io_bytes_max);
  auto result = co_await call.mount->sys_getdents64(call.caller, file, to);
  co_return bytes(call, result, true);
}

Task<Number> run_fstat(Call& call) {
  OpenFile& file = file_of(call);
  auto result = co_await call.mount->sys_fstat(call.caller, file, arg32(call, 0));
  call.inode_row = call.view->handle_of(file.inode->view_row);
  co_return value(call, result);
}

Task<Number> run_fstatfs(Call& call) {
  OpenFile& file = file_of(call);
  auto result = co_await call.mount->sys_fstatfs(call.caller, file);
  co_return value(call, result);
}

Task<Number> run_ftruncate(Call& call) {
  OpenFile& file = file_of(call);
  auto result = co_await call.mount->sys_ftruncate(call.caller, file, arg64(call, 0));
  co_return number(result);
}

Task<Number> run_fchmod(Call& call) {
  OpenFile& file = file_of(call);
  auto result = co_await call.mount->sys_fchmod(call.caller, file, arg32(call, 0));
  co_return number(result);
}

Task<Number> run_fchown(Call& call) {
  OpenFile& file = file_of(call);
  auto result = co_await call.mount->sys_fchown(call.caller, file, arg32(call, 0), arg32(call, 1));
  co_return number(result);
}

Task<Number> run_futimens(Call& call) {
  OpenFile& file = file_of(call);
  const Timespec atime = time_at(call, 0), mtime = time_at(call, 2);
  auto result = co_await call.mount->sys_futimens(call.caller, file, atime, mtime);
  co_return number(result);
}

Task<Number> run_fsync(Call& call) {
  OpenFile& file = file_of(call);
  auto result = co_await call.mount->sys_fsync(call.caller, file, arg32(call, 0) == 1);
  co_return number(result);
}

Task<Number> run_fallocate(Call& call) {
  OpenFile& file = file_of(call);
  auto result = co_await call.mount->sys_fallocate(call.caller, file, arg32(call, 0), arg64(call, 1), arg64(call, 2));
  co_return number(result);
}

Task<Number> run_copy(Call& call) {
  const kernel::CopyRange range{call.fields.arg[0], call.fields.arg[1], arg64(call, 2)};
  auto result = co_await call.mount->sys_copy_file_range(call.caller, file_of(call), *call.file2->file, range);
  co_return number(result);
}

Task<Number> run_flush(Call& call) {
  OpenFile& file = file_of(call);
  auto result = co_await call.mount->sys_flush(call.caller, file);
  if (result && !call.watches->empty()) co_return abi::flushed_watched;
  co_return number(result);
}

Task<Number> run_owner(Call& call) {
  if (file_of(call).is_path()) co_return kernel::error(Errno::ebadf);
  co_return handed(call, call.file->owner.reach(), 0);
}

Task<Number> run_lease(Call& call) {
  OpenFile& file = file_of(call);
  if (arg32(call, 0) == 0) co_return number(call.mount->sys_getlease(file));
  auto result = call.mount->sys_setlease(call.caller, file, arg32(call, 1));
  if (result && arg32(call, 1) != kernel::abi::f_unlck)
    call.file->owner.set_descriptor(static_cast<int>(arg32(call, 2)));
  co_return number(result);
}

Task<Number> run_getfl(Call& call) {
  if (call.fields.arg[0] == 2) co_return file_of(call).created ? 1 : 0;
  const Number flags = number(call.mount->sys_getfl(file_of(call)));
  if (!flags || call.fields.arg[0] == 0) co_return flags;
  co_return *flags | static_cast<int64_t>(call.mount->mount_flags(file_of(call).mount)) << abi::mount_flags_shift;
}

Task<Number> run_setfl(Call& call) { co_return number(call.mount->sys_setfl(file_of(call), arg32(call, 0))); }

Task<Number> run_setlk(Call& call) {
  OpenFile& file = file_of(call);
  const auto lock = lock_of(call);
  if (!lock) co_return kernel::error(lock.error());
  auto result = co_await call.mount->sys_setlk(call.caller, file, *lock, arg32(call, 0) == 1, owner_of(call));
  co_return number(result);
}

Task<Number> run_getlk(Call& call) {
  OpenFile& file = file_of(call);
  const auto lock = lock_of(call);
  if (!lock) co_return kernel::error(lock.error());
  auto result = co_await call.mount->sys_getlk(call.caller, file, *lock, owner_of(call));
  co_return value(call, result);
}

Task<Number> run_flock(Call& call) {
  OpenFile& file = file_of(call);
  auto result = co_await call.mount->sys_flock(call.caller, file, arg32(call, 0));
  co_return number(result);
}

Task<Number> run_path(Call& call) {
  const bool whole = call.fields.arg[1] != 0;
  const auto result = call.mount->sys_path(place1(call), characters(room(call, 0, path_max)), call.leave.mount, whole);
  co_return bytes(call, result, true);
}

Task<Number> run_ioctl(Call& call) {
  OpenFile& file = file_of(call);
  const std::span<std::byte> data = call.data;
  auto result = co_await call.mount->sys_ioctl(call.caller, file, arg32(call, 0), arg64(call, 1), data);
  if (result) call.output = call.data.size();
  co_return number(result);
}

Task<Number> run_nop(Call&) { co_return Number(0); }

Task<Number> run_memory(Call& call) {
  const uint64_t bytes = arg64(call, 0);
  if (bytes == 0) {
    call.client->drop_area(call.slot);
    co_return Number(0);
  }
  auto made = call.client->make_area(call.slot, bytes);
  if (!made) co_return kernel::error(Errno::enomem);
  call.memory = std::move(*made);
  co_return static_cast<int64_t>(call.client->area(call.slot).size());
}

Task<Number> run_view(Call& call) {
  if (!call.mount->may_see_view(call.caller)) co_return kernel::error(Errno::eacces);
  const bool counters = arg32(call, 0) == 1;
  auto file = counters ? call.view->counters() : call.view->rows(*call.mount);
  const abi::ViewInfo info{.used_bytes = call.view->used_bytes(*call.mount),
                           .now = call.mount->connection().host().now(),
                           .dev = call.mount->dev(),
                           .uid = call.caller.uid,
                           .gid = call.caller.gid};
  if (file) (void)value(call, Result<abi::ViewInfo>(info));
  co_return handed(call, std::move(file), 0);
}

}  // namespace fusewire::host
