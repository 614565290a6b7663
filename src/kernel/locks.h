// File locks. POSIX locks (fcntl) belong to a file table, or to an open file (F_OFD_*); flocks to an open file. They
// are kept here, per inode, unless the daemon takes them over: POSIX_LOCKS and FLOCK_LOCKS, decided at INIT (K138-K143;
// Linux file.c fuse_setlk, fs/locks.c). Waiting ends with EINTR at a signal.
// Ranges: [start, end], end inclusive; abi::max_file_size: to the end of the file. Types: abi::f_*.
// Thread rule: under the connection lock. The caller of a coroutine holds a use of the file.
#pragma once

#include <cstdint>

#include "kernel/caller.h"
#include "kernel/file.h"
#include "kernel/intrusive.h"
#include "kernel/leases.h"
#include "kernel/local_wait.h"
#include "kernel/task.h"
#include "wire/protocol.h"

namespace fusewire::kernel {

// One lock. Of POSIX locks, an owner's ranges do not overlap and those that touch are of different types.
struct LockRecord : boost::intrusive::list_base_hook<> {
  wire::FileLock lock{};
  uint64_t owner = 0;    // POSIX: Caller::lock_owner; flock: flock_owner
  File* file = nullptr;  // flock, F_OFD_*, and locks the daemon keeps: through which file
};
using LockList = boost::intrusive::list<LockRecord, boost::intrusive::constant_time_size<false>>;

// What an inode has of locks; there while there is any lock or waiter.
struct InodeLocks : LockedInode {
  using LockedInode::LockedInode;

  LockList posix, flocks;
  LeaseList leases;
  LockList forwarded;  // owners that hold POSIX locks at the daemon; of the record only owner and file count
  LocalWaitq waiters;
  uint32_t waiting = 0;
};

// A POSIX lock that is waited for, for the search for deadlocks; lives in the waiter's frame.
struct BlockedOwner {
  uint64_t owner;
  uint64_t blocker;
  BlockedOwner* next;
};

// nullptr when there is no memory.
InodeLocks* make_inode_locks(Inode& inode);
void drop_if_empty(Inode& inode);
// Wakes who waits for a lock or a lease of the inode.
void locks_changed(Inode& inode);
// One sleep until some of them changes. Of an inode that has any.
Task<Result<void>> wait_for_locks(Inode& inode, Caller& caller);

inline constexpr uint32_t no_process = UINT32_MAX;  // pid of a lock that is an open file's (LockOf): -1

// F_SETLK, or with wait F_SETLKW. EAGAIN when another has it, EDEADLK when waiting would never end.
Task<Result<void>> set_posix_lock(File& file, Caller& caller, wire::FileLock lock, bool wait, LockOf of);
// F_GETLK: the first lock in the way, or type f_unlck. Of an open file and with type f_unlck: its own first one.
Task<Result<wire::FileLock>> get_posix_lock(File& file, Caller& caller, wire::FileLock lock, LockOf of);
// flock(2): operation of abi::lock_*. EWOULDBLOCK (EAGAIN) with lock_nb.
Task<Result<void>> set_flock(File& file, Caller& caller, uint32_t operation);

// close(2) of any descriptor of the inode drops the owner's POSIX locks on it; the daemon learns it from FLUSH.
void drop_posix_locks(Inode& inode, uint64_t owner);
// A process is gone: its locks on all inodes go; the daemon is told by FLUSH of a file through which they were taken.
void drop_owner_locks(Superblock& sb, uint64_t owner);
// The open file is gone: its own locks, and what was locked through it at the daemon.
void drop_file_locks(File& file);
// The inode goes, and nobody can ask for its locks any more.
void drop_inode_locks(Inode& inode);
uint64_t flock_owner(const File& file);

}  // namespace fusewire::kernel
