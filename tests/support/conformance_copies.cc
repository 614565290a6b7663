// Rules of data that moves from descriptor to descriptor, and of the kernel's asynchronous I/O.
#include <linux/aio_abi.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <array>

#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

// Longer than one piece of whoever copies in pieces; no two pages of it are alike.
std::string long_text() {
  std::string text(300'000, ' ');
  for (size_t i = 0; i < text.size(); i++) text[i] = static_cast<char>('a' + (i / 7 + i / 4096) % 26);
  return text;
}

long position(int fd) { return must(lseek(fd, 0, SEEK_CUR), "lseek"); }

struct Pipe {
  Pipe() {
    int fds[2];
    must(pipe2(fds, O_CLOEXEC), "pipe2");
    read_end = fds[0], write_end = fds[1];
  }
  ~Pipe() {
    close_write_end();
    ::close(read_end);
  }
  Pipe(const Pipe&) = delete;
  void close_write_end() {
    if (write_end >= 0) ::close(write_end);
    write_end = -1;
  }
  void put(std::string_view text) const {
    expect_equal(must(::write(write_end, text.data(), text.size()), "write"), static_cast<long>(text.size()), "put");
  }
  std::string take(size_t bytes) const {
    std::string text(bytes, 0);
    text.resize(static_cast<size_t>(must(::read(read_end, text.data(), bytes), "read")));
    return text;
  }
  int read_end = -1, write_end = -1;
};

void a_range_is_copied_and_positions_move_without_offsets(const Place& p) {
  const std::string text = long_text();
  p.write_file("from", text);
  p.write_file("to", "");
  Fd from(p.open("from", O_RDONLY)), to(p.open("to", O_RDWR));
  loff_t in = 1000, out = 50;
  const long first = must(copy_file_range(from, &in, to, &out, 5000, 0), "copy_file_range");
  expect_equal(first, 5000L, "copied");
  expect_equal<long>(in, 6000, "the offset read from");
  expect_equal<long>(out, 5050, "the offset written to");
  expect_equal(position(from) + position(to), 0L, "positions");
  expect_equal(p.read_file("to"), std::string(50, 0) + text.substr(1000, 5000), "content");
  must(lseek(from, 10, SEEK_SET), "lseek");
  size_t done = 0;
  for (long n; (n = must(copy_file_range(from, nullptr, to, nullptr, 1 << 20, 0), "copy_file_range")) > 0;)
    done += static_cast<size_t>(n);
  expect_equal(done, text.size() - 10, "copied up to the end");
  expect_equal(position(from), static_cast<long>(text.size()), "position");
  expect_equal(position(to), static_cast<long>(text.size() - 10), "position");
  expect_equal(p.read_file("to"), text.substr(10), "content");
}

void a_file_is_copied_within_itself_but_not_onto_itself(const Place& p) {
  p.write_file("f", "0123456789");
  Fd fd(p.open("f", O_RDWR));
  loff_t in = 0, out = 10;
  expect_equal(must(copy_file_range(fd, &in, fd, &out, 4, 0), "copy_file_range"), 4L, "copied");
  expect_equal(p.read_file("f"), std::string("01234567890123"), "content");
  in = 0, out = 3;
  must_fail(copy_file_range(fd, &in, fd, &out, 4, 0), EINVAL, "overlapping");
  in = 0, out = 3;
  expect_equal(must(copy_file_range(fd, &in, fd, &out, 3, 0), "copy_file_range"), 3L, "side by side");
  expect_equal(p.read_file("f"), std::string("01201267890123"), "content");
}

void what_is_copied_is_checked(const Place& p) {
  p.write_file("from", "text");
  p.write_file("to", "");
  p.mkdir("d");
  Fd from(p.open("from", O_RDONLY)), to(p.open("to", O_WRONLY)), append(p.open("to", O_WRONLY | O_APPEND));
  Fd directory(p.open("d", O_RDONLY | O_DIRECTORY)), path(p.open("from", O_PATH));
  must_fail(copy_file_range(to, nullptr, to, nullptr, 1, 0), EBADF, "from what is write only");
  must_fail(copy_file_range(from, nullptr, from, nullptr, 1, 0), EBADF, "to what is read only");
  must_fail(copy_file_range(from, nullptr, append, nullptr, 1, 0), EBADF, "appending");
  must_fail(copy_file_range(path, nullptr, to, nullptr, 1, 0), EBADF, "from a path");
  must_fail(copy_file_range(directory, nullptr, to, nullptr, 1, 0), EISDIR, "from a directory");
  must_fail(copy_file_range(from, nullptr, to, nullptr, 1, 1), EINVAL, "flags");
  loff_t negative = -1, high = INT64_MAX;
  must_fail(copy_file_range(from, &negative, to, nullptr, 1, 0), EOVERFLOW, "an offset that wraps");
  negative = -5;
  must_fail(copy_file_range(from, &negative, to, nullptr, 1, 0), EINVAL, "a negative offset");
  expect_equal(must(copy_file_range(from, &high, to, nullptr, 1, 0), "from behind the end"), 0L, "copied");
  Pipe pipe;
  must_fail(copy_file_range(pipe.read_end, nullptr, to, nullptr, 1, 0), EINVAL, "from a pipe");
}

void a_file_is_sent_to_files_pipes_and_sockets(const Place& p) {
  const std::string text = long_text();
  p.write_file("from", text);
  Fd from(p.open("from", O_RDONLY)), to(p.open("to", O_RDWR | O_CREAT));
  size_t done = 0;
  for (long n; (n = must(sendfile(to, from, nullptr, 1 << 20), "sendfile")) > 0;) done += static_cast<size_t>(n);
  expect_equal(done, text.size(), "sent");
  expect_equal(position(from), static_cast<long>(text.size()), "position");
  expect(p.read_file("to") == text, "the content arrived");
  Pipe pipe;
  off_t offset = 100;
  expect_equal(must(sendfile(pipe.write_end, from, &offset, 3000), "sendfile"), 3000L, "sent");
  expect_equal<long>(offset, 3100, "offset");
  expect_equal(pipe.take(4096), text.substr(100, 3000), "what the pipe got");
  int ends[2];
  must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
  Fd near(ends[0]), far(ends[1]);
  expect_equal(must(sendfile(near, from, &offset, 2000), "sendfile"), 2000L, "sent");
  std::string got(2000, 0);
  expect_equal(must(recv(far, got.data(), got.size(), MSG_WAITALL), "recv"), 2000L, "received");
  expect_equal(got, text.substr(3100, 2000), "what the socket got");
  must_fail(sendfile(to, pipe.read_end, nullptr, 1), EINVAL, "from a pipe");
}

void a_pipe_is_spliced_into_a_file(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT)), append(p.open("f", O_WRONLY | O_APPEND));
  Pipe pipe;
  pipe.put("0123456789");
  expect_equal(must(splice(pipe.read_end, nullptr, fd, nullptr, 4, 0), "splice"), 4L, "moved");
  expect_equal(position(fd), 4L, "position");
  loff_t offset = 8;
  expect_equal(must(splice(pipe.read_end, nullptr, fd, &offset, 100, 0), "splice"), 6L, "what there was");
  expect_equal<long>(offset, 14, "offset");
  expect_equal(position(fd), 4L, "position");
  expect_equal(p.read_file("f"), std::string("0123") + std::string(4, 0) + "456789", "content");
  must_fail(splice(pipe.read_end, nullptr, fd, nullptr, 1, SPLICE_F_NONBLOCK), EAGAIN, "from an empty pipe");
  must_fail(splice(pipe.read_end, &offset, fd, nullptr, 1, 0), ESPIPE, "an offset in a pipe");
  must_fail(splice(pipe.read_end, nullptr, append, nullptr, 1, 0), EINVAL, "appending");
  must_fail(splice(pipe.write_end, nullptr, fd, nullptr, 1, 0), EBADF, "from the end that writes");
  must_fail(splice(pipe.read_end, nullptr, fd, nullptr, 1, 0x100), EINVAL, "unknown flags");
  pipe.close_write_end();
  expect_equal(must(splice(pipe.read_end, nullptr, fd, nullptr, 1, 0), "splice"), 0L, "when nobody writes");
}

