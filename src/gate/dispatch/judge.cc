// Results that another thread may have falsified. A call looks at a descriptor or at the working directory, finds it
// native, and is passed on; meanwhile the number gets a file of a mount (dup2), or the process enters one (chdir). What
// stands there natively then, a shadow or an empty directory, does nothing and says so, by EBADF, ENOTDIR or ENOENT.
// Here such a result is looked at again: the truth stands, anything else lets the call begin anew.
#include "gate/dispatch/async_calls.h"
#include "gate/dispatch/descriptors.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/polling_calls.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

constexpr size_t table_size = 512;
constexpr uint64_t times_max = 32;          // a call that never gets through: its result stands
constexpr uint64_t doubtful_times_max = 3;  // for results that are mostly true

// What a call needs of a descriptor that it takes.
// path: the argument is a path that starts at the working directory.
enum class Need : uint8_t { none, open, read, write, start, path };

struct Use {
  int16_t nr;
  int8_t argument;
  Need need;
};

constexpr Use uses[] = {
    {SYS_read, 0, Need::read},
    {SYS_readv, 0, Need::read},
    {SYS_pread64, 0, Need::read},
    {SYS_preadv, 0, Need::read},
    {SYS_preadv2, 0, Need::read},
    {SYS_readahead, 0, Need::read},
    {451 /* cachestat */, 0, Need::open},
    {SYS_write, 0, Need::write},
    {SYS_writev, 0, Need::write},
    {SYS_pwrite64, 0, Need::write},
    {SYS_pwritev, 0, Need::write},
    {SYS_pwritev2, 0, Need::write},
    {SYS_fallocate, 0, Need::write},
    {SYS_lseek, 0, Need::open},
    {SYS_getdents, 0, Need::open},
    {SYS_getdents64, 0, Need::open},
    {SYS_fsync, 0, Need::open},
    {SYS_fdatasync, 0, Need::open},
    {SYS_syncfs, 0, Need::open},
    {SYS_sync_file_range, 0, Need::open},
    {SYS_fadvise64, 0, Need::open},
    {SYS_ftruncate, 0, Need::open},
    {SYS_fchmod, 0, Need::open},
    {SYS_fchown, 0, Need::open},
    {SYS_fsetxattr, 0, Need::open},
    {SYS_fgetxattr, 0, Need::open},
    {SYS_flistxattr, 0, Need::open},
    {SYS_fremovexattr, 0, Need::open},
    {SYS_fcntl, 0, Need::open},
    {SYS_flock, 0, Need::open},
    {SYS_ioctl, 0, Need::open},
    {SYS_mmap, 4, Need::open},
    {SYS_sendfile, 0, Need::write},
    {SYS_sendfile, 1, Need::read},
    {SYS_copy_file_range, 0, Need::read},
    {SYS_copy_file_range, 2, Need::write},
    {SYS_splice, 0, Need::read},
    {SYS_splice, 2, Need::write},
    {SYS_tee, 0, Need::read},
    {SYS_tee, 1, Need::write},
    {SYS_vmsplice, 0, Need::open},
    {SYS_getsockname, 0, Need::open},
    {SYS_getpeername, 0, Need::open},
    {SYS_getsockopt, 0, Need::open},
    {SYS_setsockopt, 0, Need::open},
    {SYS_sendto, 0, Need::open},
    {SYS_recvfrom, 0, Need::open},
    {SYS_sendmsg, 0, Need::open},
    {SYS_recvmsg, 0, Need::open},
    {SYS_sendmmsg, 0, Need::open},
    {SYS_recvmmsg, 0, Need::open},
    {SYS_accept, 0, Need::open},
    {SYS_accept4, 0, Need::open},
    {SYS_listen, 0, Need::open},
    {SYS_shutdown, 0, Need::open},
    {SYS_bind, 0, Need::open},
    {SYS_connect, 0, Need::open},
    {SYS_epoll_ctl, 0, Need::open},
    {SYS_epoll_ctl, 2, Need::open},
    {SYS_epoll_wait, 0, Need::open},
    {SYS_epoll_pwait, 0, Need::open},
    {441 /* epoll_pwait2 */, 0, Need::open},
    {SYS_timerfd_settime, 0, Need::open},
    {SYS_timerfd_gettime, 0, Need::open},
    {SYS_signalfd, 0, Need::open},
    {SYS_signalfd4, 0, Need::open},
    {SYS_inotify_add_watch, 0, Need::open},
    {SYS_inotify_rm_watch, 0, Need::open},
    {SYS_fanotify_mark, 0, Need::open},
    {SYS_setns, 0, Need::open},
    {SYS_openat, 0, Need::start},
    {SYS_openat2, 0, Need::start},
    {SYS_newfstatat, 0, Need::start},
    {SYS_statx, 0, Need::start},
    {SYS_faccessat, 0, Need::start},
    {SYS_faccessat2, 0, Need::start},
    {SYS_readlinkat, 0, Need::start},
    {SYS_mkdirat, 0, Need::start},
    {SYS_mknodat, 0, Need::start},
    {SYS_symlinkat, 1, Need::start},
    {SYS_unlinkat, 0, Need::start},
    {SYS_renameat, 0, Need::start},
    {SYS_renameat, 2, Need::start},
    {SYS_renameat2, 0, Need::start},
    {SYS_renameat2, 2, Need::start},
    {SYS_linkat, 0, Need::start},
    {SYS_linkat, 2, Need::start},
    {SYS_fchmodat, 0, Need::start},
    {452 /* fchmodat2 */, 0, Need::start},
    {SYS_fchownat, 0, Need::start},
    {SYS_futimesat, 0, Need::start},
    {SYS_utimensat, 0, Need::start},
    {SYS_name_to_handle_at, 0, Need::start},
    {SYS_open, 0, Need::path},
    {SYS_creat, 0, Need::path},
    {SYS_stat, 0, Need::path},
    {SYS_lstat, 0, Need::path},
    {SYS_statfs, 0, Need::path},
    {SYS_access, 0, Need::path},
    {SYS_readlink, 0, Need::path},
    {SYS_mkdir, 0, Need::path},
    {SYS_mknod, 0, Need::path},
    {SYS_symlink, 1, Need::path},
    {SYS_unlink, 0, Need::path},
    {SYS_rmdir, 0, Need::path},
    {SYS_rename, 0, Need::path},
    {SYS_rename, 1, Need::path},
    {SYS_link, 0, Need::path},
    {SYS_link, 1, Need::path},
    {SYS_chmod, 0, Need::path},
    {SYS_chown, 0, Need::path},
    {SYS_lchown, 0, Need::path},
    {SYS_truncate, 0, Need::path},
    {SYS_utime, 0, Need::path},
    {SYS_utimes, 0, Need::path},
    {SYS_setxattr, 0, Need::path},
    {SYS_lsetxattr, 0, Need::path},
    {SYS_getxattr, 0, Need::path},
    {SYS_lgetxattr, 0, Need::path},
    {SYS_listxattr, 0, Need::path},
    {SYS_llistxattr, 0, Need::path},
    {SYS_removexattr, 0, Need::path},
    {SYS_lremovexattr, 0, Need::path},
};

