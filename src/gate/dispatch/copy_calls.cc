// Calls that move data from descriptor to descriptor: sendfile, copy_file_range, splice and its kin.
#include "gate/dispatch/copy_calls.h"

#include "gate/dispatch/device_calls.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/transfer.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;

// One side of a copy: a file of a mount, or another descriptor.
struct Side {
  Descriptor kind = Descriptor::native;
  VirtualFile file;
  int fd = -1;

  bool is_virtual() const { return kind == Descriptor::virtual_file; }
};

Side side_of(long fd) {
  Side s;
  s.fd = static_cast<int>(fd);
  s.kind = identify(s.fd, s.file);
  return s;
}

long position_of(const Side& s, long nr, int64_t offset, int whence) {
  if (s.is_virtual()) return file_call(s.file, CallNumber::lseek, nr, {offset, whence});
  return raw_syscall(SYS_lseek, s.fd, offset, whence);
}

long write_out(const Side& out, long nr, const char* data, size_t bytes, int64_t offset) {
  if (!out.is_virtual()) return raw_sleep(SYS_write, out.fd, native::of(data), static_cast<long>(bytes));
  RingCall call(out.file.connection, CallNumber::write, nr);
  if (call.error() != 0) return call.error();
  call.set_file(out.file.token);
  call.set_arg(0, offset);
  __builtin_memcpy(call.data_area().data(), data, bytes);
  call.set_data_length(bytes);
  return call.run();
}

// At most io_bytes_max bytes.
long copy_piece_from_mount(const Side& in, const Side& out, long nr, int64_t offset, int64_t out_offset, size_t bytes) {
  RingCall call(in.file.connection, CallNumber::read, nr);
  if (call.error() != 0) return call.error();
  call.set_file(in.file.token);
  call.set_arg(0, offset);
  call.set_arg(1, static_cast<int64_t>(bytes));
  const long n = call.run();
  if (n <= 0) return n;
  return write_out(out, nr, call.result_data(static_cast<size_t>(n)).data(), static_cast<size_t>(n), out_offset);
}

// Native to mount: read right into the slot.
long copy_piece_to_mount(const Side& in, const Side& out, long nr, int64_t offset, size_t bytes) {
  RingCall call(out.file.connection, CallNumber::write, nr);
  if (call.error() != 0) return call.error();
  call.set_file(out.file.token);
  call.set_arg(0, at_position);
  const long n = raw_syscall(SYS_pread64, in.fd, native::of(call.data_area().data()), static_cast<long>(bytes), offset);
  if (n <= 0) return n;
  call.set_data_length(static_cast<size_t>(n));
  return call.run();
}

size_t within_one_call(size_t bytes) {
  return bytes < abi::transfer_bytes_max ? bytes : size_t{abi::transfer_bytes_max};
}
size_t piece_of(size_t bytes) { return bytes < abi::io_bytes_max ? bytes : size_t{abi::io_bytes_max}; }

// copy(done, bytes): a piece of at most `bytes` behind what is done; the bytes copied, 0 at the end, or -errno.
template <class Copy>
long in_pieces(size_t count, Copy copy) {
  size_t done = 0;
  while (done < count) {
    const long n = copy(done, piece_of(count - done));
    if (n < 0 && done == 0) return n;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  return static_cast<long>(done);
}

long flags_of(const Side& s, long nr) {
  return s.is_virtual() ? file_call(s.file, CallNumber::getfl, nr) : native::fcntl(s.fd, F_GETFL);
}

bool has_access(long flags, long alone) {
  return (flags & O_PATH) == 0 && ((flags & O_ACCMODE) == alone || (flags & O_ACCMODE) == O_RDWR);
}

// 0, or -errno: EBADF without the access that a side needs.
long check_access(const Side& s, long nr, long access, long& flags) {
  flags = flags_of(s, nr);
  if (flags == abi::stale_token) return flags;
  return flags < 0 || !has_access(flags, access) ? -EBADF : 0;
}

// The type bits of its mode; 0: it has gone.
uint32_t type_of(const Side& s, long nr) {
  struct stat native {};
  if (!s.is_virtual()) return native::fstat(s.fd, &native) == 0 ? native.st_mode & S_IFMT : 0;
  abi::Stat st{};
  return file_status(s.file, nr, st) == 0 ? st.mode & S_IFMT : 0;
}

// do_sendfile, do_splice_direct, splice_direct_to_actor.
long check_sendfile(const Side& in, const Side& out, long nr, int64_t offset, long count) {
  long in_flags = 0, out_flags = 0;
  if (const long r = check_access(in, nr, O_RDONLY, in_flags); r < 0) return r;
  if (offset < 0 || count < 0 || count > INT64_MAX - offset) return -EINVAL;
  if (const long r = check_access(out, nr, O_WRONLY, out_flags); r < 0) return r;
  const long out_position = position_of(out, nr, 0, SEEK_CUR);
  if (out_position > 0 && count > INT64_MAX - out_position) return -EINVAL;
  if ((out_flags & O_APPEND) != 0) return -EINVAL;
  const uint32_t type = count > 0 ? type_of(in, nr) : S_IFREG;
  return type == S_IFREG || type == S_IFBLK ? 0 : -EINVAL;
}

// An offset that the program may have given; -EFAULT. Without one `offset` stays.
long take_offset(long pointer, int64_t& offset) {
  if (pointer == 0) return 0;
  return copy_from_program(&offset, reinterpret_cast<void*>(pointer), sizeof offset);
}
long give_offset(long pointer, int64_t offset) {
  return copy_to_program(reinterpret_cast<void*>(pointer), &offset, sizeof offset);
}

}  // namespace

