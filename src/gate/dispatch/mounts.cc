#include "gate/dispatch/mounts.h"

#include <sys/mman.h>

#include "abi/leader_protocol.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/roots.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::MountEntry;
using abi::MountState;
using abi::MountTable;

const MountTable* table = nullptr;

bool is_mounted(const MountEntry& e) {
  return e.state == static_cast<uint32_t>(MountState::mounted) || e.state == static_cast<uint32_t>(MountState::ended);
}

size_t path_length(const MountEntry& e) {
  size_t n = 0;
  while (n < abi::mount_path_max && e.path[n] != 0) n++;
  return n;
}

// Where the calling process sees it; "": nowhere.
std::string_view path_of(const MountEntry& e) {
  std::string_view seen;
  return as_seen({e.path, path_length(e)}, seen) ? seen : std::string_view();
}

void copy_entry(const MountEntry& from, MountEntry& to) {
  __builtin_memcpy(static_cast<void*>(&to), static_cast<const void*>(&from), sizeof to);
  to.path[sizeof to.path - 1] = to.type[sizeof to.type - 1] = 0;
  to.source[sizeof to.source - 1] = 0;
}

// Calls look(entry) for the mounted entries of one stable state of the table; look must bear being started over.
// A leader that died while it wrote leaves an odd generation for ever: after many tries the state is taken as it is.
template <class Start, class Look>
void read_stable(Start start, Look look) {
  if (table == nullptr) return;
  for (int tries = 0; tries < 10'000; tries++) {
    const uint32_t before = table->generation.load(std::memory_order_acquire);
    if ((before & 1) != 0 && tries < 9'999) continue;
    start();
    const uint32_t mounted = table->mounted;
    uint32_t seen = 0;
    for (uint32_t i = 0; i < abi::mount_entries && seen < mounted; i++) {
      if (!is_mounted(table->entry[i])) continue;
      seen++;
      look(table->entry[i]);
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if (table->generation.load(std::memory_order_relaxed) == before) return;
  }
}

}  // namespace

int map_mounts(int fd) {
  const long at = map_aside(sizeof(MountTable), PROT_READ, MAP_SHARED, fd);
  if (at < 0 && at > -4096) return static_cast<int>(at);
  const auto* mapped = reinterpret_cast<const MountTable*>(at);
  if (mapped->magic != abi::mount_table_magic || mapped->version != abi::mount_table_version) return -EPROTO;
  table = mapped;
  return 0;
}

void use_mounts(const MountTable* other) { table = other; }

uint32_t leader_pid() { return table == nullptr ? 0 : table->leader_pid; }

bool anything_mounted() { return table != nullptr && table->mounted != 0; }

bool sockets_are_bound() { return table != nullptr && table->sockets_bound.load(std::memory_order_relaxed) != 0; }

bool tracing() { return table != nullptr && table->tracing.load(std::memory_order_relaxed) != 0; }

bool reporting() { return table != nullptr && table->reporting.load(std::memory_order_relaxed) != 0; }

MountPoint mount_at(std::string_view path) {
  MountPoint newest;
  read_stable([&] { newest = {}; },
              [&](const MountEntry& e) {
                if (path_of(e) != path || (newest.found && e.connection < newest.connection)) return;
                newest = {true, e.connection};
              });
  return newest;
}

bool is_above_mount(std::string_view path) {
  bool above = false;
  read_stable([&] { above = false; },
              [&](const MountEntry& e) {
                const std::string_view mount = path_of(e);
                above |= mount.size() > path.size() && mount.starts_with(path) && mount[path.size()] == '/';
              });
  return above;
}

bool mount_of(uint32_t connection, MountEntry& copy) {
  bool found = false;
  read_stable([&] { found = false; },
              [&](const MountEntry& e) {
                if (e.connection != connection) return;
                copy_entry(e, copy);
                found = true;
              });
  return found;
}

bool mount_path_of(uint32_t connection, PathText& path) {
  bool found = false;
  read_stable([&] { found = false; },
              [&](const MountEntry& e) {
                if (e.connection != connection) return;
                path.assign(path_of(e));
                found = !path.empty();
              });
  return found;
}

bool has_host(uint32_t connection) {
  if (table == nullptr) return false;
  for (const MountEntry& e : table->entry) {
    if (e.connection == connection && e.host_pid != 0) return true;
  }
  return false;
}

bool next_mount(uint64_t from, MountEntry& copy) {
  bool found = false;
  read_stable([&] { found = false; },
              [&](const MountEntry& e) {
                const std::string_view path = path_of(e);
                if (e.connection < from || (found && e.connection > copy.connection) || path.empty()) return;
                copy_entry(e, copy);
                __builtin_memmove(copy.path, copy.path + (path_length(e) - path.size()), path.size() + 1);
                found = true;
              });
  return found;
}

}  // namespace fusewire::gate
