#include "daemon/device_transport.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <cstdint>
#include <utility>

namespace fusewire::daemon {
namespace {

bool is_socket(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

// A socket refuses (EMSGSIZE) messages beyond its send buffer, of which the kernel keeps half for its own book-keeping.
size_t longest_message(int fd) {
  int bytes = 0;
  socklen_t length = sizeof bytes;
  if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &length) != 0) return SIZE_MAX;
  return static_cast<size_t>(bytes) / 2;
}

}  // namespace

DeviceTransport::DeviceTransport(UniqueFd device)
    : device_(std::move(device)),
      is_socket_(is_socket(device_.get())),
      max_message_(is_socket_ ? longest_message(device_.get()) : SIZE_MAX) {}

Result<size_t> DeviceTransport::read_request(std::span<std::byte> buffer) {
  for (;;) {
    ssize_t n = ::read(device_.get(), buffer.data(), buffer.size());
    if (n >= 0) return static_cast<size_t>(n);
    if (errno == ENODEV || errno == ECONNRESET || errno == ECONNABORTED) return 0;
    if (errno != ENOENT) return last_error();
  }
}

Result<void> DeviceTransport::write_reply(std::span<const iovec> parts) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = parts.size();
  for (;;) {
    ssize_t sent = is_socket_ ? ::sendmsg(device_.get(), &message, MSG_NOSIGNAL)
                              : ::writev(device_.get(), parts.data(), static_cast<int>(parts.size()));
    if (sent >= 0) return {};
    if (errno != EINTR) return last_error();
  }
}

}  // namespace fusewire::daemon
