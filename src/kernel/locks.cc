#include "kernel/locks.h"

#include <utility>

#include "kernel/superblock.h"

namespace fusewire::kernel {

InodeLocks* make_inode_locks(Inode& inode) {
  InodeExtra* extra = inode.make_extra();
  if (!extra || extra->file_locks) return extra ? extra->file_locks : nullptr;
  void* memory = inode.kmalloc().alloc(sizeof(InodeLocks));
  if (!memory) return nullptr;
  extra->file_locks = ::new (memory) InodeLocks(inode);
  inode.sb.locked_inodes.push_back(*extra->file_locks);
  return extra->file_locks;
}

void drop_if_empty(Inode& inode) {
  InodeLocks* locks = inode.file_locks();
  if (!locks || !locks->posix.empty() || !locks->flocks.empty() || !locks->leases.empty() ||
      !locks->forwarded.empty() || locks->waiting != 0)
    return;
  LockedInodes& all = inode.sb.locked_inodes;
  all.erase(all.iterator_to(*locks));
  inode.extra->file_locks = nullptr;
  locks->~InodeLocks();
  inode.kmalloc().free(locks, sizeof(InodeLocks));
}

void locks_changed(Inode& inode) {
  if (inode.file_locks()) inode.file_locks()->waiters.wake_all(inode.sb.ready());
}

Task<Result<void>> wait_for_locks(Inode& inode, Caller& caller) {
  InodeLocks& locks = *inode.file_locks();
  ++locks.waiting;
  co_await locks.waiters.sleep(inode.sb.ready(), caller);
  --locks.waiting;
  drop_if_empty(inode);
  if (caller.interrupted || caller.killed) co_return error(Errno::eintr);
  co_return Result<void>();
}

namespace {

bool overlap(const wire::FileLock& a, const wire::FileLock& b) { return a.start <= b.end && b.start <= a.end; }
bool exclude(const wire::FileLock& a, const wire::FileLock& b) {
  return overlap(a, b) && (a.type == abi::f_wrlck || b.type == abi::f_wrlck);
}

LockRecord* make_record(Kmalloc& kmalloc) {
  void* memory = kmalloc.alloc(sizeof(LockRecord));
  return memory ? ::new (memory) LockRecord : nullptr;
}
void free_record(Kmalloc& kmalloc, LockRecord* record) {
  if (!record) return;
  record->~LockRecord();
  kmalloc.free(record, sizeof(LockRecord));
}

template <typename Matches>
bool drop_matching(Inode& inode, LockList& list, Matches matches) {
  bool dropped = false;
  for (auto it = list.begin(); it != list.end();) {
    LockRecord& record = *it;
    ++it;
    if (!matches(record)) continue;
    list.erase(list.iterator_to(record));
    free_record(inode.kmalloc(), &record);
    dropped = true;
  }
  return dropped;
}

const LockRecord* conflict(const LockList& list, const wire::FileLock& lock, uint64_t owner) {
  for (const LockRecord& record : list) {
    if (record.owner != owner && exclude(record.lock, lock)) return &record;
  }
  return nullptr;
}

const LockRecord* own_lock(const LockList& list, const wire::FileLock& lock, uint64_t owner) {
  for (const LockRecord& record : list) {
    if (record.owner == owner && overlap(record.lock, lock)) return &record;
  }
  return nullptr;
}

// Where an owner's locks stand in the list. F_GETLK names the first that is in the way, so their order shows: owners in
// the order in which they came, the locks of each by their start (posix_lock_inode).
class OwnerLocks {
 public:
  OwnerLocks(LockList& list, uint64_t owner) : list_(list), owner_(owner), before_(list.end()) {
    auto first = list.begin();
    while (first != list.end() && first->owner != owner) before_ = first++;
  }
  // Of all its locks, also after the owner's own ones have changed.
  LockList::iterator begin() {
    auto at = before_;
    return at == list_.end() ? list_.begin() : ++at;
  }
  bool contains(LockList::iterator it) { return it != list_.end() && it->owner == owner_; }
  void insert(LockRecord& record) {
    auto at = begin();
    while (contains(at) && at->lock.start < record.lock.start) ++at;
    list_.insert(at, record);
  }

