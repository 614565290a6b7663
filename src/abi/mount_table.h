// The mount table of a namespace: shared memory that the leader writes and every gate reads (file `mounts` in the
// namespace's directory). Hosts write the statistics of their own connection. Freestanding.
//
// Reading: take generation (even: stable), read the entries, take generation again; repeat when it changed or was odd.
// Thread rule: one writer of the structure (the leader); statistics are atomics of the connection's host.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "abi/prepared_code.h"

namespace fusewire::abi {

inline constexpr uint32_t mount_table_magic = 0x4657544d;  // "FWTM"
inline constexpr uint32_t mount_table_version = 10;
inline constexpr uint32_t connection_entries = 128;
inline constexpr uint32_t mount_entries = 128;
inline constexpr uint32_t mount_path_max = 4096;  // PATH_MAX, with the NUL

// Mapping a view and its first pages cost some 100-300 us on machines where a page fault is dear, a call on the ring
// 5-60: a process that makes a few calls only never pays for it.
inline constexpr uint32_t view_after_default = 32;

enum class MountState : uint32_t {
  free = 0,
  opened = 1,  // of a connection alone: nothing is mounted yet
  mounted = 2,
  ended = 3,  // mounted, but the daemon is gone or the connection was aborted: calls answer ENOTCONN
};

struct MountStatistics {
  std::atomic<uint64_t> requests, replies, rejected, forgets;
  std::atomic<uint64_t> hits;  // calls that clients answered out of the view
  // Cached names and inodes, and the bytes that the half has in all, the view included.
  std::atomic<uint64_t> names, inodes, cache_bytes;
  std::atomic<uint32_t> waiting, max_background, congestion_threshold, open_files;
};

// An open device, and the host that serves it.
struct ConnectionEntry {
  uint32_t in_use;  // 0: nothing of it is seen; its host may live on for open files
  uint32_t id;      // as in /sys/fs/fuse/connections; 0 is the control file system's own
  uint32_t daemon_pid;
  uint32_t host_pid;  // 0: it has ended
  uint32_t view;      // that the device was opened in
  MountStatistics statistics;
};

// Where a twin is seen in place of the other: on what native mounts.
enum class TwinPlace : uint32_t { anywhere = 0, read_only = 1, writable = 2 };

// What lies natively at a mount point, and so what a native walk through it can come to.
enum class Cover : uint32_t {
  unknown = 0,    // anything
  bare = 1,       // an empty directory, or nothing: itself, or ENOENT
  own_device = 2  // the root of a file system that is nowhere else: something on that device, or ENOENT
};

// Linux's struct mount: a file system seen at a place. One connection may have several.
struct MountEntry {
  uint32_t state;  // MountState: free, mounted or ended
  uint32_t id;     // from 1, in the order in which mounts were made; never used again
  uint32_t connection;
  uint32_t parent;   // id of the mount it stands in; 0: it stands in the native file system
  uint32_t on_root;  // 1: on the root of its parent, which it covers
  uint32_t of_part;  // 1: its root is not the file system's (a bind mount)
  uint32_t user_id, group_id;
  uint32_t flags;            // of the mount: mount_rules.h, mount_flag::kept
  uint32_t super_read_only;  // 1: the file system itself is, whatever the mount's flags say
  uint32_t allow_other, default_permissions, max_read;
  uint32_t path_length;  // of its path, in bytes
  uint32_t view;         // the view that it was made in, 0: the namespace's own (leader_protocol.h)
  uint64_t dev;          // st_dev of its files
  // Of the native mount point: st_dev, st_ino (0: not known), and major << 32 | minor of its file system in mountinfo.
  uint64_t point_device, point_inode, point_file_system;
  // That it was mounted in (mount_rules.h, get_mount_namespace_id); 0: not known. Others than the namespace's own are
  // the only ones that see it.
  uint64_t mount_namespace;
  uint32_t twin_of;  // id of the mount that this one stands for in its mount namespace; 0: none
  TwinPlace twin_place;
  // What a walk of the host kernel comes to at the mount point: st_dev and st_ino, 0 and 0 where there is nothing.
  uint64_t covered_device, covered_inode;
  Cover cover;
  char type[64];  // "fuse", "fuse.sshfs", ...
  char source[256];
};

// A mount namespace that was made in another, and had all that was seen there.
struct NamespaceLink {
  uint64_t id, parent;
};
inline constexpr uint32_t namespace_links = 64;

inline bool is_mounted(const MountEntry& e) {
  return e.state == static_cast<uint32_t>(MountState::mounted) || e.state == static_cast<uint32_t>(MountState::ended);
}

// A set of hashes that may say yes too often, never no.
struct HashSet {
  static constexpr uint32_t bits = 4096;
  uint64_t word[bits / 64];