void a_file_is_spliced_into_a_pipe(const Place& p) {
  const std::string text = long_text();
  p.write_file("f", text);
  Fd fd(p.open("f", O_RDONLY)), other(p.open("g", O_RDWR | O_CREAT));
  Pipe pipe;
  expect_equal(must(splice(fd, nullptr, pipe.write_end, nullptr, 1000, 0), "splice"), 1000L, "moved");
  expect_equal(position(fd), 1000L, "position");
  expect_equal(pipe.take(4096), text.substr(0, 1000), "what the pipe got");
  loff_t offset = 5000;
  expect_equal(must(splice(fd, &offset, pipe.write_end, nullptr, 10, 0), "splice"), 10L, "moved");
  expect_equal<long>(offset, 5010, "offset");
  expect_equal(position(fd), 1000L, "position");
  expect_equal(pipe.take(4096), text.substr(5000, 10), "what the pipe got");
  offset = static_cast<loff_t>(text.size());
  expect_equal(must(splice(fd, &offset, pipe.write_end, nullptr, 10, 0), "splice"), 0L, "at the end");
  must_fail(splice(fd, nullptr, other, nullptr, 10, 0), EINVAL, "between two files");
  must_fail(splice(fd, nullptr, pipe.write_end, &offset, 10, 0), ESPIPE, "an offset in a pipe");
  must(lseek(fd, 0, SEEK_SET), "lseek");
  size_t moved = 0;
  for (;;) {
    const long n = splice(fd, nullptr, pipe.write_end, nullptr, 1 << 20, SPLICE_F_NONBLOCK);
    if (n < 0) break;
    moved += static_cast<size_t>(n);
  }
  expect_equal(errno, EAGAIN, "into a full pipe");
  expect_equal(position(fd), static_cast<long>(moved), "position");
  std::string got;
  while (got.size() < moved) got += pipe.take(1 << 20);
  expect(got == text.substr(0, moved), "the content arrived");
}

