// SOCK_SEQPACKET sockets with descriptors attached: what leader, hosts, gates and daemons talk over.
// Every function returns a value or -errno; none blocks longer than told. Received descriptors are close-on-exec.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "abi/unique_fd.h"

namespace fusewire::host {

struct Packet {
  ssize_t size = 0;  // bytes, 0 at the end of the connection, or -errno; above the buffer's size when it was cut
  std::vector<UniqueFd> fds;
  uint32_t sender_pid = 0;  // the process that sent it, where the socket has SO_PASSCRED and this process can see it
};

// Makes a listening socket at path (below 108 bytes), mode 0600. -errno.
int listen_at(const std::string& path);
// -errno: ENOENT, ECONNREFUSED when nobody listens any more.
int connect_to(const std::string& path);
// Both ends close-on-exec, blocking. 0 or -errno.
int packet_pair(UniqueFd& one, UniqueFd& other);

// Whether fd is one end of a SOCK_SEQPACKET pair that nobody gave a name: what SO_PEERCRED says of it is then said of
// whoever made the pair. (Of a connection, it would be said of whoever listened.)
bool is_unnamed_pair(int fd);

// flags: MSG_DONTWAIT or 0. Never raises SIGPIPE.
ssize_t send_packet(int fd, std::span<const std::byte> bytes, std::span<const int> fds = {}, int flags = 0);
Packet receive_packet(int fd, std::span<std::byte> buffer, int flags = 0);

template <typename T>
ssize_t send_message(int fd, const T& message, std::span<const int> fds = {}, int flags = 0) {
  return send_packet(fd, std::as_bytes(std::span(&message, 1)), fds, flags);
}

// Waits until fd is readable or ended, at most milliseconds. False when the time is over.
bool wait_readable(int fd, int milliseconds);

// Raises both buffers as far as the system allows (4 MiB wished for) and returns what the smaller one got, as the
// kernel counts it (twice what was asked for).
uint32_t raise_buffers(int fd);

// Identity of a socket that survives dup and SCM_RIGHTS, unique as long as the machine runs; 0 when fd is no socket.
uint64_t socket_cookie(int fd);

}  // namespace fusewire::host
