#include "gate/dispatch/identity.h"

#include "gate/native.h"

namespace fusewire::gate {

namespace {

// Of more groups, their number alone counts.
constexpr long groups_compared = 1024;

void read_groups(Identity& identity) {
  uint32_t groups[groups_compared] = {};
  const long count = raw_syscall(SYS_getgroups, groups_compared, native::of(groups));
  if (count < 0) {
    identity.groups = static_cast<uint32_t>(raw_syscall(SYS_getgroups, 0, 0));
    return;
  }
  identity.groups = static_cast<uint32_t>(count);
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (long i = 0; i < count; i++) hash = (hash ^ groups[i]) * 0x100000001b3;
  identity.groups_hash = hash;
}

void read_capabilities(Identity& identity) {
  struct {
    uint32_t version = 0x20080522;  // _LINUX_CAPABILITY_VERSION_3
    int pid = 0;
  } header;
  struct {
    uint32_t effective, permitted, inheritable;
  } half[2] = {};
  if (raw_syscall(SYS_capget, native::of(&header), native::of(half)) != 0) return;
  identity.effective = uint64_t{half[1].effective} << 32 | half[0].effective;
  identity.permitted = uint64_t{half[1].permitted} << 32 | half[0].permitted;
}

Identity read_identity() {
  Identity identity;
  auto &u = identity.uid, &g = identity.gid;
  raw_syscall(SYS_getresuid, native::of(&u[0]), native::of(&u[1]), native::of(&u[2]));
  raw_syscall(SYS_getresgid, native::of(&g[0]), native::of(&g[1]), native::of(&g[2]));
  // An id that is none changes nothing, and the one in use comes back.
  u[3] = static_cast<uint32_t>(raw_syscall(SYS_setfsuid, -1));
  g[3] = static_cast<uint32_t>(raw_syscall(SYS_setfsgid, -1));
  read_groups(identity);
  read_capabilities(identity);
  return identity;
}

}  // namespace

bool is_final(const Identity& identity) {
  const auto& u = identity.uid;
  return u[0] != 0 && u[0] == u[1] && u[0] == u[2] && identity.permitted == 0;
}

ThreadIdentities::Entry* ThreadIdentities::find(uint32_t tid) {
  for (size_t i = 0; i < room; i++) {
    Entry& entry = entry_[(tid + i) % room];
    if (entry.tid.load(std::memory_order_relaxed) == tid) return &entry;
  }
  return nullptr;
}

Identity ThreadIdentities::of_thread(uint32_t tid) {
  if (const Entry* known = find(tid); known != nullptr) return known->identity;
  const Identity identity = read_identity();
  for (size_t i = 0; i < room; i++) {
    Entry& entry = entry_[(tid + i) % room];
    uint32_t nobody = 0;
    if (!entry.tid.compare_exchange_strong(nobody, tid)) continue;
    entry.identity = identity;
    break;
  }
  return identity;
}

void ThreadIdentities::forget(uint32_t tid) {
  if (Entry* entry = find(tid); entry != nullptr) entry->tid = 0;
}

void ThreadIdentities::forget_all() {
  for (Entry& entry : entry_) entry.tid = 0;
}

}  // namespace fusewire::gate
