#include "kernel/xattr.h"

#include "kernel/attributes.h"
#include "kernel/permissions.h"
#include "kernel/superblock.h"

namespace fusewire::kernel {

namespace {

// The size of a reply that may be longer than what the caller gave room for.
Result<size_t> bounded(size_t size, size_t limit) { return size < limit ? size : limit; }

bool names_end_with_nul(std::span<const char> list) {
  // Every name is at least one byte long and has its NUL.
  size_t start = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i] != '\0') continue;
    if (i == start) return false;
    start = i + 1;
  }
  return start == list.size();
}

// GETXATTR and LISTXATTR: a size, or the bytes. name is empty for the list.
Task<Result<size_t>> fetch(Inode& inode, Caller& caller, wire::Opcode opcode, std::string_view name,
                           std::span<std::byte> to) {
  wire::GetxattrIn in{};
  in.size = static_cast<uint32_t>(to.size() < xattr_size_max ? to.size() : xattr_size_max);
  wire::GetxattrOut out{};
  Args args;
  args.opcode = opcode;
  args.nodeid = inode.nodeid;
  args.add_in(in);
  if (!name.empty()) args.add_in_name(name);
  if (to.empty())
    args.add_out(out);
  else
    args.add_out_bytes(to.first(in.size), true);
  auto sent = co_await inode.sb.connection.send(args, caller);
  if (!sent) co_return error(sent.error());
  if (to.empty()) co_return bounded(out.size, xattr_size_max);
  co_return *sent;
}

}  // namespace

Task<Result<void>> set_xattr(Inode& inode, Caller& caller, std::string_view name, std::span<const std::byte> value,
                             uint32_t flags) {
  Superblock& sb = inode.sb;
  if (inode.bad) co_return error(Errno::eio);
  if (sb.connection.learned_enosys().setxattr) co_return error(Errno::eopnotsupp);
  wire::SetxattrIn in{};
  in.size = static_cast<uint32_t>(value.size());
  in.flags = flags;
  const bool extended = sb.has(wire::init_flag::setxattr_ext);
  Args args;
  args.opcode = wire::Opcode::setxattr;
  args.nodeid = inode.nodeid;
  args.add_in_bytes(std::as_bytes(std::span(&in, 1)).first(extended ? sizeof(in) : wire::compat_setxattr_in_size));
  args.add_in_name(name);
  args.add_in_bytes(value);
  auto sent = co_await sb.connection.send(args, caller);
  if (sent) {
    invalidate_attributes(inode, abi::statx_ctime);
    co_return Result<void>();
  }
  if (sent.error() != Errno::enosys) co_return error(sent.error());
  sb.connection.learned_enosys().setxattr = true;
  co_return error(Errno::eopnotsupp);
}

Task<Result<size_t>> get_xattr(Inode& inode, Caller& caller, std::string_view name, std::span<std::byte> value) {
  Connection& connection = inode.sb.connection;
  if (inode.bad) co_return error(Errno::eio);
  if (connection.learned_enosys().getxattr) co_return error(Errno::eopnotsupp);
  auto got = co_await fetch(inode, caller, wire::Opcode::getxattr, name, value);
  if (got || got.error() != Errno::enosys) co_return got;
  connection.learned_enosys().getxattr = true;
  co_return error(Errno::eopnotsupp);
}

Task<Result<size_t>> list_xattr(Inode& inode, Caller& caller, std::span<char> list) {
  Connection& connection = inode.sb.connection;
  if (inode.bad) co_return error(Errno::eio);
  if (!admitted(inode.sb, caller)) co_return error(Errno::eacces);
  if (connection.learned_enosys().listxattr) co_return error(Errno::eopnotsupp);
  auto got = co_await fetch(inode, caller, wire::Opcode::listxattr, {}, std::as_writable_bytes(list));
  if (got && !list.empty() && !names_end_with_nul(list.first(*got))) co_return error(Errno::eio);
  if (got || got.error() != Errno::enosys) co_return got;
  connection.learned_enosys().listxattr = true;
  co_return error(Errno::eopnotsupp);
}

Task<Result<void>> remove_xattr(Inode& inode, Caller& caller, std::string_view name) {
  Connection& connection = inode.sb.connection;
  if (inode.bad) co_return error(Errno::eio);
  if (connection.learned_enosys().removexattr) co_return error(Errno::eopnotsupp);
  Args args;
  args.opcode = wire::Opcode::removexattr;
  args.nodeid = inode.nodeid;
  args.add_in_name(name);
  auto sent = co_await connection.send(args, caller);
  if (sent) {
    invalidate_attributes(inode, abi::statx_ctime);
    co_return Result<void>();
  }
  if (sent.error() != Errno::enosys) co_return error(sent.error());
  connection.learned_enosys().removexattr = true;
  co_return error(Errno::eopnotsupp);
}

Task<Result<bool>> has_security_capability(Inode& inode, Caller& caller) {
  auto size = co_await get_xattr(inode, caller, "security.capability", {});
  co_return size&&* size > 0;
}

}  // namespace fusewire::kernel
