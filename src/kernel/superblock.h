// Superblock: the caches of one mount (Linux super_block with fuse_mount): its inodes and dentries, and the root.
// Made by the Mount; destroyed when the mount and its last open file are gone, without FORGETs (K042).
// Thread rule: under the connection lock.
#pragma once

#include <cstdint>
#include <string_view>

#include "abi/mount_rules.h"
#include "kernel/connection.h"
#include "kernel/dentry.h"
#include "kernel/hash_table.h"
#include "kernel/inode.h"
#include "kernel/leases.h"
#include "kernel/mounts.h"
#include "kernel/view.h"

namespace fusewire::kernel {

class File;
struct BlockedOwner;

class Superblock {
 public:
  // The root inode comes from rootmode, before any request (K005).
  static Result<Superblock*> create(Connection& connection, uint64_t dev);
  // Panics when a call or an open file still holds an inode.
  void destroy();

  Connection& connection;
  const uint64_t dev;
  Mounts mounts;
  LockedInodes locked_inodes;
  LeaseRules leases;
  BlockedOwner* blocked_owners = nullptr;  // who waits for whose POSIX lock (locks.h)
  View* view = nullptr;                    // what clients read by themselves, where one of them wants to
  SleepLock rename_lock;                   // s_vfs_rename_mutex: renames between directories, one at a time
  uint32_t releasing = 0;                  // files whose RELEASE is not answered yet

  // Told when the last RELEASE was answered; the Superblock may be destroyed inside.
  struct IdleListener {
    virtual void idle() = 0;

   protected:
    ~IdleListener() = default;
  };
  IdleListener* idle_listener = nullptr;
  void became_idle() {
    if (releasing == 0 && idle_listener) idle_listener->idle();
  }

  Kmalloc& kmalloc() { return connection.kmalloc(); }
  ReadyList& ready() { return connection.ready(); }
  uint64_t now() { return connection.host().now(); }
  bool default_permissions() const { return connection.options().default_permissions; }
  // Itself: a mount of it may be so besides.
  bool read_only() const { return connection.options().read_only; }
  Dentry& root() { return *root_; }
  bool has(uint64_t init_flag) const { return connection.negotiated().has(init_flag); }
  uint32_t name_max() const {
    const bool pages = has(wire::init_flag::max_pages) && connection.negotiated().max_pages > 1;
    return pages ? abi::name_max : abi::name_low_max;
  }
  uint32_t minor() const { return connection.negotiated().minor; }

  // When something that is valid for this long from now ends to be (K070).
  uint64_t deadline(uint64_t seconds, uint32_t nanoseconds);
  // The lock owner as the daemon sees it: XTEA with a key of this mount (K138).
  uint64_t scrambled_owner(uint64_t lock_owner) const;

  // Told of every change of what the view shows: of a dentry its validity and what is mounted there (names and inodes
  // are this class's own business), of an inode all that stat and a walk need.
  void changed(Dentry& dentry) {
    if (view) view->changed(dentry);
  }
  void changed(Inode& inode) {
    if (view) view->changed(inode);
  }
  // A cached name was looked up.
  void used(Dentry& dentry) {
    if (view) view->used(dentry);
  }
  // From now on changes are published in this memory. ENOMEM, EEXIST.
  Result<void> start_view(ViewMemory& memory);
  void end_view();
  bool view_agrees();  // for tests: whether it says what the caches do

  // --- inodes
  Inode* find_inode(uint64_t nodeid);
  // fuse_iget: the inode of an entry that the daemon gave; counts nlookup. attr_version and evict_counter: the
  // connection's when the request was sent; 0 when the entry was just created. ENOMEM: the lookup was given back.
  Result<Ref<Inode>> get_inode(const wire::EntryOut& entry, uint64_t attr_version, uint64_t evict_counter);
  void evict(Inode& inode);
  void make_bad(Inode& inode);
  void drop_link_text(Inode& inode);
  void free_link_text(Inode& inode);

  // --- dentries
  Ref<Dentry> find_dentry(Dentry& parent, std::string_view name);
  // A negative dentry that is in no table yet.
  Result<Ref<Dentry>> make_dentry(Dentry& parent, std::string_view name);
  void set_timeout(Dentry& dentry, const wire::EntryOut& entry);
  // The daemon is asked at its next use.
  void expire(Dentry& dentry) {
    dentry.valid_until = 0;
    changed(dentry);
  }
  // d_splice_alias: gives the unhashed negative dentry its inode and hashes it. What comes back is to be used instead:
  // a dentry that names the same already, or the one alias that a directory has, moved here (K076). EIO and ELOOP for
  // what cannot be in a tree; ESTALE when somebody works on the alias's name: to be looked up again.
  Result<Ref<Dentry>> splice(Dentry& dentry, Inode& inode);
  void hash_negative(Dentry& dentry);
  // d_invalidate: the name and what is unused below it are forgotten; who holds it goes on with an unhashed one.
  void invalidate(Dentry& dentry);
  void unhash(Dentry& dentry);
  // d_move and d_exchange, after the daemon has renamed. ENOMEM: both were invalidated instead.
  void move(Dentry& dentry, Dentry& new_parent, Dentry& victim);
  void exchange(Dentry& a, Dentry& b);
  // Drops what nobody uses below; for NOTIFY_PRUNE and rmdir.
  void shrink(Dentry& dentry);
  // A name came to rest: drops the least recently used ones while memory is short.
  void keep_within_bound();
  // Drops unused dentries of the inode.
  void prune_aliases(Inode& inode);

  size_t inodes_in_use() const { return inodes_.size(); }
  // What cached names and their inodes take, rows of the view included.
  uint64_t bytes_of_names() const;
  size_t dentries_hashed() const { return dentries_.size(); }
  size_t dentries_unused() const { return unused_.size(); }

  explicit Superblock(Connection& connection, uint64_t dev);

 private:
  friend class Dentry;
  struct DentryHash {
    size_t operator()(const Dentry& dentry) const;
  };
  struct DentryEqual {
    bool operator()(const Dentry& a, const Dentry& b) const { return a.parent == b.parent && a.name() == b.name(); }
  };
  using DentrySet =
      boost::intrusive::unordered_multiset<Dentry,
                                           boost::intrusive::member_hook<Dentry, Dentry::HashHook, &Dentry::hash_hook>,
                                           boost::intrusive::hash<DentryHash>, boost::intrusive::equal<DentryEqual>,
                                           boost::intrusive::power_2_buckets<true>>;

  bool set_name(Dentry& dentry, std::string_view name);
  void free_name(Dentry& dentry);
  void hash(Dentry& dentry);
  void attach_to_parent(Dentry& dentry, Dentry& parent);
  void detach_from_parent(Dentry& dentry);
  void attach_inode(Dentry& dentry, Inode& inode);
  void detach_inode(Dentry& dentry);
  void free(Dentry& dentry);
  void rename_dentry(Dentry& dentry, Dentry& new_parent, std::string_view name);
  bool is_below(const Dentry& dentry, const Dentry& ancestor) const;

  HashTable<InodeSet> inodes_;
  HashTable<DentrySet> dentries_;
  UnusedDentries unused_;
  uint64_t names_bound_ = 0, grown_to_ = 0;  // bytes: as the host said; when it is asked again
  size_t rests_left_ = 0;                    // or when so many more names have come to rest
  bool dropping_ = false;
  Dentry* root_ = nullptr;
  bool active_ = true;  // SB_ACTIVE: evictions send FORGET
  uint32_t scramble_key_[4];
};

}  // namespace fusewire::kernel
