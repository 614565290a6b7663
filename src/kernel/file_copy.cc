// copy_file_range(2): by the daemon where it knows how, else by reading and writing (vfs_copy_file_range and
// __fuse_copy_file_range).
#include <utility>

#include "kernel/attributes.h"
#include "kernel/buffer.h"
#include "kernel/file_io.h"

namespace fusewire::kernel {

namespace {

constexpr uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

// What splice_copy_file_range moves at a time.
constexpr uint64_t piece_bytes = 128 * 1024;
// The older opcode's reply has 32 bits for the length: whole pages below that.
constexpr uint64_t short_copy_max = 0xfffff000;

// generic_file_rw_checks.
Result<void> check_files(const File& from, const File& to) {
  if (from.is_path() || to.is_path()) return error(Errno::ebadf);
  if (from.inode->is_dir() || to.inode->is_dir()) return error(Errno::eisdir);
  if (!from.inode->is_reg() || !to.inode->is_reg()) return error(Errno::einval);
  const bool allowed = from.readable() && to.writable() && !(to.flags & abi::o_append);
  return allowed ? Result<void>() : error(Errno::ebadf);
}

// generic_copy_file_checks: how many of the bytes there are to copy, as far as the sizes are known.
Result<uint64_t> count_to_copy(const File& from, const File& to, Caller& caller, const CopyRange& range) {
  const auto start = static_cast<uint64_t>(range.from), target = static_cast<uint64_t>(range.to);
  uint64_t end = 0;
  // Before the signs are looked at: a negative offset wraps.
  if (__builtin_add_overflow(start, range.bytes, &end) || __builtin_add_overflow(target, range.bytes, &end))
    return error(Errno::eoverflow);
  const uint64_t size = from.inode->attr.size;
  uint64_t count = range.from >= 0 && start >= size ? 0 : smaller(range.bytes, size - start);
  if (range.to >= 0) {
    const Result<size_t> room = count_within_limits(caller, target, count);
    if (!room) return error(room.error());
    count = *room;
  }
  if (from.inode.get() == to.inode.get() && target + count > start && target < start + count)
    return error(Errno::einval);
  if (range.from < 0 || range.to < 0) return error(Errno::einval);
  return count;
}

Task<Result<uint64_t>> send_copy(File& from, File& to, Caller& caller, const CopyRange& range, bool is_long) {
  wire::CopyFileRangeIn in{};
  in.fh_in = from.fh;
  in.off_in = static_cast<uint64_t>(range.from);
  in.nodeid_out = to.inode->nodeid;
  in.fh_out = to.fh;
  in.off_out = static_cast<uint64_t>(range.to);
  in.len = is_long ? range.bytes : smaller(range.bytes, short_copy_max);
  wire::CopyFileRangeOut long_out{};
  wire::WriteOut out{};
  Args args;
  args.opcode = is_long ? wire::Opcode::copy_file_range_64 : wire::Opcode::copy_file_range;
  args.nodeid = from.inode->nodeid;
  args.add_in(in);
  if (is_long)
    args.add_out(long_out);
  else
    args.add_out(out);
  auto sent = co_await from.sb.connection.send(args, caller);
  if (!sent) co_return error(sent.error());
  co_return is_long ? long_out.bytes_copied : uint64_t{out.size};
}

// By the opcode that this daemon knows; EOPNOTSUPP when it knows neither.
Task<Result<uint64_t>> ask_copy(File& from, File& to, Caller& caller, const CopyRange& range) {
  LearnedEnosys& learned = from.sb.connection.learned_enosys();
  if (learned.copy_file_range) co_return error(Errno::eopnotsupp);
  if (!learned.copy_file_range_64) {
    auto copied = co_await send_copy(from, to, caller, range, true);
    if (copied || copied.error() != Errno::enosys) co_return copied;
    learned.copy_file_range_64 = true;
  }
  auto copied = co_await send_copy(from, to, caller, range, false);
  if (copied || copied.error() != Errno::enosys) co_return copied;
  learned.copy_file_range = true;
  co_return error(Errno::eopnotsupp);
}

Task<Result<size_t>> copy_by_daemon(File& from, File& to, Caller& caller, const CopyRange& range) {
  Inode& inode = *to.inode;
  if (from.sb.connection.learned_enosys().copy_file_range) co_return error(Errno::eopnotsupp);
  auto guard = co_await inode.lock.exclusive(to.sb.ready(), caller);
  if (!guard) co_return error(guard.error());
  auto privileges = co_await remove_privileges(inode, caller);
  if (!privileges) co_return error(privileges.error());
  const auto target = static_cast<uint64_t>(range.to);
  const bool extends = target + range.bytes > inode.attr.size;
  if (extends) inode.size_unstable = true;
  auto copied = co_await ask_copy(from, to, caller, range);
  if (extends) inode.size_unstable = false;
  if (!copied) co_return error(copied.error());
  if (*copied > range.bytes) co_return error(Errno::eio);
  file_written(inode, *copied == 0 ? 0 : target + *copied);
  invalidate_attributes(*from.inode, abi::statx_atime);
  co_return *copied;
}

// splice_copy_file_range.
Task<Result<size_t>> copy_by_hand(File& from, File& to, Caller& caller, const CopyRange& range) {
  const uint64_t count = smaller(range.bytes, abi::max_rw_count);
  Buffer piece(from.kmalloc(), smaller(count, piece_bytes));
  if (!piece) co_return error(Errno::enomem);
  uint64_t done = 0;
  while (done < count) {
    const auto wanted = piece.span().first(smaller(count - done, piece.span().size()));
    auto got = co_await read_file(from, caller, wanted, range.from + static_cast<int64_t>(done));
    if (!got && done == 0) co_return error(got.error());
    if (!got || *got == 0) break;
    auto written = co_await write_file(to, caller, wanted.first(*got), range.to + static_cast<int64_t>(done));
    if (!written && done == 0) co_return error(written.error());
    if (!written) break;
    done += *written;
    if (*written < *got) break;
  }
  co_return done;
}

Task<Result<size_t>> copy_at(File& from, File& to, Caller& caller, CopyRange range) {
  auto count = count_to_copy(from, to, caller, range);
  if (!count) co_return error(count.error());
  if (from.inode->bad || to.inode->bad) co_return error(Errno::eio);
  range.bytes = *count;
  if (range.bytes == 0) co_return size_t{0};
  auto copied = co_await copy_by_daemon(from, to, caller, range);
  if (copied || (copied.error() != Errno::eopnotsupp && copied.error() != Errno::exdev)) co_return copied;
  auto spliced = co_await copy_by_hand(from, to, caller, range);
  co_return spliced;
}

}  // namespace

// Both positions are held for the whole copy, in the order of their addresses, so that two copies between the same
// files cannot wait for each other.
Task<Result<size_t>> copy_file_range(File& from, File& to, Caller& caller, CopyRange range) {
  CO_TRY_VOID(check_files(from, to));
  File* holders[] = {range.from == -1 ? &from : nullptr, range.to == -1 ? &to : nullptr};
  if (holders[0] == holders[1]) holders[1] = nullptr;
  if (holders[0] > holders[1]) std::swap(holders[0], holders[1]);
  SleepLock::Guard guards[2];
  for (int i = 0; i < 2; i++) {
    if (holders[i] == nullptr) continue;
    auto guard = co_await holders[i]->position_lock.exclusive(from.sb.ready(), caller);
    if (!guard) co_return error(guard.error());
    guards[i] = std::move(*guard);
  }
  const bool moves_from = range.from == -1, moves_to = range.to == -1;
  if (moves_from) range.from = static_cast<int64_t>(from.position);
  if (moves_to) range.to = static_cast<int64_t>(to.position);
  auto copied = co_await copy_at(from, to, caller, range);
  if (!copied) co_return copied;
  if (moves_from) from.position = static_cast<uint64_t>(range.from) + *copied;
  if (moves_to) to.position = static_cast<uint64_t>(range.to) + *copied;
  co_return copied;
}

}  // namespace fusewire::kernel