long call_sendfile(const CallFrame& f) {
  const Side out = side_of(f.arg[0]), in = side_of(f.arg[1]);
  if (!in.is_virtual() && !out.is_virtual()) return pass_on;
  int64_t given = 0;
  if (take_offset(f.arg[2], given) != 0) return -EFAULT;
  const bool moves = f.arg[2] == 0;
  const long position = moves ? position_of(in, f.nr, 0, SEEK_CUR) : given;
  if (const long r = check_sendfile(in, out, f.nr, moves && position < 0 ? 0 : position, f.arg[3]); r < 0) return r;
  if (position < 0) return position;
  const auto count = static_cast<size_t>(f.arg[3]);
  const long n = in_pieces(within_one_call(count), [&](size_t done, size_t bytes) {
    const int64_t from = position + static_cast<int64_t>(done);
    return in.is_virtual() ? copy_piece_from_mount(in, out, f.nr, from, at_position, bytes)
                           : copy_piece_to_mount(in, out, f.nr, from, bytes);
  });
  if (n <= 0) return n;
  if (!moves) return give_offset(f.arg[2], position + n) != 0 ? -EFAULT : n;
  position_of(in, f.nr, position + n, SEEK_SET);
  return n;
}

namespace {

// vfs_copy_file_range's checks, as far as the half does not make them.
long check_copy(const Side& in, const Side& out, long nr) {
  long in_flags = 0, out_flags = 0;
  const long readable = check_access(in, nr, O_RDONLY, in_flags), writable = check_access(out, nr, O_WRONLY, out_flags);
  if (readable == abi::stale_token || writable == abi::stale_token) return abi::stale_token;
  if (in_flags < 0 || out_flags < 0 || ((in_flags | out_flags) & O_PATH) != 0) return -EBADF;
  const uint32_t from = type_of(in, nr), to = type_of(out, nr);
  if (from == S_IFDIR || to == S_IFDIR) return -EISDIR;
  if (from != S_IFREG || to != S_IFREG) return -EINVAL;
  return readable < 0 || writable < 0 || (out_flags & O_APPEND) != 0 ? -EBADF : 0;
}

}  // namespace

long check_copy(long from, long to, long nr) { return check_copy(side_of(from), side_of(to), nr); }

namespace {

// What is wrong with the arguments gives way to EBADF.
long unless_closed(const Side& in, const Side& out, long nr, long result) {
  for (const Side* side : {&in, &out}) {
    const long flags = flags_of(*side, nr);
    if (flags == abi::stale_token) return flags;
    if (flags < 0 || (flags & O_PATH) != 0) return -EBADF;
  }
  return result;
}

bool wraps(int64_t offset, long bytes) {
  uint64_t end = 0;
  return __builtin_add_overflow(static_cast<uint64_t>(offset), static_cast<uint64_t>(bytes), &end);
}

long copy_within(const Side& in, const Side& out, long nr, int64_t from, int64_t to, size_t bytes) {
  RingCall call(in.file.connection, CallNumber::copy, nr);
  if (call.error() != 0) return call.error();
  call.set_file(in.file.token);
  call.set_file2(out.file.token);
  call.set_arg(0, from);
  call.set_arg(1, to);
  call.set_arg(2, static_cast<int64_t>(bytes));
  return call.run();
}

// Of two mounts: by splicing, as fs/fuse does it then.
long copy_between(const Side& in, const Side& out, long nr, int64_t from, int64_t to, size_t bytes) {
  if (const long r = check_copy(in, out, nr); r < 0) return r;
  if (from < at_position || to < at_position) return -EINVAL;
  return in_pieces(within_one_call(bytes), [&](size_t done, size_t piece) {
    const auto behind = static_cast<int64_t>(done);
    return copy_piece_from_mount(in, out, nr, from < 0 ? from : from + behind, to < 0 ? to : to + behind, piece);
  });
}

}  // namespace

