// INIT: what the daemon's half answers to what the kernel's half offers. Pure.
#pragma once

#include "daemon/session.h"
#include "wire/protocol.h"

namespace fusewire::daemon {

// Capabilities (wire::init_flag) that a session can keep its word on.
extern const uint64_t honoured_capabilities;

struct InitAnswer {
  wire::InitOut out{};
  uint32_t size = sizeof(wire::InitOut);  // bytes of it that this minor knows
  bool agreed = false;                    // false: another major; the kernel's half will ask again, or give up
  Negotiated negotiated;
  wire::Dialect dialect;
  uint32_t payload_limit = 0;
};

InitAnswer negotiate(const wire::InitIn& in, uint64_t wanted, const SessionOptions& options, size_t max_message);

}  // namespace fusewire::daemon
