// Caller: the task that makes a system call: its credentials, and the signals that may reach it while it sleeps.
// Made by the driver (host process, test) for one call, and outlives that call's coroutine.
// Thread rule: fields are read by the half under the connection lock; interrupt() and kill() take the lock themselves.
#pragma once

#include <cstdint>
#include <span>

namespace fusewire::kernel {

class Connection;
struct LocalWait;
struct Request;

struct Caller {
  uint32_t uid = 0;             // fsuid
  uint32_t gid = 0;             // fsgid
  uint32_t ruid = 0, suid = 0;  // for the allow_other rule (K110): all six must match
  uint32_t rgid = 0, sgid = 0;
  std::span<const uint32_t> groups;  // supplementary; owned by the driver
  uint32_t pid = 0;                  // the thread, as the daemon shall see it
  uint32_t tgid = 0;                 // the process; with lock_owner the identity of POSIX locks
  uint32_t umask = 022;
  bool privileged = false;                // CAP_DAC_OVERRIDE, CAP_FOWNER and kin: root of the namespace
  uint64_t file_size_limit = UINT64_MAX;  // RLIMIT_FSIZE, in bytes
  bool over_file_size = false;            // set by a call that ran into it: SIGXFSZ is due
  uint64_t lock_owner = 0;  // one per file table (files_struct); scrambled before the daemon sees it (K138)

  // Set by Connection while a request of this caller waits.
  Request* waiting = nullptr;
  LocalWait* local_wait = nullptr;  // a sleep inside the half, for a lock (local_wait.h); interrupt and kill end it
  bool revalidate = false;          // LOOKUP_REVAL: the daemon said ESTALE, so no cached name is believed (K071)
  bool interrupted = false;         // a signal came (K050): an INTERRUPT is queued if the request was SENT
  bool killed = false;  // the task is gone: a PENDING request is dropped, a SENT one is waited for by nobody
};

// Whose a POSIX lock is: of the caller's file table (F_SETLK), or of the open file itself (F_OFD_SETLK). The lock's pid
// must then be 0. The daemon learns an open file's owner id; as on Linux it is not told when it goes.
enum class LockOf : uint8_t { process, open_file };

}  // namespace fusewire::kernel
