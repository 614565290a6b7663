#include "host/credentials.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

namespace fusewire::host {
namespace {

constexpr uint64_t cap_dac_override = uint64_t{1} << 1;
constexpr size_t threads_remembered = 256;

bool read_groups(int socket, std::vector<uint32_t>& groups) {
  groups.resize(64);
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto size = static_cast<socklen_t>(groups.size() * sizeof(uint32_t));
    const int result = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
    groups.resize(size / sizeof(uint32_t));
    if (result == 0) return true;
  }
  groups.clear();
  return false;
}

struct ProcStatus {
  uint32_t uid[4], gid[4];  // real, effective, saved, fs
  uint32_t parent = 0;
  uint64_t capabilities = 0;
  bool complete = false;
};

ProcStatus read_proc_status(uint32_t pid) {
  ProcStatus status;
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  int fields = 0;
  for (std::string line; std::getline(file, line);) {
    unsigned long long mask;
    if (std::sscanf(line.c_str(), "Uid: %u %u %u %u", &status.uid[0], &status.uid[1], &status.uid[2], &status.uid[3]) ==
        4)
      ++fields;
    else if (std::sscanf(line.c_str(), "Gid: %u %u %u %u", &status.gid[0], &status.gid[1], &status.gid[2],
                         &status.gid[3]) == 4)
      ++fields;
    else if (std::sscanf(line.c_str(), "PPid: %u", &status.parent) == 1)
      continue;
    else if (std::sscanf(line.c_str(), "CapEff: %llx", &mask) == 1)
      status.capabilities = mask, ++fields;
  }
  status.complete = fields == 3;
  return status;
}

}  // namespace

bool read_peer(int socket, Credentials& peer) {
  ucred credentials;
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0 || credentials.pid <= 0) return false;
  peer.pid = static_cast<uint32_t>(credentials.pid);
  peer.uid = peer.ruid = peer.suid = credentials.uid;
  peer.gid = peer.rgid = peer.sgid = credentials.gid;
  if (!read_groups(socket, peer.groups)) return false;

  const ProcStatus status = read_proc_status(peer.pid);
  const bool agrees = status.complete && status.uid[1] == peer.uid && status.gid[1] == peer.gid;
  peer.parent = status.parent;
  if (agrees) {
    peer.ruid = status.uid[0], peer.suid = status.uid[2];
    peer.rgid = status.gid[0], peer.sgid = status.gid[2];
  }
  peer.privileged = peer.uid == 0 && agrees && (status.capabilities & cap_dac_override) != 0;
  return true;
}

bool may_use(uint32_t uid, uint32_t owner) { return uid == owner || uid == 0 || owner == 0; }

uint32_t Threads::confirm(uint32_t pid, uint32_t tid) {
  if (tid == pid || known_.contains(tid)) return tid;
  if (tid == 0 || ::access(fmt::format("/proc/{}/task/{}", pid, tid).c_str(), F_OK) != 0) return pid;
  if (known_.size() >= threads_remembered) known_.clear();
  known_.insert(tid);
  return tid;
}

}  // namespace fusewire::host
