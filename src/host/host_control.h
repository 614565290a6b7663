// What a leader and its hosts say to each other, over a SOCK_SEQPACKET pair: each HostRequest is answered by one
// HostMessage of kind reply that bears its number; a host says the other kinds unasked. A request that is found after
// its deadline is not carried out any more (ETIMEDOUT): whoever asked has been told so. The end of the pair is the end
// of the other side.
#pragma once

#include <cstdint>

namespace fusewire::host {

enum class HostOperation : uint32_t {
  mount = 1,  // text: mount(2)'s data; flags: MS_*; value: the daemon's uid, 1 for fuseblk, the mode of what is
              // covered (0: not known); dev; mount: its number. Reply: the options
              // On a device that is mounted already one more mount of the same file system (Linux fuse_get_tree), with
              // flags of its own
  umount,     // mount; flags as umount2(2), with its errors: EBUSY while files are open, unless MNT_DETACH; EAGAIN of
              // MNT_EXPIRE
  abort,
  set_limits,   // value[0] max_background, value[1] congestion_threshold; UINT32_MAX leaves it
  set_tracing,  // value[0]; text: the trace file's absolute path
  attach,  // mount: its number; in: on what mount's root, or with a token of an open file on that one in it. Reply:
           // EEXIST and value: what is mounted there already
  detach,  // mount: of what was attached
  bind,    // mount: the number of one more mount of the file system, with the flags of the one that it is made of;
           // token: of an open file that becomes its root, or 0 and in: a mount whose root is it; value[2] as of
           // mount. Reply: as of mount; value 1: its root is not the file system's
  attach_copy,  // mount: its number; in: on a directory of that one; value[0]: the mount that stands there in another.
                // ENOENT where `in` does not show it
  remount,      // mount; flags: MS_*, with MS_BIND of the mount alone; text: mount(2)'s data. Reply: as of mount
};

// What a mount by somebody who may not do everything must be: his own, and for himself alone where that is the rule.
struct MountBounds {
  bool bounded = false, may_allow_other = false;
  uint32_t user_id = 0, group_id = 0;
};

struct HostRequest {
  HostOperation operation{};
  uint32_t number = 0;    // of the question
  uint64_t deadline = 0;  // CLOCK_MONOTONIC, nanoseconds; 0: none
  uint32_t flags = 0;
  uint32_t value[3] = {};
  MountBounds bounds{};  // of mount: EPERM beyond
  uint64_t dev = 0;
  uint32_t mount = 0, in = 0;
  uint64_t token = 0;
  char text[4096] = {};
};

enum class HostMessageKind : uint32_t {
  reply = 1,
  ended,       // the daemon is gone, or the connection was aborted; the mount stays and answers ENOTCONN
  daemon_pid,  // value: the process that serves
};

struct HostMessage {
  HostMessageKind kind{};
  uint32_t number = 0;  // of a reply: the question's
  int32_t error = 0;    // of a reply: 0 or -errno
  uint32_t value = 0;
  // Of a reply to mount and its kin. flags: the mount's; read_only: the file system itself.
  uint32_t flags = 0, allow_other = 0, default_permissions = 0, max_read = 0, read_only = 0;
  uint32_t user_id = 0, group_id = 0;
};

}  // namespace fusewire::host
