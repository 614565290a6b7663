// Caller: the task that makes a system call: its credentials, and the signals that may reach it while it sleeps.
// Made by the driver (host process, test) for one call, and outlives that call's coroutine.
// Thread rule: fields are read by the half under the connection lock; interrupt() and kill() take the lock themselves.
#pragma once

#include <cstdint>
#include <span>

namespace fusewire::kernel {

class Connection;
struct Dentry;
struct LocalWait;
struct Request;

// linux/capability.h; those that the half asks for.
enum class Capability : uint32_t {
  chown = 0,
  dac_override = 1,
  dac_read_search = 2,
  fowner = 3,
  fsetid = 4,
  sys_admin = 21,
  mknod = 27,
  lease = 28,
  setfcap = 31,
};
inline constexpr uint64_t all_capabilities = ~uint64_t{0};

// A user namespace below the mount's: the ids in it, as the mount's namespace numbers them.
struct UserNamespace {
  struct Range {
    uint32_t first = 0, count = 0;
  };
  std::span<const Range> uids, gids;
  uint32_t root = 0;  // its user 0

  static bool contains(std::span<const Range> ranges, uint32_t id) {
    for (const Range& range : ranges)
      if (id - range.first < range.count) return true;
    return false;
  }
};

struct Caller {
  uint32_t uid = 0;                       // fsuid
  uint32_t gid = 0;                       // fsgid
  uint32_t ruid = 0, euid = 0, suid = 0;  // for the allow_other rule (K110): all six must match
  uint32_t rgid = 0, egid = 0, sgid = 0;
  std::span<const uint32_t> groups;  // supplementary; owned by the driver
  uint32_t pid = 0;                  // the thread, as the daemon shall see it
  uint32_t tgid = 0;                 // the process; with lock_owner the identity of POSIX locks
  uint32_t umask = 022;
  uint64_t capabilities = 0;              // effective, a bit each
  uint64_t permitted = 0;                 // what access(2) gives to the real root
  const UserNamespace* lower = nullptr;   // of a caller in one; owned by the driver. Its capabilities end there
  const Dentry* root = nullptr;           // where its root directory lies in this file system: ".." goes no further up
  uint32_t root_mount = 0;                // through which mount
  uint64_t file_size_limit = UINT64_MAX;  // RLIMIT_FSIZE, in bytes
  bool over_file_size = false;            // set by a call that ran into it: SIGXFSZ is due
  uint64_t lock_owner = 0;  // one per file table (files_struct); scrambled before the daemon sees it (K138)

  // Set by Connection while a request of this caller waits.
  Request* waiting = nullptr;
  LocalWait* local_wait = nullptr;  // a sleep inside the half, for a lock (local_wait.h); interrupt and kill end it
  bool revalidate = false;          // LOOKUP_REVAL: the daemon said ESTALE, so no cached name is believed (K071)
  bool interrupted = false;         // a signal came (K050): an INTERRUPT is queued if the request was SENT
  bool killed = false;  // the task is gone: a PENDING request is dropped, a SENT one is waited for by nobody

  // capable(): over everything of the mount.
  bool may(Capability capability) const { return lower == nullptr && has(capability); }
  // capable_wrt_inode_uidgid(): over a file of these ids.
  bool may_over(Capability capability, uint32_t file_uid, uint32_t file_gid) const {
    if (!has(capability) || lower == nullptr) return has(capability);
    return UserNamespace::contains(lower->uids, file_uid) && UserNamespace::contains(lower->gids, file_gid);
  }
  // inode_owner_or_capable()
  bool may_as_owner(uint32_t file_uid) const {
    if (uid == file_uid) return true;
    return has(Capability::fowner) && (lower == nullptr || UserNamespace::contains(lower->uids, file_uid));
  }
  bool is_really_root() const { return ruid == (lower == nullptr ? 0 : lower->root); }

 private:
  bool has(Capability capability) const { return (capabilities >> static_cast<uint32_t>(capability) & 1) != 0; }
};

// Whose a POSIX lock is: of the caller's file table (F_SETLK), or of the open file itself (F_OFD_SETLK). The lock's pid
// must then be 0. The daemon learns an open file's owner id; as on Linux it is not told when it goes.
enum class LockOf : uint8_t { process, open_file };

// What copy_file_range copies. Offset -1: at the file's position, which moves.
struct CopyRange {
  int64_t from = -1, to = -1;
  uint64_t bytes = 0;
};

}  // namespace fusewire::kernel
