// fcntl, flock, ioctl.
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "abi/types.h"
#include "gate/dispatch/common_ioctls.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/owner_calls.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;
using abi::Lock;

void* pointer(long argument) { return reinterpret_cast<void*>(argument); }

// Where l_whence counts from.
long lock_base(VirtualFile file, long nr, short whence) {
  if (whence == SEEK_SET) return 0;
  if (whence == SEEK_CUR) return file_call(file, CallNumber::lseek, nr, {0, SEEK_CUR});
  if (whence != SEEK_END) return -EINVAL;
  abi::Stat st;
  const long r = file_status(file, nr, st);
  return r < 0 ? r : static_cast<long>(st.size);
}

// As Linux flock_to_posix_lock: a negative length lies before the start, 0 reaches to the end of the file.
long to_lock(VirtualFile file, long nr, const struct flock& from, Lock& lock) {
  const long base = lock_base(file, nr, from.l_whence);
  if (base < 0) return base;
  long start = 0;
  if (__builtin_add_overflow(base, from.l_start, &start)) return -EOVERFLOW;
  if (start < 0) return -EINVAL;
  long end = INT64_MAX;
  if (from.l_len > 0 && __builtin_add_overflow(start, from.l_len - 1, &end)) return -EOVERFLOW;
  if (from.l_len < 0) {
    end = start - 1;
    start += from.l_len;
    if (start < 0) return -EINVAL;
  }
  if (from.l_type != F_RDLCK && from.l_type != F_WRLCK && from.l_type != F_UNLCK) return -EINVAL;
  lock = {static_cast<uint64_t>(start), static_cast<uint64_t>(end), static_cast<uint32_t>(from.l_type),
          static_cast<uint32_t>(from.l_pid)};
  return 0;
}

void from_lock(const Lock& lock, struct flock& to) {
  to.l_type = static_cast<short>(lock.type);
  if (lock.type == F_UNLCK) return;
  to.l_whence = SEEK_SET;
  to.l_start = static_cast<long>(lock.start);
  to.l_len = lock.end == INT64_MAX ? 0 : static_cast<long>(lock.end - lock.start + 1);
  to.l_pid = static_cast<int>(lock.pid);
}

struct LockCall {
  CallNumber number;
  bool wait = false;
  bool of_open_file = false;  // F_OFD_*
};

long posix_lock(const CallFrame& f, VirtualFile file, const LockCall& kind) {
  const bool asks = kind.number == CallNumber::getlk;
  struct flock user;
  if (copy_from_program(&user, pointer(f.arg[2]), sizeof user) != 0) return unless_path(file, f.nr, -EFAULT);
  if (asks && user.l_type == F_UNLCK && !kind.of_open_file) return unless_path(file, f.nr, -EINVAL);
  Lock lock;
  long r = to_lock(file, f.nr, user, lock);
  if (r < 0) return unless_path(file, f.nr, r);
  RingCall call(file.connection, kind.number, f.nr);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  call.set_arg(0, kind.wait ? 1 : 0);
  call.set_arg(1, kind.of_open_file ? 1 : 0);
  __builtin_memcpy(call.data_area().data(), &lock, sizeof lock);
  call.set_data_length(sizeof lock);
  r = call.run();
  if (r < 0 || !asks) return r;
  __builtin_memcpy(&lock, call.result_data(sizeof lock).data(), sizeof lock);
  from_lock(lock, user);
  return copy_to_program(pointer(f.arg[2]), &user, sizeof user);
}

constexpr int f_dupfd_query = 1027, f_created_query = 1028;

