// Credentials: who stands at the other end of a client's socket, as far as the kernel confirms it.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "kernel/caller.h"

namespace fusewire::host {

struct Credentials {
  uint32_t pid = 0;           // the process
  uint32_t parent = 0;        // its parent, 0 when that is not known
  uint32_t uid = 0, gid = 0;  // effective, when the socket was made
  uint32_t fsuid = 0, fsgid = 0;
  uint32_t ruid = 0, suid = 0, rgid = 0, sgid = 0;
  std::vector<uint32_t> groups;
  uint64_t capabilities = 0;  // effective
  uint64_t permitted = 0;
  // Of a process in another user namespace: the ids that its capabilities are for, as this process numbers them.
  bool in_lower_namespace = false;
  std::vector<kernel::UserNamespace::Range> uids, gids;
  uint32_t root = 0;
};

// From SO_PEERCRED and SO_PEERGROUPS; the rest from /proc, of the process's first thread (read_thread). False when the
// socket does not say.
bool read_peer(int socket, Credentials& peer);
// Real, saved and file system ids and capabilities of the thread tid, which is one of the process's: the socket does
// not tell them, nor which thread made it. They are taken from /proc where its effective ids agree with the socket's,
// and while the process that made the socket lives: its number may be another's afterwards. Otherwise all ids are the
// effective ones, and there are no capabilities.
void read_thread(int socket, Credentials& peer, uint32_t tid);

// Whether this user may do with a namespace or a mount what its owner may: the same user, or root.
bool may_use(uint32_t uid, uint32_t owner);

// Threads of one process: which ids that a client claims are its own. A thread that ended keeps its entry: an id that
// was right once is no one else's secret.
class Threads {
 public:
  // tid if it is a thread of the process pid, else pid.
  uint32_t confirm(uint32_t pid, uint32_t tid);

 private:
  std::set<uint32_t> known_;
};

}  // namespace fusewire::host
