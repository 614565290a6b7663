// Inode: the cache object of one nodeid of the daemon (Linux struct fuse_inode): nlookup, attributes and their
// validity, the locks on it. Found by nodeid alone (K074). From the slab `fuse_inode`.
// Owner: the Superblock; alive while a dentry, an open file or a call holds it. When the last hold goes it is evicted
// at once and one FORGET gives all of nlookup back (K061).
// Thread rule: under the connection lock.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernel/abi.h"
#include "kernel/intrusive.h"
#include "kernel/local_wait.h"
#include "kernel/ref.h"
#include "kernel/slab.h"
#include "wire/protocol.h"

namespace fusewire::kernel {

class Superblock;
class Dentry;
class Inode;
struct InodeLocks;

// An inode with locks (InodeLocks), in Superblock::locked_inodes.
struct LockedInode : boost::intrusive::list_base_hook<> {
  explicit LockedInode(Inode& locked) : inode(locked) {}

  Inode& inode;
};
using LockedInodes = boost::intrusive::list<LockedInode, boost::intrusive::constant_time_size<false>>;

// What few inodes have.
struct InodeExtra {
  InodeLocks* file_locks = nullptr;  // POSIX and flock locks, leases (locks.h), or nullptr
  char* link_text = nullptr;         // a symlink's text, kept with CACHE_SYMLINKS (K177)
  uint32_t link_length = 0;
  wire::StatxTime btime{};
};

class Inode {
 public:
  using HashHook = boost::intrusive::unordered_set_member_hook<>;

  HashHook hash_hook;
  Superblock& sb;
  const uint64_t nodeid;
  const uint32_t generation;  // 64 bits on the wire; Linux keeps 32
  uint32_t references = 0;
  wire::Attr attr{};                 // as the daemon said, nanoseconds made sane
  uint64_t attr_valid_until = 0;     // Host::now() nanoseconds; UINT64_MAX: for ever
  uint64_t attr_version = 0;         // of the connection's counter at the last change (K091)
  Dentry* newest_alias = nullptr;    // of the dentries that name it, in a ring, each followed by the next younger one
  InodeExtra* extra = nullptr;       // what few inodes have; nullptr until then
  uint32_t nlookup = 0;              // lookups that the daemon is owed; count_lookup()
  uint16_t inval_mask = UINT16_MAX;  // STATX_ bits that are doubtful (K090)
  bool hashed : 1 = false;
  bool bad : 1 = false;                  // another file took the nodeid: all I/O is EIO (K074)
  bool dead : 1 = false;                 // a directory that was removed: nothing is made or found in it
  bool linkable : 1 = false;             // O_TMPFILE without O_EXCL: it may get a name though its link count is 0
  bool size_unstable : 1 = false;        // a local operation is changing the size: replies do not count (K091)
  bool advise_readdirplus : 1 = false;   // a child was looked up: the next READDIR asks for more (K192)
  bool made_by_readdirplus : 1 = false;  // its attributes have not been used yet (K192)
  bool no_security_xattr : 1 = false;    // S_NOSEC: no need to ask for security.capability before a write
  bool has_btime : 1 = false;            // it stands in extra
  bool view_pending : 1 = false;         // the view is to be told of a change
  // Linux i_writecount. Above 0: so many open files write, or a truncation is under way. Below: so many programs run
  // from it, or are about to.
  int32_t writers = 0;
  uint32_t readers = 0;   // Linux i_readcount: open files that read and do not write
  SleepLock lock;         // i_rwsem: names of a directory, size of a file
  uint32_t view_row = 0;  // the cell of its row in the view; 0: it is not in the view

  Inode(Superblock& superblock, uint64_t node, uint32_t gen) : sb(superblock), nodeid(node), generation(gen) {}
  Inode(const Inode&) = delete;

  void ref() { ++references; }
  void unref();  // the last one evicts
  // The daemon gave its nodeid once more.
  void count_lookup();

  InodeLocks* file_locks() const { return extra ? extra->file_locks : nullptr; }
  std::string_view link_text() const {
    return extra ? std::string_view(extra->link_text, extra->link_length) : std::string_view();
  }
  // nullptr when there is no memory.
  InodeExtra* make_extra();

  uint32_t type() const { return attr.mode & abi::s_ifmt; }
  bool is_dir() const { return abi::is_dir(attr.mode); }
  bool is_reg() const { return abi::is_reg(attr.mode); }
  bool is_lnk() const { return abi::is_lnk(attr.mode); }
  // For checks of our own: without default_permissions the sticky bit does not count (K095).
  uint32_t checked_mode() const;
  // A reply that names this nodeid with another generation or file type means another file (K074).
  bool stale(uint64_t other_generation, uint32_t mode) const {
    return static_cast<uint32_t>(other_generation) != generation || ((mode ^ attr.mode) & abi::s_ifmt) != 0;
  }
  // get_write_access and deny_write_access: false means ETXTBSY, and nothing was taken.
  bool take_writing() { return writers >= 0 && ++writers > 0; }
  bool deny_writing() { return writers <= 0 && --writers < 0; }
  Kmalloc& kmalloc();

  struct NodeidOf {
    using type = uint64_t;
    const uint64_t& operator()(const Inode& inode) const { return inode.nodeid; }
  };
  struct Hash {
    size_t operator()(uint64_t nodeid) const {
      const uint64_t mixed = nodeid * 0x9e3779b97f4a7c15u;
      return static_cast<size_t>(mixed ^ (mixed >> 32));
    }
  };
  struct Equal {
    bool operator()(uint64_t a, uint64_t b) const { return a == b; }
  };
};
static_assert(sizeof(Inode) <= 176, "most of the memory of a large mount is inodes, dentries and rows of the view");

using InodeSet =
    boost::intrusive::unordered_set<Inode, boost::intrusive::member_hook<Inode, Inode::HashHook, &Inode::hash_hook>,
                                    boost::intrusive::key_of_value<Inode::NodeidOf>,
                                    boost::intrusive::hash<Inode::Hash>, boost::intrusive::equal<Inode::Equal>,
                                    boost::intrusive::power_2_buckets<true>>;
}  // namespace fusewire::kernel
