// Attributes: GETATTR, STATX and SETATTR, and what is kept of their replies (K090-K105; Linux dir.c fuse_do_getattr,
// fuse_update_get_attr, fuse_do_setattr; inode.c fuse_change_attributes).
// Thread rule: under the connection lock. The caller of a coroutine holds the inode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/caller.h"
#include "kernel/inode.h"
#include "kernel/task.h"
#include "wire/protocol.h"

namespace fusewire::kernel {

class File;

// What a stat shows: the daemon's values. mask: STATX_ bits that are true.
struct Attributes {
  wire::Attr attr{};
  wire::StatxTime btime{};
  uint32_t mask = 0;
};

enum class Sync : uint8_t { as_needed, force, never };

// fuse_invalid_attr: a type that is none, or a size beyond LLONG_MAX (K075).
bool valid_attr(const wire::Attr& attr);

// The largest power of two in it (K095).
inline uint32_t shown_block_size(const wire::Attr& attr) {
  return attr.blksize ? 1u << (31 - __builtin_clz(attr.blksize)) : static_cast<uint32_t>(abi::page_size);
}

// Takes a reply's attributes into the inode, unless the inode has changed locally since attr_version was read (K091).
// statx: the reply of STATX, or nullptr. attr_version 0: the entry was just created.
void change_attributes(Inode& inode, const wire::Attr& attr, const wire::Statx* statx, uint64_t valid_until,
                       uint64_t attr_version, uint64_t evict_counter);
// The named STATX_ bits are to be asked again.
void invalidate_attributes(Inode& inode, uint32_t mask = abi::statx_basic_stats);
// fuse_dir_changed (K083).
void directory_changed(Inode& directory);
// fuse_write_update_attr: end is where the write ended; it may have made the file longer (K091).
void file_written(Inode& inode, uint64_t end);
// Time as attributes carry it: the clock, cut to time_gran (K105).
wire::StatxTime current_time(Superblock& sb);

// fstat and stat: cached attributes when they may be used, else the daemon's. EACCES for those whom the mount does not
// admit (K110), except when nothing is asked (K113).
Task<Result<Attributes>> get_attributes(Inode& inode, Caller& caller, uint32_t request_mask, Sync sync);
// Internal refresh before the half uses a value itself; sends the file handle when there is a file (K096).
Task<Result<void>> update_attributes(Inode& inode, Caller& caller, const File* file, uint32_t mask);
// One GETATTR, always. shown: what the reply says, even when it came too late for the cache; may be nullptr.
Task<Result<void>> do_getattr(Inode& inode, Caller& caller, const File* file, Attributes* shown);

// What to set: `valid` is of wire::fattr bits; values as in the message. file: ftruncate's.
struct SetAttributes {
  uint32_t valid = 0;
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t size = 0;
  wire::StatxTime atime{}, mtime{};
  const File* file = nullptr;
  bool changes_owner = false;  // chown, even one that names neither
  bool opened_with_trunc = false;
};
// inode_newsize_ok: whether the caller may make a file longer, up to size bytes. If not: EFBIG, and SIGXFSZ is due.
inline bool is_size_allowed(Caller& caller, uint64_t size) {
  if (size <= caller.file_size_limit) return true;
  caller.over_file_size = true;
  return false;
}
// Takes the inode's lock. EPERM and EACCES by default_permissions, or the daemon's errno (K103).
Task<Result<void>> set_attributes(Inode& inode, Caller& caller, SetAttributes& set);
// The set-id bits that a change of size or owner takes away go into set.mode (K116, K117).
Task<Result<void>> clear_set_id(Inode& inode, Caller& caller, SetAttributes& set);
// Where an attr_out lands: the whole struct, or its older form (minor < 9).
std::span<std::byte> attr_reply(Superblock& sb, wire::AttrOut& out);
// file_remove_privs: before a write, the set-id bits and security.capability go (K117). The inode's lock is held.
Task<Result<void>> remove_privileges(Inode& inode, Caller& caller);

}  // namespace fusewire::kernel