struct Uses {
  Use use[2] = {{0, 0, Need::none}, {0, 0, Need::none}};
};

constexpr auto make_table() {
  struct {
    Uses of[table_size];
  } table;
  for (const Use& use : uses) {
    Uses& u = table.of[use.nr];
    u.use[u.use[0].need == Need::none ? 0 : 1] = use;
  }
  return table;
}

constexpr auto table = make_table();

// What Linux says to a call that is for other kinds of files than those of a file system. 0: the call has a handler.
long error_on_file(const Use& use) {
  switch (use.nr) {
    case SYS_getsockname:
    case SYS_getpeername:
    case SYS_getsockopt:
    case SYS_setsockopt:
    case SYS_sendto:
    case SYS_recvfrom:
    case SYS_sendmsg:
    case SYS_recvmsg:
    case SYS_sendmmsg:
    case SYS_recvmmsg:
    case SYS_accept:
    case SYS_accept4:
    case SYS_listen:
    case SYS_shutdown:
    case SYS_bind:
    case SYS_connect:
      return -ENOTSOCK;
    case SYS_epoll_ctl:
      return use.argument == 2 ? -EPERM : -EINVAL;
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case 441:  // epoll_pwait2
    case SYS_timerfd_settime:
    case SYS_timerfd_gettime:
    case SYS_signalfd:
    case SYS_signalfd4:
    case SYS_inotify_add_watch:
    case SYS_inotify_rm_watch:
    case SYS_fanotify_mark:
    case SYS_setns:
      return -EINVAL;
    default:
      return 0;
  }
}

int descriptor_of(const CallFrame& f, const Use& use) { return static_cast<int>(f.arg[use.argument]); }

