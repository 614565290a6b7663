// Directory: what changes names: MKNOD, MKDIR, SYMLINK, LINK, CREATE's entry, UNLINK, RMDIR, RENAME; and READLINK
// (K080-K083, K115; Linux dir.c create_new_entry, fuse_unlink, fuse_rename_common).
// Permissions and types have been checked by the caller, who holds the directory's lock and a negative (or, to remove,
// a positive) dentry.
// Thread rule: under the connection lock.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernel/caller.h"
#include "kernel/dentry.h"
#include "kernel/task.h"

namespace fusewire::kernel {

// mode: with the file type; the umask is taken off here unless DONT_MASK was agreed (K115).
Task<Result<void>> make_node(Superblock& sb, Caller& caller, Dentry& dentry, uint32_t mode, uint32_t rdev);
Task<Result<void>> make_directory(Superblock& sb, Caller& caller, Dentry& dentry, uint32_t mode);
// target: NUL behind its end.
Task<Result<void>> make_symlink(Superblock& sb, Caller& caller, Dentry& dentry, std::string_view target);
Task<Result<void>> make_link(Superblock& sb, Caller& caller, Inode& inode, Dentry& dentry);
// UNLINK or RMDIR by the type of the inode.
Task<Result<void>> remove_entry(Superblock& sb, Caller& caller, Dentry& dentry);
// flags: abi::rename_*; RENAME2 when they are not 0. EINVAL when the daemon does not know it.
Task<Result<void>> rename_entry(Superblock& sb, Caller& caller, Dentry& from, Dentry& to, uint32_t flags);
// The link's text into storage of abi::page_size bytes, NUL put behind. Its length, cut at the first NUL (K177).
Task<Result<size_t>> read_link(Superblock& sb, Caller& caller, Inode& inode, std::span<char> storage);

// A reply's entry becomes the dentry's inode; type: what was asked for (create_new_entry's checks, K075). The dentry to
// use from now on, which may be another of the same name.
Result<Ref<Dentry>> instantiate(Superblock& sb, Dentry& dentry, const wire::EntryOut& out, uint32_t type);
uint32_t masked(Superblock& sb, const Caller& caller, uint32_t mode);

}  // namespace fusewire::kernel
