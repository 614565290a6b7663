// The bytes of an open file: read, write and their kin, positions, directory entries, syncing.
#include "gate/dispatch/device_calls.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/rings.h"
#include "gate/dispatch/transfer.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;
using abi::io_bytes_max;

void* pointer(long argument) { return reinterpret_cast<void*>(argument); }

using Transfer = long (*)(VirtualFile, long, Vectors, int64_t, uint32_t);
using DeviceTransfer = long (*)(int, const iovec*, long);

Vectors vectors_of(const CallFrame& f, bool vectored) {
  if (!vectored) return Vectors::single(pointer(f.arg[1]), static_cast<size_t>(f.arg[2]));
  return Vectors::array(static_cast<const iovec*>(pointer(f.arg[1])), f.arg[2]);
}

// For read and write, where the descriptor may also be a device.
template <Transfer transfer, DeviceTransfer device>
long unpositioned(const CallFrame& f, bool vectored) {
  VirtualFile file;
  const int fd = static_cast<int>(f.arg[0]);
  const Descriptor kind = identify(fd, file);
  if (kind == Descriptor::native) return pass_on;
  if (kind == Descriptor::virtual_file) return transfer(file, f.nr, vectors_of(f, vectored), at_position, 0);
  if (vectored) return device(fd, static_cast<const iovec*>(pointer(f.arg[1])), f.arg[2]);
  const iovec one{pointer(f.arg[1]), static_cast<size_t>(f.arg[2])};
  return device(fd, &one, 1);
}

long positioned(const CallFrame& f, Transfer transfer, bool vectored) {
  VirtualFile file;
  if (!is_virtual(static_cast<int>(f.arg[0]), file)) return pass_on;
  if (f.arg[3] < 0) return -EINVAL;
  return transfer(file, f.nr, vectors_of(f, vectored), f.arg[3], 0);
}

long positioned_with_flags(const CallFrame& f, Transfer transfer) {
  constexpr uint32_t hipri = 1;  // RWF_HIPRI
  VirtualFile file;
  if (!is_virtual(static_cast<int>(f.arg[0]), file)) return pass_on;
  const auto flags = static_cast<uint32_t>(f.arg[5]);
  if (f.arg[3] < -1) return -EINVAL;
  const long n = transfer(file, f.nr, vectors_of(f, true), f.arg[3], flags);
  // A directory has no read that knows of flags.
  return n == -EISDIR && (flags & ~hipri) != 0 ? -EOPNOTSUPP : n;
}

long run_getdents(VirtualFile file, long bytes, RingCall& call) {
  call.set_file(file.token);
  call.set_arg(0, bytes < static_cast<long>(io_bytes_max) ? bytes : static_cast<long>(io_bytes_max));
  return call.run();
}

// struct linux_dirent64 and the older struct linux_dirent have the same size: the type moves behind the name.
constexpr size_t dirent64_reclen_at = 16, dirent64_type_at = 18, dirent64_name_at = 19, old_name_at = 18;

long make_old_record(const char* record, uint16_t bytes, long to) {
  char old[512];
  if (bytes > sizeof old || bytes <= dirent64_name_at) return -EIO;
  __builtin_memcpy(old, record, old_name_at);
  __builtin_memcpy(old + old_name_at, record + dirent64_name_at, bytes - dirent64_name_at);
  old[bytes - 2] = 0;
  old[bytes - 1] = record[dirent64_type_at];
  return copy_to_program(pointer(to), old, bytes);
}

long copy_records(const RingCall& call, long n, long to) {
  const auto data = call.result_data(static_cast<size_t>(n));
  return copy_to_program(pointer(to), data.data(), data.size());
}

long copy_old_records(const RingCall& call, long n, long to) {
  for (long at = 0; at < n;) {
    const char* record = call.result_data(static_cast<size_t>(n)).data() + at;
    uint16_t bytes = 0;
    __builtin_memcpy(&bytes, record + dirent64_reclen_at, sizeof bytes);
    if (bytes == 0 || at + bytes > n) return -EIO;
    const long r = make_old_record(record, bytes, to + at);
    if (r < 0) return r;
    at += bytes;
  }
  return 0;
}

// The position stays where it was when the records find no room in the program's memory.
long list_directory(const CallFrame& f, long (*copy)(const RingCall&, long, long)) {
  VirtualFile file;
  if (!is_virtual(static_cast<int>(f.arg[0]), file)) return pass_on;
  char probe = 0;
  const bool no_room = copy_from_program(&probe, pointer(f.arg[1]), 1) != 0;
  const long before = no_room ? file_call(file, CallNumber::lseek, f.nr, {0, SEEK_CUR}) : 0;
  long n = 0;
  long copied = 0;
  {
    RingCall call(file.connection, CallNumber::getdents64, f.nr);
    if (call.error() != 0) return call.error();
    n = run_getdents(file, static_cast<uint32_t>(f.arg[2]), call);
    if (n > 0) copied = copy(call, n, f.arg[1]);
  }
  if (no_room && n > 0) file_call(file, CallNumber::lseek, f.nr, {before, SEEK_SET});
  return copied < 0 ? copied : n;
}