 private:
  LockList& list_;
  const uint64_t owner_;
  LockList::iterator before_;  // the last lock of the owner before; end(): this one is the first
};

// Makes room for [lock.start, lock.end] among the owner's ranges. The one that reaches out on both sides leaves its
// tail in `spare`, which is then used up.
void carve(Inode& inode, LockList& list, OwnerLocks& own, const wire::FileLock& lock, LockRecord*& spare) {
  for (auto it = own.begin(); own.contains(it);) {
    LockRecord& record = *it;
    ++it;
    if (!overlap(record.lock, lock)) continue;
    const bool left = record.lock.start<lock.start, right = record.lock.end> lock.end;
    if (left && right) {
      spare->lock = record.lock;
      spare->lock.start = lock.end + 1;
      spare->owner = record.owner;
      spare->file = record.file;
      list.insert(it, *std::exchange(spare, nullptr));
    }
    if (left)
      record.lock.end = lock.start - 1;
    else if (right)
      record.lock.start = lock.end + 1;
    if (left || right) continue;
    list.erase(list.iterator_to(record));
    free_record(inode.kmalloc(), &record);
  }
}

// Ranges of one owner and type that touch become one: takes those away that touch the one to be added.
void merge(Inode& inode, LockList& list, LockRecord& added) {
  drop_matching(inode, list, [&added](LockRecord& other) {
    if (other.owner != added.owner || other.lock.type != added.lock.type) return false;
    const bool before = other.lock.end != UINT64_MAX && other.lock.end + 1 == added.lock.start;
    const bool behind = added.lock.end + 1 == other.lock.start;
    if (before) added.lock.start = other.lock.start;
    if (behind) added.lock.end = other.lock.end;
    return before || behind;
  });
}

uint64_t owner_of(const File& file, const Caller& caller, LockOf of) {
  return of == LockOf::open_file ? flock_owner(file) : caller.lock_owner;
}

Result<void> apply_posix(File& file, const Caller& caller, const wire::FileLock& lock, LockOf of) {
  Inode& inode = *file.inode;
  InodeLocks* locks = make_inode_locks(inode);
  Kmalloc& kmalloc = inode.kmalloc();
  LockRecord* added = make_record(kmalloc);
  LockRecord* spare = make_record(kmalloc);
  if (!locks || !added || !spare) {
    free_record(kmalloc, added);
    free_record(kmalloc, spare);
    drop_if_empty(inode);
    return error(Errno::enolck);
  }
  const uint64_t owner = owner_of(file, caller, of);
  OwnerLocks own(locks->posix, owner);
  carve(inode, locks->posix, own, lock, spare);
  free_record(kmalloc, spare);
  if (lock.type == abi::f_unlck) {
    free_record(kmalloc, added);
  } else {
    added->lock = lock;
    added->lock.pid = of == LockOf::open_file ? no_process : caller.tgid;
    added->owner = owner;
    added->file = of == LockOf::open_file ? &file : nullptr;
    merge(inode, locks->posix, *added);
    own.insert(*added);
  }
  locks_changed(inode);
  drop_if_empty(inode);
  return {};
}

// posix_locks_deadlock: would waiting for blocker close a circle? The walk is bounded as in Linux.
bool would_deadlock(Superblock& sb, uint64_t owner, uint64_t blocker) {
  constexpr int steps_max = 11;
  for (int step = 0; step < steps_max; ++step) {
    const BlockedOwner* blocked = sb.blocked_owners;
    while (blocked && blocked->owner != blocker) blocked = blocked->next;
    if (!blocked) return false;
    blocker = blocked->blocker;
    if (blocker == owner) return true;
  }
  return false;
}

// Its place in the superblock's list of waiters, for the length of one sleep.
class BlockedScope {
 public:
  BlockedScope(Superblock& sb, uint64_t owner, uint64_t blocker) : sb_(sb), entry_{owner, blocker, sb.blocked_owners} {
    sb_.blocked_owners = &entry_;
  }
  ~BlockedScope() {
    BlockedOwner** at = &sb_.blocked_owners;
    while (*at != &entry_) at = &(*at)->next;
    *at = entry_.next;
  }
  BlockedScope(const BlockedScope&) = delete;

