// Lookup: from a name in a directory to a dentry, by the cache or by LOOKUP (K060-K078; Linux dir.c fuse_lookup,
// fuse_dentry_revalidate; fs/namei.c).
// Thread rule: under the connection lock. The caller holds the parent dentry.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernel/caller.h"
#include "kernel/dentry.h"
#include "kernel/task.h"

namespace fusewire::kernel {

// What the name is wanted for; several may be or-ed (K071).
namespace lookup_flag {
inline constexpr uint32_t none = 0;
inline constexpr uint32_t exclusive = 1;      // LOOKUP_EXCL: is to be made anew, so the daemon is asked again
inline constexpr uint32_t rename_target = 2;  // LOOKUP_RENAME_TARGET: likewise
inline constexpr uint32_t locked = 4;         // the caller holds the directory's lock
}  // namespace lookup_flag

// A dentry, which may be negative: its inode is nullptr, and it is hashed only when the daemon said for how long.
// ENAMETOOLONG beyond 1024 bytes (4095 with MAX_PAGES); EIO for a bad reply, for which no FORGET is sent (K063).
Task<Result<Ref<Dentry>>> lookup(Superblock& sb, Caller& caller, Dentry& parent, std::string_view name, uint32_t flags);

// The cached dentry where it may be used as it stands (Linux's rcu-walk); nullptr: lookup() finds out.
Dentry* lookup_now(Superblock& sb, const Caller& caller, Dentry& parent, std::string_view name, uint32_t flags);
// The cached dentry, if it holds good (revalidated when it is old); an empty Ref when the daemon is to be asked.
Task<Result<Ref<Dentry>>> lookup_cached(Superblock& sb, Caller& caller, Dentry& parent, std::string_view name,
                                        uint32_t flags);

// Where an entry_out lands: the whole struct, or its older form (minor < 9).
std::span<std::byte> entry_reply(Superblock& sb, wire::EntryOut& out);
// invalid_nodeid: 0, and 1 for anything but the root.
inline bool invalid_nodeid(uint64_t nodeid) { return nodeid == 0 || nodeid == wire::root_id; }

}  // namespace fusewire::kernel