long fcntl_file(const CallFrame& f, VirtualFile file) {
  switch (static_cast<int>(f.arg[1])) {
    case F_GETOWN:
    case F_SETOWN:
    case F_GETOWN_EX:
    case F_SETOWN_EX:
    case f_getowner_uids:
    case F_GETSIG:
    case F_SETSIG:
      return owner_call(f, file);
    case F_GETFL:
      return file_call(file, CallNumber::getfl, f.nr);
    case f_created_query:
      return file_call(file, CallNumber::getfl, f.nr, {2});
    case F_SETFL:
      return file_call(file, CallNumber::setfl, f.nr, {static_cast<uint32_t>(f.arg[2])});
    case F_GETLK:
      return posix_lock(f, file, {CallNumber::getlk});
    case F_SETLK:
      return posix_lock(f, file, {CallNumber::setlk});
    case F_SETLKW:
      return posix_lock(f, file, {.number = CallNumber::setlk, .wait = true});
    case F_OFD_GETLK:
      return posix_lock(f, file, {.number = CallNumber::getlk, .of_open_file = true});
    case F_OFD_SETLK:
      return posix_lock(f, file, {.number = CallNumber::setlk, .of_open_file = true});
    case F_OFD_SETLKW:
      return posix_lock(f, file, {.number = CallNumber::setlk, .wait = true, .of_open_file = true});
    case F_GETLEASE:
    case F_SETLEASE:
      return lease_call(f, file);
    case F_NOTIFY:
      return notify_call(f, file);
    case F_ADD_SEALS: {
      const long r = if_writable(file, f.nr, -EINVAL);
      return r == -EBADF ? unless_path(file, f.nr, -EPERM) : r;
    }
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ:
      return -EBADF;
    default:
      return unless_path(file, f.nr, -EINVAL);
  }
}

long unread_bytes(const CallFrame& f, VirtualFile file) {
  const long size = regular_size(file, f.nr, -ENOTTY);
  if (size < 0) return unless_path(file, f.nr, size);
  const long at = file_call(file, CallNumber::lseek, f.nr, {0, SEEK_CUR});
  if (at < 0) return at;
  const int left = static_cast<int>(size - at);
  return copy_to_program(pointer(f.arg[2]), &left, sizeof left);
}

long set_nonblocking(const CallFrame& f, VirtualFile file) {
  int on = 0;
  if (copy_from_program(&on, pointer(f.arg[2]), sizeof on) != 0) return -EFAULT;
  const long flags = file_call(file, CallNumber::getfl, f.nr);
  if (flags < 0) return flags;
  return file_call(file, CallNumber::setfl, f.nr, {on != 0 ? flags | O_NONBLOCK : flags & ~O_NONBLOCK});
}

// FUSE files have no fasync: it cannot be switched on.
long set_asynchronous(const CallFrame& f, VirtualFile file) {
  int on = 0;
  if (copy_from_program(&on, pointer(f.arg[2]), sizeof on) != 0) return unless_path(file, f.nr, -EFAULT);
  return unless_path(file, f.nr, on != 0 ? -ENOTTY : 0);
}

template <class T>
long give(const CallFrame& f, T value) {
  return copy_to_program(pointer(f.arg[2]), &value, sizeof value);
}

// Blocks of a device, of which no mount here has one: fuse_bmap answers 0.
long map_block(const CallFrame& f, VirtualFile file) {
  if (const long r = unless_path(file, f.nr, regular_size(file, f.nr, -ENOTTY)); r < 0) return r;
  if (raw_syscall(SYS_geteuid) != 0) return -EPERM;
  int block = 0;
  if (copy_from_program(&block, pointer(f.arg[2]), sizeof block) != 0) return -EFAULT;
  return block < 0 ? -EINVAL : give(f, 0);
}

long give_allocated_size(const CallFrame& f, VirtualFile file) {
  abi::Stat st{};
  if (const long r = unless_path(file, f.nr, file_status(file, f.nr, st)); r < 0) return r;
  const bool counted = S_ISREG(st.mode) || S_ISDIR(st.mode) || S_ISLNK(st.mode);
  return counted ? give(f, static_cast<int64_t>(st.blocks * 512)) : -ENOTTY;
}

long give_block_size(const CallFrame& f, VirtualFile file) {
  constexpr int block_size = 4096;  // s_blocksize of a mount without a block device
  const long r = unless_path(file, f.nr, 0);
  return r < 0 ? r : give(f, block_size);
}

