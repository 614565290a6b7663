// Where the calling process finds the native mount points of the table, once a process of the namespace has changed
// what is natively mounted: bind mounts, pivot_root, another mount namespace. Until then all find them by the table's
// paths, and nothing of this is used.
//
// A mount point is known by what it is (device and inode) and by where it lies in its file system. The process looks
// through its own mountinfo for the paths that lead there, again after each change; a change by a program outside of
// the namespace is not noticed.
//
// Thread rule: any thread, on a gate stack.
#pragma once

#include <cstdint>
#include <string_view>

#include "abi/leader_protocol.h"
#include "abi/mount_table.h"
#include "gate/gate.h"
#include "gate/text.h"

namespace fusewire::gate {

// What a mount request says of the mount point behind fd; nothing where mountinfo does not tell.
void describe_point(int fd, abi::LeaderRequest& request);
// The number of the native mount that a path lies on; 0: not known.
uint64_t native_mount_of(std::string_view path);
// A number of the mount namespace; 0: not known.
uint64_t own_mount_namespace();
// After a call that may have changed what is natively mounted, or what of it this process sees. Returns result.
long native_mounts_changed(long result);

// Looks again when something has changed. False: the table's paths hold.
bool refresh_places(const abi::MountTable& table);
// Odd while they change.
uint32_t places_version();
// The n-th path of a mount; false: there are not so many. The text lives until the next change.
bool place_of(uint32_t mount, uint32_t n, std::string_view& path);
// Whether the calling process stands in a mount namespace that sees the mount; after refresh_places.
bool is_in_own_sight(const abi::MountTable& table, const abi::MountEntry& e);
// The process has gone into another mount namespace.
void leave_places();
// unshare(2) with CLONE_NEWNS.
long leave_mount_namespace(const CallFrame& f);
// How the native mount is that a path lies on.
abi::TwinPlace twin_place_of(std::string_view path);
// In the child of fork.
void forget_places();

}  // namespace fusewire::gate
