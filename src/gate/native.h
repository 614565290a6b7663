// The host kernel's own system calls, for the gate's use: never caught, results raw (-errno).
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdint>

#include "gate/gate.h"
#include "gate/text.h"

namespace fusewire::gate {

void closes(int fd);  // known_descriptors.h

}  // namespace fusewire::gate

namespace fusewire::gate::native {

inline long of(const void* p) { return reinterpret_cast<long>(p); }

inline long call(const CallFrame& f) {
  return raw_syscall(f.nr, f.arg[0], f.arg[1], f.arg[2], f.arg[3], f.arg[4], f.arg[5]);
}
inline int getpid() { return static_cast<int>(raw_syscall(SYS_getpid)); }
inline int gettid() { return static_cast<int>(raw_syscall(SYS_gettid)); }
inline int open(const char* path, int flags, int mode = 0) {
  return static_cast<int>(raw_syscall(SYS_openat, AT_FDCWD, of(path), flags, mode));
}
inline int close(int fd) {
  closes(fd);
  return static_cast<int>(raw_syscall(SYS_close, fd));
}
inline long read(int fd, void* to, size_t n) { return raw_syscall(SYS_read, fd, of(to), static_cast<long>(n)); }
inline long write(int fd, const void* from, size_t n) {
  return raw_syscall(SYS_write, fd, of(from), static_cast<long>(n));
}
inline int fstat(int fd, struct stat* st) { return static_cast<int>(raw_syscall(SYS_fstat, fd, of(st))); }
inline int fcntl(int fd, int cmd, long arg = 0) { return static_cast<int>(raw_syscall(SYS_fcntl, fd, cmd, arg)); }
inline int memfd_create(const char* name, unsigned flags) {
  return static_cast<int>(raw_syscall(SYS_memfd_create, of(name), flags));
}
inline int chdir(const char* path) { return static_cast<int>(raw_syscall(SYS_chdir, of(path))); }
inline long getcwd(char* to, size_t room) { return raw_syscall(SYS_getcwd, of(to), static_cast<long>(room)); }
inline long readlink(const char* path, char* to, size_t room) {
  return raw_syscall(SYS_readlinkat, AT_FDCWD, of(path), of(to), static_cast<long>(room));
}

// A descriptor of /proc as it was outside, -1: there is none. (Of the calling process; process.cc.)
int proc_directory();

// The calling process's own file in /proc: relative to the descriptor of /proc, which is there after chroot and in
// private mounts too, or by its path.
struct OwnFile {
  explicit OwnFile(std::string_view rest) : directory(proc_directory()) {
    if (directory < 0) directory = AT_FDCWD;
    name.add(directory == AT_FDCWD ? "/proc/self/" : "self/").add(rest);
  }
  static OwnFile descriptor(int fd) {
    OwnFile file("fd/");
    file.name.add_decimal(fd);
    return file;
  }
  long open(long flags) const { return raw_syscall(SYS_openat, directory, of(name.c_str()), flags); }

  int directory;
  Text<40> name;
};

// A file of /proc to be read, also where no path leads there.
inline int open_in_proc(const char* path) {
  constexpr std::string_view proc = "/proc/";
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd != -ENOENT || proc_directory() < 0 || !std::string_view(path, text_length(path)).starts_with(proc)) return fd;
  return static_cast<int>(raw_syscall(SYS_openat, proc_directory(), of(path + proc.size()), O_RDONLY | O_CLOEXEC));
}

// Where the descriptor's link in /proc leads, into to: 0 or -errno.
template <size_t room>
int descriptor_path(int fd, Text<room>& to) {
  const OwnFile link = OwnFile::descriptor(fd);
  const long n = raw_syscall(SYS_readlinkat, link.directory, of(link.name.c_str()), of(to.data()), room - 1);
  to.set_length(n < 0 ? 0 : static_cast<size_t>(n));
  return n < 0 ? static_cast<int>(n) : 0;
}

struct Time {
  long sec, nsec;
};

// 0 or -errno (EAGAIN: word is not value, ETIMEDOUT, EINTR). shared: with other processes.
inline long futex_wait(const void* word, uint32_t value, bool shared, Time timeout) {
  const long operation = FUTEX_WAIT | (shared ? 0 : FUTEX_PRIVATE_FLAG);
  return raw_syscall(SYS_futex, of(word), operation, value, of(&timeout));
}
inline void futex_wake_all(const void* word) {
  raw_syscall(SYS_futex, of(word), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX);
}

// What it is ready for, 0 or -errno.
inline long poll_one(int fd, short events, long milliseconds) {
  pollfd p{fd, events, 0};
  const long r = raw_syscall(SYS_poll, of(&p), 1, milliseconds);
  return r <= 0 ? r : p.revents;
}

}  // namespace fusewire::gate::native
