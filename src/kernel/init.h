// INIT: what the half offers, and what it makes of the daemon's answer (K031, K032, K037; Linux inode.c:
// fuse_new_init, process_init_limits, process_init_reply). Pure functions on messages.
// Thread rule: none.
#pragma once

#include <cstdint>

#include "kernel/errno.h"
#include "kernel/mount_options.h"
#include "wire/protocol.h"

namespace fusewire::kernel {

// What INIT agreed on (K031, §1.4). Read-only after the reply.
struct Negotiated {
  uint32_t minor = 0;
  // flags | flags2 << 32 of the daemon's reply, without those that were not offered or that its minor does not know.
  uint64_t flags = 0;
  uint32_t max_write = 4096;
  uint32_t max_readahead = 0;
  uint32_t max_pages = 32;  // of 4096 bytes, in one READ, WRITE or READDIR
  uint32_t time_gran = 1;   // nanoseconds
  bool has(uint64_t flag) const { return (flags & flag) != 0; }
};

// Of background requests; both may change later through the control file system (K231).
struct Limits {
  uint32_t max_background = 12;
  uint32_t congestion_threshold = 9;
};

// Daemons of ordinary users get no higher limits than this (Linux module parameter max_user_bgreq, by memory size
// there).
inline constexpr uint32_t max_user_background = 4096;

// The flags of our INIT: those whose meaning the half honours.
uint64_t offered_flags();
wire::InitIn init_request();

// ECONNREFUSED when the major is not 7: the connection is then unusable, but stays (K032). A short reply comes padded
// with zeros (K013).
Result<Negotiated> negotiate(const wire::InitOut& reply, const MountOptions& options);
// The background limits after the reply; 0 in it keeps the default.
Limits negotiate_limits(const wire::InitOut& reply, const MountOptions& options);

}  // namespace fusewire::kernel