void files_are_copied_through_a_pipe(const Place& p) {
  const std::string text = long_text();
  p.write_file("from", text);
  Fd from(p.open("from", O_RDONLY)), to(p.open("to", O_WRONLY | O_CREAT));
  Pipe pipe;
  for (long n; (n = must(splice(from, nullptr, pipe.write_end, nullptr, 1 << 20, 0), "splice")) > 0;) {
    while (n > 0) n -= must(splice(pipe.read_end, nullptr, to, nullptr, static_cast<size_t>(n), 0), "splice");
  }
  expect(p.read_file("to") == text, "the content arrived");
}

void only_pipes_are_teed_and_given_pages(const Place& p) {
  p.write_file("f", "text");
  Fd fd(p.open("f", O_RDWR));
  Pipe pipe;
  pipe.put("text");
  must_fail(tee(pipe.read_end, fd, 4, 0), EINVAL, "tee to a file");
  must_fail(tee(fd, pipe.write_end, 4, 0), EINVAL, "tee from a file");
  char bytes[4] = {};
  const iovec vector{bytes, sizeof bytes};
  must_fail(vmsplice(fd, &vector, 1, 0), EBADF, "vmsplice");
}

// A context, and one control block at a time.
class Async {
 public:
  Async() {
    if (syscall(SYS_io_setup, 8, &context_) != 0) throw Skip{"no asynchronous I/O here"};
  }
  ~Async() { syscall(SYS_io_destroy, context_); }
  Async(const Async&) = delete;

  iocb block(int fd, uint16_t operation, const void* buffer, size_t bytes, int64_t offset) const {
    iocb b{};
    b.aio_fildes = static_cast<uint32_t>(fd);
    b.aio_lio_opcode = operation;
    b.aio_buf = reinterpret_cast<uint64_t>(buffer);
    b.aio_nbytes = bytes;
    b.aio_offset = offset;
    b.aio_data = 0x1234;
    return b;
  }
  long submit(iocb& b) const {
    iocb* blocks[] = {&b};
    return syscall(SYS_io_submit, context_, 1, blocks);
  }
  long result_of(iocb b) const {
    must(submit(b), "io_submit");
    return take(b);
  }
  aio_context_t context() const { return context_; }
  long take(const iocb& b) const {
    io_event event{};
    expect_equal(must(syscall(SYS_io_getevents, context_, 1, 1, &event, nullptr), "io_getevents"), 1L, "events");
    expect(event.obj == reinterpret_cast<uint64_t>(&b) || event.data == b.aio_data, "the event is the operation's");
    return event.res;
  }

 private:
  aio_context_t context_ = 0;
};

// The other way to take an event; the set of signals is left alone.
long take_by_pgetevents(aio_context_t context, io_event& event) {
  return syscall(SYS_io_pgetevents, context, 1, 1, &event, nullptr, nullptr);
}

