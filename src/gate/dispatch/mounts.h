// The namespace's mount table as this process sees it: mapped read-only, read under its generation counter.
// Thread rule: any thread, any signal handler; never sleeps. When the leader died in the middle of a change, the last
// state is used as it stands.
#pragma once

#include <cstdint>
#include <string_view>

#include "abi/mount_table.h"
#include "gate/dispatch/descriptors.h"
#include "gate/text.h"

namespace fusewire::gate {

struct MountPoint {
  bool found = false;
  uint32_t connection = 0;
  uint32_t mount = 0;
};

// Maps the table behind fd. 0 or -errno.
int map_mounts(int fd);
// For tests: reads this table.
void use_mounts(const abi::MountTable* table);

// The leader of the namespace, as its table has it; part of the names of its shadows.
uint32_t leader_pid();
// st_dev of this kernel's memfds; 0: not known.
uint64_t memory_device();
// The mount namespace that it stands in; 0: not known.
uint64_t leaders_mount_namespace();
// Whether anything is mounted at all.
bool anything_mounted();
// Whether a socket has been bound in any mount of the namespace, so that addresses may need translation.
bool sockets_are_bound();
// Whether hosts write traces: calls are then stamped with their time of entry.
bool tracing();
// Whether what follows a refusal is wanted (run --report).
bool reporting();
// Of native_first.h: whether calls may be made natively at first.
bool native_first();
// Whether a mount point may have this last component.
bool may_be_mount_name(std::string_view name);
// Whether a native object may be what a mount covers, or the gate's file. A change of the table meanwhile says yes.
bool may_be_covered(uint64_t device, uint64_t inode);
// Whether there was a symlink of this name in the root: a hint.
bool is_link_in_root(std::string_view name);
// What is mounted exactly at the native canonical path: the one on top, when several cover each other.
MountPoint mount_at(std::string_view path);
// Whether a mount point lies natively below the canonical path.
bool is_above_mount(std::string_view path);
// Whether a directory above a native mount point has this name.
bool is_name_above_mount(std::string_view name);
// The mount that a file is seen through; 0: it is unmounted.
uint32_t mount_of(VirtualFile file);
// The one on top of those that cover the root of a mount, or itself; not found: it is unmounted.
MountPoint top_mount(uint32_t mount);
// A copy of a mount's entry (its daemon may be gone).
bool copy_mount(uint32_t mount, abi::MountEntry& copy);
// Where a mount stands, or the lowest of those whose roots are covered up to it.
struct Standing {
  uint32_t mount = 0;              // that one
  uint32_t parent = 0;             // in which it stands; 0: in the native file system
  uint32_t parent_connection = 0;  // of parent
};
// text: natively the mount point's path, of several (places.h) the n-th, "" when there are not so many; in another
// mount the path that it had at first. false: the mount is unmounted.
bool standing_of(uint32_t mount, Standing& standing, PathText& text, uint32_t n = 0);
// Whether a host process serves the connection, mounted or not. A look that a change of the table may disturb: ask
// again before you believe that there is none.
bool has_host(uint32_t connection);
// The entry of a connection that has a host, to be looked at again; nullptr: there is none.
const abi::ConnectionEntry* host_entry(uint32_t connection);
// After how many calls a process maps a connection's view; 0: never.
uint32_t view_after();
// The first mount whose id is at least `from`: in the order in which they were made.
bool next_mount(uint32_t from, abi::MountEntry& copy);

}  // namespace fusewire::gate
