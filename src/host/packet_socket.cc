#include "host/packet_socket.h"

#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace fusewire::host {
namespace {

constexpr size_t fds_per_packet = 4;
constexpr int wished_buffer = 4 * 1024 * 1024;

int fill_address(sockaddr_un& address, const std::string& path) {
  address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return -ENAMETOOLONG;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return 0;
}

int packet_socket() {
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  return fd < 0 ? -errno : fd;
}

uint32_t raise_buffer(int fd, int forced, int plain) {
  if (::setsockopt(fd, SOL_SOCKET, forced, &wished_buffer, sizeof wished_buffer) != 0)
    (void)::setsockopt(fd, SOL_SOCKET, plain, &wished_buffer, sizeof wished_buffer);
  int got = 0;
  socklen_t size = sizeof got;
  if (::getsockopt(fd, SOL_SOCKET, plain, &got, &size) != 0) return 0;
  return static_cast<uint32_t>(got);
}

}  // namespace

int listen_at(const std::string& path) {
  sockaddr_un address;
  if (int error = fill_address(address, path); error < 0) return error;
  UniqueFd fd(packet_socket());
  if (!fd) return fd.get();
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return -errno;
  if (::chmod(path.c_str(), 0600) != 0 || ::listen(fd.get(), 128) != 0) return -errno;
  return fd.release();
}

int connect_to(const std::string& path) {
  sockaddr_un address;
  if (int error = fill_address(address, path); error < 0) return error;
  UniqueFd fd(packet_socket());
  if (!fd) return fd.get();
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return -errno;
  return fd.release();
}

int packet_pair(UniqueFd& one, UniqueFd& other) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return -errno;
  one.reset(pair[0]);
  other.reset(pair[1]);
  return 0;
}

bool is_unnamed_pair(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) return false;
  for (const auto name : {::getsockname, ::getpeername}) {
    sockaddr_un address{};
    size = sizeof address;
    if (name(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return false;
    if (address.sun_family != AF_UNIX || size != offsetof(sockaddr_un, sun_path)) return false;
  }
  return true;
}

ssize_t send_packet(int fd, std::span<const std::byte> bytes, std::span<const int> fds, int flags) {
  iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * fds_per_packet)] = {};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (fds.size() > fds_per_packet) return -EINVAL;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
  }
  for (;;) {
    const ssize_t sent = ::sendmsg(fd, &message, flags | MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    if (errno != EINTR) return -errno;
  }
}

Packet receive_packet(int fd, std::span<std::byte> buffer, int flags) {
  Packet packet;
  iovec vector{buffer.data(), buffer.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * fds_per_packet) + CMSG_SPACE(sizeof(ucred))];
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  do {
    packet.size = ::recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC | MSG_TRUNC);
  } while (packet.size < 0 && errno == EINTR);
  if (packet.size < 0) {
    packet.size = -errno;
    return packet;
  }
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS) {
      ucred sender;
      std::memcpy(&sender, CMSG_DATA(header), sizeof sender);
      packet.sender_pid = static_cast<uint32_t>(sender.pid);
    }
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int received;
      std::memcpy(&received, CMSG_DATA(header) + i * sizeof(int), sizeof received);
      packet.fds.emplace_back(received);
    }
  }
  return packet;
}

bool wait_readable(int fd, int milliseconds) {
  pollfd poll_fd{fd, POLLIN, 0};
  int ready;
  do {
    ready = ::poll(&poll_fd, 1, milliseconds);
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

uint32_t raise_buffers(int fd) {
  const uint32_t send = raise_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
  const uint32_t receive = raise_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
  return std::min(send, receive);
}

uint64_t socket_cookie(int fd) {
  uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) return 0;
  return cookie;
}

}  // namespace fusewire::host
