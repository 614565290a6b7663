// What gates and the fusewire program ask of a namespace's leader: one LeaderRequest, one LeaderReply, over a
// SOCK_SEQPACKET connection to `leader.sock` in the namespace's directory. The leader checks SO_PEERCRED: its own user
// (or root) only. Freestanding.
#pragma once

#include <cstdint>

#include "abi/mount_table.h"

namespace fusewire::abi {

enum class LeaderOperation : uint32_t {
  open_device = 1,  // open("/dev/fuse"): the reply carries a descriptor, the daemon's end of the device socket
  mount,            // with the device's descriptor attached: path, source, type, options (mount(2)'s data), flags;
                    // value[0] the mode of what is covered
  umount,           // path; flags: mount_rules.h, umount_flag. Lazy or not, open files live on
  abort,            // connection
  set_limits,       // connection; value[0] max_background, value[1] congestion_threshold; UINT32_MAX leaves it
  log,              // text: one line for the namespace's log
  remount,          // path, flags, options (mount(2)'s data): MS_REMOUNT, with MS_BIND of the mount alone
  set_tracing,      // value[0] 1 on, 0 off; options: absolute path of the trace file, JSON lines are appended
};

struct LeaderRequest {
  uint32_t operation;
  uint32_t connection;
  uint32_t flags;
  uint32_t value[2];
  uint32_t pid;  // who asks, for the log
  char path[mount_path_max];
  char source[256];
  char type[64];
  char options[4096];  // a page, as mount(2) takes it; also the text of log
};

struct LeaderReply {
  int32_t error;  // 0 or -errno
  uint32_t connection;
};

// Files of a namespace's directory (0700).
inline constexpr char leader_socket_name[] = "leader.sock";
inline constexpr char mount_table_name[] = "mounts";
inline constexpr char log_name[] = "log";
inline constexpr char void_name[] = "void";  // an empty directory: the real cwd of who stands in a virtual one
// The gate binds the daemon's end to nothing; the leader binds it to the abstract address "\0fusewire-device-<random>",
// so that a gate can tell a device socket from others (getsockname) and give ENODEV at its end.
inline constexpr char device_address_prefix[] = "fusewire-device-";

}  // namespace fusewire::abi