long call_copy_file_range(const CallFrame& f) {
  const Side in = side_of(f.arg[0]), out = side_of(f.arg[2]);
  if (in.kind == Descriptor::native && out.kind == Descriptor::native) return pass_on;
  int64_t from = 0, to = 0;
  if (take_offset(f.arg[1], from) != 0 || take_offset(f.arg[3], to) != 0) return unless_closed(in, out, f.nr, -EFAULT);
  if (f.arg[5] != 0) return unless_closed(in, out, f.nr, -EINVAL);
  if (!in.is_virtual() || !out.is_virtual()) {
    // Other programs' files know nothing of ours: callers then read and write.
    const long r = check_copy(in, out, f.nr);
    return r < 0 ? r : -EXDEV;
  }
  // -1 says "at the position" further on.
  if (from < 0 || to < 0) {
    const long r = check_copy(in, out, f.nr);
    return r < 0 ? r : wraps(from, f.arg[4]) || wraps(to, f.arg[4]) ? -EOVERFLOW : -EINVAL;
  }
  if (f.arg[1] == 0) from = at_position;
  if (f.arg[3] == 0) to = at_position;
  const auto bytes = static_cast<size_t>(f.arg[4]);
  const long n = in.file.connection == out.file.connection ? copy_within(in, out, f.nr, from, to, bytes)
                                                           : copy_between(in, out, f.nr, from, to, bytes);
  if (n <= 0) return n;
  if (f.arg[1] != 0 && give_offset(f.arg[1], from + n) != 0) return -EFAULT;
  if (f.arg[3] != 0 && give_offset(f.arg[3], to + n) != 0) return -EFAULT;
  return n;
}

