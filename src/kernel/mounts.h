// Mounts: where one file system is mounted (Linux s_mounts), each with its root and its flags, and what is mounted on
// its dentries (Linux struct mountpoint). Both are known here by number alone: whose they are is the business of who
// attaches them. One that is unmounted stays as long as open files and calls go on in it: its root ends their way up.
// A dentry counts what is mounted on it, so that a walk asks here only where something is.
// Owner: the Superblock. Thread rule: under the connection lock.
#pragma once

#include <cstdint>

#include "abi/mount_rules.h"
#include "kernel/dentry.h"
#include "kernel/errno.h"
#include "kernel/ref.h"
#include "kernel/slab.h"

namespace fusewire::kernel {

class Mounts {
 public:
  explicit Mounts(Kmalloc& kmalloc) : kmalloc_(kmalloc) {}
  ~Mounts() { clear(); }
  Mounts(const Mounts&) = delete;

  // What a path starts from that starts at no open file.
  struct Start {
    Dentry* dentry = nullptr;  // nullptr: there is no such mount
    uint32_t mount = 0;        // in which it lies
    bool on_way_up = false;    // a mounted-on dentry: who comes from the mount there has entered it already
  };
  // place: the number of a mount of this file system: its root. With abi::mount_point added, the number of one that
  // stands in it: its mount point. 0: the first mount.
  Start start(uint32_t place, Dentry& superblock_root) const;

  // flags: abi/mount_rules.h, mount_flag::kept. ENOMEM.
  Result<void> add(uint32_t mount, Dentry& root, uint32_t flags);
  // It leads nowhere any more: the way up ends at its root.
  void remove(uint32_t mount);
  bool is_removed(uint32_t mount) const;
  // Forgets the removed ones that no file was opened through. No call may be under way.
  void sweep();
  // A file was opened through the mount, or its last use has ended.
  void opened(uint32_t mount);
  void closed(uint32_t mount);
  // The root of a mount; of one that is not known the file system's.
  Dentry& root(uint32_t mount, Dentry& superblock_root) const;
  uint32_t flags(uint32_t mount) const;
  void set_flags(uint32_t mount, uint32_t flags);

  // Mounts `mount` on the dentry, as it is seen in the mount `in`, and nowhere else in this file system. ENOMEM.
  Result<void> attach(uint32_t in, Dentry& dentry, uint32_t mount);
  void detach(uint32_t mount);
  // What is mounted there; 0: nothing.
  uint32_t mounted_on(uint32_t in, const Dentry& dentry) const {
    return dentry.mounted() == 0 ? 0 : find_mounted(in, dentry);
  }
  void clear();

  // Those that paths lead into, with their roots and flags.
  template <typename F>
  void for_each(F f) const {
    for (const Mount* each = mounts_; each; each = each->next)
      if (!each->removed) f(each->id, *each->root, each->flags);
  }
  // Moves on when for_each would tell something else.
  uint32_t version() const { return version_; }

 private:
  struct Mount {
    Mount* next;
    uint32_t id, flags;
    Ref<Dentry> root;
    uint32_t files = 0;  // opened through it
    bool removed = false;
  };
  struct Point {
    Point* next;
    uint32_t in, mount;
    Ref<Dentry> dentry;
  };
  Mount* find(uint32_t mount) const;
  void detach_behind(Point** at, uint32_t mount);
  template <typename Ends>
  void free_where(Ends ends);
  uint32_t find_mounted(uint32_t in, const Dentry& dentry) const;

  Kmalloc& kmalloc_;
  Mount* mounts_ = nullptr;  // the newest first
  Point* points_ = nullptr;
  bool any_removed_ = false;
  uint32_t version_ = 0;
};

}  // namespace fusewire::kernel
