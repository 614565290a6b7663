#include "gate/device_calls.h"

#include "gate/leader.h"
#include "gate/native.h"
#include "gate/process.h"

namespace fusewire::gate {

namespace {

// Linux fs/fuse/dev.c, fuse_dev_do_read: a smaller buffer is EINVAL, whatever is pending.
constexpr size_t read_buffer_min = 8192;  // FUSE_MIN_READ_BUFFER

bool has_ended(long r) { return r == -ECONNRESET || r == -EPIPE || r == -ENOTCONN; }

// The bytes of all vectors, or -EFAULT or -EINVAL.
long total_bytes(const iovec* vectors, long count) {
  if (count < 0 || count > 1024) return -EINVAL;
  size_t total = 0;
  for (long i = 0; i < count; i++) {
    iovec v;
    if (copy_from_program(&v, vectors + i, sizeof v) != 0) return -EFAULT;
    total += v.iov_len;
  }
  return static_cast<long>(total);
}

long refuse_on_device(const char* call, const char* why) { return refuse(-EIO, call, "/dev/fuse", why); }

}  // namespace

long open_device(uint64_t flags) {
  if ((flags & O_PATH) != 0) return refuse(-ENXIO, "open", "/dev/fuse", "O_PATH on the device is not served");
  host::LeaderRequest request;
  start_request(request, host::LeaderOperation::open_device);
  possible.device = true;
  int fd = -1;
  const long r = ask_leader(request, -1, &fd);
  if (r < 0) {
    if (fd >= 0) native::close(fd);
    return r == -ECONNREFUSED || r == -ENOENT ? -ENODEV : r;
  }
  if (fd < 0) return -EMFILE;
  if ((flags & O_NONBLOCK) != 0) native::fcntl(fd, F_SETFL, native::fcntl(fd, F_GETFL) | O_NONBLOCK);
  if ((flags & O_CLOEXEC) == 0) native::fcntl(fd, F_SETFD, 0);
  return fd;
}

long read_device(int fd, const iovec* vectors, long count) {
  const long total = total_bytes(vectors, count);
  if (total < 0) return total;
  if (static_cast<size_t>(total) < read_buffer_min) return -EINVAL;
  msghdr header{};
  header.msg_iov = const_cast<iovec*>(vectors);
  header.msg_iovlen = static_cast<size_t>(count);
  const long n = raw_syscall(SYS_recvmsg, fd, native::of(&header), 0);
  if (n == 0 || has_ended(n)) return -ENODEV;
  if (n > 0 && (header.msg_flags & MSG_TRUNC) != 0)
    return refuse_on_device("read", "a request was longer than the buffer");
  return n;
}

long write_device(int fd, const iovec* vectors, long count) {
  const long total = total_bytes(vectors, count);
  if (total < 0) return total;
  if (total == 0) return -EINVAL;
  msghdr header{};
  header.msg_iov = const_cast<iovec*>(vectors);
  header.msg_iovlen = static_cast<size_t>(count);
  for (;;) {
    const long n = raw_syscall(SYS_sendmsg, fd, native::of(&header), MSG_NOSIGNAL);
    if (has_ended(n)) return -ENOENT;
    if (n == -EMSGSIZE) return refuse_on_device("write", "the reply does not fit the socket");
    if (n != -EAGAIN) return n;
    // The real device never gives EAGAIN to a writer.
    pollfd p{fd, POLLOUT, 0};
    const long r = raw_syscall(SYS_poll, native::of(&p), 1, -1);
    if (r < 0 && r != -EINTR) return r;
  }
}

}  // namespace fusewire::gate
