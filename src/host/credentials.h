// Credentials: who stands at the other end of a client's socket, as far as the kernel confirms it.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

namespace fusewire::host {

struct Credentials {
  uint32_t pid = 0;           // the process
  uint32_t parent = 0;        // its parent, 0 when that is not known
  uint32_t uid = 0, gid = 0;  // effective, at the time of connect
  uint32_t ruid = 0, suid = 0, rgid = 0, sgid = 0;
  std::vector<uint32_t> groups;
  bool privileged = false;  // root with CAP_DAC_OVERRIDE: the half's permission checks let it pass
};

// From SO_PEERCRED and SO_PEERGROUPS; real and saved ids and capabilities from /proc, where it agrees with them.
// False when the socket does not say.
bool read_peer(int socket, Credentials& peer);

// Whether this user may use what belongs to owner: the same user or root on either side.
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
