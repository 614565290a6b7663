// How requests come in and replies go out: one message at a time. Implementations: DeviceTransport (a descriptor).
// Thread rule: all methods may be called by any number of threads at once; a reply may come from another thread than
// the one that read its request.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>

#include "daemon/types.h"

namespace fusewire::daemon {

class Transport {
 public:
  virtual ~Transport() = default;

  // Waits for one request and copies it into buffer; its length in bytes, or 0 at the end of the connection.
  // EINTR: a signal came; the caller decides whether to ask again. Other errors end the session.
  // A buffer smaller than the negotiated size gets EINVAL.
  virtual Result<size_t> read_request(std::span<std::byte> buffer) = 0;

  // Sends the parts as one message, whole or not at all. The parts are borrowed: implementations must not keep the
  // pointers after this call returns. ENOENT: the request is gone (its caller was killed), which is nobody's fault.
  virtual Result<void> write_reply(std::span<const iovec> parts) = 0;

  // The longest message in bytes that write_reply can send; limits are negotiated below it.
  virtual size_t max_message() const = 0;
};

}  // namespace fusewire::daemon