  void add(uint32_t hash) { word[hash % bits / 64] |= uint64_t{1} << (hash % 64); }
  bool may_have(uint32_t hash) const { return (word[hash % bits / 64] >> (hash % 64) & 1) != 0; }
};

constexpr uint32_t hash_of(std::string_view name) {
  uint32_t hash = 2166136261u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash ^ hash >> 15;
}
constexpr uint32_t hash_of(uint64_t number) { return static_cast<uint32_t>(number * 0x9e3779b97f4a7c15u >> 40); }

// What gates must know to make a call natively at once and to judge it by its result (D11): of all mounts, whoever sees
// them.
struct Covered {
  uint32_t native_first;  // 1: through no mount point can a native walk come to a wrong file
  HashSet names;          // the last components of mount points
  HashSet inodes;         // of what they cover
  HashSet devices;        // of Cover::own_device
  HashSet links;          // names of symlinks in the root: a hint, as it was when the namespace began
};

struct MountTable {
  uint32_t magic, version;
  std::atomic<uint32_t> generation;
  std::atomic<uint32_t> tracing;  // 1: hosts write trace lines, gates stamp `entered`
  std::atomic<uint32_t>
      sockets_bound;                // 1, set by a host: a socket has been bound in a mount, so addresses are looked at
  std::atomic<uint32_t> reporting;  // 1: gates tell what follows a refusal
  // A process maps the view of a connection after so many calls on it; 0: never (ring.h, CallNumber::view).
  std::atomic<uint32_t> view_after;
  std::atomic<uint32_t> native_changes;  // how often programs changed what is natively mounted
  uint32_t leader_pid;
  uint32_t mounted;          // entries in state mounted or ended: 0 lets gates pass paths through untested
  uint64_t mount_namespace;  // of the leader; 0: not known
  uint64_t memory_device;    // st_dev of memfds; 0: not known
  // Of the file that is executed as the gate; written before it is.
  std::atomic<uint64_t> gate_device, gate_inode;
  uint32_t prepared_codes;  // written before the gate is executed, as these two
  PreparedCode prepared_code[prepared_codes_max];
  Covered covered;
  uint32_t links;  // that were made; the newest take the place of the oldest
  NamespaceLink link[namespace_links];
  ConnectionEntry connection[connection_entries];
  MountEntry entry[mount_entries];
  // Of the entry with the same index: its canonical absolute mount point, NUL-terminated; where it stands in another
  // mount, as that was called when it was mounted.
  char path[mount_entries][mount_path_max];
  char point[mount_entries][mount_path_max];  // where the native mount point lies in its file system
};

// Whether a mount is seen by who stands in this mount namespace.
inline bool is_in_sight(const MountTable& table, const MountEntry& e, uint64_t mount_namespace) {
  if (e.mount_namespace == 0 || table.mount_namespace == 0 || e.mount_namespace == table.mount_namespace) return true;
  for (uint32_t i = 0; mount_namespace != 0 && i < namespace_links; i++) {
    if (mount_namespace == e.mount_namespace) return true;
    uint64_t parent = 0;
    for (const NamespaceLink& link : table.link)
      if (link.id == mount_namespace) parent = link.parent;
    mount_namespace = parent;
  }
  return false;
}

}  // namespace fusewire::abi