 private:
  Superblock& sb_;
  BlockedOwner entry_;
};

Task<Result<void>> wait_for_owner(Inode& inode, Caller& caller, uint64_t owner, uint64_t blocker) {
  BlockedScope blocked(inode.sb, owner, blocker);
  auto slept = co_await wait_for_locks(inode, caller);
  co_return slept;
}

// Locks of open files are no part of the search for circles (FL_OFDLCK).
Task<Result<void>> set_local_posix(File& file, Caller& caller, wire::FileLock lock, bool wait, LockOf of) {
  Inode& inode = *file.inode;
  const uint64_t owner = owner_of(file, caller, of);
  for (;;) {
    const LockRecord* in_way = nullptr;
    if (inode.file_locks() && lock.type != abi::f_unlck) in_way = conflict(inode.file_locks()->posix, lock, owner);
    if (!in_way) co_return apply_posix(file, caller, lock, of);
    if (!wait) co_return error(Errno::eagain);
    if (of == LockOf::open_file || in_way->file) {
      auto slept = co_await wait_for_locks(inode, caller);
      if (!slept) co_return slept;
      continue;
    }
    if (would_deadlock(inode.sb, owner, in_way->owner)) co_return error(Errno::edeadlk);
    auto slept = co_await wait_for_owner(inode, caller, owner, in_way->owner);
    if (!slept) co_return slept;
  }
}

wire::LkIn lock_message(const File& file, const wire::FileLock& lock, uint64_t owner, bool flock) {
  wire::LkIn in{};
  in.fh = file.fh;
  in.owner = file.sb.scrambled_owner(owner);
  in.lk = lock;
  in.lk_flags = flock ? wire::lk_flock : 0;
  return in;
}

// fuse_setlk.
Task<Result<void>> forward_set(File& file, Caller& caller, wire::FileLock lock, uint64_t owner, bool wait, bool flock) {
  lock.pid = lock.type == abi::f_unlck ? 0 : caller.tgid;
  const wire::LkIn in = lock_message(file, lock, owner, flock);
  Args args;
  args.opcode = wait ? wire::Opcode::setlkw : wire::Opcode::setlk;
  args.nodeid = file.inode->nodeid;
  args.add_in(in);
  auto sent = co_await file.sb.connection.send(args, caller);
  if (!sent) co_return error(sent.error());
  co_return Result<void>();
}

// So that the daemon can be told when the owner dies.
void note_forwarded(File& file, uint64_t owner) {
  InodeLocks* locks = make_inode_locks(*file.inode);
  if (!locks) return;
  for (const LockRecord& record : locks->forwarded) {
    if (record.owner == owner && record.file == &file) return;
  }
  LockRecord* record = make_record(file.kmalloc());
  if (!record) return drop_if_empty(*file.inode);
  record->owner = owner;
  record->file = &file;
  locks->forwarded.push_back(*record);
}

// The daemon drops the POSIX locks of a FLUSH's lock_owner (K141).
void flush_for(File& file, uint64_t owner) {
  if (file.sb.connection.learned_enosys().flush) return;
  wire::FlushIn in{};
  in.fh = file.fh;
  in.lock_owner = file.sb.scrambled_owner(owner);
  Args args;
  args.opcode = wire::Opcode::flush;
  args.nodeid = file.inode->nodeid;
  args.force = true;
  args.add_in(in);
  // An error means that the connection has ended, and the locks with it.
  (void)file.sb.connection.send_background(args, nullptr, &file.opener);
}

bool daemon_keeps_flocks(Superblock& sb) {
  return sb.has(sb.minor() >= 17 ? wire::init_flag::flock_locks : wire::init_flag::posix_locks);
}

Task<Result<void>> set_local_flock(File& file, Caller& caller, uint32_t type, bool wait) {
  Inode& inode = *file.inode;
  const wire::FileLock lock{0, abi::max_file_size, type, caller.tgid};
  const uint64_t owner = flock_owner(file);
  auto own = [&file](LockRecord& record) { return record.file == &file; };
  // The old lock goes first, even when the new one cannot be had (fs/locks.c flock_lock_inode).
  if (inode.file_locks() && drop_matching(inode, inode.file_locks()->flocks, own)) locks_changed(inode);
  while (type != abi::f_unlck && inode.file_locks() && conflict(inode.file_locks()->flocks, lock, owner)) {
    if (!wait) co_return error(Errno::eagain);
    auto slept = co_await wait_for_locks(inode, caller);
    if (!slept) co_return slept;
  }
  if (type == abi::f_unlck) {
    drop_if_empty(inode);
    co_return Result<void>();
  }
  InodeLocks* locks = make_inode_locks(inode);
  LockRecord* record = make_record(inode.kmalloc());
  if (!locks || !record) {
    free_record(inode.kmalloc(), record);
    drop_if_empty(inode);
    co_return error(Errno::enolck);
  }
  record->lock = lock;
  record->owner = owner;
  record->file = &file;
  locks->flocks.push_back(*record);
  co_return Result<void>();
}

}  // namespace

uint64_t flock_owner(const File& file) { return reinterpret_cast<uintptr_t>(&file); }

Task<Result<void>> set_posix_lock(File& file, Caller& caller, wire::FileLock lock, bool wait, LockOf of) {
  if (file.is_path()) co_return error(Errno::ebadf);
  if (lock.type > abi::f_unlck || lock.start > lock.end || lock.end > abi::max_file_size)
    co_return error(Errno::einval);
  if (lock.type == abi::f_rdlck && !file.readable()) co_return error(Errno::ebadf);
  if (lock.type == abi::f_wrlck && !file.writable()) co_return error(Errno::ebadf);
  if (of == LockOf::open_file && lock.pid != 0) co_return error(Errno::einval);
  if (!file.sb.has(wire::init_flag::posix_locks) || !file.inode->is_reg()) {
    auto done = co_await set_local_posix(file, caller, lock, wait, of);
    co_return done;
  }
  const uint64_t owner = owner_of(file, caller, of);
  auto done = co_await forward_set(file, caller, lock, owner, wait, false);
  if (done && lock.type != abi::f_unlck && of == LockOf::process) note_forwarded(file, owner);
  co_return done;
}

Task<Result<wire::FileLock>> get_posix_lock(File& file, Caller& caller, wire::FileLock lock, LockOf of) {
  if (file.is_path()) co_return error(Errno::ebadf);
  const uint32_t last_type = of == LockOf::open_file ? abi::f_unlck : abi::f_wrlck;
  if (lock.type > last_type || lock.start > lock.end || lock.end > abi::max_file_size) co_return error(Errno::einval);
  if (of == LockOf::open_file && lock.pid != 0) co_return error(Errno::einval);
  const wire::FileLock none{lock.start, lock.end, abi::f_unlck, 0};
  const uint64_t owner = owner_of(file, caller, of);
  if (!file.sb.has(wire::init_flag::posix_locks) || !file.inode->is_reg()) {
    if (!file.inode->file_locks()) co_return none;
    const LockList& locks = file.inode->file_locks()->posix;
    // Asked for "no lock", F_OFD_GETLK names the file's own.
    const LockRecord* found = lock.type == abi::f_unlck ? own_lock(locks, lock, owner) : conflict(locks, lock, owner);
    co_return found ? found->lock : none;
  }
  lock.pid = 0;
  const wire::LkIn in = lock_message(file, lock, owner, false);
  wire::LkOut out{};
  Args args;
  args.opcode = wire::Opcode::getlk;
  args.nodeid = file.inode->nodeid;
  args.add_in(in).add_out(out);
  auto sent = co_await file.sb.connection.send(args, caller);
  if (!sent) co_return error(sent.error());
  if (out.lk.type == abi::f_unlck) co_return none;
  const bool sane = out.lk.type <= abi::f_wrlck && out.lk.start <= out.lk.end && out.lk.end <= abi::max_file_size;
  if (!sane) co_return error(Errno::eio);
  if (of == LockOf::open_file) out.lk.pid = no_process;
  co_return out.lk;
}

Task<Result<void>> set_flock(File& file, Caller& caller, uint32_t operation) {
  const bool wait = (operation & abi::lock_nb) == 0;
  const uint32_t kind = operation & ~abi::lock_nb;
  if (kind != abi::lock_sh && kind != abi::lock_ex && kind != abi::lock_un) co_return error(Errno::einval);
  if (file.is_path()) co_return error(Errno::ebadf);
  if (kind != abi::lock_un && !file.readable() && !file.writable()) co_return error(Errno::ebadf);
  uint32_t type = abi::f_unlck;
  if (kind == abi::lock_sh) type = abi::f_rdlck;
  if (kind == abi::lock_ex) type = abi::f_wrlck;
  if (!daemon_keeps_flocks(file.sb) || !file.inode->is_reg()) {
    auto done = co_await set_local_flock(file, caller, type, wait);
    co_return done;
  }
  file.flocked = true;
  const wire::FileLock lock{0, abi::max_file_size, type, 0};
  auto done = co_await forward_set(file, caller, lock, flock_owner(file), wait, true);
  co_return done;
}

void drop_posix_locks(Inode& inode, uint64_t owner) {
  if (!inode.file_locks()) return;
  auto of_owner = [owner](LockRecord& record) { return record.owner == owner; };
  drop_matching(inode, inode.file_locks()->forwarded, of_owner);
  if (drop_matching(inode, inode.file_locks()->posix, of_owner)) locks_changed(inode);
  drop_if_empty(inode);
}

void drop_inode_locks(Inode& inode) {
  if (!inode.file_locks()) return;
  auto all = [](LockRecord&) { return true; };
  for (LockList* list : {&inode.file_locks()->posix, &inode.file_locks()->flocks, &inode.file_locks()->forwarded})
    drop_matching(inode, *list, all);
  drop_if_empty(inode);
}

void drop_owner_locks(Superblock& sb, uint64_t owner) {
  for (auto it = sb.locked_inodes.begin(); it != sb.locked_inodes.end();) {
    Inode& inode = it->inode;
    ++it;
    for (LockRecord& record : inode.file_locks()->forwarded) {
      if (record.owner == owner) flush_for(*record.file, owner);
    }
    drop_posix_locks(inode, owner);
  }
}

void drop_file_locks(File& file) {
  Inode& inode = *file.inode;
  if (!inode.file_locks()) return;
  for (LockRecord& record : inode.file_locks()->forwarded) {
    if (record.file == &file) flush_for(file, record.owner);
  }
  auto of_file = [&file](LockRecord& record) { return record.file == &file; };
  drop_matching(inode, inode.file_locks()->forwarded, of_file);
  const bool flocks = drop_matching(inode, inode.file_locks()->flocks, of_file);
  const bool own = drop_matching(inode, inode.file_locks()->posix, of_file);
  drop_lease(file);
  if (flocks || own) locks_changed(inode);
  drop_if_empty(inode);
}

}  // namespace fusewire::kernel
