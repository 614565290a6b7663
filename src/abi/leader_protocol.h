// What gates and the fusewire program ask of a namespace's leader: one LeaderRequest, one LeaderReply. Freestanding.
//
// Inside, every process holds the *line*: one end of a SOCK_SEQPACKET pair that fusewire run made, inherited by fork
// and exec, the same open file for all. Nobody reads from it. A request goes out on it with one end of a fresh
// socketpair as its first descriptor, and the answer comes on that pair; so late answers reach nobody, and no path is
// needed: chroot, private mount namespaces and changes of user do not matter. Who asks is what the kernel says of that
// end (SO_PEERCRED: whoever made the pair, at that moment), which must be an unnamed SOCK_SEQPACKET pair made by the
// process that sends. A message without descriptors is a line for the log and has no answer.
//
// From outside, requests go over a connection to `leader.sock` in the namespace's directory, one answer each.
//
// A view is what a mount namespace in a mount namespace is on Linux: who stands in it sees what is mounted around it,
// and what is mounted in it is seen there alone. `fusewire run` in a namespace makes one. It lives as long as the
// socket on which it was asked for, and what is mounted in it ends with it.
//
// The leader's own user and root may ask anything; others may only be connected to hosts, which decide for themselves.
#pragma once

#include <cstdint>

#include "abi/mount_table.h"

namespace fusewire::abi {

enum class LeaderOperation : uint32_t {
  open_device = 1,  // open("/dev/fuse"): the reply carries a descriptor, the daemon's end of the device socket
  mount,            // with the device's descriptor attached: path, source, type, options (mount(2)'s data), flags;
          // value[0] the mode of what is covered; value[1] a TwinPlace: how the native mount is that it is on; point:
          // what the native mount point is; mount: in which it is to stand, 0: on a native place; token: of an open
          // file on the mount point, 0: on the root of `mount`
  umount,      // mount, or where that is 0 path; flags: mount_rules.h, umount_flag. Lazy or not, open files live on
  abort,       // connection
  set_limits,  // connection; value[0] max_background, value[1] congestion_threshold; UINT32_MAX leaves it
  // text (options): one line for the namespace's log; value[0] log_once: for stderr too, and only once. Of a refusal
  // also source: the program, type: the call, path: why, value[1]: errno. value[0] log_next: no line; the process that
  // met the last refusal goes on with the system call value[1]
  log,
  // mount or path, flags, options (mount(2)'s data): MS_REMOUNT, with MS_BIND of the mount alone; value[1] as of mount
  remount,
  set_tracing,  // value[0] 1 on, 0 off; options: absolute path of the trace file, JSON lines are appended
  reach_host,   // connection: the asker's end becomes a client's socket of its host (ring.h: Welcome); a LeaderReply
                // comes instead when there is none. Also over leader.sock, with the asker's end attached as on the line
  open_drop_in,  // the reply carries a descriptor of the program fusewire, the fusermount drop-in
  open_void,     // path: a name that begins with `void`; the reply carries a descriptor (O_PATH) of an empty directory
                 // that had this name
  memory,  // path: its name, token: its size in bytes; the reply carries a memfd, which may be sealed, for a program
           // whose own RLIMIT_FSIZE is smaller
  native_mounts_changed,  // the table counts it. parent_namespace, unless 0: in which mount_namespace was made
  directory_renamed,      // path, point: from where to where, canonical; value[0] 1: exchanged. Mounts below go with it
  open_view,    // a view within `view`: the reply's connection is its number; the asker's end stays the view's socket
  set_up_view,  // on that socket, before anything is in the view. options: the trace file of its mounts, absolute, or
                // empty; value[0] 1: what is refused in it is reported
  end_view,     // on that socket: unmounts what is mounted in it; the answer is a ViewEnd
  bind,  // as mount, of what is mounted: source_mount, and source_token of an open file in it, which becomes the root;
         // flags: MS_REC, with what stands in it; options: that file's path
  move,  // as bind, but source_mount itself goes there, with all that stand in it
};

// How a program asks the gate, which answers setns(2) of descriptor -1 and these kinds (the kernel: EBADF).
inline constexpr int view_open = 0x46570001;   // a descriptor: the new view's socket, on which the LeaderReply comes
inline constexpr int view_enter = 0x46570002;  // third argument: the view; fourth: view_native_setid or 0. 0, or ENOSPC
inline constexpr uint32_t view_native_setid = 1;
inline constexpr uint32_t views_max = 16;  // in one another

inline constexpr uint32_t log_once = 1, log_next = 2;

struct LeaderRequest {
  uint32_t operation;
  uint32_t connection;
  uint32_t flags;
  uint32_t value[2];
  uint32_t pid;           // who asks, for the log
  uint32_t mount;         // id of a mount
  uint32_t view;          // that the asker stands in; 0: none
  uint64_t token;         // of an open file
  uint32_t source_mount;  // of bind and move
  uint64_t source_token;
  uint64_t point_device, point_inode, point_file_system;  // as in MountEntry
  uint64_t mount_namespace;                               // that the asker stands in, as in MountEntry
  uint64_t parent_namespace;
  char path[mount_path_max];
  char point[mount_path_max];
  char source[256];
  char type[64];
  char options[4096];  // a page, as mount(2) takes it; also the text of log
};

struct LeaderReply {
  int32_t error;  // 0 or -errno
  uint32_t connection;
};

// With a memfd attached that holds the report, when one was wanted.
struct ViewEnd {
  int32_t error;
  uint32_t count;  // of daemons
  uint32_t daemon[mount_entries];
};

// What `fusewire run` hands to the first gate and every image to the next: words "<name><descriptor>", a space between.
inline constexpr char line_word[] = "line:";
inline constexpr char table_word[] = "mounts:";              // the mount table, to be mapped
inline constexpr char proc_word[] = "proc:";                 // the directory /proc
inline constexpr char gate_word[] = "gate:";                 // the gate's own file, for execveat(2)
inline constexpr char first_word[] = "first";                // from `fusewire run`: no image of the gate came before
inline constexpr char native_setid_word[] = "native-setid";  // set-id programs run outside the namespace
inline constexpr char view_word[] = "view:";                 // each view that it stands in, the outermost first
// They stand from here on, where the limits allow, out of the way of programs.
inline constexpr int own_descriptors_from = 1000;

// Files of a namespace's directory (0700).
inline constexpr char leader_socket_name[] = "leader.sock";
inline constexpr char mount_table_name[] = "mounts";
inline constexpr char log_name[] = "log";
inline constexpr char void_name[] = "void";  // an empty directory: the real cwd of who stands in a virtual one
// The gate binds the daemon's end to nothing; the leader binds it to the abstract address "\0fusewire-device-<random>",
// so that a gate can tell a device socket from others (getsockname) and give ENODEV at its end.
inline constexpr char device_address_prefix[] = "fusewire-device-";

}  // namespace fusewire::abi
