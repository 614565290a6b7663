#include "host/lock_owners.h"

#include <fmt/format.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace fusewire::host {
namespace {

#ifndef SO_PEERPIDFD
constexpr int SO_PEERPIDFD = 77;
#endif

// Field 22 of /proc/<pid>/stat, in clock ticks since boot; 0 when there is no such process, or only a zombie is left.
uint64_t start_time(uint32_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string text;
  std::getline(file, text, '\0');
  // The name before may hold anything.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream rest(text.substr(name_end + 1));
  std::string field, state, threads;
  for (int i = 3; i <= 22 && rest >> field; ++i) {
    if (i == 3) state = field;
    if (i == 20) threads = field;
  }
  // A leader that ended before its threads is shown as a zombie too.
  const bool dead = (state == "Z" || state == "X") && threads <= "1" && threads.size() == 1;
  return dead || !rest ? 0 : std::strtoull(field.c_str(), nullptr, 10);
}

int open_pidfd(uint32_t pid, int socket) {
  int fd = -1;
  socklen_t size = sizeof fd;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0) return fd;
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

bool share_descriptors(uint32_t one, uint32_t other) { return ::syscall(SYS_kcmp, one, other, KCMP_FILES, 0, 0) == 0; }

}  // namespace

LockOwners::LockOwners(Release release, Watch watch)
    : release_(std::move(release)), watch_(watch), gone_(::epoll_create1(EPOLL_CLOEXEC)) {}

LockOwners::Process LockOwners::watch(uint32_t pid, int socket) {
  Process process;
  if (watch_ == Watch::descriptor) process.pidfd.reset(open_pidfd(pid, socket));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = pid;
  if (process.pidfd && ::epoll_ctl(gone_.get(), EPOLL_CTL_ADD, process.pidfd.get(), &event) == 0) return process;
  process.pidfd.reset();
  process.started = start_time(pid);
  ++unwatched_;
  return process;
}

bool LockOwners::is_gone(uint32_t pid, const Process& process) {
  if (!process.pidfd) return process.started != 0 && start_time(pid) != process.started;
  pollfd ended{process.pidfd.get(), POLLIN, 0};
  return ::poll(&ended, 1, 0) > 0;
}

std::shared_ptr<LockOwner> LockOwners::join(const Credentials& peer, int socket, uint64_t new_id) {
  auto found = processes_.find(peer.pid);
  // The number may be another process's by now.
  if (found != processes_.end() && is_gone(peer.pid, found->second)) {
    drop(found);
    found = processes_.end();
  }
  if (found == processes_.end()) {
    Process process = watch(peer.pid, socket);
    const auto parent = processes_.find(peer.parent);
    const bool shared = parent != processes_.end() && share_descriptors(peer.pid, peer.parent);
    process.owner = shared ? parent->second.owner : std::make_shared<LockOwner>(LockOwner{.id = new_id});
    ++process.owner->processes;
    found = processes_.emplace(peer.pid, std::move(process)).first;
  }
  ++found->second.owner->clients;
  return found->second.owner;
}

void LockOwners::leave(const std::shared_ptr<LockOwner>& owner, uint32_t pid) {
  if (--owner->clients > 0) return;
  if (owner->processes == 0) return release_(owner->id);
  // Where nothing can say when the process ends, the end of its last client must do.
  const auto process = processes_.find(pid);
  if (process == processes_.end() || process->second.pidfd) return;
  if (process->second.started == 0 || is_gone(pid, process->second)) drop(process);
}

void LockOwners::take_deaths() {
  epoll_event events[16];
  for (int count = 16; count == 16;) {
    count = ::epoll_wait(gone_.get(), events, 16, 0);
    for (int i = 0; i < count; ++i)
      if (const auto process = processes_.find(events[i].data.u32); process != processes_.end()) drop(process);
  }
  if (unwatched_ == 0) return;
  std::vector<uint32_t> gone;
  for (const auto& [pid, process] : processes_)
    if (is_gone(pid, process)) gone.push_back(pid);
  for (const uint32_t pid : gone) drop(processes_.find(pid));
}

void LockOwners::drop(Processes::iterator process) {
  if (!process->second.pidfd) --unwatched_;
  const std::shared_ptr<LockOwner> owner = std::move(process->second.owner);
  processes_.erase(process);
  if (--owner->processes == 0) release_(owner->id);
}

}  // namespace fusewire::host
