#include "gate/dispatch/execute_access.h"

#include <sys/vfs.h>

#include "gate/native.h"

namespace fusewire::gate {

namespace {

constexpr long execute = 1;  // X_OK

// What a filter says of a call that it refuses, and a kernel of one that it does not have. None of them is an answer to
// "may this be executed".
bool is_refusal(long r) { return r == -EPERM || r == -ENOSYS; }

bool effective_is_real() {
  return raw_syscall(SYS_getuid) == raw_syscall(SYS_geteuid) && raw_syscall(SYS_getgid) == raw_syscall(SYS_getegid);
}

bool in_group(gid_t group) {
  if (static_cast<gid_t>(raw_syscall(SYS_getegid)) == group) return true;
  constexpr int most = 1024;  // of 65536 that a process can have
  gid_t groups[most];
  const long n = raw_syscall(SYS_getgroups, most, native::of(groups));
  for (long i = 0; i < n; i++) {
    if (groups[i] == group) return true;
  }
  return false;
}

// The permission bits alone: an access control list that differs from them is not seen.
long judge_by_mode(int fd, const struct stat& st) {
  constexpr long no_exec = 8;  // ST_NOEXEC
  struct statfs fs;
  if (raw_syscall(SYS_fstatfs, fd, native::of(&fs)) == 0 && (fs.f_flags & no_exec) != 0) return -EACCES;
  const auto user = static_cast<uid_t>(raw_syscall(SYS_geteuid));
  const unsigned all = S_IXUSR | S_IXGRP | S_IXOTH;
  unsigned wanted = S_IXOTH;
  if (user == 0) {
    wanted = all;
  } else if (st.st_uid == user) {
    wanted = S_IXUSR;
  } else if (in_group(st.st_gid)) {
    wanted = S_IXGRP;
  }
  return (st.st_mode & wanted) != 0 ? 0 : -EACCES;
}

long judge_opened(int fd) {
  struct stat st;
  if (const int r = native::fstat(fd, &st); r < 0) return r;
  if (S_ISLNK(st.st_mode)) return -ELOOP;
  if (effective_is_real()) {
    const auto link = native::OwnFile::descriptor(fd);
    const long r = raw_syscall(SYS_faccessat, link.directory, native::of(link.name.c_str()), execute);
    if (!is_refusal(r)) return r;
  }
  return judge_by_mode(fd, st);
}

long judge_without_faccessat2(int dirfd, const char* path, long at_flags) {
  char first = 0;
  if (copy_from_program(&first, path, 1) != 0) return -EFAULT;
  if (first == 0 && (at_flags & AT_EMPTY_PATH) != 0 && dirfd != AT_FDCWD) return judge_opened(dirfd);
  const long nofollow = (at_flags & AT_SYMLINK_NOFOLLOW) != 0 ? O_NOFOLLOW : 0;
  const long fd = raw_syscall(SYS_openat, dirfd, native::of(path), O_PATH | O_CLOEXEC | nofollow);
  if (fd < 0) return fd;
  const long r = judge_opened(static_cast<int>(fd));
  native::close(static_cast<int>(fd));
  return r;
}

}  // namespace

long may_execute(int dirfd, const char* path, long at_flags) {
  const long r = raw_syscall(SYS_faccessat2, dirfd, native::of(path), execute,
                             AT_EACCESS | (at_flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)));
  return is_refusal(r) ? judge_without_faccessat2(dirfd, path, at_flags) : r;
}

}  // namespace fusewire::gate
