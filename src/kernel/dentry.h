// Dentry: one name in one directory, and what it means: an inode, or nothing (a negative dentry, K072). From the slab
// `fuse_dentry`. The tree of dentries is what is known of the mount; a child holds its parent.
// Owner: the Superblock. Held by walks, open files and children; when nobody holds a hashed one, it rests in a list of
// bounded length, the least recently used going first. An unhashed one (invalidated, unlinked) goes with its last hold.
// Thread rule: under the connection lock.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernel/inode.h"
#include "kernel/intrusive.h"
#include "kernel/ref.h"

namespace fusewire::kernel {

class Dentry {
 public:
  using HashHook = boost::intrusive::unordered_set_member_hook<boost::intrusive::store_hash<true>>;
  using ListHook = boost::intrusive::list_member_hook<>;
  using ViewHook = boost::intrusive::list_member_hook<>;

  HashHook hash_hook;
  ListHook unused_hook;  // in the Superblock's list of unused dentries
  ViewHook view_hook;    // in View while the view is to be told of a change
  Superblock& sb;
  Dentry* parent = nullptr;  // held; nullptr for the root
  Inode* inode = nullptr;    // held; nullptr: negative
  Dentry *first_child = nullptr, *next_sibling = nullptr, *previous_sibling = nullptr;
  Dentry *next_alias = nullptr, *previous_alias = nullptr;
  uint32_t references = 0;
  uint32_t epoch = 0;        // of the connection when it was looked up; an older one is stale (INC_EPOCH)
  uint64_t valid_until = 0;  // Host::now() nanoseconds; UINT64_MAX: for ever
  uint32_t mounted = 0;      // what is mounted on it (mounts.h), in all mounts of its file system
  uint32_t view_row = 0;     // the cell of its row in the view; 0: it is not in the view
  bool hashed = false;

  explicit Dentry(Superblock& superblock) : sb(superblock) {}
  Dentry(const Dentry&) = delete;

  void ref();
  void unref();
  // Its text ends with a NUL behind size(), as Args::add_in_name wants it.
  std::string_view name() const { return {text_, length_}; }
  bool is_root() const { return parent == nullptr; }

 private:
  friend class Superblock;
  static constexpr size_t inline_bytes = 48;

  char* text_ = inline_;
  uint32_t length_ = 0;
  char inline_[inline_bytes] = {};
};

inline bool is_at_or_below(const Dentry& dentry, const Dentry& ancestor) {
  const Dentry* at = &dentry;
  while (at && at != &ancestor) at = at->parent;
  return at != nullptr;
}

}  // namespace fusewire::kernel
