// Permissions: who may use the mount at all (K110), and the checks the half makes itself (K111-K115; Linux dir.c
// fuse_permission, fs/namei.c generic_permission, fs/attr.c setattr_prepare).
// Thread rule: under the connection lock. The caller of a coroutine holds the inode.
#pragma once

#include <cstdint>
#include <optional>

#include "kernel/caller.h"
#include "kernel/inode.h"
#include "kernel/task.h"

namespace fusewire::kernel {

struct SetAttributes;

// fuse_allow_current_process: with allow_other everybody, else only who has the mount owner's ids in all places.
bool admitted(Superblock& sb, const Caller& caller);
bool in_group(const Caller& caller, uint32_t gid);

// inode_permission as far as it is known without the daemon: allowed, refused, or nothing, and permission() decides.
std::optional<Result<void>> permission_now(Inode& inode, const Caller& caller, uint32_t mask);
// inode_permission: mask of abi::may_*. EACCES, EROFS; may ask GETATTR or ACCESS.
Task<Result<void>> permission(Inode& inode, Caller& caller, uint32_t mask);
// may_delete without its look at types: write and execute permission on the directory, and the sticky bit. EPERM.
Task<Result<void>> may_remove(Inode& directory, Inode& victim, Caller& caller);
// may_setattr: times set to "now" need write permission of those who do not own the file.
Task<Result<void>> may_touch(Inode& inode, Caller& caller, const SetAttributes& set);
// setattr_prepare: who may chmod, chown, set times. Nothing is checked without default_permissions (K103).
Result<void> may_set_attributes(Inode& inode, Caller& caller, SetAttributes& set);

// setattr_should_drop_suidgid: set-user-id, or set-group-id of an executable by its group.
constexpr bool has_set_id(uint32_t mode) {
  const uint32_t group = abi::s_isgid | abi::s_ixgrp;
  return abi::is_reg(mode) && ((mode & abi::s_isuid) != 0 || (mode & group) == group);
}
constexpr uint32_t without_set_id(uint32_t mode) {
  const uint32_t group = abi::s_isgid | abi::s_ixgrp;
  const uint32_t cleared = mode & ~abi::s_isuid;
  return (mode & group) == group ? cleared & ~abi::s_isgid : cleared;
}

}  // namespace fusewire::kernel
