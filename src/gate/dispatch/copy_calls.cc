// Calls that move data from descriptor to descriptor. Where programs fall back to read and write by themselves, the
// call is refused with the errno that makes them; sendfile is done.
#include <linux/aio_abi.h>

#include "gate/dispatch/device_calls.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;

bool is_ours(long fd) {
  VirtualFile file;
  return identify(static_cast<int>(fd), file) != Descriptor::native;
}

// One side of a copy: a file of a mount, or a native descriptor.
struct Side {
  bool is_virtual = false;
  VirtualFile file;
  int fd = -1;
};

Side side_of(long fd) {
  Side s;
  s.fd = static_cast<int>(fd);
  s.is_virtual = is_virtual(s.fd, s.file);
  return s;
}

long position_of(const Side& s, long nr, int64_t offset, int whence) {
  if (s.is_virtual) return file_call(s.file, CallNumber::lseek, nr, {offset, whence});
  return raw_syscall(SYS_lseek, s.fd, offset, whence);
}

long write_out(const Side& out, long nr, const char* data, size_t bytes) {
  if (!out.is_virtual) return native::write(out.fd, data, bytes);
  RingCall call(out.file.connection, CallNumber::write, nr);
  if (call.error() != 0) return call.error();
  call.set_file(out.file.token);
  call.set_arg(0, -1);
  __builtin_memcpy(call.data_area().data(), data, bytes);
  call.set_data_length(bytes);
  return call.run();
}

long copy_piece_from_mount(const Side& in, const Side& out, long nr, int64_t offset, size_t bytes) {
  RingCall call(in.file.connection, CallNumber::read, nr);
  if (call.error() != 0) return call.error();
  call.set_file(in.file.token);
  call.set_arg(0, offset);
  call.set_arg(1, static_cast<int64_t>(bytes));
  const long n = call.run();
  return n <= 0 ? n : write_out(out, nr, call.result_data(static_cast<size_t>(n)).data(), static_cast<size_t>(n));
}

// Native to mount: read right into the slot.
long copy_piece_to_mount(const Side& in, const Side& out, long nr, int64_t offset, size_t bytes) {
  RingCall call(out.file.connection, CallNumber::write, nr);
  if (call.error() != 0) return call.error();
  call.set_file(out.file.token);
  call.set_arg(0, -1);
  const long n = raw_syscall(SYS_pread64, in.fd, native::of(call.data_area().data()), static_cast<long>(bytes), offset);
  if (n <= 0) return n;
  call.set_data_length(static_cast<size_t>(n));
  return call.run();
}

long send(const CallFrame& f, const Side& in, const Side& out, int64_t& offset, size_t count) {
  size_t done = 0;
  while (done < count) {
    const size_t left = count - done;
    const size_t bytes = left < abi::io_bytes_max ? left : size_t{abi::io_bytes_max};
    const long n = in.is_virtual ? copy_piece_from_mount(in, out, f.nr, offset, bytes)
                                 : copy_piece_to_mount(in, out, f.nr, offset, bytes);
    if (n < 0 && done == 0) return n;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
    offset += n;
  }
  return static_cast<long>(done);
}

long flags_of(const Side& s, long nr) {
  return s.is_virtual ? file_call(s.file, CallNumber::getfl, nr) : native::fcntl(s.fd, F_GETFL);
}

bool has_access(long flags, long alone) {
  return (flags & O_PATH) == 0 && ((flags & O_ACCMODE) == alone || (flags & O_ACCMODE) == O_RDWR);
}

bool is_directory(const Side& s, long nr) {
  struct stat native {};
  if (!s.is_virtual) return native::fstat(s.fd, &native) == 0 && S_ISDIR(native.st_mode);
  abi::Stat st{};
  return file_status(s.file, nr, st) == 0 && S_ISDIR(st.mode);
}

