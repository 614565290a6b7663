// The transport over a descriptor: /dev/fuse, or a SOCK_SEQPACKET socket that speaks as it does (one packet, one
// message), however it was come by.
#pragma once

#include "abi/unique_fd.h"
#include "daemon/transport.h"

namespace fusewire::daemon {

class DeviceTransport final : public Transport {
 public:
  // Owns the descriptor, which must be blocking.
  explicit DeviceTransport(UniqueFd device);

  // ENODEV, 0 bytes and a reset socket are the end; ENOENT (the request died while it was copied) is asked again.
  Result<size_t> read_request(std::span<std::byte> buffer) override;
  Result<void> write_reply(std::span<const iovec> parts) override;
  size_t max_message() const override { return max_message_; }

  int fd() const { return device_.get(); }

 private:
  UniqueFd device_;
  bool is_socket_;
  size_t max_message_;
};

}  // namespace fusewire::daemon
