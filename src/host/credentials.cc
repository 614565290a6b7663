#include "host/credentials.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "abi/unique_fd.h"

namespace fusewire::host {
namespace {

#ifndef SO_PEERPIDFD
constexpr int SO_PEERPIDFD = 77;
#endif

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
  uint64_t effective = 0, permitted = 0;  // capabilities
  bool complete = false;
};

ProcStatus read_proc_status(uint32_t pid, uint32_t tid) {
  ProcStatus status;
  std::ifstream file(fmt::format("/proc/{}/task/{}/status", pid, tid));
  int fields = 0;
  const auto ids = [](const char* line, const char* format, uint32_t(&to)[4]) {
    return std::sscanf(line, format, &to[0], &to[1], &to[2], &to[3]) == 4;
  };
  const auto mask = [](const char* line, const char* format, uint64_t& to) {
    unsigned long long bits = 0;
    if (std::sscanf(line, format, &bits) != 1) return false;
    to = bits;
    return true;
  };
  for (std::string text; std::getline(file, text);) {
    const char* line = text.c_str();
    if (std::sscanf(line, "PPid: %u", &status.parent) == 1) continue;
    fields += ids(line, "Uid: %u %u %u %u", status.uid) || ids(line, "Gid: %u %u %u %u", status.gid) ||
              mask(line, "CapEff: %llx", status.effective) || mask(line, "CapPrm: %llx", status.permitted);
  }
  status.complete = fields == 4;
  return status;
}

// Whether the process is in another user namespace than this one. Who may not look at the link compares the maps: they
// are open to all, and two of one text are of one namespace, or of one that gives nothing more.
bool is_in_lower_namespace(uint32_t pid) {
  struct stat theirs, ours;
  if (::stat(fmt::format("/proc/{}/ns/user", pid).c_str(), &theirs) == 0 && ::stat("/proc/self/ns/user", &ours) == 0)
    return theirs.st_dev != ours.st_dev || theirs.st_ino != ours.st_ino;
  const auto text = [](const std::string& path) {
    std::ifstream file(path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  return text(fmt::format("/proc/{}/uid_map", pid)) != text("/proc/self/uid_map") ||
         text(fmt::format("/proc/{}/gid_map", pid)) != text("/proc/self/gid_map");
}

// Lines of "<first inside> <first as the reader numbers it> <count>".
std::vector<kernel::UserNamespace::Range> read_map(const std::string& path, uint32_t& root) {
  std::vector<kernel::UserNamespace::Range> ranges;
  std::ifstream file(path);
  uint32_t inside = 0;
  for (kernel::UserNamespace::Range range; file >> inside >> range.first >> range.count;) {
    if (inside == 0) root = range.first;
    ranges.push_back(range);
  }
  return ranges;
}

void read_namespace(Credentials& peer) {
  constexpr uint32_t nobody = UINT32_MAX;
  uint32_t root_gid = nobody;
  peer.uids.clear(), peer.gids.clear();
  peer.root = 0;
  peer.in_lower_namespace = is_in_lower_namespace(peer.pid);
  if (!peer.in_lower_namespace) return;
  peer.root = nobody;
  peer.uids = read_map(fmt::format("/proc/{}/uid_map", peer.pid), peer.root);
  peer.gids = read_map(fmt::format("/proc/{}/gid_map", peer.pid), root_gid);
}

// What /proc says under the peer's number is said of the peer. Where the kernel gives no descriptor of the peer itself
// (before Linux 6.5), a number that was given to another in between is not seen.
bool is_alive(int socket) {
  int fd = -1;
  socklen_t size = sizeof fd;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) != 0) return errno == ENOPROTOOPT;
  const UniqueFd process(fd);
  pollfd ended{process.get(), POLLIN, 0};
  return ::poll(&ended, 1, 0) == 0;
}

}  // namespace

bool read_peer(int socket, Credentials& peer) {
  ucred credentials;
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0 || credentials.pid <= 0) return false;
  peer.pid = static_cast<uint32_t>(credentials.pid);
  peer.uid = credentials.uid, peer.gid = credentials.gid;
  if (!read_groups(socket, peer.groups)) return false;
  read_thread(socket, peer, peer.pid);
  return true;
}

void read_thread(int socket, Credentials& peer, uint32_t tid) {
  peer.ruid = peer.suid = peer.fsuid = peer.uid;
  peer.rgid = peer.sgid = peer.fsgid = peer.gid;
  peer.capabilities = peer.permitted = 0;
  const ProcStatus status = read_proc_status(peer.pid, tid);
  if ((status.effective | status.permitted) != 0) read_namespace(peer);
  if (!status.complete || !is_alive(socket)) return;
  peer.parent = status.parent;
  if (status.uid[1] != peer.uid || status.gid[1] != peer.gid) return;
  peer.ruid = status.uid[0], peer.suid = status.uid[2], peer.fsuid = status.uid[3];
  peer.rgid = status.gid[0], peer.sgid = status.gid[2], peer.fsgid = status.gid[3];
  peer.capabilities = status.effective, peer.permitted = status.permitted;
}

bool may_use(uint32_t uid, uint32_t owner) { return uid == owner || uid == 0; }

uint32_t Threads::confirm(uint32_t pid, uint32_t tid) {
  if (tid == pid || known_.contains(tid)) return tid;
  if (tid == 0 || ::access(fmt::format("/proc/{}/task/{}", pid, tid).c_str(), F_OK) != 0) return pid;
  if (known_.size() >= threads_remembered) known_.clear();
  known_.insert(tid);
  return tid;
}

}  // namespace fusewire::host