// Moves in a file whose position is here: where to, or -EAGAIN: the host has it, or is to judge.
long seek_here(uint32_t connection, uint64_t handle, int64_t offset, bool from_here) {
  Process& p = process();
  const uint32_t position = static_cast<uint32_t>(handle) - 1;
  const TakenSlot taken = take_slot_of_ring(p, connection, static_cast<uint32_t>(handle >> 32));
  if (taken.ring == nullptr) return -EAGAIN;
  abi::RingPosition& there = abi::ring_position(taken.ring->memory, position);
  const uint64_t of_file = abi::position_word(position >> abi::position_number_bits, 0);
  uint64_t word = there.load();
  long result = -EAGAIN;
  while ((word & ~abi::position_max) == of_file) {
    int64_t target = 0;
    const auto base = from_here ? static_cast<int64_t>(word & abi::position_max) : 0;
    if (__builtin_add_overflow(base, offset, &target) || target < 0) break;
    if (static_cast<uint64_t>(target) > abi::position_max) break;
    if (!there.compare_exchange_weak(word, of_file | static_cast<uint64_t>(target))) continue;
    result = target;
    break;
  }
  give_back_slot(p, *taken.ring, taken.index);
  return result;
}

}  // namespace

long call_read(const CallFrame& f) { return unpositioned<read_file, read_device>(f, false); }
long call_readv(const CallFrame& f) { return unpositioned<read_file, read_device>(f, true); }
long call_write(const CallFrame& f) { return unpositioned<write_file, write_device>(f, false); }
long call_writev(const CallFrame& f) { return unpositioned<write_file, write_device>(f, true); }
long call_pread64(const CallFrame& f) { return positioned(f, read_file, false); }
long call_pwrite64(const CallFrame& f) { return positioned(f, write_file, false); }
long call_preadv(const CallFrame& f) { return positioned(f, read_file, true); }
long call_pwritev(const CallFrame& f) { return positioned(f, write_file, true); }
long call_preadv2(const CallFrame& f) { return positioned_with_flags(f, read_file); }
long call_pwritev2(const CallFrame& f) { return positioned_with_flags(f, write_file); }

// A trace shows every call, so while there is one the host is told of each.
long call_lseek(const CallFrame& f) {
  VirtualFile file;
  const auto fd = static_cast<int>(f.arg[0]);
  if (!is_virtual(fd, file)) return pass_on;
  const auto whence = static_cast<uint32_t>(f.arg[2]);
  const uint64_t position = tracing() || whence > SEEK_CUR ? 0 : known_position(fd, file.token);
  if (position != 0) {
    const long here = seek_here(file.connection, position, f.arg[1], whence == SEEK_CUR);
    if (here >= 0) return here;
  }
  return file_call(file, CallNumber::lseek, f.nr, {f.arg[1], f.arg[2]});
}

long call_getdents64(const CallFrame& f) { return list_directory(f, copy_records); }

long call_getdents(const CallFrame& f) { return list_directory(f, copy_old_records); }

long call_fsync(const CallFrame& f) { return descriptor_call(f, CallNumber::fsync, {0}); }
long call_fdatasync(const CallFrame& f) { return descriptor_call(f, CallNumber::fsync, {1}); }

// Writes out cached pages, of which there are none.
long call_sync_file_range(const CallFrame& f) {
  VirtualFile file;
  if (!is_virtual(static_cast<int>(f.arg[0]), file)) return pass_on;
  constexpr long known = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  if ((static_cast<uint32_t>(f.arg[3]) & ~known) != 0) return unless_path(file, f.nr, -EINVAL);
  long end = 0;
  const bool sane = f.arg[1] >= 0 && f.arg[2] >= 0 && !__builtin_add_overflow(f.arg[1], f.arg[2], &end);
  return unless_path(file, f.nr, sane ? 0 : -EINVAL);
}

// Nothing is cached on this side, and FUSE has no word for it but SYNCFS, which ordinary daemons are not sent.
long call_syncfs(const CallFrame& f) {
  VirtualFile file;
  return is_virtual(static_cast<int>(f.arg[0]), file) ? unless_path(file, f.nr, 0) : pass_on;
}

long call_fallocate(const CallFrame& f) {
  VirtualFile file;
  if (!is_virtual(static_cast<int>(f.arg[0]), file)) return pass_on;
  if (f.arg[2] < 0 || f.arg[3] <= 0) return unless_path(file, f.nr, -EINVAL);
  return file_call(file, CallNumber::fallocate, f.nr, {static_cast<uint32_t>(f.arg[1]), f.arg[2], f.arg[3]});
}

// Advice: taken note of by nobody.
long call_fadvise64(const CallFrame& f) {
  VirtualFile file;
  if (!is_virtual(static_cast<int>(f.arg[0]), file)) return pass_on;
  const auto advice = static_cast<int>(f.arg[3]);
  const bool sane = f.arg[2] >= 0 && advice >= POSIX_FADV_NORMAL && advice <= POSIX_FADV_NOREUSE;
  return unless_path(file, f.nr, sane ? 0 : -EINVAL);
}

long call_readahead(const CallFrame& f) {
  VirtualFile file;
  if (!is_virtual(static_cast<int>(f.arg[0]), file)) return pass_on;
  const long size = regular_size(file, f.nr, -EINVAL);
  return if_readable(file, f.nr, size < 0 ? size : 0);
}

// Of pages in this side's cache there are none.
long call_cachestat(const CallFrame& f) {
  struct Range {
    uint64_t offset, length;
  } range;
  struct Pages {
    uint64_t cached = 0, dirty = 0, writeback = 0, evicted = 0, recently_evicted = 0;
  } const none;
  VirtualFile file;
  if (!is_virtual(static_cast<int>(f.arg[0]), file)) return pass_on;
  if (const long r = unless_path(file, f.nr, 0); r < 0) return r;
  if (copy_from_program(&range, reinterpret_cast<void*>(f.arg[1]), sizeof range) != 0) return -EFAULT;
  if (f.arg[3] != 0) return -EINVAL;
  return copy_to_program(reinterpret_cast<void*>(f.arg[2]), &none, sizeof none);
}

}  // namespace fusewire::gate
