// What the machinery gives the dispatcher, for a hosted test program.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "gate/gate.h"
#include "gate/text.h"

namespace fusewire::gate {

extern "C" long raw_syscall(long nr, long a, long b, long c, long d, long e, long f) {
  const long r = ::syscall(nr, a, b, c, d, e, f);
  return r == -1 ? -errno : r;
}

long raw_sleep(long nr, long a, long b, long c, long d, long e, long f) { return raw_syscall(nr, a, b, c, d, e, f); }

long interrupted_sleep() { return -EINTR; }

int copy_from_program(void* to, const void* from, size_t bytes) {
  iovec local{to, bytes}, remote{const_cast<void*>(from), bytes};
  if (bytes == 0) return 0;
  return ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(bytes) ? 0 : -EFAULT;
}

int copy_to_program(void* to, const void* from, size_t bytes) {
  iovec local{const_cast<void*>(from), bytes}, remote{to, bytes};
  if (bytes == 0) return 0;
  return ::process_vm_writev(::getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(bytes) ? 0 : -EFAULT;
}

long copy_string_from_program(char* to, const char* from, size_t room) {
  for (size_t i = 0; i < room; i++) {
    if (copy_from_program(to + i, from + i, 1) != 0) return -EFAULT;
    if (to[i] == 0) return static_cast<long>(i);
  }
  return -ENAMETOOLONG;
}

long map_aside(size_t bytes, int protection, int flags, int fd) {
  return raw_syscall(SYS_mmap, 0, static_cast<long>(bytes), protection, flags, fd, 0);
}

const char* exe_path() { return "/opt/program/of/the/test"; }

uint64_t vdso_address() { return ::getauxval(AT_SYSINFO_EHDR); }
void* process_of_call() { return nullptr; }
bool holds_signals_back() { return false; }
bool is_single_threaded() { return false; }

// Nothing runs on stacks of the machinery here.
void release_stacks_of(const void*) {}

void die(const char* what, const char* detail) {
  ::fprintf(stderr, "%s %s\n", what, detail);
  ::abort();
}

}  // namespace fusewire::gate
