// Files in memory that the gate fills: the bytes of a mount's file to be mapped or executed, a file of /proc as it is
// shown here. The program's RLIMIT_FSIZE is for files of its own: where it is in the way, the leader makes the file,
// and it is filled through a mapping. Thread rule: one thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gate/native.h"

namespace fusewire::gate {

class MemoryFile {
 public:
  // most: about as many bytes come into it. flags: of memfd_create(2).
  MemoryFile(const char* name, uint64_t most, unsigned flags);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;

  // The descriptor, or -errno.
  int fd() const { return fd_; }
  // 0 or -errno; EFBIG beyond `most`, where the limit is in the way.
  long put(const char* data, size_t bytes, uint64_t offset);
  // Its size, as far: 0 or -errno.
  long resize(uint64_t bytes);
  // The descriptor is the caller's now.
  int release();

 private:
  void take_from_leader(const char* name, unsigned flags);

  const uint64_t most_;
  int fd_;
  char* mapped_ = nullptr;  // when it is the leader's
};

}  // namespace fusewire::gate
