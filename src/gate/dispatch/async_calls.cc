// Asynchronous I/O of the kernel's own kind (io_submit) on files of mounts.
//
// It is done at once, as Linux does what goes through the page cache, and then told to the program's context as the
// kernel tells it, so that io_getevents, eventfds and programs that read the ring of events by themselves find it
// there: in place of the operation a write of as many bytes to /dev/null is submitted, with the program's own control
// block. A failure is a write that a sealed file refuses; which one it was is put into the event when the program takes
// it by io_getevents or io_pgetevents.
#include <linux/aio_abi.h>
#include <sys/mman.h>

#include "gate/dispatch/async_calls.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/transfer.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;

// Operations that failed and whose events the program has not taken: {context, control block, result}.
struct Failure {
  std::atomic<uint64_t> block{0};  // 0: free; taking: being filled
  uint64_t context = 0;
  long result = 0;
};
constexpr uint64_t taking = 1;
GATE_LARGE Failure failures[512];
std::atomic<uint32_t> failure_count{0};

bool note_failure(uint64_t context, uint64_t block, long result) {
  for (Failure& f : failures) {
    uint64_t free = 0;
    if (!f.block.compare_exchange_strong(free, taking)) continue;
    f.context = context;
    f.result = result;
    f.block = block;
    failure_count++;
    return true;
  }
  return false;
}

// The result of a failed operation whose event is being taken; 0: it did not fail.
long take_failure(uint64_t context, uint64_t block) {
  if (failure_count == 0) return 0;
  for (Failure& f : failures) {
    uint64_t seen = block;
    if (f.block.load() != block || f.context != context || !f.block.compare_exchange_strong(seen, taking)) continue;
    const long result = f.result;
    f.block = 0;
    failure_count--;
    return result;
  }
  return 0;
}

Vectors vectors_of(const iocb& block) {
  if (block.aio_lio_opcode == IOCB_CMD_PREADV || block.aio_lio_opcode == IOCB_CMD_PWRITEV)
    return Vectors::array(reinterpret_cast<const iovec*>(block.aio_buf), static_cast<long>(block.aio_nbytes));
  return Vectors::single(reinterpret_cast<void*>(block.aio_buf), block.aio_nbytes);
}

// aio_prep_rw, io_submit_one: what is said at once and not by an event. 0 or -errno.
long check_block(const iocb& block) {
  if (block.aio_reserved2 != 0) return -EINVAL;
  if (static_cast<int64_t>(block.aio_nbytes) < 0) return -EINVAL;
  switch (block.aio_lio_opcode) {
    case IOCB_CMD_PREAD:
    case IOCB_CMD_PWRITE:
    case IOCB_CMD_PREADV:
    case IOCB_CMD_PWRITEV:
      return 0;
    case IOCB_CMD_FSYNC:
    case IOCB_CMD_FDSYNC:
      return block.aio_buf != 0 || block.aio_offset != 0 || block.aio_nbytes != 0 || block.aio_rw_flags != 0 ? -EINVAL
                                                                                                             : 0;
    default:
      return -EINVAL;
  }
}

long perform(VirtualFile file, long nr, const iocb& block) {
  const auto offset = static_cast<int64_t>(block.aio_offset);
  const auto rwf = static_cast<uint32_t>(block.aio_rw_flags);
  switch (block.aio_lio_opcode) {
    case IOCB_CMD_PREAD:
    case IOCB_CMD_PREADV:
      return offset < 0 ? if_readable(file, nr, -EINVAL) : read_file(file, nr, vectors_of(block), offset, rwf);
    case IOCB_CMD_PWRITE:
    case IOCB_CMD_PWRITEV:
      return offset < 0 ? if_writable(file, nr, -EINVAL) : write_file(file, nr, vectors_of(block), offset, rwf);
    default:
      return file_call(file, CallNumber::fsync, nr, {block.aio_lio_opcode == IOCB_CMD_FDSYNC ? 1 : 0});
  }
}

long submit_natively(long context, long blocks, long count) {
  return raw_syscall(SYS_io_submit, context, count, blocks);
}

