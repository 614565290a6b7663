#include "leader/host_spawner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "abi/leader_protocol.h"
#include "abi/ring.h"
#include "host/host_process.h"
#include "host/packet_socket.h"
#include "host/random_bits.h"
#include "leader/signal_setting.h"

namespace fusewire::leader {
namespace {

// The address by which a gate tells a device socket from others; random, since abstract names are everybody's.
int bind_device_address(int fd) {
  uint64_t random = 0;
  if (!host::random_bits(random)) return -EIO;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = fmt::format("{}{:016x}", abi::device_address_prefix, random);
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 ? 0 : -errno;
}

void raise_descriptor_limit() {
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// Where a host keeps what stands behind fifos and sockets. Nothing else depends on it: without, those calls fail.
UniqueFd open_objects(const std::string& directory) {
  const std::string path = directory + "/" + abi::objects_name;
  (void)::mkdir(path.c_str(), 0700);
  return UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

[[noreturn]] void host_main(host::HostStart start) {
  become_service({start.control.get(), start.device.get(), start.clients.get(), start.objects.get(), start.log.fd()},
                 "fusewire-host");
  raise_descriptor_limit();
  ::umask(::umask(0) & 077);  // what the host makes, it can use
  const uint32_t connection = start.connection;
  host::HostProcess host(std::move(start));
  if (const int error = host.set_up(); error < 0) {
    host.log().line(fmt::format("cannot: bring up connection {}: {}", connection, std::strerror(-error)));
    ::_exit(1);
  }
  host.serve();
  ::_exit(0);
}

// Closes [first, last], also where close_range(2) is refused.
void close_from_to(unsigned first, unsigned last) {
  if (first > last || ::close_range(first, last, 0) == 0) return;
  std::vector<int> open;
  std::error_code error;
  using std::filesystem::directory_iterator;
  for (directory_iterator fd("/proc/self/fd", error), end; !error && fd != end; fd.increment(error))
    open.push_back(std::atoi(fd->path().filename().c_str()));
  for (const int fd : open)
    if (static_cast<unsigned>(fd) >= first && static_cast<unsigned>(fd) <= last) ::close(fd);
}

}  // namespace

void become_service(std::initializer_list<int> kept, const char* name) {
  ::setsid();
  ::prctl(PR_SET_NAME, name);
  std::vector<int> fds(kept);
  fds.push_back(STDERR_FILENO);
  std::sort(fds.begin(), fds.end());
  unsigned next = 0;
  for (const int fd : fds) {
    if (fd < 0) continue;
    const auto here = static_cast<unsigned>(fd);
    if (here > next) close_from_to(next, here - 1);
    next = std::max(next, here + 1);
  }
  close_from_to(next, ~0u);
  (void)::open("/dev/null", O_RDONLY);
  (void)::open("/dev/null", O_WRONLY);
  ignore_all_signals();
}

std::expected<StartedHost, int> start_host(const HostPlan& plan) {
  StartedHost started;
  host::HostStart start;
  UniqueFd host_end, host_control;
  if (const int error = host::packet_pair(host_end, started.daemon_end); error < 0) return std::unexpected(error);
  if (const int error = host::packet_pair(host_control, started.control); error < 0) return std::unexpected(error);
  if (const int error = bind_device_address(started.daemon_end.get()); error < 0) return std::unexpected(error);
  start.device_buffer = std::min(host::raise_buffers(host_end.get()), host::raise_buffers(started.daemon_end.get()));
  started.daemon_cookie = host::socket_cookie(started.daemon_end.get());
  if (const int error = host::packet_pair(start.clients, started.clients); error < 0) return std::unexpected(error);

  start.objects = open_objects(plan.directory);
  start.sockets_bound = plan.sockets_bound;
  start.leader_pid = static_cast<uint32_t>(::getpid());
  start.connection = plan.connection;
  start.owner_uid = ::geteuid();
  start.control = std::move(host_control);
  start.device = std::move(host_end);
  start.statistics = plan.statistics;
  start.trace_file = plan.trace_file;
  start.log = host::Log(UniqueFd(::fcntl(plan.log->fd(), F_DUPFD_CLOEXEC, 0)), plan.log->verbose());
  started.pid = ::fork();
  if (started.pid < 0) return std::unexpected(-errno);
  if (started.pid == 0) host_main(std::move(start));
  return started;
}

}  // namespace fusewire::leader
