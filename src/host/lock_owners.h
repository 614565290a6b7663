// LockOwners: to whom POSIX locks belong. As on Linux (current->files) that is a descriptor table: that of one process,
// whatever threads, rings, users and program images it goes through, or the one that processes share (CLONE_FILES).
// Its end is told by a pidfd of each of its processes; where the kernel has none, the process is looked for in /proc.
// Thread rule: one thread, outside Connection::Entry: Release takes it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "abi/unique_fd.h"
#include "host/credentials.h"

namespace fusewire::host {

struct LockOwner {
  uint64_t id = 0;         // Caller::lock_owner
  uint32_t processes = 0;  // that use the table and live
  uint32_t clients = 0;    // whose calls carry the id, also of a process that is gone
};

class LockOwners {
 public:
  // The locks of this owner go. Told when its last process is gone, and once more when its last call has ended, which
  // may have taken a lock meanwhile.
  using Release = std::function<void(uint64_t id)>;
  enum class Watch { descriptor, proc };  // proc: as on a kernel without pidfds

  explicit LockOwners(Release release, Watch watch = Watch::descriptor);

  // A client of the process peer.pid is here; socket is its own. new_id: for a process that has no owner yet.
  std::shared_ptr<LockOwner> join(const Credentials& peer, int socket, uint64_t new_id);
  // The client has gone, and its calls have ended.
  void leave(const std::shared_ptr<LockOwner>& owner, uint32_t pid);

  // Readable when a process is gone; -1 when epoll cannot be had.
  int event_fd() const { return gone_.get(); }
  // Who is gone by now loses the locks.
  void take_deaths();
  // No event tells of some process: take_deaths is to be called from time to time.
  bool must_look() const { return unwatched_ != 0; }

 private:
  struct Process {
    UniqueFd pidfd;
    uint64_t started = 0;  // as in /proc/<pid>/stat; 0: not known, or pidfd tells
    std::shared_ptr<LockOwner> owner;
  };
  using Processes = std::unordered_map<uint32_t, Process>;  // by pid

  Process watch(uint32_t pid, int socket);
  static bool is_gone(uint32_t pid, const Process& process);
  void drop(Processes::iterator process);

  Release release_;
  const Watch watch_;
  UniqueFd gone_;  // epoll on the pidfds
  Processes processes_;
  size_t unwatched_ = 0;
};

}  // namespace fusewire::host
