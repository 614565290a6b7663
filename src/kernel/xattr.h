// Extended attributes: one handler for every namespace, nothing cached (K121; Linux xattr.c).
// ENOSYS is remembered for each operation and becomes EOPNOTSUPP.
// Thread rule: under the connection lock. The caller of a coroutine holds the inode. name: NUL behind its end.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "kernel/caller.h"
#include "kernel/inode.h"
#include "kernel/task.h"

namespace fusewire::kernel {

inline constexpr size_t xattr_name_max = 255, xattr_size_max = 65536, xattr_list_max = 65536;

// flags: XATTR_CREATE, XATTR_REPLACE.
Task<Result<void>> set_xattr(Inode& inode, Caller& caller, std::string_view name, std::span<const std::byte> value,
                             uint32_t flags);
// An empty span asks for the size. ERANGE when it is too small, ENODATA when there is none.
Task<Result<size_t>> get_xattr(Inode& inode, Caller& caller, std::string_view name, std::span<std::byte> value);
// Names with their NULs. EIO when the daemon's list is not made of such.
Task<Result<size_t>> list_xattr(Inode& inode, Caller& caller, std::span<char> list);
Task<Result<void>> remove_xattr(Inode& inode, Caller& caller, std::string_view name);
// cap_inode_need_killpriv: one GETXATTR of security.capability, size 0 (K117).
Task<Result<bool>> has_security_capability(Inode& inode, Caller& caller);

}  // namespace fusewire::kernel
