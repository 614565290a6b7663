// The daemon's end: open("/dev/fuse"), and read, write, splice and poll on the socket that stands for it, with the
// device's errors.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

namespace fusewire::gate {

// A new device of the leader's; flags as open(2).
long open_device(uint64_t flags);
// One request, one reply. vectors: the program's memory.
long read_device(int fd, const iovec* vectors, long count);
long write_device(int fd, const iovec* vectors, long count);
// splice(2) between a pipe and the device: bytes of the pipe are one reply, a request goes into the empty pipe whole.
// libfuse takes an error for the end of the session, or loses the reply.
long splice_to_device(int pipe, int fd, size_t bytes);
long splice_from_device(int fd, int pipe, size_t bytes);
// What a pipe holds, in bytes; -EINVAL for anything else.
long pipe_fill(int pipe);

}  // namespace fusewire::gate