void asynchronous_operations_are_told_by_events(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  Async async;
  expect_equal(async.result_of(async.block(fd, IOCB_CMD_PWRITE, "0123456789", 10, 3)), 10L, "written");
  std::array<char, 100> buffer{};
  expect_equal(async.result_of(async.block(fd, IOCB_CMD_PREAD, buffer.data(), 100, 5)), 8L, "read");
  expect_equal(std::string(buffer.data(), 8), std::string("23456789"), "content");
  const iovec vectors[] = {{buffer.data(), 2}, {buffer.data() + 50, 2}};
  expect_equal(async.result_of(async.block(fd, IOCB_CMD_PREADV, vectors, 2, 3)), 4L, "read");
  expect_equal(std::string(buffer.data() + 50, 2), std::string("23"), "content");
  expect_equal(async.result_of(async.block(fd, IOCB_CMD_PREAD, buffer.data(), 1, 1000)), 0L, "read at the end");
  expect_equal(async.result_of(async.block(fd, IOCB_CMD_FSYNC, nullptr, 0, 0)), 0L, "fsync");
  expect_equal(position(fd), 0L, "position");
}

void an_asynchronous_operation_rings_its_eventfd(const Place& p) {
  p.write_file("f", "text");
  Fd fd(p.open("f", O_RDONLY)), bell(static_cast<int>(must(eventfd(0, EFD_CLOEXEC), "eventfd")));
  Async async;
  char buffer[4];
  iocb b = async.block(fd, IOCB_CMD_PREAD, buffer, sizeof buffer, 0);
  b.aio_flags = IOCB_FLAG_RESFD;
  b.aio_resfd = static_cast<uint32_t>(static_cast<int>(bell));
  const iocb before = b;
  must(async.submit(b), "io_submit");
  expect(before.aio_lio_opcode == b.aio_lio_opcode && before.aio_buf == b.aio_buf &&
             before.aio_nbytes == b.aio_nbytes && before.aio_fildes == b.aio_fildes,
         "the control block is as it was");
  uint64_t count = 0;
  must(read(bell, &count, sizeof count), "read");
  expect_equal<uint64_t>(count, 1, "rings");
  expect_equal(async.take(b), 4L, "read");
}

void a_failed_asynchronous_operation_is_told_by_its_event(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT)), reader(p.open("f", O_RDONLY));
  Async async;
  iocb forbidden = async.block(reader, IOCB_CMD_PWRITE, "x", 1, 0);
  must_fail(async.submit(forbidden), EBADF, "writing to what is read only");
  iocb unknown = async.block(fd, 99, "x", 1, 0);
  must_fail(async.submit(unknown), EINVAL, "an unknown operation");
  rlimit before{};
  must(getrlimit(RLIMIT_FSIZE, &before), "getrlimit");
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, before.rlim_max};
  must(setrlimit(RLIMIT_FSIZE, &small), "setrlimit");
  const long result = async.result_of(async.block(fd, IOCB_CMD_PWRITE, "x", 1, 5000));
  iocb second = async.block(fd, IOCB_CMD_PWRITE, "x", 1, 5000);
  io_event event{};
  must(async.submit(second), "io_submit");
  const long taken = take_by_pgetevents(async.context(), event);
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  expect_equal(result, static_cast<long>(-EFBIG), "beyond the limit");
  expect_equal(taken, 1L, "io_pgetevents");
  expect_equal<long>(event.res, -EFBIG, "beyond the limit, by io_pgetevents");
  expect_equal(async.result_of(async.block(fd, IOCB_CMD_PWRITE, "x", 1, 5000)), 1L, "and within it again");
}

}  // namespace

#define RULE(name) \
  { #name, name }
std::vector<Rule> copy_rules() {
  return {RULE(a_range_is_copied_and_positions_move_without_offsets),
          RULE(a_file_is_copied_within_itself_but_not_onto_itself),
          RULE(what_is_copied_is_checked),
          RULE(a_file_is_sent_to_files_pipes_and_sockets),
          RULE(a_pipe_is_spliced_into_a_file),
          RULE(a_file_is_spliced_into_a_pipe),
          RULE(files_are_copied_through_a_pipe),
          RULE(only_pipes_are_teed_and_given_pages),
          RULE(asynchronous_operations_are_told_by_events),
          RULE(an_asynchronous_operation_rings_its_eventfd),
          RULE(a_failed_asynchronous_operation_is_told_by_its_event)};
}

}  // namespace fusewire::conformance
