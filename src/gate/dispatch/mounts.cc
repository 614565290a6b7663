#include "gate/dispatch/mounts.h"

#include <sys/mman.h>

#include "abi/leader_protocol.h"
#include "gate/dispatch/places.h"
#include "gate/dispatch/prepared_code.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/roots.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::MountEntry;
using abi::MountState;
using abi::MountTable;

const MountTable* table = nullptr;

// Whether it was made in a view, and in a mount namespace, that the calling process stands in.
bool is_seen(const MountEntry& e) { return (e.view == 0 || process().views.see(e.view)) && is_in_own_sight(*table, e); }

// Of two mounts at one place: what is mounted in the inner view lies on top.
bool lies_on(const MountEntry& a, const MountEntry& b) { return a.view != b.view ? a.view > b.view : a.id > b.id; }

// The n-th path where the calling process sees it; "": there are not so many, or it stands inside another mount.
std::string_view path_of(const MountEntry& e, uint32_t n = 0) {
  const auto index = static_cast<size_t>(&e - table->entry);
  const size_t length = e.path_length;
  std::string_view seen;
  if (e.parent != 0 || length >= abi::mount_path_max || !is_seen(e)) return seen;
  if (table->native_changes.load(std::memory_order_relaxed) != 0)
    return place_of(e.id, n, seen) ? seen : std::string_view();
  return n == 0 && as_seen({table->path[index], length}, seen) ? seen : std::string_view();
}

template <class Look>
void for_paths(const MountEntry& e, Look look) {
  uint32_t n = 0;
  for (std::string_view path; !(path = path_of(e, n)).empty(); n++) look(path);
}

// Of one that stands in another mount: the path that it had at first.
std::string_view text_of(const MountEntry& e) {
  const size_t length = e.path_length;
  std::string_view seen;
  if (length >= abi::mount_path_max) return seen;
  return as_seen({table->path[&e - table->entry], length}, seen) ? seen : std::string_view();
}

void copy_entry(const MountEntry& from, MountEntry& to) {
  __builtin_memcpy(static_cast<void*>(&to), static_cast<const void*>(&from), sizeof to);
  to.type[sizeof to.type - 1] = to.source[sizeof to.source - 1] = 0;
}

template <class Look>
void for_mounted(Look look) {
  uint32_t seen = 0;
  const uint32_t mounted = table->mounted;
  for (uint32_t i = 0; i < abi::mount_entries && seen < mounted; i++) {
    if (!is_mounted(table->entry[i])) continue;
    seen++;
    look(table->entry[i]);
  }
}

// Calls look() in one stable state of the table; it must bear being started over.
// A leader that died while it wrote leaves an odd generation for ever: after many tries the state is taken as it is.
template <class Look>
void read_stable(Look look) {
  if (table == nullptr) return;
  const bool own_places = refresh_places(*table);
  for (int tries = 0; tries < 10'000; tries++) {
    const uint32_t before = table->generation.load(std::memory_order_acquire);
    const uint32_t places = own_places ? places_version() : 0;
    if (((before | places) & 1) != 0 && tries < 9'999) continue;
    look();
    std::atomic_thread_fence(std::memory_order_acquire);
    const bool same_places = !own_places || places_version() == places;
    if (table->generation.load(std::memory_order_relaxed) == before && same_places) return;
  }
}

// The entry of a mount, in a stable state.
const MountEntry* entry_of(uint32_t mount) {
  const MountEntry* found = nullptr;
  for_mounted([&](const MountEntry& e) { found = e.id == mount ? &e : found; });
  return found;
}

// The mount on top of it, by way of those that cover each other's roots.
const MountEntry* top_of(const MountEntry* e) {
  for (uint32_t i = 0; e != nullptr && i < abi::mount_entries; i++) {
    const MountEntry* over = nullptr;
    for_mounted([&](const MountEntry& other) {
      if (other.on_root == 0 || other.parent != e->id || !is_seen(other)) return;
      if (over == nullptr || lies_on(other, *over)) over = &other;
    });
    if (over == nullptr) break;
    e = over;
  }
  return e;
}

// The lowest mount of those that cover each other there.
const MountEntry* bottom_of(const MountEntry* e) {
  for (uint32_t i = 0; e != nullptr && e->on_root != 0 && i < abi::mount_entries; i++) e = entry_of(e->parent);
  return e;
}

}  // namespace

int map_mounts(int fd) {
  const long at = map_aside(sizeof(MountTable), PROT_READ, MAP_SHARED, fd);
  if (at < 0 && at > -4096) return static_cast<int>(at);
  const auto* mapped = reinterpret_cast<const MountTable*>(at);
  if (mapped->magic != abi::mount_table_magic || mapped->version != abi::mount_table_version) return -EPROTO;
  table = mapped;
  use_prepared_codes(*mapped);
  return 0;
}

void use_mounts(const MountTable* other) { table = other; }

uint32_t leader_pid() { return table == nullptr ? 0 : table->leader_pid; }

uint64_t memory_device() { return table == nullptr ? 0 : table->memory_device; }

uint64_t leaders_mount_namespace() { return table == nullptr ? 0 : table->mount_namespace; }

bool anything_mounted() { return table != nullptr && table->mounted != 0; }

bool sockets_are_bound() { return table != nullptr && table->sockets_bound.load(std::memory_order_relaxed) != 0; }

bool tracing() { return table != nullptr && table->tracing.load(std::memory_order_relaxed) != 0; }

bool reporting() { return table != nullptr && table->reporting.load(std::memory_order_relaxed) != 0; }

