// System: the system calls of a scenario's user process, and the hand that holds the daemon. Two back ends: the real
// kernel (real_kernel.cc) and our half in this process (our_half.cc).
// Paths are relative to the mount's root; "" and "." mean the root. Handles number the open descriptors from 0.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "abi/types.h"
#include "oracle/trace.h"
#include "oracle/tree_daemon.h"

namespace fusewire::oracle {

// What a call answered: a value and data, or an errno.
struct Outcome {
  int64_t value = 0;
  int error = 0;
  std::string data = {};
};

// One struct timespec of utimensat: sec.nsec, or one of these in nsec.
inline constexpr int64_t utime_now = (1l << 30) - 1, utime_omit = (1l << 30) - 2;
struct Time {
  int64_t sec, nsec;
};

using DaemonAction = void (*)(TreeDaemon&);

class System {
 public:
  virtual ~System() = default;

  virtual Outcome open(const char* path, int flags, int mode) = 0;  // value: a handle
  virtual Outcome close(int handle) = 0;
  virtual Outcome dup(int handle) = 0;
  virtual Outcome read(int handle, size_t size, int64_t offset) = 0;  // offset -1: read(2)
  virtual Outcome write(int handle, std::string_view data, int64_t offset) = 0;
  virtual Outcome lseek(int handle, int64_t offset, int whence) = 0;
  virtual Outcome getdents(int handle, size_t room) = 0;  // data: "name(type) ..."
  virtual Outcome stat(const char* path, bool follow, uint32_t mask, int at_flags = 0) = 0;
  virtual Outcome fstat(int handle) = 0;
  virtual Outcome access(const char* path, int mask) = 0;
  virtual Outcome readlink(const char* path, size_t room) = 0;
  virtual Outcome mkdir(const char* path, int mode) = 0;
  virtual Outcome mknod(const char* path, int mode, int rdev) = 0;
  virtual Outcome symlink(const char* target, const char* path) = 0;
  virtual Outcome unlink(const char* path) = 0;
  virtual Outcome rmdir(const char* path) = 0;
  virtual Outcome rename(const char* from, const char* to, uint32_t flags) = 0;
  virtual Outcome link(const char* from, const char* to) = 0;
  virtual Outcome chmod(const char* path, int mode) = 0;
  virtual Outcome fchmod(int handle, int mode) = 0;
  virtual Outcome chown(const char* path, uint32_t uid, uint32_t gid, bool follow) = 0;
  virtual Outcome truncate(const char* path, int64_t size) = 0;
  virtual Outcome ftruncate(int handle, int64_t size) = 0;
  virtual Outcome utimens(const char* path, Time atime, Time mtime) = 0;
  virtual Outcome futimens(int handle, Time atime, Time mtime) = 0;
  virtual Outcome statfs(const char* path) = 0;
  virtual Outcome setxattr(const char* path, const char* name, std::string_view value, int flags) = 0;
  virtual Outcome getxattr(const char* path, const char* name, size_t room) = 0;
  virtual Outcome listxattr(const char* path, size_t room) = 0;
  virtual Outcome removexattr(const char* path, const char* name) = 0;
  virtual Outcome fsync(int handle, bool datasync) = 0;
  virtual Outcome fallocate(int handle, int mode, int64_t offset, int64_t length) = 0;
  virtual Outcome setlk(int handle, int type, int64_t start, int64_t length, bool wait) = 0;
  virtual Outcome getlk(int handle, int type, int64_t start, int64_t length) = 0;
  virtual Outcome flock(int handle, int operation) = 0;
  virtual Outcome ioctl(int handle, uint32_t number, std::string_view data) = 0;  // data: what it gives and takes
  virtual Outcome umask(int mask) = 0;
  virtual Outcome become(uint32_t uid, uint32_t gid) = 0;  // all ids, no groups, no capabilities
  virtual Outcome abort() = 0;                             // fusectl
  virtual Outcome umount() = 0;

  // Waits until the daemon has answered all there is, asynchronous requests too.
  virtual void settle() = 0;
  // The daemon writes this notification.
  virtual Outcome notify(wire::NotifyCode code, const Bytes& payload) = 0;
  virtual void daemon(DaemonAction action) = 0;
  virtual void daemon_dies() = 0;
};

// How results with many fields stand in the trace, for both back ends.
std::string stat_text(const abi::Stat& stat);
std::string statfs_text(const abi::Statfs& statfs);
std::string dirents_text(std::string_view records);  // struct linux_dirent64

class User;
using Steps = void (*)(User&);

// What a back end makes of one scenario: the log of Log::text(). Throws std::runtime_error when the back end itself
// fails (a mount that does not work, a call that hangs).
std::string run_on_real_kernel(const Script& script, Steps steps);
std::string run_on_our_half(const Script& script, Steps steps);

// Why the real kernel's FUSE cannot be used here, "" when it can.
std::string real_kernel_unusable();
// "Linux 6.18"
std::string real_kernel_name();

}  // namespace fusewire::oracle
