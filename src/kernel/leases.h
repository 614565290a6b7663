// Leases (fcntl F_SETLEASE): an open file is promised that nobody opens the inode in a way that it excludes before it
// was told and has given the lease up, or its time is over. The daemon never hears of them (Linux fs/locks.c
// generic_setlease, __break_lease).
// Types: abi::f_rdlck, abi::f_wrlck, abi::f_unlck. Times: Host::now() nanoseconds.
// Thread rule: under the connection lock. The caller of a coroutine holds a use of the file, or the inode.
#pragma once

#include <cstdint>

#include "kernel/caller.h"
#include "kernel/intrusive.h"
#include "kernel/task.h"

namespace fusewire::kernel {

class File;
class Inode;
class Superblock;

struct Lease : boost::intrusive::list_base_hook<> {
  File* file = nullptr;
  uint32_t type = 0;
  // What it must become, and when it does by itself; lease_lasts: nothing of the kind.
  uint64_t ends_at = 0, shrinks_at = 0;
  bool ending = false, shrinking = false;  // FL_UNLOCK_PENDING, FL_DOWNGRADE_PENDING
};
using LeaseList = boost::intrusive::list<Lease, boost::intrusive::constant_time_size<false>>;

// Told that the holder of a lease is to give it up (Linux lm_break). No call is made from it.
class LeaseHolders {
 public:
  virtual void lease_broken(File& file) = 0;

 protected:
  ~LeaseHolders() = default;
};

// What all leases of a mount have in common.
struct LeaseRules {
  LeaseHolders* holders = nullptr;
  uint64_t break_time = 45'000'000'000;  // lease_break_time; 0: for ever
  uint32_t broken = 0;                   // leases that are to end or shrink
};

// F_SETLEASE. EAGAIN: opened in a way that the lease excludes, or there is no lease to give up; EACCES: neither the
// file's owner nor CAP_LEASE.
Result<void> set_lease(File& file, const Caller& caller, uint32_t type);
// F_GETLEASE: of a broken lease what it is to become.
uint32_t get_lease(File& file);
// An open, or a truncation: ends the leases in its way, and waits until they have ended; EAGAIN with nonblock.
Task<Result<void>> break_leases(Inode& inode, Caller& caller, bool writes, bool nonblock);

// The open file is gone.
void drop_lease(File& file);
// When the next broken lease ends by itself; UINT64_MAX: none will.
uint64_t next_lease_end(Superblock& sb);
// Ends what is to end by now.
void expire_leases(Superblock& sb);

}  // namespace fusewire::kernel
