#include "kernel/file_io.h"

#include "kernel/attributes.h"
#include "kernel/buffer.h"

namespace fusewire::kernel {

namespace {

using abi::page_size;

constexpr uint64_t page_floor(uint64_t offset) { return offset & ~(page_size - 1); }
constexpr uint64_t page_ceil(uint64_t offset) { return (offset + page_size - 1) & ~(page_size - 1); }
constexpr uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

uint64_t page_limit(Superblock& sb) { return uint64_t{sb.connection.negotiated().max_pages} * page_size; }
uint64_t read_limit(Superblock& sb) {
  const uint64_t limit = smaller(page_limit(sb), sb.connection.options().max_read);
  return limit < page_size ? page_size : limit;
}
// Whole pages only: a READ through the page cache never asks for more than max_read.
uint64_t cached_read_limit(Superblock& sb) { return page_floor(read_limit(sb)); }
// What one WRITE at this offset may carry: max_write, and max_pages counted from the start of its first page (K155).
uint64_t write_limit(File& file, uint64_t offset) {
  Superblock& sb = file.sb;
  const Negotiated& agreed = sb.connection.negotiated();
  const uint64_t max_write = agreed.max_write < page_size ? page_size : agreed.max_write;
  if (file.has_flag(wire::fopen_flag::direct_io)) return smaller(max_write, page_limit(sb));
  const uint64_t pages = agreed.has(wire::init_flag::big_writes) ? page_limit(sb) : page_size;
  return smaller(max_write, pages - offset % page_size);
}

// One READ.
Task<Result<size_t>> send_read(File& file, Caller& caller, std::span<std::byte> to, uint64_t offset) {
  wire::ReadIn in{};
  in.fh = file.fh;
  in.offset = offset;
  in.size = static_cast<uint32_t>(to.size());
  in.flags = file.flags;
  if (file.has_flag(wire::fopen_flag::direct_io)) {
    in.read_flags = wire::read_lockowner;
    in.lock_owner = file.sb.scrambled_owner(caller.lock_owner);
  }
  Args args;
  args.opcode = wire::Opcode::read;
  args.nodeid = file.inode->nodeid;
  args.add_in(in);
  args.add_out_bytes(to, true);
  auto sent = co_await file.sb.connection.send(args, caller);
  co_return sent;
}

// READ without rounding, until the count is reached or a short reply says that the file ends (K160).
Task<Result<size_t>> read_direct(File& file, Caller& caller, std::span<std::byte> to, uint64_t offset) {
  size_t done = 0;
  while (done < to.size()) {
    const size_t wanted = smaller(to.size() - done, read_limit(file.sb));
    auto got = co_await send_read(file, caller, to.subspan(done, wanted), offset + done);
    if (!got && done == 0) co_return error(got.error());
    if (!got) break;
    done += *got;
    if (*got < wanted) break;
  }
  co_return done;
}

// fuse_short_read: the file ends earlier than its attributes said, unless it has changed here meanwhile (K152).
void file_ended_at(Inode& inode, uint64_t end, uint64_t attr_version) {
  if (inode.attr_version != attr_version || inode.size_unstable || end >= inode.attr.size) return;
  inode.attr_version = inode.sb.connection.next_attr_version();
  inode.attr.size = end;
  inode.sb.changed(inode);
}

// One READ of the whole pages that hold [offset, offset + wanted); how many of the wanted bytes came.
Task<Result<size_t>> read_pages(File& file, Caller& caller, std::span<std::byte> to, uint64_t offset, size_t wanted) {
  Inode& inode = *file.inode;
  const uint64_t first = page_floor(offset), end = page_ceil(offset + wanted);
  const uint64_t attr_version = inode.attr_version;
  const bool straight = first == offset && end == offset + wanted;
  Buffer bounce(file.kmalloc(), straight ? 1 : end - first);
  if (!bounce) co_return error(Errno::enomem);
  const std::span<std::byte> pages = straight ? to.first(wanted) : bounce.span();
  auto got = co_await send_read(file, caller, pages, first);
  if (!got) co_return error(got.error());
  if (*got < pages.size()) file_ended_at(inode, first + *got, attr_version);
  if (first + *got <= offset) co_return size_t{0};
  const size_t count = smaller(wanted, first + *got - offset);
  if (!straight) __builtin_memcpy(to.data(), pages.data() + (offset - first), count);
  co_return count;
}

// As through the page cache: not beyond the size, which is refreshed when the read would pass it (K151).
Task<Result<size_t>> read_cached(File& file, Caller& caller, std::span<std::byte> to, uint64_t offset) {
  Inode& inode = *file.inode;
  const bool refresh = file.sb.has(wire::init_flag::auto_inval_data) || offset + to.size() > inode.attr.size;
  if (refresh) {
    auto fresh = co_await update_attributes(inode, caller, &file, abi::statx_size);
    if (!fresh) co_return error(fresh.error());
  }
  size_t done = 0;
  while (done < to.size() && offset + done < inode.attr.size) {
    const uint64_t at = offset + done;
    const uint64_t room = cached_read_limit(file.sb) - (at - page_floor(at));
    const size_t wanted = smaller(smaller(to.size() - done, inode.attr.size - at), room);
    auto got = co_await read_pages(file, caller, to.subspan(done, wanted), at, wanted);
    if (!got && done == 0) co_return error(got.error());
    if (!got) break;
    done += *got;
    if (*got < wanted) break;
  }
  invalidate_attributes(inode, abi::statx_atime);
  co_return done;
}

// One WRITE; the reply may not claim more than was sent (K154).
// flags: as the message carries them.
Task<Result<size_t>> send_write(File& file, Caller& caller, std::span<const std::byte> from, uint64_t offset,
                                uint32_t flags) {
  Superblock& sb = file.sb;
  wire::WriteIn in{};
  in.fh = file.fh;
  in.offset = offset;
  in.size = static_cast<uint32_t>(from.size());
  in.flags = flags;
  const bool direct = file.has_flag(wire::fopen_flag::direct_io);
  if (direct) {
    in.write_flags = wire::write_lockowner;
    in.lock_owner = sb.scrambled_owner(caller.lock_owner);
  }
  // Direct writes carry it without HANDLE_KILLPRIV_V2 too (Linux fuse_direct_io).
  if ((direct || sb.has(wire::init_flag::handle_killpriv_v2)) && !caller.may(Capability::fsetid))
    in.write_flags |= wire::write_kill_suidgid;
  wire::WriteOut out{};
  Args args;
  args.opcode = wire::Opcode::write;
  args.nodeid = file.inode->nodeid;
  const auto header = std::as_bytes(std::span(&in, 1));
  args.add_in_bytes(header.first(sb.minor() < 9 ? wire::compat_write_in_size : sizeof(in)));
  args.add_in_bytes(from);
  args.add_out(out);
  auto sent = co_await sb.connection.send(args, caller);
  if (!sent) co_return error(sent.error());
  if (out.size > from.size()) co_return error(Errno::eio);
  co_return size_t{out.size};
}

Task<Result<size_t>> write_at(File& file, Caller& caller, std::span<const std::byte> from, uint64_t offset,
                              uint32_t flags) {
  Inode& inode = *file.inode;
  size_t done = 0;
  Result<void> failure;
  inode.size_unstable = offset + from.size() > inode.attr.size;
  while (done < from.size()) {
    const size_t wanted = smaller(from.size() - done, write_limit(file, offset + done));
    auto written = co_await send_write(file, caller, from.subspan(done, wanted), offset + done, flags);
    if (!written) failure = error(written.error());
    if (!written) break;
    done += *written;
    if (*written < wanted) break;
  }
  inode.size_unstable = false;
  file_written(inode, done ? offset + done : 0);
  if (done == 0 && !failure) co_return error(failure.error());
  const bool direct = file.has_flag(wire::fopen_flag::direct_io);
  if (done == 0 && !direct) co_return error(Errno::eio);
  co_return done;
}

// kiocb_set_rw_flags: the file's flags for one call. FUSE promises neither FMODE_NOWAIT nor the two younger ones.
Result<uint32_t> flags_of_call(const File& file, uint32_t rwf) {
  constexpr uint32_t served =
      abi::rwf_hipri | abi::rwf_dsync | abi::rwf_sync | abi::rwf_append | abi::rwf_noappend | abi::rwf_nosignal;
  if (rwf & ~served) return error(Errno::eopnotsupp);
  uint32_t flags = file.flags;
  if (rwf & abi::rwf_dsync) flags |= abi::o_dsync;
  if (rwf & abi::rwf_sync) flags |= abi::o_sync;
  if ((rwf & abi::rwf_append) && (rwf & abi::rwf_noappend)) return error(Errno::einval);
  if (rwf & abi::rwf_append) flags |= abi::o_append;
  if (rwf & abi::rwf_noappend) flags &= ~abi::o_append;
  return flags;
}
// What of them the WRITE carries (fuse_write_flags): O_APPEND stays as the file has it.
uint32_t flags_in_message(const File& file, uint32_t flags) {
  return (flags & ~abi::o_append) | (file.flags & abi::o_append);
}

// generic_write_sync, which direct_io writes do without: their flags tell the daemon (K159).
Task<Result<void>> sync_written(File& file, Caller& caller, uint32_t flags) {
  if (!(flags & abi::o_dsync) || file.has_flag(wire::fopen_flag::direct_io)) co_return Result<void>();
  const bool datasync = (flags & abi::o_sync) != abi::o_sync;
  auto synced = co_await sync_file(file, caller, datasync);
  co_return synced;
}

// generic_write_checks, the privileges, and the writing, with the file's size held still.
Task<Result<size_t>> write_locked(File& file, Caller& caller, std::span<const std::byte> from, uint64_t& offset,
                                  uint32_t flags) {
  Inode& inode = *file.inode;
  auto guard = co_await inode.lock.exclusive(file.sb.ready(), caller);
  if (!guard) co_return error(guard.error());
  if (flags & abi::o_append) offset = inode.attr.size;
  const Result<size_t> room = count_within_limits(caller, offset, from.size());
  if (!room) co_return error(room.error());
  if (!file.has_flag(wire::fopen_flag::direct_io)) {
    auto privileges = co_await remove_privileges(inode, caller);
    if (!privileges) co_return error(privileges.error());
  }
  auto written = co_await write_at(file, caller, from.first(*room), offset, flags_in_message(file, flags));
  co_return written;
}

// rw_verify_area, for the count as the program gave it.
Result<void> check_range(int64_t offset, size_t bytes) {
  if (offset < 0 || bytes > abi::max_file_size - static_cast<uint64_t>(offset)) return error(Errno::einval);
  return {};
}

// No FMODE_PREAD, no FMODE_PWRITE (nonseekable_open, stream_open).
bool without_offsets(const File& file) {
  return file.has_flag(wire::fopen_flag::nonseekable | wire::fopen_flag::stream);
}

Task<Result<size_t>> read_at(File& file, Caller& caller, std::span<std::byte> to, uint64_t offset) {
  if (file.has_flag(wire::fopen_flag::direct_io)) {
    auto got = co_await read_direct(file, caller, to, offset);
    if (got) invalidate_attributes(*file.inode, abi::statx_atime);
    co_return got;
  }
  auto got = co_await read_cached(file, caller, to, offset);
  co_return got;
}

}  // namespace

Result<size_t> count_within_limits(Caller& caller, uint64_t offset, size_t bytes) {
  if (offset >= caller.file_size_limit) {
    caller.over_file_size = true;
    return error(Errno::efbig);
  }
  if (offset >= abi::max_file_size) return error(Errno::efbig);
  return smaller(bytes, smaller(caller.file_size_limit, abi::max_file_size) - offset);
}

Task<Result<size_t>> read_file(File& file, Caller& caller, std::span<std::byte> to, int64_t offset, uint32_t rwf) {
  if (offset < -1) co_return error(Errno::einval);
  if (file.is_path()) co_return error(Errno::ebadf);
  if (offset >= 0 && without_offsets(file)) co_return error(Errno::espipe);
  if (!file.readable()) co_return error(Errno::ebadf);
  if (file.inode->is_dir()) {
    const auto at = offset < 0 ? static_cast<int64_t>(file.position) : offset;
    co_return error(check_range(at, to.size()) ? Errno::eisdir : Errno::einval);
  }
  if (file.inode->bad) co_return error(Errno::eio);
  // A stream has no position, and nobody waits for another's read of it (K135).
  if (offset < 0 && file.has_flag(wire::fopen_flag::stream)) offset = 0;
  if (offset >= 0) {
    CO_TRY_VOID(check_range(offset, to.size()));
    to = to.first(smaller(to.size(), abi::max_rw_count));
    if (to.empty()) co_return size_t{0};
    if (auto flags = flags_of_call(file, rwf); !flags) co_return error(flags.error());
    auto got = co_await read_at(file, caller, to, static_cast<uint64_t>(offset));
    co_return got;
  }
  auto guard = co_await file.position_lock.exclusive(file.sb.ready(), caller);
  if (!guard) co_return error(guard.error());
  CO_TRY_VOID(check_range(static_cast<int64_t>(file.position), to.size()));
  to = to.first(smaller(to.size(), abi::max_rw_count));
  if (to.empty()) co_return size_t{0};
  if (auto flags = flags_of_call(file, rwf); !flags) co_return error(flags.error());
  auto got = co_await read_at(file, caller, to, file.position);
  if (got) file.position += *got;
  co_return got;
}

Task<Result<size_t>> write_file(File& file, Caller& caller, std::span<const std::byte> from, int64_t offset,
                                uint32_t rwf) {
  if (offset < -1) co_return error(Errno::einval);
  if (file.is_path()) co_return error(Errno::ebadf);
  if (offset >= 0 && without_offsets(file)) co_return error(Errno::espipe);
  if (!file.writable()) co_return error(Errno::ebadf);
  if (file.inode->bad) co_return error(Errno::eio);
  if (offset < 0 && file.has_flag(wire::fopen_flag::stream)) offset = 0;
  if (offset >= 0) {
    CO_TRY_VOID(check_range(offset, from.size()));
    from = from.first(smaller(from.size(), abi::max_rw_count));
    if (from.empty()) co_return size_t{0};
    const Result<uint32_t> flags = flags_of_call(file, rwf);
    if (!flags) co_return error(flags.error());
    auto at = static_cast<uint64_t>(offset);
    auto written = co_await write_locked(file, caller, from, at, *flags);
    if (!written) co_return written;
    auto synced = co_await sync_written(file, caller, *flags);
    if (!synced) co_return error(synced.error());
    co_return written;
  }
  auto guard = co_await file.position_lock.exclusive(file.sb.ready(), caller);
  if (!guard) co_return error(guard.error());
  CO_TRY_VOID(check_range(static_cast<int64_t>(file.position), from.size()));
  from = from.first(smaller(from.size(), abi::max_rw_count));
  if (from.empty()) co_return size_t{0};
  const Result<uint32_t> flags = flags_of_call(file, rwf);
  if (!flags) co_return error(flags.error());
  uint64_t at = file.position;
  auto written = co_await write_locked(file, caller, from, at, *flags);
  if (!written) co_return written;
  auto synced = co_await sync_written(file, caller, *flags);
  if (!synced) co_return error(synced.error());
  file.position = at + *written;
  co_return written;
}

}  // namespace fusewire::kernel
