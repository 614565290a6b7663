// Starts the host process of one connection: the device socket with its two ends, the control socket, the socket on
// which clients are handed on, and the child process that serves them.
// Thread rule: called by the leader, which has one thread (it forks).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <expected>
#include <string>

#include "abi/mount_table.h"
#include "abi/unique_fd.h"
#include "host/log.h"

namespace fusewire::leader {

struct HostPlan {
  uint32_t connection = 0;
  std::string directory;  // the namespace's
  std::string trace_file;
  abi::MountStatistics* statistics = nullptr;
  std::atomic<uint32_t>* sockets_bound = nullptr;  // of the mount table
  const host::Log* log = nullptr;
};

struct StartedHost {
  pid_t pid = -1;
  UniqueFd control;
  UniqueFd clients;            // one byte and one socket a message: a client for the host
  UniqueFd daemon_end;         // to be given to the daemon, and closed
  uint64_t daemon_cookie = 0;  // by which the daemon's end is known again
};

// -errno when it cannot be started.
std::expected<StartedHost, int> start_host(const HostPlan& plan);

// For children of the leader that are not the command: closes every descriptor but stderr and `kept` (stdin and stdout
// become /dev/null), leaves the terminal's session, and ignores signals.
void become_service(std::initializer_list<int> kept, const char* name);

}  // namespace fusewire::leader
