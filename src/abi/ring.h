// The call ring: shared memory between one client process (the gate in a program) and one host process, and the numbers
// of the calls that go through it. Freestanding: the gate includes it.
//
// A client asks the leader to reach the connection's host (leader_protocol.h) with one end of a SOCK_SEQPACKET pair,
// and receives on the other one Welcome with two descriptors: the ring (a memfd, `ring_bytes` long) and the doorbell
// (an eventfd); or a LeaderReply with the error. The pair stays open: its end is the end of the client. Descriptors of
// opened files come as FileMessage over it, before their call is done.
//
// A call: take a free slot (client's own bookkeeping), fill it, state = submitted, set the slot's bit in `submitted`,
// write 1 to the doorbell unless the host is `watching`, sleep on `state` (futex, shared) until it is done. Result and
// data are then the client's. The client may set `interrupt` and ring at any time while it waits.
//
// Trust: the host copies every field of a slot before it checks and uses it; data bytes are only ever carried.
// Thread rule: one thread owns a slot from taking it to reading its result.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "abi/types.h"

namespace fusewire::abi {

inline constexpr uint32_t call_magic = 0x46575243;  // "FWRC"
inline constexpr uint32_t call_version = 6;
inline constexpr uint32_t slot_count = 64;
inline constexpr uint32_t slot_data_bytes = 128 * 1024 + 16 * 1024;  // paths, then data
inline constexpr uint32_t io_bytes_max = 128 * 1024;                 // of one read or write call, in the slot
// Longer transfers go through the slot's area: memory of its own that the client asks for (CallNumber::memory).
inline constexpr uint64_t transfer_bytes_max = 0x7ffff000;  // Linux's MAX_RW_COUNT
inline constexpr uint64_t area_bytes_min = 1 << 20, area_bytes_max = uint64_t{1} << 31;

enum class CallState : uint32_t { free = 0, submitted = 1, done = 2 };

// The result of a call with a token that is nobody's: nothing was done. The last descriptor of its file was closed or
// replaced after it was looked at; the program's descriptor has another file by now, and its call begins anew.
inline constexpr int64_t stale_token = -4002;

// The order of words in the comments: which Slot fields a call uses. `file`: the token of the open file that a path
// starts from (0: `mount` says), or that an fd call means. Unless said otherwise, result is 0 or -errno.
// -eleave (-4001): the walk left; `leave_*` say where, and data holds the rest of the path.
enum class CallNumber : uint32_t {
  none = 0,
  // path calls: file + path1
  // arg0 flags, arg1 mode, arg2 RESOLVE_ flags. Result 0; `token` names the open file; its descriptor came as
  // FileMessage. shadow: of one that the client keeps, which serves if the result says so; then no message comes.
  // Result opened_special: a fifo or a device; the descriptor is an O_PATH one of what the client opens in
  // its place.
  openat = 1,
  open_exec,    // as openat, arg0 0 or O_NOFOLLOW; readable for execve. While it is open nobody may write
  chdir,        // as openat, O_PATH
  statx,        // arg0 AT_ flags, arg1 mask. Data: syscall::Stat
  faccessat,    // arg0 mask, arg1 AT_ flags
  readlinkat,   // arg0 room in bytes. Result: length; data
  mkdirat,      // arg0 mode
  mknodat,      // arg0 mode, arg1 rdev
  symlinkat,    // path1 is the link (at file), path2 the target's text
  unlinkat,     // arg0 AT_ flags
  renameat2,    // file+path1 to file2+path2; arg0 flags
  linkat,       // file+path1 to file2+path2; arg0 AT_ flags
  fchmodat,     // arg0 mode, arg1 AT_ flags
  fchownat,     // arg0 uid, arg1 gid, arg2 AT_ flags
  truncate,     // arg0 size
  utimensat,    // arg0-1 atime sec, nsec; arg2-3 mtime; arg4 AT_ flags
  statfs,       // data: syscall::Statfs
  setxattr,     // path2 the name; data the value, data_length its size; arg0 flags, arg1 AT_ flags
  getxattr,     // path2 the name; arg0 room, arg1 AT_ flags. Result: size; data
  listxattr,    // arg0 room, arg1 AT_ flags. Result: size; data
  removexattr,  // path2 the name; arg1 AT_ flags
  // Makes a socket's name: arg0 mode; data: sun_path as the program gave it. The socket came as SocketMessage before.
  bind_socket,
  reach_socket,  // to connect or send to: an O_PATH descriptor of the real socket comes as FileMessage
  watch,  // for inotify: arg0 IN_ONLYDIR, IN_DONT_FOLLOW. An O_PATH descriptor of what to watch comes as FileMessage
  file_handle,  // arg0 AT_ flags. Data: FileHandle
  // calls on an open file: file
  // read: arg0 offset or -1, arg1 bytes, arg2 RWF_ flags. Result: bytes; data, or when more than io_bytes_max were
  // asked for they stand in the slot's area
  read = 64,
  write,         // arg0 offset or -1, arg1 bytes in the slot's area (0: data), arg2 RWF_ flags. Result: bytes
  lseek,         // arg0 offset, arg1 whence. Result: the new offset
  getdents64,    // arg0 room. Result: bytes; data: struct linux_dirent64 records
  fstat,         // arg0 mask. Data: syscall::Stat
  ftruncate,     // arg0 size
  fchmod,        // arg0 mode
  fchown,        // arg0 uid, arg1 gid
  futimens,      // as utimensat, arg0-3
  fsync,         // arg0 1: datasync
  fallocate,     // arg0 mode, arg1 offset, arg2 length
  copy,          // from file to file2; arg0 offset or -1 in file, arg1 in file2, arg2 bytes. Result: bytes
  fstatfs,       // data: syscall::Statfs
  fsetxattr,     // path2 the name; data the value; arg0 flags
  fgetxattr,     // path2 the name; arg0 room. Result: size; data
  flistxattr,    // arg0 room. Result: size; data
  fremovexattr,  // path2 the name
  getfl,         // Result: f_flags; arg0 1: and the mount's flags (mount_rules.h) above mount_flags_shift;
                 // arg0 2: instead, 1 when the open made the file, else 0
  setfl,         // arg0 flags
  setlk,         // data: syscall::Lock; arg0 1: wait; arg1 1: of the open file (F_OFD_*)
  getlk,         // data: syscall::Lock, in and out; arg1 as for setlk
  flock,         // arg0 operation
  flush,         // one close(2) of one descriptor. Result 0, or flushed_watched: files are watched. arg0 1: it was the
                 // last one, and the client keeps the shadow for another file, if the result's `shadow` is not 0
  path,          // arg0 room; token 0 too. Result: length; data: path from the root of the mount `leave_mount`, or with
                 // arg1 1 from the root of the file system
  ioctl,         // arg0 cmd, arg1 argument, data in place, data_length. Result: the ioctl's
  owner,         // for F_SETOWN and its kin: a descriptor whose owner is the file's comes as FileMessage
  lease,         // arg0 0 asks, 1 sets type arg1 by the program's descriptor arg2. Result: 0, or the type
  notify,        // F_NOTIFY: arg0 DN_ mask, arg1 the program's descriptor
  // calls on the connection
  nop = 128,
  open_handle,  // arg0 nodeid, arg1 generation, arg2 O_ flags. Result as of openat
  // memory: a sparse memfd of at least arg0 bytes, as FileMessage. It becomes the slot's area in place of the last one,
  // and cannot change its size. arg0 0: the slot has none any more. Result: its bytes, fewer than asked for when
  // memory is short, at least area_bytes_min
  memory,
  socket_name,  // arg0 token of a bound socket. Result: length; data: sun_path as the program gave it to bind
  // The connection's view (view_layout.h), as FileMessage, to be mapped read-only, or with arg0 1 its counters of hits.
  // Data: ViewInfo. Only for who may see all of the mount, and is alone to see it; others get -EACCES.
  view,
};

struct ViewInfo {
  uint64_t used_bytes;  // of the view, at its front: so much is worth to be mapped
  uint64_t now;         // CLOCK_MONOTONIC of the host, nanoseconds: validities are told by it
  uint64_t dev;         // st_dev of the mount's files
  uint32_t uid, gid;    // the caller's, as the host numbers them
};
// Counters of calls that clients answered out of the view, each in a cache line of its own. A client adds to any.
inline constexpr uint32_t view_counters = 64, view_counter_words = 8;
inline constexpr uint64_t view_counters_bytes = view_counters * view_counter_words * 8;

inline constexpr uint32_t mount_flags_shift = 32;

struct alignas(128) Slot {
  std::atomic<uint32_t> state;      // CallState; the futex word
  std::atomic<uint32_t> interrupt;  // 1: a signal came
  uint32_t number;                  // CallNumber
  uint32_t tid;                     // the calling thread, for the request's pid
  uint32_t umask;
  uint32_t path1_length, path2_length, data_length;  // in bytes, in this order at the front of data; no NUL counted,
                                                     // but one NUL stands behind each path
  uint64_t file, file2;                              // tokens
  uint64_t root;                                     // token of the caller's root directory, 0: not in this mount
  int64_t arg[6];
  int64_t result;
  uint64_t token;                                             // of the file opened
  uint32_t leave_which, leave_to, leave_mount, leave_length;  // leave_to: LeaveTo
  uint32_t over_file_size;   // result: 1: the call ran into file_size_limit, SIGXFSZ is due
  uint64_t file_size_limit;  // RLIMIT_FSIZE of the caller, + 1; 0: none
  uint64_t entered;          // CLOCK_MONOTONIC ns at the gate, for traces; 0: not traced
  uint32_t nr;               // the Linux system call number behind it, for traces
  // For token 0: the number of the mount whose root is meant, or with mount_point (mount_rules.h) its mount point.
  // 0: the first mount of the connection.
  uint32_t mount, mount2;
  uint32_t leave_links;  // symlinks that a walk which left had followed
  uint64_t inode;        // result of openat and fstat: the file's inode in the connection's view; 0: it is not there
  uint32_t position;     // result of openat: the file's position (RingPosition), + 1; 0: it has none
  uint64_t shadow;       // of a shadow that the client keeps: what is in its name. Result: that it serves, or 0
};

struct RingHeader {
  uint32_t magic, version, slots, data_bytes;
  alignas(64) std::atomic<uint64_t> submitted;  // a bit a slot; the host takes them all at once
  // 1: the host looks at `submitted` by itself. It looks once more after it has set this to 0 and before it sleeps;
  // the client reads this after it has set its bit. Both orders sequentially consistent.
  std::atomic<uint32_t> watching;
};

inline constexpr size_t ring_slots_offset = 4096;

// The position of a regular file that no other client has used, where its client may read and change it itself. The
// host takes it back (away) for the time of each call that is about the file; who finds it away makes the call. A
// position belongs to one file at a time: which one, the turn tells. Both sides change it in one step.
using RingPosition = std::atomic<uint64_t>;
inline constexpr size_t ring_positions = 256, ring_positions_offset = 2048;
inline constexpr uint64_t position_away = uint64_t{1} << 63;
inline constexpr uint32_t position_bits = 47;  // of the offset; the turn lies above
inline constexpr uint64_t position_max = (uint64_t{1} << position_bits) - 1;
inline constexpr uint64_t position_word(uint32_t turn, uint64_t offset) {
  return uint64_t{turn & 0xffff} << position_bits | offset;
}
static_assert(sizeof(RingHeader) <= ring_positions_offset);
static_assert(ring_positions_offset + ring_positions * sizeof(RingPosition) <= ring_slots_offset);
// Slot::position: the number of the position, and its turn above these bits; + 1.
inline constexpr uint32_t position_number_bits = 8;

inline RingPosition& ring_position(void* ring, uint32_t number) {
  return reinterpret_cast<RingPosition*>(static_cast<char*>(ring) + ring_positions_offset)[number % ring_positions];
}
inline constexpr size_t ring_data_offset = ring_slots_offset + slot_count * sizeof(Slot);
inline constexpr size_t ring_bytes = (ring_data_offset + size_t{slot_count} * slot_data_bytes + 4095) & ~size_t{4095};
// Where a call's data stands in the slot's data area: behind both paths and their NULs (an empty path is one NUL too).
inline constexpr uint64_t call_data_offset(uint32_t path1_length, uint32_t path2_length) {
  return uint64_t{path1_length} + 1 + path2_length + 1;
}
// Where results' data stands: at the start of the slot's data.

inline Slot& ring_slot(void* ring, uint32_t i) {
  return *reinterpret_cast<Slot*>(static_cast<char*>(ring) + ring_slots_offset + i * sizeof(Slot));
}
inline char* ring_data(void* ring, uint32_t i) {
  return static_cast<char*>(ring) + ring_data_offset + size_t{i} * slot_data_bytes;
}

// First message on the client's socket, host to client, with two descriptors (SCM_RIGHTS): ring, doorbell.
struct Welcome {
  uint32_t magic, version, connection, reserved;
};
// Host to client: one descriptor, for the open file `token`, asked by `slot`.
struct FileMessage {
  uint64_t token;
  uint32_t slot, reserved;
};
// Client to host: one descriptor, the socket that the call in `slot` is about; sent before the call is submitted.
struct SocketMessage {
  uint32_t slot, reserved;
};
inline constexpr int64_t opened_special = 1;
inline constexpr int64_t flushed_watched = 1;

// Fifos, devices and bound sockets of a mount are real ones in the namespace's directory `objects`. Their names, which
// are also what the kernel tells as the address of a socket bound in a mount, are those of shadows (below).
inline constexpr char objects_name[] = "objects";

// A virtual descriptor is a memfd with this name and mode; the token is the right to use the open file, unguessable.
// A shadow that has served another file before is known by its name's token all the same: that of the first one.
// Name: "fusewire:<leader's pid>:<connection id>:<token, 16 hex digits>"; st_mode & 07777 == shadow_mode. The leader's
// pid (MountTable::leader_pid) tells namespaces apart: one may run inside another.
inline constexpr char shadow_name_prefix[] = "fusewire:";
// The sticky bit alone: writing to a file, which filling it for mmap is, takes set-id bits away.
inline constexpr uint32_t shadow_mode = 01000;
// Of what stands behind fifos, devices and sockets: everybody may use it, since the mount has been asked before.
inline constexpr uint32_t behind_mode = shadow_mode | 0666;

}  // namespace fusewire::abi
