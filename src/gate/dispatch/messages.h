// Messages with descriptors attached (SCM_RIGHTS), over the gate's own sockets. Never sleeps.
#pragma once

#include <sys/socket.h>

#include <cstddef>

#include "gate/native.h"

namespace fusewire::gate {

// Sends `bytes` at data with the first `count` of fds: the bytes sent, or -errno.
template <size_t room>
long send_message(int socket, const void* data, size_t bytes, const int (&fds)[room], size_t count) {
  iovec io{const_cast<void*>(data), bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(room * sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &io;
  header.msg_iovlen = 1;
  if (count > 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(count * sizeof(int));
    __builtin_memcpy(CMSG_DATA(c), fds, count * sizeof(int));
  }
  return raw_syscall(SYS_sendmsg, socket, native::of(&header), MSG_NOSIGNAL | MSG_DONTWAIT);
}

struct Received {
  long bytes = 0;    // or -errno
  bool cut = false;  // more descriptors came than there is room for: the program may open no more
  size_t count = 0;  // descriptors, all close-on-exec
};

// Takes one message; its descriptors go into fds.
template <size_t room>
Received receive_message(int socket, void* data, size_t bytes, int (&fds)[room]) {
  Received m;
  iovec io{data, bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(room * sizeof(int))];
  msghdr header{};
  header.msg_iov = &io;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  m.bytes = raw_syscall(SYS_recvmsg, socket, native::of(&header), MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (m.bytes < 0) return m;
  m.cut = (header.msg_flags & MSG_CTRUNC) != 0;
  const cmsghdr* c = CMSG_FIRSTHDR(&header);
  if (c == nullptr || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) return m;
  const size_t came = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  m.count = came < room ? came : room;
  __builtin_memcpy(fds, CMSG_DATA(c), m.count * sizeof(int));
  return m;
}

}  // namespace fusewire::gate