namespace {

// What a pipe can hold, in bytes; below 0: it is none.
long pipe_capacity(const Side& s) { return s.kind == Descriptor::native ? native::fcntl(s.fd, F_GETPIPE_SZ) : -1; }

// Until the pipe has data, or room, or has lost its other end.
long wait_for_pipe(const Side& pipe, short events, bool may_sleep) {
  pollfd p{pipe.fd, events, 0};
  const long r = raw_sleep(SYS_poll, native::of(&p), 1, may_sleep ? -1 : 0);
  if (r < 0) return r;
  return r == 0 ? -EAGAIN : 0;
}

// Of a file of a mount and a pipe; the other sides have been looked at.
struct Splice {
  const Side& file;
  const Side& pipe;
  long nr;
  int64_t offset;
  size_t bytes;
  bool may_sleep;
};

// iter_file_splice_write. What has been taken out of the pipe and cannot be written, since the daemon refuses it, is
// lost; Linux leaves it in the pipe.
long splice_to_file(const Splice& s) {
  if (const long r = wait_for_pipe(s.pipe, POLLIN, s.may_sleep); r < 0) return r;
  return in_pieces(s.bytes, [&](size_t done, size_t bytes) -> long {
    if (done != 0 && pipe_fill(s.pipe.fd) <= 0) return 0;
    RingCall call(s.file.file.connection, CallNumber::write, s.nr);
    if (call.error() != 0) return call.error();
    call.set_file(s.file.file.token);
    call.set_arg(0, s.offset == at_position ? at_position : s.offset + static_cast<int64_t>(done));
    const long n = raw_sleep(SYS_read, s.pipe.fd, native::of(call.data_area().data()), static_cast<long>(bytes));
    if (n <= 0) return n;
    call.set_data_length(static_cast<size_t>(n));
    return call.run();
  });
}

// splice_file_to_pipe: as much as finds room without another sleep. An empty pipe holds all it can hold; of another one
// it is only known that a page is free.
long splice_from_file(const Splice& s, int64_t position) {
  if (const long r = wait_for_pipe(s.pipe, POLLOUT, s.may_sleep); r < 0) return r;
  constexpr size_t page = 4096;
  const size_t room = pipe_fill(s.pipe.fd) == 0 ? static_cast<size_t>(pipe_capacity(s.pipe)) : page;
  return copy_piece_from_mount(s.file, s.pipe, s.nr, position, at_position, piece_of(s.bytes < room ? s.bytes : room));
}

long splice_out_of(const Splice& s) {
  const bool moves = s.offset == at_position;
  const int64_t position = moves ? position_of(s.file, s.nr, 0, SEEK_CUR) : s.offset;
  if (position < 0) return position;
  const long n = splice_from_file(s, position);
  if (n > 0 && moves) position_of(s.file, s.nr, position + n, SEEK_SET);
  return n;
}

long splice_file(const CallFrame& f, const Side& in, const Side& out) {
  const bool reads_pipe = pipe_capacity(in) > 0, writes_pipe = pipe_capacity(out) > 0;
  if ((reads_pipe && f.arg[1] != 0) || (writes_pipe && f.arg[3] != 0)) return unless_closed(in, out, f.nr, -ESPIPE);
  const long pointer = reads_pipe ? f.arg[3] : f.arg[1];
  int64_t offset = 0;
  if (take_offset(pointer, offset) != 0) return unless_closed(in, out, f.nr, -EFAULT);
  long in_flags = 0, out_flags = 0;
  if (const long r = check_access(in, f.nr, O_RDONLY, in_flags); r < 0) return r;
  if (const long r = check_access(out, f.nr, O_WRONLY, out_flags); r < 0) return r;
  if (!reads_pipe && !writes_pipe) return -EINVAL;
  if (reads_pipe && (out_flags & O_APPEND) != 0) return -EINVAL;
  if (type_of(reads_pipe ? out : in, f.nr) == S_IFDIR) return -EINVAL;
  if (pointer == 0)
    offset = at_position;
  else if (offset < 0)
    return -EINVAL;
  const long pipe_flags = reads_pipe ? in_flags : out_flags;
  const bool may_sleep = (f.arg[5] & SPLICE_F_NONBLOCK) == 0 && (pipe_flags & O_NONBLOCK) == 0;
  const auto bytes = static_cast<size_t>(f.arg[4]);
  const Splice s{reads_pipe ? out : in, reads_pipe ? in : out, f.nr, offset, within_one_call(bytes), may_sleep};
  const long n = reads_pipe ? splice_to_file(s) : splice_out_of(s);
  if (n > 0 && pointer != 0 && give_offset(pointer, offset + n) != 0) return -EFAULT;
  return n;
}

}  // namespace

long call_splice(const CallFrame& f) {
  constexpr long known = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;
  const Side in = side_of(f.arg[0]), out = side_of(f.arg[2]);
  if (in.kind == Descriptor::native && out.kind == Descriptor::native) return pass_on;
  const auto bytes = static_cast<size_t>(f.arg[4]);
  if (bytes == 0) return 0;
  if ((static_cast<uint32_t>(f.arg[5]) & ~known) != 0) return -EINVAL;
  if (in.is_virtual() || out.is_virtual()) return splice_file(f, in, out);
  // A device has no position.
  if (f.arg[1] != 0 || f.arg[3] != 0) return -EINVAL;
  if (out.kind == Descriptor::device && in.kind == Descriptor::native) return splice_to_device(in.fd, out.fd, bytes);
  if (in.kind == Descriptor::device && out.kind == Descriptor::native) return splice_from_device(in.fd, out.fd, bytes);
  return -EINVAL;
}

// Between pipes only.
long call_tee(const CallFrame& f) {
  const Side in = side_of(f.arg[0]), out = side_of(f.arg[1]);
  if (in.kind == Descriptor::native && out.kind == Descriptor::native) return pass_on;
  long flags = 0;
  if (f.arg[2] == 0) return 0;
  if (const long r = check_access(in, f.nr, O_RDONLY, flags); r < 0) return r;
  if (const long r = check_access(out, f.nr, O_WRONLY, flags); r < 0) return r;
  return -EINVAL;
}

long call_vmsplice(const CallFrame& f) { return side_of(f.arg[0]).kind == Descriptor::native ? pass_on : -EBADF; }

}  // namespace fusewire::gate