// do_sendfile, do_splice_direct.
long check_sides(const Side& in, const Side& out, long nr, int64_t offset, long count) {
  const long in_flags = flags_of(in, nr);
  if (in_flags == abi::stale_token) return in_flags;
  if (in_flags < 0 || !has_access(in_flags, O_RDONLY)) return -EBADF;
  if (offset < 0 || count < 0 || count > INT64_MAX - offset) return -EINVAL;
  const long out_flags = flags_of(out, nr);
  if (out_flags == abi::stale_token) return out_flags;
  if (out_flags < 0 || !has_access(out_flags, O_WRONLY)) return -EBADF;
  const long out_position = position_of(out, nr, 0, SEEK_CUR);
  if (out_position > 0 && count > INT64_MAX - out_position) return -EINVAL;
  return (out_flags & O_APPEND) != 0 || (count > 0 && is_directory(in, nr)) ? -EINVAL : 0;
}

}  // namespace

long call_sendfile(const CallFrame& f) {
  const Side out = side_of(f.arg[0]), in = side_of(f.arg[1]);
  if (!in.is_virtual && !out.is_virtual) return pass_on;
  auto* where = reinterpret_cast<int64_t*>(f.arg[2]);
  int64_t offset = 0;
  if (where != nullptr && copy_from_program(&offset, where, sizeof offset) != 0) return -EFAULT;
  const long position = where == nullptr ? position_of(in, f.nr, 0, SEEK_CUR) : offset;
  if (const long r = check_sides(in, out, f.nr, position < 0 && where == nullptr ? 0 : position, f.arg[3]); r < 0)
    return r;
  offset = position;
  if (offset < 0) return position;
  const auto count = static_cast<size_t>(f.arg[3]);
  const long n = send(f, in, out, offset, count < 0x7ffff000 ? count : 0x7ffff000);
  if (n <= 0) return n;
  if (where != nullptr) return copy_to_program(where, &offset, sizeof offset) != 0 ? -EFAULT : n;
  position_of(in, f.nr, offset, SEEK_SET);
  return n;
}

// Linux gives EXDEV for two file systems that cannot copy between them; cp and others then read and write.
long call_copy_file_range(const CallFrame& f) { return is_ours(f.arg[0]) || is_ours(f.arg[2]) ? -EXDEV : pass_on; }

long call_splice(const CallFrame& f) {
  const auto from = static_cast<int>(f.arg[0]), to = static_cast<int>(f.arg[2]);
  VirtualFile unused;
  const Descriptor in = identify(from, unused), out = identify(to, unused);
  if (in == Descriptor::native && out == Descriptor::native) return pass_on;
  // A device has no position; a file of a mount is refused so that programs fall back.
  if (f.arg[1] != 0 || f.arg[3] != 0) return -EINVAL;
  const auto bytes = static_cast<size_t>(f.arg[4]);
  if (out == Descriptor::device && in == Descriptor::native) return splice_to_device(from, to, bytes);
  if (in == Descriptor::device && out == Descriptor::native) return splice_from_device(from, to, bytes);
  return -EINVAL;
}
long call_tee(const CallFrame& f) { return is_ours(f.arg[0]) || is_ours(f.arg[1]) ? -EINVAL : pass_on; }
long call_vmsplice(const CallFrame& f) { return is_ours(f.arg[0]) ? -EINVAL : pass_on; }

// Asynchronous I/O would reach the shadow instead of the file.
long call_io_submit(const CallFrame& f) {
  if (!possible.virtual_file) return pass_on;
  const auto* blocks = reinterpret_cast<iocb* const*>(f.arg[2]);
  for (long i = 0; i < f.arg[1]; i++) {
    const iocb* block = nullptr;
    iocb copy;
    if (copy_from_program(&block, blocks + i, sizeof block) != 0) return -EFAULT;
    if (copy_from_program(&copy, block, sizeof copy) != 0) return -EFAULT;
    if (is_ours(static_cast<int>(copy.aio_fildes)))
      return refuse(-ENOSYS, "io_submit", "", "asynchronous I/O on files of mounts is not served");
  }
  return pass_on;
}

}  // namespace fusewire::gate
