// Dentry: one name in one directory, and what it means: an inode, or nothing (a negative dentry, K072). From the slab
// `fuse_dentry`. The tree of dentries is what is known of the mount; a child holds its parent.
// Owner: the Superblock. Held by walks, open files and children; when nobody holds a hashed one, it rests in a list,
// the least recently used going first when memory is short. An unhashed one (invalidated, unlinked) goes with its last
// hold.
// Thread rule: under the connection lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernel/inode.h"
#include "kernel/intrusive.h"
#include "kernel/ref.h"

namespace fusewire::kernel {

class Dentry {
 public:
  using HashHook = boost::intrusive::unordered_set_member_hook<>;

  HashHook hash_hook;
  Dentry* parent = nullptr;  // held; nullptr for the root
  Inode* inode = nullptr;    // held; nullptr: negative
  Dentry *next_sibling = nullptr, *previous_sibling = nullptr;
  Dentry* next_alias = nullptr;  // behind the inode's newest one the oldest
  uint64_t valid_until = 0;      // Host::now() nanoseconds; UINT64_MAX: for ever
  uint32_t references = 0;
  uint32_t epoch = 0;     // of the connection when it was looked up; an older one is stale (INC_EPOCH)
  uint32_t view_row = 0;  // the cell of its row in the view; 0: it is not in the view

 private:
  uint16_t length_ = 0;

 public:
  bool hashed : 1 = false;
  bool view_pending : 1 = false;  // the view is to be told of a change

  Dentry() : text_(), used_() {}
  Dentry(const Dentry&) = delete;

  // Once it has a parent or an inode; a parent is a directory, and has one.
  Superblock& sb() const { return inode ? inode->sb : parent->inode->sb; }
  void ref();
  void unref();
  // Its text ends with a NUL behind size(), as Args::add_in_name wants it.
  std::string_view name() const { return {length_ < inline_bytes ? text_.here : text_.elsewhere, length_}; }
  bool is_root() const { return parent == nullptr; }
  Dentry* first_child() const { return references == 0 ? nullptr : used_.first_child; }
  // What is mounted on it (mounts.h), in all mounts of its file system.
  uint32_t mounted() const { return references == 0 ? 0 : used_.mounted; }
  // by: 1 or -1. Whoever mounts holds it.
  void count_mounted(int by) { used_.mounted += static_cast<uint32_t>(by); }

 private:
  friend class Superblock;
  friend class UnusedDentries;
  static constexpr size_t inline_bytes = 24;

  union {
    char here[inline_bytes];
    char* elsewhere;
  } text_;
  // What only a dentry that somebody holds can have, and what only a hashed one that nobody holds needs.
  union {
    struct {
      Dentry* first_child;
      uint32_t mounted;
    } used_;
    struct {
      Dentry *previous, *next;
    } unused_;
  };
};
static_assert(sizeof(Dentry) <= 112, "most of the memory of a large mount is inodes, dentries and rows of the view");

// Hashed dentries that nobody holds, the least recently used first.
class UnusedDentries {
 public:
  void push_back(Dentry& dentry);
  // It is a used one from here on.
  void erase(Dentry& dentry);
  Dentry* first() const { return first_; }
  size_t size() const { return size_; }

 private:
  Dentry *first_ = nullptr, *last_ = nullptr;
  size_t size_ = 0;
};

inline bool is_at_or_below(const Dentry& dentry, const Dentry& ancestor) {
  const Dentry* at = &dentry;
  while (at && at != &ancestor) at = at->parent;
  return at != nullptr;
}

}  // namespace fusewire::kernel
