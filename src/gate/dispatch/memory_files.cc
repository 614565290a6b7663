#include "gate/dispatch/memory_files.h"

#include <sys/mman.h>

#include "gate/dispatch/leader.h"
#include "gate/dispatch/process.h"

namespace fusewire::gate {

namespace {

int ask_for_memory(const char* name, uint64_t bytes) {
  abi::LeaderRequest request;
  start_request(request, abi::LeaderOperation::memory);
  request.token = bytes;
  set_field(request.path, {name, text_length(name)});
  int fd = -1;
  const long r = ask_leader(request, -1, &fd);
  return r < 0 ? static_cast<int>(r) : fd < 0 ? -EMFILE : fd;
}

}  // namespace

MemoryFile::MemoryFile(const char* name, uint64_t most, unsigned flags) : most_(most) {
  FileSizeLimit& limit = process().file_size;
  limit.look();
  if (limit.known() >= most)
    fd_ = native::memfd_create(name, flags);
  else
    take_from_leader(name, flags);
}

void MemoryFile::take_from_leader(const char* name, unsigned flags) {
  constexpr unsigned close_on_exec = 1;  // MFD_CLOEXEC
  fd_ = ask_for_memory(name, most_);
  if (fd_ < 0) return;
  if ((flags & close_on_exec) == 0) native::fcntl(fd_, F_SETFD, 0);
  const long at = map_aside(most_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_);
  if (at > 0) {
    mapped_ = reinterpret_cast<char*>(at);
    return;
  }
  native::close(fd_);
  fd_ = static_cast<int>(at);
}

MemoryFile::~MemoryFile() {
  if (mapped_ != nullptr) raw_syscall(SYS_munmap, native::of(mapped_), static_cast<long>(most_));
  if (fd_ >= 0) native::close(fd_);
}

long MemoryFile::put(const char* data, size_t bytes, uint64_t offset) {
  if (mapped_ != nullptr) {
    if (offset > most_ || bytes > most_ - offset) return -EFBIG;
    __builtin_memcpy(mapped_ + offset, data, bytes);
    return 0;
  }
  const long n = raw_syscall(SYS_pwrite64, fd_, native::of(data), static_cast<long>(bytes), static_cast<long>(offset));
  return n == static_cast<long>(bytes) ? 0 : n < 0 ? n : -ENOSPC;
}

long MemoryFile::resize(uint64_t bytes) {
  if (mapped_ != nullptr && bytes > most_) return -EFBIG;
  return raw_syscall(SYS_ftruncate, fd_, static_cast<long>(bytes));
}

int MemoryFile::release() {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}

}  // namespace fusewire::gate
