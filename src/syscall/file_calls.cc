// Calls on an open file: its bytes, its position, its locks, its end.
#include "kernel/file_io.h"
#include "kernel/locks.h"
#include "kernel/readdir.h"
#include "syscall/mount_impl.h"

namespace fusewire::syscall {

namespace {

constexpr uint32_t changeable_flags = abi::o_append | abi::o_nonblock | abi::o_noatime | abi::o_direct;

wire::FileLock wire_lock(const Lock& lock) { return {lock.start, lock.end, lock.type, lock.pid}; }

void tell(const MountImpl& mount, File& file, Use use) {
  if (mount.events) mount.events->used(file, use);
}

Task<Result<size_t>> read_use(MountImpl& mount, File& file, Caller& caller, std::span<std::byte> to, int64_t offset,
                              uint32_t rwf) {
  FileUse use(file);
  auto got = co_await kernel::read_file(file, caller, to, offset, rwf);
  if (got && *got > 0) tell(mount, file, Use::accessed);
  co_return got;
}

Task<Result<size_t>> write_use(MountImpl& mount, File& file, Caller& caller, std::span<const std::byte> from,
                               int64_t offset, uint32_t rwf) {
  FileUse use(file);
  auto written = co_await kernel::write_file(file, caller, from, offset, rwf);
  if (written && *written > 0) tell(mount, file, Use::modified);
  co_return written;
}

Task<Result<uint64_t>> seek_use(File& file, Caller& caller, int64_t offset, uint32_t whence) {
  FileUse use(file);
  auto position = co_await kernel::seek_file(file, caller, offset, whence);
  co_return position;
}

Task<Result<size_t>> read_directory_use(MountImpl& mount, File& file, Caller& caller, std::span<std::byte> to) {
  FileUse use(file);
  auto got = co_await kernel::read_directory(file, caller, to);
  // iterate_dir: at the end too.
  if (got) tell(mount, file, Use::accessed);
  co_return got;
}

Task<Result<void>> sync_use(File& file, Caller& caller, bool datasync) {
  FileUse use(file);
  if (file.is_path()) co_return error(Errno::ebadf);
  auto done = co_await kernel::sync_file(file, caller, datasync);
  co_return done;
}

Task<Result<void>> allocate_use(MountImpl& mount, File& file, Caller& caller, uint32_t mode, uint64_t offset,
                                uint64_t length) {
  FileUse use(file);
  auto done = co_await kernel::allocate_file(file, caller, mode, offset, length);
  if (done) tell(mount, file, Use::modified);
  co_return done;
}

Task<Result<size_t>> copy_use(MountImpl& mount, File& from, File& to, Caller& caller, kernel::CopyRange range) {
  FileUse use_from(from), use_to(to);
  auto copied = co_await kernel::copy_file_range(from, to, caller, range);
  if (copied && *copied > 0) {
    tell(mount, from, Use::accessed);
    tell(mount, to, Use::modified);
  }
  co_return copied;
}

Task<Result<uint32_t>> control_use(File& file, Caller& caller, uint32_t cmd, uint64_t arg, std::span<std::byte> data) {
  FileUse use(file);
  auto answer = co_await kernel::control_file(file, caller, cmd, arg, data);
  co_return answer;
}

Task<Result<void>> set_lock_use(File& file, Caller& caller, Lock lock, bool wait, kernel::LockOf of) {
  FileUse use(file);
  auto done = co_await kernel::set_posix_lock(file, caller, wire_lock(lock), wait, of);
  co_return done;
}

Task<Result<Lock>> get_lock_use(File& file, Caller& caller, Lock lock, kernel::LockOf of) {
  FileUse use(file);
  auto in_way = co_await kernel::get_posix_lock(file, caller, wire_lock(lock), of);
  if (!in_way) co_return error(in_way.error());
  co_return Lock{in_way->start, in_way->end, in_way->type, in_way->pid};
}

Task<Result<void>> flock_use(File& file, Caller& caller, uint32_t operation) {
  FileUse use(file);
  auto done = co_await kernel::set_flock(file, caller, operation);
  co_return done;
}

// filp_flush: the daemon first, then the locks that are kept here.
Task<Result<void>> flush_use(File& file, Caller& caller) {
  FileUse use(file);
  if (file.is_path()) co_return Result<void>();
  auto done = co_await kernel::flush_file(file, caller);
  kernel::drop_posix_locks(*file.inode, caller.lock_owner);
  co_return done;
}

}  // namespace

Task<Result<size_t>> Mount::sys_read(Caller& caller, OpenFile& file, std::span<std::byte> to, int64_t offset,
                                     uint32_t rwf) {
  return run(impl(*this), caller, "read", read_use(impl(*this), file, caller, to, offset, rwf));
}

Task<Result<size_t>> Mount::sys_write(Caller& caller, OpenFile& file, std::span<const std::byte> from, int64_t offset,
                                      uint32_t rwf) {
  return run(impl(*this), caller, "write", write_use(impl(*this), file, caller, from, offset, rwf));
}

Task<Result<uint64_t>> Mount::sys_lseek(Caller& caller, OpenFile& file, int64_t offset, uint32_t whence) {
  return run(impl(*this), caller, "lseek", seek_use(file, caller, offset, whence));
}

Task<Result<size_t>> Mount::sys_getdents64(Caller& caller, OpenFile& file, std::span<std::byte> to) {
  return run(impl(*this), caller, "getdents64", read_directory_use(impl(*this), file, caller, to));
}

Task<Result<void>> Mount::sys_fsync(Caller& caller, OpenFile& file, bool datasync) {
  return run(impl(*this), caller, datasync ? "fdatasync" : "fsync", sync_use(file, caller, datasync));
}

Task<Result<void>> Mount::sys_fallocate(Caller& caller, OpenFile& file, uint32_t mode, uint64_t offset,
                                        uint64_t length) {
  return run(impl(*this), caller, "fallocate", allocate_use(impl(*this), file, caller, mode, offset, length));
}

Task<Result<size_t>> Mount::sys_copy_file_range(Caller& caller, OpenFile& from, OpenFile& to, kernel::CopyRange range) {
  return run(impl(*this), caller, "copy_file_range", copy_use(impl(*this), from, to, caller, range));
}

Task<Result<uint32_t>> Mount::sys_ioctl(Caller& caller, OpenFile& file, uint32_t cmd, uint64_t arg,
                                        std::span<std::byte> data) {
  return run(impl(*this), caller, "ioctl", control_use(file, caller, cmd, arg, data));
}

Task<Result<void>> Mount::sys_setlk(Caller& caller, OpenFile& file, Lock lock, bool wait, kernel::LockOf of) {
  return run(impl(*this), caller, "fcntl", set_lock_use(file, caller, lock, wait, of));
}

Task<Result<Lock>> Mount::sys_getlk(Caller& caller, OpenFile& file, Lock lock, kernel::LockOf of) {
  return run(impl(*this), caller, "fcntl", get_lock_use(file, caller, lock, of));
}

Task<Result<void>> Mount::sys_flock(Caller& caller, OpenFile& file, uint32_t operation) {
  return run(impl(*this), caller, "flock", flock_use(file, caller, operation));
}

Result<void> Mount::sys_setlease(Caller& caller, OpenFile& file, uint32_t type) {
  return kernel::set_lease(file, caller, type);
}

Result<uint32_t> Mount::sys_getlease(OpenFile& file) {
  if (file.is_path()) return error(Errno::ebadf);
  return kernel::get_lease(file);
}

void Mount::set_lease_holders(kernel::LeaseHolders* holders, uint64_t break_time) {
  impl(*this).sb.leases.holders = holders;
  impl(*this).sb.leases.break_time = break_time;
}

uint64_t Mount::next_lease_end() { return kernel::next_lease_end(impl(*this).sb); }
void Mount::expire_leases() { kernel::expire_leases(impl(*this).sb); }

Task<Result<void>> Mount::sys_flush(Caller& caller, OpenFile& file) {
  return run(impl(*this), caller, "close", flush_use(file, caller));
}

Result<uint32_t> Mount::sys_getfl(OpenFile& file) { return file.flags; }

Result<void> Mount::sys_setfl(OpenFile& file, uint32_t flags) {
  if (file.is_path()) return error(Errno::ebadf);
  if ((flags & abi::o_direct) && file.inode->is_dir()) return error(Errno::einval);
  file.flags = (file.flags & ~changeable_flags) | (flags & changeable_flags);
  return {};
}

}  // namespace fusewire::syscall