// The event of an operation that is done: a write of so many bytes to the sink. `at` is the program's control block.
long announce(long context, const long& at, const iocb& block, int sink, long bytes) {
  iocb in_place = block;
  in_place.aio_lio_opcode = IOCB_CMD_PWRITE;
  in_place.aio_fildes = static_cast<uint32_t>(sink);
  in_place.aio_rw_flags = 0;
  in_place.aio_reqprio = 0;
  in_place.aio_flags = block.aio_flags & IOCB_FLAG_RESFD;
  in_place.aio_nbytes = static_cast<uint64_t>(bytes);
  in_place.aio_offset = 0;
  // Nothing is read from there, but it must be an address of the program's.
  in_place.aio_buf = static_cast<uint64_t>(at);
  auto* where = reinterpret_cast<void*>(at);
  if (copy_to_program(where, &in_place, sizeof in_place) != 0) return -EFAULT;
  const long r = submit_natively(context, native::of(&at), 1);
  copy_to_program(where, &block, sizeof block);
  return r;
}

// A file that every write to succeeds, or none.
int open_sink(bool succeeds) {
  const long fd = with_room(process(), [&]() -> long {
    if (succeeds) return native::open("/dev/null", O_WRONLY | O_CLOEXEC);
    return native::memfd_create("fusewire-failed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  });
  if (fd >= 0 && !succeeds) native::fcntl(static_cast<int>(fd), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW);
  return static_cast<int>(fd);
}

// 1, or -errno: the block was not submitted.
long tell_result(long context, const long& at, const iocb& block, long result) {
  const int sink = open_sink(result >= 0);
  if (sink < 0) return refuse(-EAGAIN, "io_submit", "", "asynchronous I/O on files of mounts needs /dev/null");
  const auto id = static_cast<uint64_t>(context), address = static_cast<uint64_t>(at);
  long r = result < 0 && !note_failure(id, address, result) ? -EAGAIN : 1;
  if (r == 1) r = announce(context, at, block, sink, result < 0 ? 1 : result);
  if (r != 1 && result < 0) take_failure(id, address);
  native::close(sink);
  return r;
}

long submit_one(long context, const long& at, const iocb& block, VirtualFile file, long nr) {
  if (const long r = check_block(block); r < 0) return r;
  const long result = perform(file, nr, block);
  if (result == -EBADF || result == abi::stale_token) return result;
  return tell_result(context, at, block, result);
}

}  // namespace

// As many as could be submitted; the first one's error when there were none.
long call_io_submit(const CallFrame& f) {
  if (!possible.virtual_file) return pass_on;
  const auto* blocks = reinterpret_cast<const long*>(f.arg[2]);
  long done = 0;
  for (; done < f.arg[1]; done++) {
    long at = 0, r = 0;
    iocb block;
    VirtualFile file;
    const bool is_there = copy_from_program(&at, blocks + done, sizeof at) == 0 &&
                          copy_from_program(&block, reinterpret_cast<void*>(at), sizeof block) == 0;
    if (!is_there)
      r = -EFAULT;
    else if (is_virtual(static_cast<int>(block.aio_fildes), file))
      r = submit_one(f.arg[0], at, block, file, f.nr);
    else
      r = submit_natively(f.arg[0], native::of(&at), 1);
    if (r != 1) return done != 0 ? done : r;
  }
  return done != 0 ? done : pass_on;
}

bool takes_events(long nr) { return nr == SYS_io_getevents || nr == SYS_io_pgetevents; }

long judge_events(const CallFrame& f, long taken) {
  if (failure_count == 0) return taken;
  auto* events = reinterpret_cast<io_event*>(f.arg[3]);
  for (long i = 0; i < taken; i++) {
    io_event event;
    if (copy_from_program(&event, events + i, sizeof event) != 0) break;
    const long result = take_failure(static_cast<uint64_t>(f.arg[0]), event.obj);
    if (result == 0) continue;
    event.res = result;
    copy_to_program(events + i, &event, sizeof event);
  }
  return taken;
}

// Caught for the sake of judge_events.
long call_io_getevents(const CallFrame&) { return pass_on; }

// Its events are never taken.
long call_io_destroy(const CallFrame& f) {
  if (failure_count == 0) return pass_on;
  for (Failure& failure : failures) {
    uint64_t block = failure.block;
    if (block > taking && failure.context == static_cast<uint64_t>(f.arg[0]) &&
        failure.block.compare_exchange_strong(block, taking)) {
      failure.block = 0;
      failure_count--;
    }
  }
  return pass_on;
}

// Contexts stay with the parent.
void forget_asynchronous_failures() {
  if (failure_count == 0) return;
  for (Failure& failure : failures) failure.block = 0;
  failure_count = 0;
}

}  // namespace fusewire::gate
