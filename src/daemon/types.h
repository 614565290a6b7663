// The vocabulary of the daemon's half: ids and errors as types, so that a node is never taken for a handle, nor an
// error for a count. Values travel unchanged to and from the wire.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>

namespace fusewire::daemon {

enum class NodeId : uint64_t { none = 0, root = 1 };  // made by the file system, lives until forgotten
enum class FileHandle : uint64_t {};                  // made by open, create or opendir, lives until released
enum class Unique : uint64_t {};                      // names one request until it is answered

// Linux errno values (positive). Any other errno may be cast in.
enum class Errno : int {
  eperm = EPERM,
  enoent = ENOENT,
  eintr = EINTR,
  eio = EIO,
  enxio = ENXIO,
  e2big = E2BIG,
  ebadf = EBADF,
  eagain = EAGAIN,
  enomem = ENOMEM,
  eacces = EACCES,
  ebusy = EBUSY,
  eexist = EEXIST,
  exdev = EXDEV,
  enodev = ENODEV,
  enotdir = ENOTDIR,
  eisdir = EISDIR,
  einval = EINVAL,
  enotty = ENOTTY,
  efbig = EFBIG,
  enospc = ENOSPC,
  espipe = ESPIPE,
  erofs = EROFS,
  emlink = EMLINK,
  epipe = EPIPE,
  erange = ERANGE,
  enametoolong = ENAMETOOLONG,
  enosys = ENOSYS,
  enotempty = ENOTEMPTY,
  eloop = ELOOP,
  enodata = ENODATA,
  eproto = EPROTO,
  emsgsize = EMSGSIZE,
  eopnotsupp = EOPNOTSUPP,
  enotconn = ENOTCONN,
  estale = ESTALE,
};

template <typename T>
using Result = std::expected<T, Errno>;

inline std::unexpected<Errno> error(Errno e) { return std::unexpected<Errno>(e); }
inline std::unexpected<Errno> last_error() { return std::unexpected<Errno>(static_cast<Errno>(errno)); }

using Timeout = std::chrono::nanoseconds;  // how long the kernel's half may believe an answer; 0: not at all

// What stat(2) shows of a node. rdev is in the 32-bit form of the wire (minor & 0xff | major << 8 | minor >> 8 << 20).
struct Attributes {
  uint64_t ino = 0;
  uint64_t size = 0;    // bytes
  uint64_t blocks = 0;  // of 512 bytes
  timespec atime{}, mtime{}, ctime{};
  uint32_t mode = 0;  // type and permission bits
  uint32_t nlink = 1;
  uint32_t uid = 0, gid = 0;
  uint32_t rdev = 0;
  uint32_t block_size = 4096;  // preferred I/O size
};

// Who asks, as the kernel's half says it. Zero in requests of the kernel's own (FORGET, RELEASE, write-back).
struct RequestContext {
  Unique unique{};
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  mode_t umask = 0;  // only for requests that create
};

}  // namespace fusewire::daemon