bool native_first() { return table != nullptr && __atomic_load_n(&table->covered.native_first, __ATOMIC_ACQUIRE) != 0; }

namespace {

// What look() finds in one state of the table; where that changes, yes.
template <class Look>
bool may(Look look) {
  const uint32_t before = table->generation.load(std::memory_order_acquire);
  if ((before & 1) != 0 || look(table->covered)) return true;
  std::atomic_thread_fence(std::memory_order_acquire);
  return table->generation.load(std::memory_order_relaxed) != before;
}

}  // namespace

// The sets say yes too often: what they say is looked up.
bool may_be_mount_name(std::string_view name) {
  return may([name](const abi::Covered& covered) {
    if (!covered.names.may_have(abi::hash_of(name))) return false;
    bool is_name = false;
    for_mounted([&](const MountEntry& e) {
      const size_t length = e.path_length;
      if (e.parent != 0 || length >= abi::mount_path_max) return;
      is_name |= last_component({table->path[&e - table->entry], length}) == name;
    });
    return is_name;
  });
}

bool may_be_covered(uint64_t device, uint64_t inode) {
  if (inode == table->gate_inode && device == table->gate_device) return true;
  return may([=](const abi::Covered& covered) {
    if (covered.native_first == 0) return true;
    const bool is_inode = covered.inodes.may_have(abi::hash_of(inode));
    if (!is_inode && !covered.devices.may_have(abi::hash_of(device))) return false;
    bool is_covered = false;
    for_mounted([&](const MountEntry& e) {
      if (e.parent != 0 || e.covered_device != device) return;
      is_covered |= e.covered_inode == inode || e.cover == abi::Cover::own_device;
    });
    return is_covered;
  });
}

bool is_link_in_root(std::string_view name) {
  return table != nullptr && table->covered.links.may_have(abi::hash_of(name));
}

MountPoint mount_at(std::string_view path) {
  MountPoint found;
  read_stable([&] {
    const MountEntry* at = nullptr;
    for_mounted([&](const MountEntry& e) {
      for_paths(e, [&](std::string_view each) {
        if (each == path && (at == nullptr || lies_on(e, *at))) at = &e;
      });
    });
    at = top_of(at);
    found = at == nullptr ? MountPoint{} : MountPoint{true, at->connection, at->id};
  });
  return found;
}

bool is_above_mount(std::string_view path) {
  bool above = false;
  read_stable([&] {
    above = false;
    for_mounted([&](const MountEntry& e) {
      for_paths(e, [&](std::string_view mount) {
        above |= mount.size() > path.size() && mount.starts_with(path) && mount[path.size()] == '/';
      });
    });
  });
  return above;
}

bool is_name_above_mount(std::string_view name) {
  const auto is_in = [name](std::string_view path) {
    for (size_t at = path.find(name); at != std::string_view::npos && at != 0; at = path.find(name, at + 1)) {
      const size_t end = at + name.size();
      if (path[at - 1] == '/' && end < path.size() && path[end] == '/') return true;
    }
    return false;
  };
  bool above = false;
  read_stable([&] {
    above = false;
    for_mounted([&](const MountEntry& e) { for_paths(e, [&](std::string_view path) { above |= is_in(path); }); });
  });
  return above;
}

uint32_t mount_of(VirtualFile file) {
  uint32_t mount = file.mount;
  if (mount != 0) return mount;
  read_stable([&] {
    mount = 0;
    for_mounted([&](const MountEntry& e) { mount = e.connection == file.connection ? e.id : mount; });
  });
  return mount;
}

MountPoint top_mount(uint32_t mount) {
  MountPoint top;
  read_stable([&] {
    const MountEntry* e = top_of(entry_of(mount));
    top = e == nullptr ? MountPoint{} : MountPoint{true, e->connection, e->id};
  });
  return top;
}

bool copy_mount(uint32_t mount, MountEntry& copy) {
  bool found = false;
  read_stable([&] {
    const MountEntry* e = entry_of(mount);
    found = e != nullptr;
    if (found) copy_entry(*e, copy);
  });
  return found;
}

bool standing_of(uint32_t mount, Standing& standing, PathText& text, uint32_t n) {
  bool found = false;
  read_stable([&] {
    const MountEntry* e = bottom_of(entry_of(mount));
    const MountEntry* parent = e == nullptr ? nullptr : entry_of(e->parent);
    found = e != nullptr && (e->parent == 0 || parent != nullptr);
    if (!found) return;
    standing = {e->id, e->parent, parent == nullptr ? 0 : parent->connection};
    text.assign(e->parent == 0 ? path_of(*e, n) : text_of(*e));
  });
  return found;
}

const abi::ConnectionEntry* host_entry(uint32_t connection) {
  if (table == nullptr) return nullptr;
  for (const abi::ConnectionEntry& e : table->connection) {
    if (e.id == connection && e.host_pid != 0) return &e;
  }
  return nullptr;
}

bool has_host(uint32_t connection) { return host_entry(connection) != nullptr; }

uint32_t view_after() { return table == nullptr ? 0 : table->view_after.load(std::memory_order_relaxed); }

bool next_mount(uint32_t from, MountEntry& copy) {
  bool found = false;
  read_stable([&] {
    const MountEntry* next = nullptr;
    for_mounted([&](const MountEntry& e) {
      if (e.id >= from && (next == nullptr || e.id < next->id) && is_seen(e)) next = &e;
    });
    found = next != nullptr;
    if (found) copy_entry(*next, copy);
  });
  return found;
}

}  // namespace fusewire::gate
