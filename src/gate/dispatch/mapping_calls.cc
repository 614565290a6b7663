// mmap of a file of a mount. A private mapping needs the bytes as they are now: they are put into the descriptor's own
// shadow, and the shadow is mapped, so that faults, SIGBUS behind the end and fork are the host kernel's.
#include <sys/mman.h>

#include "abi/types.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/leader.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;
using abi::io_bytes_max;

constexpr long page_size = 4096;

// One piece of the file into the shadow, from the ring's memory. The bytes copied, 0 at the end.
long copy_piece(VirtualFile file, int shadow, long offset, long bytes) {
  RingCall call(file.connection, CallNumber::read, SYS_mmap);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  call.set_arg(0, offset);
  call.set_arg(1, bytes);
  const long n = call.run();
  if (n <= 0) return n;
  return raw_syscall(SYS_pwrite64, shadow, native::of(call.result_data(static_cast<size_t>(n)).data()), n, offset);
}

long size_now(VirtualFile file) {
  RingCall call(file.connection, CallNumber::fstat, SYS_mmap);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  call.set_arg(0, STATX_BASIC_STATS);
  if (const long r = call.run(); r < 0) return r;
  abi::Stat st;
  __builtin_memcpy(&st, call.result_data(sizeof st).data(), sizeof st);
  return S_ISREG(st.mode) ? static_cast<long>(st.size) : -ENODEV;
}

long fill_shadow(VirtualFile file, int shadow, long offset, long length) {
  const long size = size_now(file);
  if (size < 0) return size;
  if (const long r = raw_syscall(SYS_ftruncate, shadow, size); r < 0) return r;
  const long end = length > size - offset ? size : offset + length;
  while (offset < end) {
    const long left = end - offset;
    const long n = copy_piece(file, shadow, offset, left < long{io_bytes_max} ? left : long{io_bytes_max});
    if (n < 0) return n;
    if (n == 0) break;
    offset += n;
  }
  return 0;
}

}  // namespace

long call_mmap(const CallFrame& f) {
  VirtualFile file;
  const auto fd = static_cast<int>(f.arg[4]);
  const long flags = f.arg[3];
  if ((flags & MAP_ANONYMOUS) != 0 || !is_virtual(fd, file)) return pass_on;
  const long offset = f.arg[5], length = f.arg[1];
  if (offset % page_size != 0) return -EINVAL;
  const long opened = file_call(file, CallNumber::getfl, f.nr);
  if (opened < 0) return opened;
  if ((opened & O_PATH) != 0) return -EBADF;
  if (length == 0) return -EINVAL;
  if (offset < 0 || length < 0 || length > INT64_MAX - offset) return length < 0 ? -ENOMEM : -EOVERFLOW;
  if (if_readable(file, f.nr, 0) < 0) return -EACCES;
  if ((flags & MAP_TYPE) != MAP_PRIVATE) {
    return refuse(-ENODEV, "mmap", "MAP_SHARED", "shared mappings are not served in mounts yet");
  }
  const long r = fill_shadow(file, fd, offset, length);
  return r < 0 ? r : pass_on;
}

}  // namespace fusewire::gate
