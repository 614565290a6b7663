#include "kernel/leases.h"

#include "kernel/locks.h"
#include "kernel/module.h"
#include "kernel/superblock.h"

namespace fusewire::kernel {

namespace {

constexpr uint64_t lasts = UINT64_MAX;

bool is_broken(const Lease& lease) { return lease.ending || lease.shrinking; }

uint32_t target_type(const Lease& lease) {
  if (lease.ending) return abi::f_unlck;
  return lease.shrinking ? abi::f_rdlck : lease.type;
}

Lease* lease_of(const File& file) {
  if (!file.inode->file_locks()) return nullptr;
  for (Lease& lease : file.inode->file_locks()->leases)
    if (lease.file == &file) return &lease;
  return nullptr;
}

void remove(Inode& inode, Lease& lease) {
  if (is_broken(lease)) --inode.sb.leases.broken;
  inode.file_locks()->leases.erase(LeaseList::s_iterator_to(lease));
  lease.~Lease();
  inode.kmalloc().free(&lease, sizeof(Lease));
}

// lease_modify: of a type that was given up to, as of one that its time has brought.
void become(Inode& inode, Lease& lease, uint32_t type) {
  locks_changed(inode);
  if (type == abi::f_unlck) return remove(inode, lease);
  const bool was_broken = is_broken(lease);
  lease.type = type;
  if (type == abi::f_rdlck) lease.shrinking = false;
  if (was_broken && !is_broken(lease)) --inode.sb.leases.broken;
}

// time_out_leases.
void expire(Inode& inode) {
  const uint64_t now = inode.sb.connection.module().host().now();
  LeaseList& leases = inode.file_locks()->leases;
  for (auto it = leases.begin(); it != leases.end();) {
    Lease& lease = *it;
    ++it;
    if (lease.ending && now >= lease.ends_at)
      become(inode, lease, abi::f_unlck);
    else if (lease.shrinking && now >= lease.shrinks_at)
      become(inode, lease, abi::f_rdlck);
  }
}

bool is_in_way(const Lease& lease, bool writes) { return writes || lease.type == abi::f_wrlck; }

bool any_in_way(const Inode& inode, bool writes) {
  if (!inode.file_locks()) return false;
  for (const Lease& lease : inode.file_locks()->leases)
    if (is_in_way(lease, writes)) return true;
  return false;
}

// check_conflicting_open.
bool is_opened_against(const File& file, uint32_t type) {
  const Inode& inode = *file.inode;
  if (type == abi::f_rdlck) return inode.writers > 0;
  const int32_t own_writer = file.writable() ? 1 : 0;
  const uint32_t own_reader = file.readable() && !file.writable() ? 1 : 0;
  return inode.writers != own_writer || inode.readers != own_reader;
}

// generic_add_lease.
Result<void> add_lease(File& file, uint32_t type) {
  Inode& inode = *file.inode;
  if (is_opened_against(file, type)) return error(Errno::eagain);
  InodeLocks* locks = make_inode_locks(inode);
  if (!locks) return error(Errno::enolck);
  for (const Lease& lease : locks->leases) {
    if (lease.file != &file && (type == abi::f_wrlck || lease.ending)) return error(Errno::eagain);
  }
  if (Lease* own = lease_of(file)) {
    become(inode, *own, type);
    return {};
  }
  void* memory = inode.kmalloc().alloc(sizeof(Lease));
  if (!memory) {
    drop_if_empty(inode);
    return error(Errno::enolck);
  }
  Lease* lease = ::new (memory) Lease;
  lease->file = &file;
  lease->type = type;
  locks->leases.push_back(*lease);
  return {};
}

Result<void> give_up(File& file) {
  Lease* own = lease_of(file);
  if (!own) return error(Errno::eagain);
  become(*file.inode, *own, abi::f_unlck);
  drop_if_empty(*file.inode);
  return {};
}

// Tells the holders in the way, each once.
void tell_holders(Inode& inode, bool writes) {
  LeaseRules& rules = inode.sb.leases;
  const uint64_t now = inode.sb.connection.module().host().now();
  const uint64_t end = rules.break_time == 0 ? lasts : now + rules.break_time;
  for (Lease& lease : inode.file_locks()->leases) {
    if (!is_in_way(lease, writes) || (writes ? lease.ending : is_broken(lease))) continue;
    if (!is_broken(lease)) ++rules.broken;
    (writes ? lease.ending : lease.shrinking) = true;
    (writes ? lease.ends_at : lease.shrinks_at) = end;
    if (rules.holders) rules.holders->lease_broken(*lease.file);
  }
}

}  // namespace

Result<void> set_lease(File& file, const Caller& caller, uint32_t type) {
  if (file.is_path()) return error(Errno::ebadf);
  if (type > abi::f_unlck) return error(Errno::einval);
  Inode& inode = *file.inode;
  if (caller.uid != inode.attr.uid && !caller.may(Capability::lease)) return error(Errno::eacces);
  if (!inode.is_reg()) return error(Errno::einval);
  if (inode.file_locks()) expire(inode);
  return type == abi::f_unlck ? give_up(file) : add_lease(file, type);
}

uint32_t get_lease(File& file) {
  if (!file.inode->file_locks()) return abi::f_unlck;
  expire(*file.inode);
  const Lease* own = lease_of(file);
  const uint32_t type = own ? target_type(*own) : abi::f_unlck;
  drop_if_empty(*file.inode);
  return type;
}

Task<Result<void>> break_leases(Inode& inode, Caller& caller, bool writes, bool nonblock) {
  if (inode.file_locks()) expire(inode);
  if (!any_in_way(inode, writes)) {
    drop_if_empty(inode);
    co_return Result<void>();
  }
  tell_holders(inode, writes);
  if (nonblock) co_return error(Errno::eagain);
  while (any_in_way(inode, writes)) {
    auto slept = co_await wait_for_locks(inode, caller);
    if (!slept) co_return slept;
    if (inode.file_locks()) expire(inode);
  }
  drop_if_empty(inode);
  co_return Result<void>();
}

void drop_lease(File& file) {
  if (Lease* lease = lease_of(file)) become(*file.inode, *lease, abi::f_unlck);
}

uint64_t next_lease_end(Superblock& sb) {
  uint64_t next = lasts;
  if (sb.leases.broken == 0) return next;
  for (const LockedInode& locked : sb.locked_inodes) {
    for (const Lease& lease : locked.inode.file_locks()->leases) {
      if (lease.ending && lease.ends_at < next) next = lease.ends_at;
      if (lease.shrinking && lease.shrinks_at < next) next = lease.shrinks_at;
    }
  }
  return next;
}

void expire_leases(Superblock& sb) {
  if (sb.leases.broken == 0) return;
  for (auto it = sb.locked_inodes.begin(); it != sb.locked_inodes.end();) {
    Inode& inode = it->inode;
    ++it;
    expire(inode);
    drop_if_empty(inode);
  }
}

}  // namespace fusewire::kernel
