#include "gate/dispatch/common_ioctls.h"

#include <linux/fiemap.h>
#include <linux/fs.h>

#include "gate/dispatch/copy_calls.h"
#include "gate/dispatch/file_call.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;

// Of linux/falloc.h, whose names the C library has too.
constexpr int keep_size = 1, punch_hole = 2, zero_range = 0x10;

// Linux struct space_resv, of xfs_fs.h's ioctls.
struct SpaceReservation {
  int16_t type;
  int16_t whence;
  int64_t start;
  int64_t length;
  int32_t sysid;
  uint32_t pid;
  int32_t padding[4];
};
constexpr uint32_t reserve = _IOW('X', 40, SpaceReservation), unreserve = _IOW('X', 41, SpaceReservation),
                   reserve64 = _IOW('X', 42, SpaceReservation), unreserve64 = _IOW('X', 43, SpaceReservation),
                   zero = _IOW('X', 57, SpaceReservation);

template <class T>
bool take(const CallFrame& f, T& to) {
  return copy_from_program(&to, reinterpret_cast<void*>(f.arg[2]), sizeof to) == 0;
}

// ioctl_preallocate. Of other files than regular ones the number is the daemon's.
long preallocate(const CallFrame& f, VirtualFile file, int mode) {
  const long size = regular_size(file, f.nr, pass_on);
  if (size == pass_on) return unless_path(file, f.nr, pass_on);
  if (size < 0) return size;
  SpaceReservation wanted;
  if (!take(f, wanted)) return unless_path(file, f.nr, -EFAULT);
  long base = 0;
  if (wanted.whence == SEEK_CUR) base = file_call(file, CallNumber::lseek, f.nr, {0, SEEK_CUR});
  if (wanted.whence == SEEK_END) base = size;
  if (base < 0) return base;
  if (wanted.whence != SEEK_SET && wanted.whence != SEEK_CUR && wanted.whence != SEEK_END)
    return unless_path(file, f.nr, -EINVAL);
  const auto start = static_cast<int64_t>(static_cast<uint64_t>(base) + static_cast<uint64_t>(wanted.start));
  return file_call(file, CallNumber::fallocate, f.nr, {mode | keep_size, start, wanted.length});
}

// ioctl_file_dedupe_range: nothing is ever shared.
long deduplicate(const CallFrame& f, VirtualFile file) {
  file_dedupe_range wanted;
  if (!take(f, wanted)) return unless_path(file, f.nr, -EFAULT);
  constexpr size_t page = 4096;
  if (sizeof wanted + wanted.dest_count * sizeof(file_dedupe_range_info) > page)
    return unless_path(file, f.nr, -ENOMEM);
  abi::Stat st;
  if (const long r = unless_path(file, f.nr, file_status(file, f.nr, st)); r < 0) return r;
  const long readable = if_readable(file, f.nr, 0);
  if (readable < 0) return readable == -EBADF ? -EINVAL : readable;
  if (wanted.reserved1 != 0 || wanted.reserved2 != 0) return -EINVAL;
  if (S_ISDIR(st.mode)) return -EISDIR;
  return S_ISREG(st.mode) ? -EOPNOTSUPP : -EINVAL;
}

// ioctl_file_clone: files of one mount are never clones of each other either.
long clone(const CallFrame& f, VirtualFile file, long from) {
  VirtualFile source;
  if (const long r = unless_path(file, f.nr, 0); r < 0) return r;
  const bool is_virtual_source = is_virtual(static_cast<int>(from), source);
  const long flags =
      is_virtual_source ? file_call(source, CallNumber::getfl, f.nr) : native::fcntl(static_cast<int>(from), F_GETFL);
  if (flags == abi::stale_token) return flags;
  if (flags < 0 || (flags & O_PATH) != 0) return -EBADF;
  if (!is_virtual_source || source.connection != file.connection) return -EXDEV;
  const long r = check_copy(from, f.arg[0], f.nr);
  return r < 0 ? r : -EOPNOTSUPP;
}

long clone_range(const CallFrame& f, VirtualFile file) {
  file_clone_range wanted;
  if (!take(f, wanted)) return unless_path(file, f.nr, -EFAULT);
  return clone(f, file, static_cast<int>(wanted.src_fd));
}

// Linux ns_capable(CAP_SYS_ADMIN), as far as the user tells.
bool is_administrator() { return raw_syscall(SYS_geteuid) == 0; }

}  // namespace

long common_ioctl(const CallFrame& f, VirtualFile file) {
  switch (static_cast<uint32_t>(f.arg[1])) {
    case FS_IOC_FIEMAP:
      return unless_path(file, f.nr, -EOPNOTSUPP);
    case FIFREEZE:
      return unless_path(file, f.nr, is_administrator() ? -EOPNOTSUPP : -EPERM);
    case FITHAW:
      return unless_path(file, f.nr, is_administrator() ? -EINVAL : -EPERM);
    case FICLONE:
      return clone(f, file, f.arg[2]);
    case FICLONERANGE:
      return clone_range(f, file);
    case FIDEDUPERANGE:
      return deduplicate(f, file);
    case reserve:
    case reserve64:
      return preallocate(f, file, 0);
    case unreserve:
    case unreserve64:
      return preallocate(f, file, punch_hole);
    case zero:
      return preallocate(f, file, zero_range);
    default:
      return pass_on;
  }
}

long clone_to_native(const CallFrame& f) {
  VirtualFile source;
  const auto command = static_cast<uint32_t>(f.arg[1]);
  long from = -1;
  file_clone_range wanted;
  if (command == FICLONE) from = f.arg[2];
  if (command == FICLONERANGE && take(f, wanted)) from = wanted.src_fd;
  return from >= 0 && is_virtual(static_cast<int>(from), source) ? -EXDEV : pass_on;
}

}  // namespace fusewire::gate
