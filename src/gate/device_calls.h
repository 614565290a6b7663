// The daemon's end: open("/dev/fuse"), and read and write on the socket that stands for it, with the device's errors.
#pragma once

#include <sys/uio.h>

#include <cstdint>

namespace fusewire::gate {

// A new device of the leader's; flags as open(2).
long open_device(uint64_t flags);
// One request, one reply. vectors: the program's memory.
long read_device(int fd, const iovec* vectors, long count);
long write_device(int fd, const iovec* vectors, long count);

}  // namespace fusewire::gate
