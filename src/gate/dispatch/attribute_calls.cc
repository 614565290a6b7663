// Changing attributes: mode, owner, size, times.
#include <sys/time.h>

#include "abi/types.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/path_engine.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;
using abi::Timespec;

constexpr long utime_now = (1l << 30) - 1;
constexpr long usec_per_sec = 1'000'000;

// Wrong AT_ flags come before the path, whatever it is.
bool knows(long at_flags) { return (at_flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) == 0; }

long chmod_path(const CallFrame& f, PathArgument argument, long mode, long at_flags) {
  if (!knows(at_flags)) return -EINVAL;
  argument.how = how_of(at_flags);
  return path_call(
      f, argument, CallNumber::fchmodat, {1, at_flags},
      [mode](RingCall& call) {
        call.set_arg(0, mode & 07777);
        return 0L;
      },
      plain_result);
}

long chown_path(const CallFrame& f, PathArgument argument, long uid, long gid, long at_flags) {
  if (!knows(at_flags)) return -EINVAL;
  argument.how = how_of(at_flags);
  return path_call(
      f, argument, CallNumber::fchownat, {2, at_flags},
      [uid, gid](RingCall& call) {
        call.set_arg(0, static_cast<uint32_t>(uid));
        call.set_arg(1, static_cast<uint32_t>(gid));
        return 0L;
      },
      plain_result);
}

struct Times {
  Timespec atime{0, utime_now};
  Timespec mtime{0, utime_now};
};

bool omits_both(const Times& times) { return times.atime.nsec == UTIME_OMIT && times.mtime.nsec == UTIME_OMIT; }

long utimens_path(const CallFrame& f, PathArgument argument, const Times& times, long at_flags) {
  if (omits_both(times)) return 0;
  if (!knows(at_flags)) return -EINVAL;
  argument.how = how_of(at_flags);
  return path_call(
      f, argument, CallNumber::utimensat, {4, at_flags},
      [&times](RingCall& call) {
        call.set_arg(0, times.atime.sec);
        call.set_arg(1, times.atime.nsec);
        call.set_arg(2, times.mtime.sec);
        call.set_arg(3, times.mtime.nsec);
        return 0L;
      },
      plain_result);
}

// A null pointer means now.
template <class T>
long copy_pair(T (&to)[2], long from) {
  return copy_from_program(to, reinterpret_cast<const void*>(from), sizeof to);
}

long read_timevals(long from, Times& times) {
  if (from == 0) return 0;
  struct timeval pair[2];
  if (copy_pair(pair, from) != 0) return -EFAULT;
  for (const auto& t : pair) {
    if (t.tv_usec < 0 || t.tv_usec >= usec_per_sec) return -EINVAL;
  }
  times.atime = {pair[0].tv_sec, pair[0].tv_usec * 1000};
  times.mtime = {pair[1].tv_sec, pair[1].tv_usec * 1000};
  return 0;
}

long read_timespecs(long from, Times& times) {
  if (from == 0) return 0;
  struct timespec pair[2];
  if (copy_pair(pair, from) != 0) return -EFAULT;
  times.atime = {pair[0].tv_sec, pair[0].tv_nsec};
  times.mtime = {pair[1].tv_sec, pair[1].tv_nsec};
  return 0;
}

long read_seconds(long from, Times& times) {
  if (from == 0) return 0;
  long pair[2];
  if (copy_pair(pair, from) != 0) return -EFAULT;
  times.atime = {pair[0], 0};
  times.mtime = {pair[1], 0};
  return 0;
}

long futimens(const CallFrame& f, const Times& times, long at_flags) {
  if (omits_both(times)) return 0;
  if (at_flags != 0) return -EINVAL;
  return inode_call(f, CallNumber::futimens, {times.atime.sec, times.atime.nsec, times.mtime.sec, times.mtime.nsec});
}

}  // namespace

long call_chmod(const CallFrame& f) { return chmod_path(f, {-1, 0, {}}, f.arg[1], 0); }
long call_fchmodat(const CallFrame& f) { return chmod_path(f, {0, 1, {}}, f.arg[2], 0); }
long call_fchmodat2(const CallFrame& f) { return chmod_path(f, {0, 1, {}}, f.arg[2], static_cast<int>(f.arg[3])); }
long call_fchmod(const CallFrame& f) { return inode_call(f, CallNumber::fchmod, {f.arg[1] & 07777}); }

long call_chown(const CallFrame& f) { return chown_path(f, {-1, 0, {}}, f.arg[1], f.arg[2], 0); }
long call_lchown(const CallFrame& f) { return chown_path(f, {-1, 0, {}}, f.arg[1], f.arg[2], AT_SYMLINK_NOFOLLOW); }
long call_fchownat(const CallFrame& f) {
  return chown_path(f, {0, 1, {}}, f.arg[2], f.arg[3], static_cast<int>(f.arg[4]));
}
long call_fchown(const CallFrame& f) {
  return inode_call(f, CallNumber::fchown, {static_cast<uint32_t>(f.arg[1]), static_cast<uint32_t>(f.arg[2])});
}

long call_truncate(const CallFrame& f) {
  if (f.arg[1] < 0) return -EINVAL;
  return path_call(
      f, {-1, 0, {}}, CallNumber::truncate, start_itself,
      [&](RingCall& call) {
        call.set_arg(0, f.arg[1]);
        return 0L;
      },
      plain_result);
}
long call_ftruncate(const CallFrame& f) {
  VirtualFile file;
  if (!is_virtual(static_cast<int>(f.arg[0]), file)) return pass_on;
  return f.arg[1] < 0 ? -EINVAL : file_call(file, CallNumber::ftruncate, f.nr, {f.arg[1]});
}

long call_utime(const CallFrame& f) {
  Times times;
  const long r = read_seconds(f.arg[1], times);
  return r < 0 ? r : utimens_path(f, {-1, 0, {}}, times, 0);
}

long call_utimes(const CallFrame& f) {
  Times times;
  const long r = read_timevals(f.arg[1], times);
  return r < 0 ? r : utimens_path(f, {-1, 0, {}}, times, 0);
}

long call_futimesat(const CallFrame& f) {
  Times times;
  const long r = read_timevals(f.arg[2], times);
  if (r < 0) return r;
  return f.arg[1] == 0 ? futimens(f, times, 0) : utimens_path(f, {0, 1, {}}, times, 0);
}

long call_utimensat(const CallFrame& f) {
  Times times;
  const long r = read_timespecs(f.arg[2], times);
  if (r < 0) return r;
  const long at_flags = static_cast<int>(f.arg[3]);
  if (f.arg[1] == 0 && static_cast<int>(f.arg[0]) == AT_FDCWD) return pass_on;
  return f.arg[1] == 0 ? futimens(f, times, at_flags) : utimens_path(f, {0, 1, {}}, times, at_flags);
}

}  // namespace fusewire::gate