bool is_meant(const CallFrame& f, const Use& use) {
  if (use.need == Need::none || use.need == Need::path) return false;
  return use.need != Need::start || descriptor_of(f, use) != AT_FDCWD;
}

bool is_relative(long path) {
  char first = 0;
  return copy_from_program(&first, reinterpret_cast<const void*>(path), 1) == 0 && first != 0 && first != '/';
}

// Whether a path of the call starts at the working directory.
bool starts_at_cwd(const CallFrame& f) {
  for (const Use& use : table.of[f.nr].use) {
    const bool at = use.need == Need::start && descriptor_of(f, use) == AT_FDCWD;
    if (at && is_relative(f.arg[use.argument + 1])) return true;
    if (use.need == Need::path && is_relative(f.arg[use.argument])) return true;
  }
  return false;
}

// Whether a native descriptor gives EBADF to this use by what it was opened for.
bool is_wrong_for(const Use& use, long flags) {
  if (use.need == Need::start) return false;
  if ((flags & O_PATH) != 0) return true;
  const long access = flags & O_ACCMODE;
  if (use.need == Need::read) return access == O_WRONLY;
  return use.need == Need::write && access == O_RDONLY;
}

// Whether EBADF is what the number deserves. Its flags may be a shadow's that has come since the look: so they count
// only when the number is found native behind them, again and again.
bool deserves_ebadf(const Use& use, int fd) {
  constexpr int looks = 4;
  for (int i = 0; i < looks; i++) {
    VirtualFile file;
    const long flags = native::fcntl(fd, F_GETFL);
    if (flags < 0) return true;
    if (!is_wrong_for(use, flags) || is_virtual(fd, file)) return false;
    if ((flags & O_PATH) == 0) return true;
  }
  return true;
}

// EBADF.
long judge_descriptors(const CallFrame& f, uint64_t times) {
  const Uses& all = table.of[f.nr];
  bool is_true = !is_meant(f, all.use[0]) && !is_meant(f, all.use[1]);
  long error = 0;
  for (const Use& use : all.use) {
    if (!is_meant(f, use)) continue;
    VirtualFile file;
    const int fd = descriptor_of(f, use);
    if (is_virtual(fd, file)) {
      expect_virtual(fd, true);
      const long here = error_on_file(use);
      if (here != 0) error = unless_path(file, f.nr, here);
      continue;
    }
    is_true |= deserves_ebadf(use, fd);
  }
  if (is_true) return -EBADF;
  if (error != 0 && error != abi::stale_token) return error;
  return times < times_max ? pass_on : -EBADF;
}

// ENOTDIR of a path that starts at a descriptor.
long judge_start(const CallFrame& f, long result, uint64_t times) {
  for (const Use& use : table.of[f.nr].use) {
    if (use.need != Need::start || !is_meant(f, use)) continue;
    VirtualFile file;
    const uint64_t most = is_virtual(descriptor_of(f, use), file) ? times_max : doubtful_times_max;
    if (times < most) return pass_on;
  }
  return result;
}

// ENOENT of a path that starts at the working directory.
long judge_cwd(const CallFrame& f, long result, uint64_t times) {
  VirtualFile cwd;
  if (!possible.virtual_cwd || !starts_at_cwd(f)) return result;
  return times < (virtual_cwd(process(), cwd) ? times_max : doubtful_times_max) ? pass_on : result;
}

bool has_start(const CallFrame& f) {
  for (const Use& use : table.of[f.nr].use) {
    if (use.need == Need::start && is_meant(f, use)) return true;
  }
  return false;
}

}  // namespace

unsigned judged_results(const CallFrame& f) {
  if (!possible.virtual_file.load(std::memory_order_relaxed) || f.nr < 0 || f.nr >= long{table_size}) return 0;
  if (is_polling(f.nr) || takes_events(f.nr)) return judge_success;
  return has_start(f) || (possible.virtual_cwd && starts_at_cwd(f)) ? judge_errors : 0;
}

long judge_call(const CallFrame& f, long result, uint64_t times) {
  if (!possible.virtual_file.load(std::memory_order_relaxed) || f.nr < 0 || f.nr >= long{table_size}) return result;
  if (is_polling(f.nr)) return judge_polling(f, result, times < times_max);
  if (takes_events(f.nr)) return judge_events(f, result);
  if (result == -EBADF) return judge_descriptors(f, times);
  if (result == -ENOENT) return judge_cwd(f, result, times);
  return result == -ENOTDIR ? judge_start(f, result, times) : result;
}

}  // namespace fusewire::gate
