// DeviceImpl: the Device of the half. Its requests are LOCKED while they are copied, and SENT until the reply.
// From the slab `fuse_dev`. Thread rule: as Device; the lists are under the connection lock.
#pragma once

#include "kernel/connection.h"
#include "kernel/device.h"
#include "kernel/device_queues.h"

namespace fusewire::kernel {

class DeviceImpl final : public Device, public DeviceQueues {
 public:
  explicit DeviceImpl(Connection& connection);
  DeviceImpl(const DeviceImpl&) = delete;

  Result<size_t> read(std::span<std::byte> buffer) override;
  Result<size_t> write(std::span<const std::byte> message) override;
  uint32_t poll() override;
  Result<Device*> clone() override;
  void set_listener(DeviceListener* listener) override;
  void close() override;
  Connection& connection() override { return connection_; }

 private:
  // Lets go of the connection lock for the time of a copy that is longer than taking the lock again.
  class Unlocked;

  Result<size_t> read_locked(std::span<std::byte> buffer);
  size_t read_interrupt(std::span<std::byte> buffer);
  size_t read_forget(std::span<std::byte> buffer);
  size_t read_one_forget(std::span<std::byte> buffer);
  size_t read_forget_batch(std::span<std::byte> buffer);
  Result<size_t> read_request(Request& request, std::span<std::byte> buffer);
  void mark_sent(Request& request);

  Result<size_t> write_locked(std::span<const std::byte> message);
  Result<void> take_reply(const wire::OutHeader& header, std::span<const std::byte> payload);
  Result<void> take_interrupt_reply(Request& request, const wire::OutHeader& header, bool bare);
  Result<void> complete(Request& request, const wire::OutHeader& header, std::span<const std::byte> payload);
  Errno end_error() const;

  Connection& connection_;
};

}  // namespace fusewire::kernel
