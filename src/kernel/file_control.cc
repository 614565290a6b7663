// What works on an open file beside its bytes: lseek, fallocate, ioctl.
#include "kernel/attributes.h"
#include "kernel/buffer.h"
#include "kernel/file.h"
#include "kernel/permissions.h"

namespace fusewire::kernel {

namespace {

Result<uint64_t> settle(File& file, int64_t base, int64_t offset) {
  int64_t target = 0;
  if (__builtin_add_overflow(base, offset, &target) || target < 0) return error(Errno::einval);
  file.position = static_cast<uint64_t>(target);
  return file.position;
}

// SEEK_DATA and SEEK_HOLE where the daemon knows nothing of holes: all is data (generic_file_llseek).
Result<uint64_t> seek_without_holes(File& file, int64_t offset, uint32_t whence) {
  const auto size = static_cast<int64_t>(file.inode->attr.size);
  if (offset < 0 || offset >= size) return error(Errno::enxio);
  return settle(file, whence == abi::seek_data ? offset : size, 0);
}

Task<Result<uint64_t>> ask_lseek(File& file, Caller& caller, int64_t offset, uint32_t whence) {
  wire::LseekIn in{};
  in.fh = file.fh;
  in.offset = static_cast<uint64_t>(offset);
  in.whence = whence;
  wire::LseekOut out{};
  Args args;
  args.opcode = wire::Opcode::lseek;
  args.nodeid = file.inode->nodeid;
  args.add_in(in).add_out(out);
  auto sent = co_await file.sb.connection.send(args, caller);
  if (!sent) co_return error(sent.error());
  co_return out.offset;
}

Task<Result<uint64_t>> seek_hole(File& file, Caller& caller, int64_t offset, uint32_t whence) {
  LearnedEnosys& learned = file.sb.connection.learned_enosys();
  if (!learned.lseek) {
    auto answer = co_await ask_lseek(file, caller, offset, whence);
    if (answer && *answer > abi::max_file_size) co_return error(Errno::einval);
    if (answer) co_return settle(file, static_cast<int64_t>(*answer), 0);
    if (answer.error() != Errno::enosys) co_return error(answer.error());
    learned.lseek = true;
  }
  auto fresh = co_await update_attributes(*file.inode, caller, &file, abi::statx_size);
  if (!fresh) co_return error(fresh.error());
  co_return seek_without_holes(file, offset, whence);
}

// _IOC_SIZE and _IOC_DIR.
constexpr uint32_t size_of(uint32_t cmd) { return cmd >> 16 & 0x3fff; }
constexpr bool writes(uint32_t cmd) { return (cmd >> 30 & 1) != 0; }  // _IOC_WRITE: the program gives data
constexpr bool reads(uint32_t cmd) { return (cmd >> 30 & 2) != 0; }

// FS_IOC_GETFLAGS and SETFLAGS say "long" in their number but mean an int.
constexpr uint32_t fs_ioc_getflags = 0x80086601, fs_ioc_setflags = 0x40086602;
constexpr uint32_t data_size(uint32_t cmd) {
  if (cmd == fs_ioc_getflags || cmd == fs_ioc_setflags) return sizeof(uint32_t);
  return size_of(cmd);
}

}  // namespace

Task<Result<uint64_t>> seek_file(File& file, Caller& caller, int64_t offset, uint32_t whence) {
  if (file.is_path()) co_return error(Errno::ebadf);
  if (whence > abi::seek_hole) co_return error(Errno::einval);
  const bool fixed = file.has_flag(wire::fopen_flag::nonseekable | wire::fopen_flag::stream);
  if (fixed) co_return error(Errno::espipe);
  auto guard = co_await file.position_lock.exclusive(file.sb.ready(), caller);
  if (!guard) co_return error(guard.error());
  if (whence == abi::seek_set) co_return settle(file, 0, offset);
  // Directories have positions that are no file offsets: the daemon's 64 bits.
  if (whence == abi::seek_cur && offset == 0) co_return file.position;
  if (whence == abi::seek_cur) co_return settle(file, static_cast<int64_t>(file.position), offset);
  if (whence == abi::seek_end) {
    auto fresh = Result<void>();
    if (!file.inode->is_dir()) fresh = co_await update_attributes(*file.inode, caller, &file, abi::statx_size);
    if (!fresh) co_return error(fresh.error());
    co_return settle(file, static_cast<int64_t>(file.inode->attr.size), offset);
  }
  if (file.inode->is_dir()) co_return seek_without_holes(file, offset, whence);
  auto found = co_await seek_hole(file, caller, offset, whence);
  co_return found;
}

namespace {

// vfs_fallocate: what a mode may say at all, and whether with FALLOC_FL_KEEP_SIZE.
bool is_allocation_mode(uint32_t mode) {
  const bool keeps_size = (mode & abi::falloc_keep_size) != 0;
  switch (mode & ~abi::falloc_keep_size) {
    case 0:
    case abi::falloc_unshare_range:
    case abi::falloc_zero_range:
      return true;
    case abi::falloc_punch_hole:
      return keeps_size;
    case abi::falloc_collapse_range:
    case abi::falloc_insert_range:
    case abi::falloc_write_zeroes:
      return !keeps_size;
    default:
      return false;
  }
}

}  // namespace

Task<Result<void>> allocate_file(File& file, Caller& caller, uint32_t mode, uint64_t offset, uint64_t length) {
  constexpr uint32_t served = abi::falloc_keep_size | abi::falloc_punch_hole | abi::falloc_zero_range;
  Inode& inode = *file.inode;
  Superblock& sb = file.sb;
  if (file.is_path()) co_return error(Errno::ebadf);
  const bool negative = offset > abi::max_file_size || length > abi::max_file_size;
  if (negative || length == 0) co_return error(Errno::einval);
  if (!is_allocation_mode(mode)) co_return error(Errno::eopnotsupp);
  if (!file.writable()) co_return error(Errno::ebadf);
  if (inode.is_dir()) co_return error(Errno::eisdir);
  if (!inode.is_reg()) co_return error(Errno::enodev);
  if (offset + length > abi::max_file_size) co_return error(Errno::efbig);
  if (mode & ~served) co_return error(Errno::eopnotsupp);
  if (sb.connection.learned_enosys().fallocate) co_return error(Errno::eopnotsupp);
  auto guard = co_await inode.lock.exclusive(sb.ready(), caller);
  if (!guard) co_return error(guard.error());
  // fuse_file_fallocate: inode_newsize_ok.
  const bool new_size = !(mode & abi::falloc_keep_size) && offset + length > inode.attr.size;
  if (new_size && !is_size_allowed(caller, offset + length)) co_return error(Errno::efbig);
  auto privileges = co_await remove_privileges(inode, caller);
  if (!privileges) co_return privileges;
  const bool extends = !(mode & (abi::falloc_keep_size | abi::falloc_punch_hole));
  wire::FallocateIn in{};
  in.fh = file.fh;
  in.offset = offset;
  in.length = length;
  in.mode = mode;
  Args args;
  args.opcode = wire::Opcode::fallocate;
  args.nodeid = inode.nodeid;
  args.add_in(in);
  if (extends) inode.size_unstable = true;
  auto sent = co_await sb.connection.send(args, caller);
  if (extends) inode.size_unstable = false;
  if (sent) {
    file_written(inode, extends ? offset + length : 0);
    co_return Result<void>();
  }
  if (sent.error() != Errno::enosys) co_return error(sent.error());
  sb.connection.learned_enosys().fallocate = true;
  co_return error(Errno::eopnotsupp);
}

Task<Result<uint32_t>> control_file(File& file, Caller& caller, uint32_t cmd, uint64_t arg, std::span<std::byte> data) {
  Superblock& sb = file.sb;
  if (file.is_path()) co_return error(Errno::ebadf);
  if (!admitted(sb, caller)) co_return error(Errno::eacces);
  if (file.inode->bad) co_return error(Errno::eio);
  const bool directory = file.inode->is_dir();
  if (directory && sb.minor() < 18) co_return error(Errno::enotty);
  const uint32_t size = data_size(cmd);
  if ((reads(cmd) || writes(cmd)) && data.size() < size) co_return error(Errno::efault);
  wire::IoctlIn in{};
  in.fh = file.fh;
  in.flags = directory ? wire::ioctl_flag::dir : 0;
  in.cmd = cmd;
  in.arg = arg;
  in.in_size = writes(cmd) ? size : 0;
  in.out_size = reads(cmd) ? size : 0;
  // At least a page, as on Linux, where the reply may hold more than the program takes: that is EIO for it alone.
  Buffer buffer(sb.kmalloc(), in.out_size < abi::page_size ? abi::page_size : in.out_size);
  if (!buffer) co_return error(Errno::enomem);
  wire::IoctlOut out{};
  Args args;
  args.opcode = wire::Opcode::ioctl;
  args.nodeid = file.inode->nodeid;
  args.add_in(in);
  if (in.in_size) args.add_in_bytes(data.first(in.in_size));
  args.add_out(out);
  args.add_out_bytes(buffer.span(), true);
  auto sent = co_await sb.connection.send(args, caller);
  if (!sent) co_return error(sent.error() == Errno::enosys ? Errno::enotty : sent.error());
  if ((out.flags & wire::ioctl_flag::retry) || *sent > in.out_size) co_return error(Errno::eio);
  if (*sent != 0) __builtin_memcpy(data.data(), buffer.data(), *sent);
  // fuse_send_ioctl: ENOSYS is ENOTTY in either place.
  const auto failure = static_cast<Errno>(-out.result);
  if (out.result < 0) co_return error(failure == Errno::enosys ? Errno::enotty : failure);
  co_return static_cast<uint32_t>(out.result);
}

}  // namespace fusewire::kernel