// Data goes both ways as the command's own number says.
long ioctl_with_data(const CallFrame& f, VirtualFile file) {
  const auto command = static_cast<uint32_t>(f.arg[1]);
  const size_t bytes = _IOC_SIZE(command);
  RingCall call(file.connection, CallNumber::ioctl, f.nr);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  call.set_arg(0, command);
  call.set_arg(1, f.arg[2]);
  if ((_IOC_DIR(command) & _IOC_WRITE) != 0 &&
      copy_from_program(call.data_area().data(), pointer(f.arg[2]), bytes) != 0) {
    return -EFAULT;
  }
  if (_IOC_DIR(command) == _IOC_READ) __builtin_memset(call.data_area().data(), 0, bytes);
  call.set_data_length(_IOC_DIR(command) == _IOC_NONE ? 0 : bytes);
  const long r = call.run();
  if (r < 0 || (_IOC_DIR(command) & _IOC_READ) == 0) return r;
  return copy_to_program(pointer(f.arg[2]), call.result_data(bytes).data(), bytes) != 0 ? -EFAULT : r;
}

long ioctl_file(const CallFrame& f, VirtualFile file) {
  switch (static_cast<uint32_t>(f.arg[1])) {
    case FIOCLEX:
      return unless_path(file, f.nr, native::fcntl(static_cast<int>(f.arg[0]), F_SETFD, FD_CLOEXEC));
    case FIONCLEX:
      return unless_path(file, f.nr, native::fcntl(static_cast<int>(f.arg[0]), F_SETFD, 0));
    case FIONREAD:
      return unread_bytes(f, file);
    case FIONBIO:
      return set_nonblocking(f, file);
    case FIBMAP:
      return map_block(f, file);
    case FIOQSIZE:
      return give_allocated_size(f, file);
    case FIGETBSZ:
      return give_block_size(f, file);
    case FIOASYNC:
      return set_asynchronous(f, file);
    case TCGETS:
    case TIOCGWINSZ:
    case TIOCGPGRP:
      return unless_path(file, f.nr, -ENOTTY);
    default:
      break;
  }
  const long r = common_ioctl(f, file);
  return r == pass_on ? ioctl_with_data(f, file) : r;
}

// Of an open fifo the real one's file system is not to be frozen.
bool is_freeze(long command) {
  return static_cast<uint32_t>(command) == FIFREEZE || static_cast<uint32_t>(command) == FITHAW;
}

}  // namespace

long call_fcntl(const CallFrame& f) {
  switch (static_cast<int>(f.arg[1])) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      return call_dup(f);
    case F_GETFD:
    case F_SETFD:
    case f_dupfd_query:
      return pass_on;
    default:
      break;
  }
  VirtualFile file;
  const auto fd = static_cast<int>(f.arg[0]);
  if (is_virtual(fd, file)) return fcntl_file(f, file);
  if (static_cast<int>(f.arg[1]) != F_GETFL || !possible.virtual_file) return pass_on;
  // The one question that a shadow answers, if it has come here meanwhile.
  const long flags = native::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_PATH) != 0 && is_virtual(fd, file) ? fcntl_file(f, file) : flags;
}

long call_flock(const CallFrame& f) {
  // LOCK_MAND, whatever the descriptor, does nothing (fs/locks.c).
  if ((f.arg[1] & LOCK_MAND) != 0) return pass_on;
  return descriptor_call(f, CallNumber::flock, {static_cast<uint32_t>(f.arg[1])});
}

long call_ioctl(const CallFrame& f) {
  VirtualFile file;
  const auto fd = static_cast<int>(f.arg[0]);
  if (is_virtual(fd, file)) {
    const long r = ioctl_file(f, file);
    return r == -EFAULT ? unless_path(file, f.nr, r) : r;
  }
  if (is_freeze(f.arg[1]) && has_virtual_inode(fd, file)) return common_ioctl(f, file);
  return clone_to_native(f);
}

}  // namespace fusewire::gate
