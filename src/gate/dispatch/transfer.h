// Reading and writing an open file of a mount, each one transfer whatever its size: one call of the half's, which holds
// the position and the inode for its whole length. Where memory for a long one cannot be had it is short, never torn.
// Thread rule: any thread.
#pragma once

#include <cstdint>

#include "gate/dispatch/descriptors.h"
#include "gate/dispatch/vectors.h"

namespace fusewire::gate {

inline constexpr int64_t at_position = -1;

// nr: the system call behind it. offset: at_position, or where. rwf: RWF_ flags. The bytes moved, or -errno.
// Hidden: handlers take their addresses, and the gate has no table of addresses to be filled at start.
[[gnu::visibility("hidden")]] long read_file(VirtualFile file, long nr, Vectors to, int64_t offset, uint32_t rwf);
[[gnu::visibility("hidden")]] long write_file(VirtualFile file, long nr, Vectors from, int64_t offset, uint32_t rwf);

}  // namespace fusewire::gate
