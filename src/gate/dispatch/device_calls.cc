#include "gate/dispatch/device_calls.h"

#include <sys/ioctl.h>
#include <sys/mman.h>

#include "gate/dispatch/descriptors.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/polling_calls.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

// Linux fs/fuse/dev.c, fuse_dev_do_read: a smaller buffer is EINVAL, whatever is pending.
constexpr size_t read_buffer_min = 8192;  // FUSE_MIN_READ_BUFFER
constexpr size_t polled_max = 16;         // who looks at more is no libfuse that unmounts

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

// Memory for one message, which is not the program's.
class MessageBuffer {
 public:
  explicit MessageBuffer(size_t bytes) : bytes_(bytes) {
    const long at = map_aside(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE);
    if (at > 0) memory_ = reinterpret_cast<char*>(at);
  }
  ~MessageBuffer() {
    if (memory_ != nullptr) raw_syscall(SYS_munmap, native::of(memory_), static_cast<long>(bytes_));
  }
  MessageBuffer(const MessageBuffer&) = delete;
  char* data() const { return memory_; }

 private:
  const size_t bytes_;
  char* memory_ = nullptr;
};

// Moves all of it, in as many calls as it takes: the bytes, or -errno.
long move_all(long nr, int pipe, char* data, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    const long n = raw_syscall(nr, pipe, native::of(data + done), static_cast<long>(bytes - done));
    if (n == -EINTR) continue;
    if (n <= 0) return n < 0 ? n : -EINVAL;
    done += static_cast<size_t>(n);
  }
  return static_cast<long>(bytes);
}

}  // namespace

long pipe_fill(int pipe) {
  int bytes = 0;
  if (native::fcntl(pipe, F_GETPIPE_SZ) < 0 || raw_syscall(SYS_ioctl, pipe, FIONREAD, native::of(&bytes)) < 0) {
    return -EINVAL;
  }
  return bytes;
}

long open_device(uint64_t flags) {
  if ((flags & O_PATH) != 0) return refuse(-ENXIO, "open", "/dev/fuse", "O_PATH on the device is not served");
  abi::LeaderRequest request;
  start_request(request, abi::LeaderOperation::open_device);
  device_is_possible();
  int fd = -1;
  const long r = ask_leader(request, -1, &fd);
  if (r < 0) {
    if (fd >= 0) native::close(fd);
    return r == -ENOTCONN ? -ENODEV : r;
  }
  if (fd < 0) return -EMFILE;
  closes(fd);  // what comes there is no file
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

// Linux fs/fuse/dev.c, fuse_dev_splice_write: a pipe that holds less is EINVAL, and keeps what it holds.
long splice_to_device(int pipe, int fd, size_t bytes) {
  if (bytes == 0) return 0;
  const long held = pipe_fill(pipe);
  if (held < 0 || static_cast<size_t>(held) < bytes) return -EINVAL;
  const MessageBuffer buffer(bytes);
  if (buffer.data() == nullptr) return -ENOMEM;
  const long n = move_all(SYS_read, pipe, buffer.data(), bytes);
  if (n < 0) return n;
  const iovec whole{buffer.data(), bytes};
  return write_device(fd, &whole, 1);
}

// fuse_dev_splice_read; a request for which the pipe is too small is EIO.
long splice_from_device(int fd, int pipe, size_t bytes) {
  const long held = pipe_fill(pipe);
  if (held != 0) return -EINVAL;
  const auto room = static_cast<size_t>(native::fcntl(pipe, F_GETPIPE_SZ));
  const size_t most = bytes < room ? bytes : room;
  const MessageBuffer buffer(most);
  if (buffer.data() == nullptr) return -ENOMEM;
  const iovec whole{buffer.data(), most};
  const long n = read_device(fd, &whole, 1);
  return n <= 0 ? n : move_all(SYS_write, pipe, buffer.data(), static_cast<size_t>(n));
}

// A look, without waiting: libfuse asks so whether its mount is gone already, and does not unmount what is.
long call_poll(const CallFrame& f) {
  const auto count = static_cast<size_t>(f.arg[1]);
  if (!possible.device || f.arg[2] != 0 || count > polled_max) return pass_on;
  auto* polled = reinterpret_cast<pollfd*>(f.arg[0]);
  const long r = native::call(f);
  for (size_t i = 0; r > 0 && i < count; i++) {
    pollfd p;
    VirtualFile unused;
    if (copy_from_program(&p, polled + i, sizeof p) != 0) return -EFAULT;
    if ((p.revents & POLLHUP) == 0 || identify(p.fd, unused) != Descriptor::device) continue;
    p.revents = POLLERR;
    if (copy_to_program(polled + i, &p, sizeof p) != 0) return -EFAULT;
  }
  return judge_polling(f, r, false);
}

}  // namespace fusewire::gate
