#include "kernel/permissions.h"

#include "kernel/attributes.h"
#include "kernel/superblock.h"

namespace fusewire::kernel {

namespace {

constexpr uint32_t permission_bits = 7;

bool may_over(const Inode& inode, const Caller& caller, Capability capability) {
  return caller.may_over(capability, inode.attr.uid, inode.attr.gid);
}

// generic_permission, without ACLs.
bool allowed_by_mode(const Inode& inode, const Caller& caller, uint32_t mask) {
  const uint32_t mode = inode.attr.mode;
  const uint32_t wanted = mask & permission_bits;
  uint32_t granted = mode & permission_bits;
  if (caller.uid == inode.attr.uid)
    granted = mode >> 6 & permission_bits;
  else if (in_group(caller, inode.attr.gid))
    granted = mode >> 3 & permission_bits;
  if ((wanted & ~granted) == 0) return true;
  const bool only_looks = inode.is_dir() ? !(wanted & abi::may_write) : wanted == abi::may_read;
  if (only_looks && may_over(inode, caller, Capability::dac_read_search)) return true;
  if (!may_over(inode, caller, Capability::dac_override)) return false;
  return inode.is_dir() || !(wanted & abi::may_exec) || (mode & abi::s_ixugo) != 0;
}

Task<Result<void>> ask_daemon(Inode& inode, Caller& caller, uint32_t mask) {
  Connection& connection = inode.sb.connection;
  if (connection.learned_enosys().access) co_return Result<void>();
  wire::AccessIn in{};
  in.mask = mask & permission_bits;
  Args args;
  args.opcode = wire::Opcode::access;
  args.nodeid = inode.nodeid;
  args.add_in(in);
  auto sent = co_await connection.send(args, caller);
  if (sent) co_return Result<void>();
  if (sent.error() != Errno::enosys) co_return error(sent.error());
  connection.learned_enosys().access = true;
  co_return Result<void>();
}

bool attributes_doubtful(Inode& inode) {
  const uint32_t needed = abi::statx_mode | abi::statx_uid | abi::statx_gid;
  return (needed & inode.inval_mask) != 0 || inode.attr_valid_until < inode.sb.now();
}

bool owner_or_capable(const Inode& inode, const Caller& caller) { return caller.may_as_owner(inode.attr.uid); }

Result<void> may_change_owner(const Inode& inode, const Caller& caller, const SetAttributes& set) {
  if (may_over(inode, caller, Capability::chown)) return {};
  const bool own = caller.uid == inode.attr.uid;
  if ((set.valid & wire::fattr::uid) && !(own && set.uid == inode.attr.uid)) return error(Errno::eperm);
  const bool group_allowed = own && (set.gid == inode.attr.gid || in_group(caller, set.gid));
  if ((set.valid & wire::fattr::gid) && !group_allowed) return error(Errno::eperm);
  return {};
}

bool touches(const SetAttributes& set) {
  constexpr uint32_t now = wire::fattr::atime_now | wire::fattr::mtime_now;
  return (set.valid & now) == now;
}

void drop_foreign_setgid(const Inode& inode, const Caller& caller, SetAttributes& set) {
  const uint32_t gid = (set.valid & wire::fattr::gid) ? set.gid : inode.attr.gid;
  if (!may_over(inode, caller, Capability::fsetid) && !in_group(caller, gid)) set.mode &= ~abi::s_isgid;
}

}  // namespace

bool admitted(Superblock& sb, const Caller& caller) {
  const MountOptions& options = sb.connection.options();
  if (options.allow_other) return true;
  return caller.euid == options.user_id && caller.ruid == options.user_id && caller.suid == options.user_id &&
         caller.egid == options.group_id && caller.rgid == options.group_id && caller.sgid == options.group_id;
}

bool in_group(const Caller& caller, uint32_t gid) {
  if (caller.gid == gid) return true;
  for (const uint32_t group : caller.groups) {
    if (group == gid) return true;
  }
  return false;
}

std::optional<Result<void>> permission_now(Inode& inode, const Caller& caller, uint32_t mask) {
  Superblock& sb = inode.sb;
  const bool ordinary = inode.is_reg() || inode.is_dir() || inode.is_lnk();
  if ((mask & abi::may_write) && sb.read_only() && ordinary) return error(Errno::erofs);
  if (inode.bad) return error(Errno::eio);
  if (!admitted(sb, caller)) return error(Errno::eacces);
  const bool executes_file = (mask & abi::may_exec) && inode.is_reg();
  if ((sb.default_permissions() || executes_file) && attributes_doubtful(inode)) return {};
  const bool asks = (mask & (abi::may_access | abi::may_chdir)) && !sb.connection.learned_enosys().access;
  bool allowed = !asks && (!executes_file || (inode.attr.mode & abi::s_ixugo) != 0);
  if (sb.default_permissions()) allowed = allowed_by_mode(inode, caller, mask);
  // What is refused by attributes is refused only by fresh ones.
  return allowed ? std::optional(Result<void>()) : std::nullopt;
}

Task<Result<void>> permission(Inode& inode, Caller& caller, uint32_t mask) {
  if (const auto known = permission_now(inode, caller, mask)) co_return *known;
  Superblock& sb = inode.sb;
  const bool executes_file = (mask & abi::may_exec) && inode.is_reg();
  bool refreshed = false;
  if ((sb.default_permissions() || executes_file) && attributes_doubtful(inode)) {
    refreshed = true;
    auto fresh = co_await do_getattr(inode, caller, nullptr, nullptr);
    if (!fresh) co_return fresh;
  }
  if (sb.default_permissions()) {
    if (allowed_by_mode(inode, caller, mask)) co_return Result<void>();
    if (refreshed) co_return error(Errno::eacces);
    auto fresh = co_await do_getattr(inode, caller, nullptr, nullptr);
    if (!fresh) co_return fresh;
    if (!allowed_by_mode(inode, caller, mask)) co_return error(Errno::eacces);
    co_return Result<void>();
  }
  if (mask & (abi::may_access | abi::may_chdir)) {
    auto answer = co_await ask_daemon(inode, caller, mask);
    co_return answer;
  }
  if (!executes_file || (inode.attr.mode & abi::s_ixugo)) co_return Result<void>();
  if (refreshed) co_return error(Errno::eacces);
  auto fresh = co_await do_getattr(inode, caller, nullptr, nullptr);
  if (!fresh) co_return fresh;
  if (!(inode.attr.mode & abi::s_ixugo)) co_return error(Errno::eacces);
  co_return Result<void>();
}

Task<Result<void>> may_remove(Inode& directory, Inode& victim, Caller& caller) {
  auto allowed = co_await permission(directory, caller, abi::may_write | abi::may_exec);
  if (!allowed) co_return allowed;
  const bool sticky = (directory.checked_mode() & abi::s_isvtx) != 0;
  const bool own = caller.uid == victim.attr.uid || caller.uid == directory.attr.uid;
  if (sticky && !own && !may_over(victim, caller, Capability::fowner)) co_return error(Errno::eperm);
  co_return Result<void>();
}

Task<Result<void>> may_touch(Inode& inode, Caller& caller, const SetAttributes& set) {
  if (!touches(set) || owner_or_capable(inode, caller)) co_return Result<void>();
  auto allowed = co_await permission(inode, caller, abi::may_write);
  co_return allowed;
}

Result<void> may_set_attributes(Inode& inode, Caller& caller, SetAttributes& set) {
  if (!inode.sb.default_permissions()) return {};
  TRY_VOID(may_change_owner(inode, caller, set));
  if ((set.valid & wire::fattr::mode) && !set.changes_owner && !(set.valid & wire::fattr::size)) {
    if (!owner_or_capable(inode, caller)) return error(Errno::eperm);
    drop_foreign_setgid(inode, caller, set);
  }
  const bool sets_times = (set.valid & (wire::fattr::atime | wire::fattr::mtime)) != 0;
  if (sets_times && !touches(set) && !owner_or_capable(inode, caller)) return error(Errno::eperm);
  return {};
}

}  // namespace fusewire::kernel
