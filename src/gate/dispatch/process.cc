#include "gate/dispatch/process.h"

#include <sys/mman.h>

#include "gate/native.h"

namespace fusewire::gate {

namespace {

constexpr int claiming = -1;
constexpr int internal_from = 1000;
constexpr size_t record_count = 8;

// [0] is the process that owns the memory; the others serve children that share it (vfork) until they exec or exit.
Process records[record_count];
PathText directory;

bool is_gone(int pid) { return raw_syscall(SYS_kill, pid, 0) == -ESRCH; }

// What a child that shares our memory has at its start: a copy of our descriptors, our cwd.
void start_as_copy(Process& child, Process& parent) {
  child.umask = parent.umask.load();
  child.cwd.connection = parent.cwd.connection;
  child.cwd.token = parent.cwd.token;
  child.cwd.fd = parent.cwd.fd.load();
  child.mount_table = parent.mount_table.load();
  for (size_t i = 0; i < internal_room; i++) child.internal[i] = parent.internal[i].load();
  child.rings.connecting = 0;
  for (Ring& ring : child.rings.ring) {
    if (ring.memory != nullptr) raw_syscall(SYS_munmap, native::of(ring.memory), abi::ring_bytes);
    ring.memory = nullptr;
    ring.taken = 0;
    ring.state = RingState::free;
  }
}

Process* claim(int pid) {
  for (size_t i = 1; i < record_count; i++) {
    int owner = records[i].pid.load();
    if (owner == claiming || (owner != 0 && !is_gone(owner))) continue;
    if (!records[i].pid.compare_exchange_strong(owner, claiming)) continue;
    start_as_copy(records[i], records[0]);
    records[i].pid = pid;
    return &records[i];
  }
  return nullptr;
}

}  // namespace

Possible possible;

Process& process() {
  const int pid = native::getpid();
  for (;;) {
    for (Process& record : records) {
      if (record.pid.load(std::memory_order_acquire) == pid) return record;
    }
    if (Process* fresh = claim(pid)) return *fresh;
    raw_syscall(SYS_sched_yield);
  }
}

void release_process_record() {
  const int pid = native::getpid();
  for (size_t i = 1; i < record_count; i++) {
    int owner = pid;
    if (!records[i].pid.compare_exchange_strong(owner, claiming)) continue;
    retire_rings(records[i]);
    records[i].pid = 0;
  }
}

int keep_internal(Process& p, int fd, bool close_on_exec) {
  const int command = close_on_exec ? F_DUPFD_CLOEXEC : F_DUPFD;
  int kept = -1;
  for (const int from : {internal_from, 200, lowest_internal}) {
    kept = native::fcntl(fd, command, from);
    if (kept >= 0) break;
  }
  if (kept >= 0) native::close(fd);
  if (kept < 0) kept = fd;
  adopt_internal(p, kept);
  return kept;
}

void adopt_internal(Process& p, int fd) {
  possible.internal = true;
  for (auto& entry : p.internal) {
    int none = 0;
    if (entry.compare_exchange_strong(none, fd + 1)) return;
  }
}

void forget_internal(Process& p, int fd) {
  for (auto& entry : p.internal) {
    int held = fd + 1;
    if (entry.compare_exchange_strong(held, 0)) break;
  }
  native::close(fd);
}

bool is_internal(const Process& p, int fd) {
  if (fd < 0) return false;
  for (const auto& entry : p.internal) {
    if (entry.load(std::memory_order_relaxed) == fd + 1) return true;
  }
  return false;
}

void make_room_at(Process& p, int fd) {
  if (!is_internal(p, fd)) return;
  const bool is_cwd = p.cwd.fd == fd, is_table = p.mount_table == fd;
  const int copy = native::fcntl(fd, is_cwd || is_table ? F_DUPFD : F_DUPFD_CLOEXEC, fd + 1);
  if (copy < 0) return;
  for (auto& entry : p.internal) {
    int held = fd + 1;
    if (entry.compare_exchange_strong(held, copy + 1)) break;
  }
  if (is_cwd) p.cwd.fd = copy;
  if (is_table) p.mount_table = copy;
  for (Ring& ring : p.rings.ring) {
    if (ring.socket == fd) ring.socket = copy;
    if (ring.doorbell == fd) ring.doorbell = copy;
  }
}

const char* namespace_directory() { return directory.c_str(); }

void set_namespace_directory(const char* path) { directory.assign(path); }

void process_start() {
  Process& p = records[0];
  p.pid = native::getpid();
  const long mask = raw_syscall(SYS_umask, 0);
  raw_syscall(SYS_umask, mask);
  p.umask = static_cast<uint32_t>(mask) & 0777;
}

void process_after_fork() {
  const int pid = native::getpid();
  if (records[0].pid == pid) return;
  // The child of a vfork-like process goes on from that one's record: it has its descriptors and its cwd.
  const int parent = static_cast<int>(raw_syscall(SYS_getppid));
  for (size_t i = 1; i < record_count; i++) {
    // The first process of a PID namespace has no parent there: 0, as a free record.
    if (parent > 0 && records[i].pid == parent) {
      forget_rings(records[0]);
      start_as_copy(records[0], records[i]);
    }
    records[i].pid = 0;
  }
  forget_rings(records[0]);
  records[0].pid = pid;
}

}  // namespace fusewire::gate
