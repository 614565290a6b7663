// What a leader and its hosts say to each other, over a SOCK_SEQPACKET pair: each HostRequest is answered by one
// HostMessage of kind reply; a host says the other kinds unasked. The end of the pair is the end of the other side.
#pragma once

#include <cstdint>

namespace fusewire::host {

enum class HostOperation : uint32_t {
  mount = 1,  // text: mount(2)'s data; flags: MS_RDONLY 1; value[0] the daemon's uid; dev. Reply: the options
  umount,     // flags as umount2(2). EBUSY while files are open, unless MNT_FORCE or MNT_DETACH
  abort,
  set_limits,   // value[0] max_background, value[1] congestion_threshold; UINT32_MAX leaves it
  set_tracing,  // value[0]; text: the trace file's absolute path
};

struct HostRequest {
  HostOperation operation{};
  uint32_t flags = 0;
  uint32_t value[2] = {};
  uint64_t dev = 0;
  char text[1024] = {};
};

enum class HostMessageKind : uint32_t {
  reply = 1,
  ended,       // the daemon is gone, or the connection was aborted; the mount stays and answers ENOTCONN
  daemon_pid,  // value: the process that serves
};

struct HostMessage {
  HostMessageKind kind{};
  int32_t error = 0;  // of a reply: 0 or -errno
  uint32_t value = 0;
  uint32_t allow_other = 0, default_permissions = 0, max_read = 0, read_only = 0;  // of a reply to mount
};

}  // namespace fusewire::host
