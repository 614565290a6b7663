#include "host/call_runner.h"

#include <cerrno>
#include <cstring>

#include "kernel/file.h"

namespace fusewire::host {
namespace {

using kernel::Errno;
using kernel::Result;
using kernel::Task;
using syscall::Mount;
using syscall::OpenFile;
using syscall::Place;
using syscall::Timespec;
using Number = Result<int64_t>;

constexpr uint32_t path_max = 4096;          // with the NUL
constexpr uint32_t xattr_size_max = 65536;   // also of a list of names
constexpr uint32_t ioctl_bytes_max = 16384;  // what _IOC_SIZE can say

uint32_t arg32(const Call& call, size_t i) { return static_cast<uint32_t>(call.fields.arg[i]); }
uint64_t arg64(const Call& call, size_t i) { return static_cast<uint64_t>(call.fields.arg[i]); }

Place place1(const Call& call) { return {call.file ? call.file->file : nullptr, call.path1}; }
Place place2(const Call& call) { return {call.file2 ? call.file2->file : nullptr, call.path2}; }
Timespec time_at(const Call& call, size_t i) { return {call.fields.arg[i], call.fields.arg[i + 1]}; }

template <typename T>
Number number(const Result<T>& result) {
  if (!result) return kernel::error(result.error());
  if constexpr (std::is_void_v<T>)
    return 0;
  else
    return static_cast<int64_t>(*result);
}

// The value is the result's data.
template <typename T>
Number value(Call& call, const Result<T>& result) {
  if (!result) return kernel::error(result.error());
  call.data.resize(sizeof(T));
  std::memcpy(call.data.data(), &*result, sizeof(T));
  call.output = sizeof(T);
  return 0;
}

// As many bytes of call.data as the result says.
Number bytes(Call& call, const Result<size_t>& result, bool room_given) {
  if (result && room_given) call.output = std::min(*result, call.data.size());
  return number(result);
}

Number opened(Call& call, const Result<OpenFile*>& result) {
  if (!result) return kernel::error(result.error());
  call.opened = *result;
  return 0;
}

// A buffer of as many bytes as the caller has room for, within reason.
std::span<std::byte> room(Call& call, size_t arg, uint32_t limit) {
  call.data.resize(static_cast<size_t>(std::clamp<int64_t>(call.fields.arg[arg], 0, limit)));
  return call.data;
}
std::span<char> characters(std::span<std::byte> memory) {
  return {reinterpret_cast<char*>(memory.data()), memory.size()};
}

Task<Number> open_call(Call& call) {
  Mount& mount = *call.mount;
  const Place place = place1(call);
  if (call.fields.number == abi::CallNumber::openat) {
    auto result = co_await mount.sys_openat(call.caller, place, arg32(call, 0), arg32(call, 1), call.leave);
    co_return opened(call, result);
  }
  if (call.fields.number == abi::CallNumber::open_exec) {
    auto result = co_await mount.sys_open_exec(call.caller, place, call.leave);
    co_return opened(call, result);
  }
  auto result = co_await mount.sys_chdir(call.caller, place, call.leave);
  co_return opened(call, result);
}

Task<Number> name_call(Call& call) {
  Mount& mount = *call.mount;
  const Place from = place1(call), to = place2(call);
  const uint32_t arg0 = arg32(call, 0), arg1 = arg32(call, 1);
  Result<void> result = kernel::error(Errno::einval);
  switch (call.fields.number) {
    case abi::CallNumber::mkdirat:
      result = co_await mount.sys_mkdirat(call.caller, from, arg0, call.leave);
      break;
    case abi::CallNumber::mknodat:
      result = co_await mount.sys_mknodat(call.caller, from, arg0, arg1, call.leave);
      break;
    case abi::CallNumber::symlinkat:
      result = co_await mount.sys_symlinkat(call.caller, to.path, from, call.leave);
      break;
    case abi::CallNumber::unlinkat:
      result = co_await mount.sys_unlinkat(call.caller, from, arg0, call.leave);
      break;
    case abi::CallNumber::renameat2:
      result = co_await mount.sys_renameat2(call.caller, from, to, arg0, call.leave);
      break;
    case abi::CallNumber::linkat:
      result = co_await mount.sys_linkat(call.caller, from, to, arg0, call.leave);
      break;
    default:
      break;
  }
  co_return number(result);
}

Task<Number> change_call(Call& call) {
  Mount& mount = *call.mount;
  const Place place = place1(call);
  const uint32_t arg0 = arg32(call, 0), arg1 = arg32(call, 1), arg2 = arg32(call, 2);
  Result<void> result = kernel::error(Errno::einval);
  switch (call.fields.number) {
    case abi::CallNumber::faccessat:
      result = co_await mount.sys_faccessat(call.caller, place, arg0, arg1, call.leave);
      break;
    case abi::CallNumber::fchmodat:
      result = co_await mount.sys_fchmodat(call.caller, place, arg0, arg1, call.leave);
      break;
    case abi::CallNumber::fchownat:
      result = co_await mount.sys_fchownat(call.caller, place, arg0, arg1, arg2, call.leave);
      break;
    case abi::CallNumber::truncate:
      result = co_await mount.sys_truncate(call.caller, place, arg64(call, 0), call.leave);
      break;
    case abi::CallNumber::utimensat: {
      const Timespec atime = time_at(call, 0), mtime = time_at(call, 2);
      result = co_await mount.sys_utimensat(call.caller, place, atime, mtime, arg32(call, 4), call.leave);
      break;
    }
    default:
      break;
  }
  co_return number(result);
}

Task<Number> look_call(Call& call) {
  Mount& mount = *call.mount;
  const Place place = place1(call);
  if (call.fields.number == abi::CallNumber::statx) {
    auto result = co_await mount.sys_statx(call.caller, place, arg32(call, 0), arg32(call, 1), call.leave);
    co_return value(call, result);
  }
  if (call.fields.number == abi::CallNumber::statfs) {
    auto result = co_await mount.sys_statfs(call.caller, place, call.leave);
    co_return value(call, result);
  }
  if (call.fields.arg[0] <= 0) co_return kernel::error(Errno::einval);
  const std::span<char> target = characters(room(call, 0, path_max));
  auto result = co_await mount.sys_readlinkat(call.caller, place, target, call.leave);
  co_return bytes(call, result, true);
}

Task<Number> xattr_call(Call& call) {
  Mount& mount = *call.mount;
  const Place place = place1(call);
  const std::string_view name = call.path2;
  const uint32_t at_flags = arg32(call, 1);
  const bool wants_bytes = call.fields.arg[0] != 0;
  if (call.fields.number == abi::CallNumber::setxattr) {
    const std::span<const std::byte> data = call.data;
    auto result = co_await mount.sys_setxattr(call.caller, place, name, data, arg32(call, 0), at_flags, call.leave);
    co_return number(result);
  }
  if (call.fields.number == abi::CallNumber::removexattr) {
    auto result = co_await mount.sys_removexattr(call.caller, place, name, at_flags, call.leave);
    co_return number(result);
  }
  const std::span<std::byte> buffer = room(call, 0, xattr_size_max);
  if (call.fields.number == abi::CallNumber::getxattr) {
    auto result = co_await mount.sys_getxattr(call.caller, place, name, buffer, at_flags, call.leave);
    co_return bytes(call, result, wants_bytes);
  }
  const std::span<char> list = characters(buffer);
  auto result = co_await mount.sys_listxattr(call.caller, place, list, at_flags, call.leave);
  co_return bytes(call, result, wants_bytes);
}

Task<Number> data_call(Call& call, OpenFile& file) {
  Mount& mount = *call.mount;
  const int64_t offset = call.fields.arg[0];
  if (offset < -1) co_return kernel::error(Errno::einval);
  const std::span<std::byte> area = call.slot_data();
  if (call.fields.number == abi::CallNumber::read) {
    const uint64_t size = arg64(call, 1);
    if (size > abi::io_bytes_max) co_return kernel::error(Errno::einval);
    const std::span<std::byte> to = area.first(size);
    auto result = co_await mount.sys_read(call.caller, file, to, offset);
    co_return number(result);
  }
  const uint64_t start = abi::call_data_offset(call.fields.path1_length, call.fields.path2_length);
  const std::span<const std::byte> from = area.subspan(start, call.fields.data_length);
  if (from.size() > abi::io_bytes_max) co_return kernel::error(Errno::einval);
  auto result = co_await mount.sys_write(call.caller, file, from, offset);
  co_return number(result);
}

Task<Number> file_look_call(Call& call, OpenFile& file) {
  Mount& mount = *call.mount;
  if (call.fields.number == abi::CallNumber::fstat) {
    auto result = co_await mount.sys_fstat(call.caller, file, arg32(call, 0));
    co_return value(call, result);
  }
  if (call.fields.number == abi::CallNumber::fstatfs) {
    auto result = co_await mount.sys_fstatfs(call.caller, file);
    co_return value(call, result);
  }
  if (call.fields.number == abi::CallNumber::getdents64) {
    const std::span<std::byte> to = room(call, 0, abi::io_bytes_max);
    auto result = co_await mount.sys_getdents64(call.caller, file, to);
    co_return bytes(call, result, true);
  }
  auto result = co_await mount.sys_lseek(call.caller, file, call.fields.arg[0], arg32(call, 1));
  co_return number(result);
}

Task<Number> file_change_call(Call& call, OpenFile& file) {
  Mount& mount = *call.mount;
  const uint32_t arg0 = arg32(call, 0), arg1 = arg32(call, 1);
  Result<void> result = kernel::error(Errno::einval);
  switch (call.fields.number) {
    case abi::CallNumber::ftruncate:
      result = co_await mount.sys_ftruncate(call.caller, file, arg64(call, 0));
      break;
    case abi::CallNumber::fchmod:
      result = co_await mount.sys_fchmod(call.caller, file, arg0);
      break;
    case abi::CallNumber::fchown:
      result = co_await mount.sys_fchown(call.caller, file, arg0, arg1);
      break;
    case abi::CallNumber::fsync:
      result = co_await mount.sys_fsync(call.caller, file, arg0 == 1);
      break;
    case abi::CallNumber::flush:
      result = co_await mount.sys_flush(call.caller, file);
      break;
    case abi::CallNumber::flock:
      result = co_await mount.sys_flock(call.caller, file, arg0);
      break;
    case abi::CallNumber::futimens: {
      const Timespec atime = time_at(call, 0), mtime = time_at(call, 2);
      result = co_await mount.sys_futimens(call.caller, file, atime, mtime);
      break;
    }
    case abi::CallNumber::fallocate: {
      const uint64_t offset = arg64(call, 1), length = arg64(call, 2);
      result = co_await mount.sys_fallocate(call.caller, file, arg0, offset, length);
      break;
    }
    default:
      break;
  }
  co_return number(result);
}

Task<Number> file_xattr_call(Call& call, OpenFile& file) {
  Mount& mount = *call.mount;
  const std::string_view name = call.path2;
  const bool wants_bytes = call.fields.arg[0] != 0;
  if (call.fields.number == abi::CallNumber::fsetxattr) {
    const std::span<const std::byte> data = call.data;
    auto result = co_await mount.sys_fsetxattr(call.caller, file, name, data, arg32(call, 0));
    co_return number(result);
  }
  if (call.fields.number == abi::CallNumber::fremovexattr) {
    auto result = co_await mount.sys_fremovexattr(call.caller, file, name);
    co_return number(result);
  }
  const std::span<std::byte> buffer = room(call, 0, xattr_size_max);
  if (call.fields.number == abi::CallNumber::fgetxattr) {
    auto result = co_await mount.sys_fgetxattr(call.caller, file, name, buffer);
    co_return bytes(call, result, wants_bytes);
  }
  const std::span<char> list = characters(buffer);
  auto result = co_await mount.sys_flistxattr(call.caller, file, list);
  co_return bytes(call, result, wants_bytes);
}

Task<Number> lock_call(Call& call, OpenFile& file) {
  Mount& mount = *call.mount;
  syscall::Lock lock;
  if (call.data.size() < sizeof lock) co_return kernel::error(Errno::einval);
  std::memcpy(&lock, call.data.data(), sizeof lock);
  const auto of = arg32(call, 1) == 1 ? kernel::LockOf::open_file : kernel::LockOf::process;
  if (call.fields.number == abi::CallNumber::setlk) {
    auto result = co_await mount.sys_setlk(call.caller, file, lock, arg32(call, 0) == 1, of);
    co_return number(result);
  }
  auto result = co_await mount.sys_getlk(call.caller, file, lock, of);
  co_return value(call, result);
}

Task<Number> file_other_call(Call& call, OpenFile& file) {
  Mount& mount = *call.mount;
  if (call.fields.number == abi::CallNumber::ioctl) {
    const std::span<std::byte> data = call.data;
    auto result = co_await mount.sys_ioctl(call.caller, file, arg32(call, 0), arg64(call, 1), data);
    if (result) call.output = call.data.size();
    co_return number(result);
  }
  if (call.fields.number == abi::CallNumber::path) {
    const auto result = mount.sys_path(file, characters(room(call, 0, path_max)));
    co_return bytes(call, result, true);
  }
  if (call.fields.number == abi::CallNumber::getfl) co_return number(mount.sys_getfl(file));
  co_return number(mount.sys_setfl(file, arg32(call, 0)));
}

Task<Number> no_call(Call& call) {
  co_return call.fields.number == abi::CallNumber::nop ? Number(0) : Number(kernel::error(Errno::einval));
}

Task<Number> file_call(Call& call) {
  using enum abi::CallNumber;
  OpenFile& file = *call.file->file;
  switch (call.fields.number) {
    case read:
    case write:
      return data_call(call, file);
    case lseek:
    case getdents64:
    case fstat:
    case fstatfs:
      return file_look_call(call, file);
    case fsetxattr:
    case fgetxattr:
    case flistxattr:
    case fremovexattr:
      return file_xattr_call(call, file);
    case setlk:
    case getlk:
      return lock_call(call, file);
    case getfl:
    case setfl:
    case path:
    case ioctl:
      return file_other_call(call, file);
    default:
      return file_change_call(call, file);
  }
}

Task<Number> dispatch(Call& call) {
  using enum abi::CallNumber;
  if (is_on_file(call.fields.number)) return file_call(call);
  switch (call.fields.number) {
    case openat:
    case open_exec:
    case chdir:
      return open_call(call);
    case statx:
    case statfs:
    case readlinkat:
      return look_call(call);
    case mkdirat:
    case mknodat:
    case symlinkat:
    case unlinkat:
    case renameat2:
    case linkat:
      return name_call(call);
    case faccessat:
    case fchmodat:
    case fchownat:
    case truncate:
    case utimensat:
      return change_call(call);
    case setxattr:
    case getxattr:
    case listxattr:
    case removexattr:
      return xattr_call(call);
    default:
      return no_call(call);
  }
}

// How many bytes of data a call may bring along in host memory; -1 for those whose data stays in place.
int64_t data_limit(abi::CallNumber number) {
  using enum abi::CallNumber;
  switch (number) {
    case setxattr:
    case fsetxattr:
      return xattr_size_max;
    case setlk:
    case getlk:
      return sizeof(syscall::Lock);
    case ioctl:
      return ioctl_bytes_max;
    case write:
      return -1;
    default:
      return 0;
  }
}

bool copy_path(std::string& to, const std::byte* from, uint32_t length) {
  to.assign(reinterpret_cast<const char*>(from), length);
  return to.find('\0') == std::string::npos;
}

}  // namespace

int copy_arguments(Call& call) {
  const CallFields& fields = call.fields;
  if (fields.path1_length >= path_max || fields.path2_length >= path_max) return -ENAMETOOLONG;
  const uint64_t start = abi::call_data_offset(fields.path1_length, fields.path2_length);
  if (start + fields.data_length > abi::slot_data_bytes) return -EINVAL;
  const std::span<std::byte> area = call.slot_data();
  if (!copy_path(call.path1, area.data(), fields.path1_length) ||
      !copy_path(call.path2, area.data() + fields.path1_length + 1, fields.path2_length))
    return -EINVAL;
  const int64_t limit = data_limit(fields.number);
  if (limit < 0) return 0;
  if (fields.data_length > limit) return limit == xattr_size_max ? -E2BIG : -EINVAL;
  const auto data = area.subspan(start, fields.data_length);
  call.data.assign(data.begin(), data.end());
  return 0;
}

bool is_known(abi::CallNumber number) {
  using enum abi::CallNumber;
  return (number >= openat && number <= removexattr) || (number >= read && number <= ioctl) || number == nop;
}

bool is_on_file(abi::CallNumber number) { return number >= abi::CallNumber::read && number <= abi::CallNumber::ioctl; }

Task<Number> run(Call& call) {
  const Number result = co_await dispatch(call);
  call.result = result ? *result : -static_cast<int64_t>(result.error());
  call.end->finished(call);
  co_return 0;
}

}  // namespace fusewire::host
