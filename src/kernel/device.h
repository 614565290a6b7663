// Device: one open of /dev/fuse (Linux struct fuse_dev). Its own processing table; pending is the connection's.
// The transport (socket door, test, in-process daemon) calls read and write; nothing below knows inodes (D3).
// Thread rule: any thread; the methods take the connection lock themselves (Connection::Entry), so never call them
// while holding one. close comes last: no other call on the same Device may run beside it or follow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/errno.h"

namespace fusewire::kernel {

class Connection;

// Told when a read would find something, or when the connection has ended. Called under the connection lock: note it
// and return; do not call back into the half.
struct DeviceListener {
  virtual void readable() = 0;
  virtual void ended() = 0;

 protected:
  ~DeviceListener() = default;
};

class Device {
 public:
  // One request into buffer (K006-K009); its length. EAGAIN when nothing is pending; EPERM before the mount;
  // EINVAL when buffer is below max(8192, 40 + 40 + max_write); ENODEV (or ECONNABORTED, K010) after the end.
  virtual Result<size_t> read(std::span<std::byte> buffer) = 0;
  // One reply or notification (K011-K013, K210-K217). The bytes are the daemon's and are trusted in nothing; they are
  // borrowed for the call. Returns message.size(). ENOENT for an unknown unique, EINVAL for a malformed message.
  virtual Result<size_t> write(std::span<const std::byte> message) = 0;
  // poll(2) bits: POLLIN 1, POLLOUT 4, POLLERR 8 (K014).
  virtual uint32_t poll() = 0;
  // K011, K017: a second Device on the same connection.
  virtual Result<Device*> clone() = 0;
  virtual void set_listener(DeviceListener* listener) = 0;
  // The daemon closed it: its processing requests end with ECONNABORTED; the last close aborts the connection (K018).
  virtual void close() = 0;
  virtual Connection& connection() = 0;

 protected:
  ~Device() = default;
};

}  // namespace fusewire::kernel
