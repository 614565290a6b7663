// The leader's work on devices and mounts.
#include <fmt/format.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "host/credentials.h"
#include "leader/host_spawner.h"
#include "leader/leader.h"

namespace fusewire::leader {
namespace {

constexpr uint32_t flag_force = 1, flag_detach = 2;  // MNT_FORCE, MNT_DETACH
constexpr uint32_t mount_read_only = 1;              // MS_RDONLY
// MS_RDONLY, NOSUID, NODEV, NOEXEC, NOATIME, NODIRATIME
constexpr uint32_t kept_mount_flags = 1 | 2 | 4 | 8 | 1024 | 2048;
constexpr uint32_t first_minor = 0xf0000;  // of st_dev: far from the kernel's own anonymous devices
constexpr char control_mount_point[] = "/sys/fs/fuse/connections";

template <size_t n>
void copy_text(char (&to)[n], std::string_view from) {
  const size_t size = std::min(from.size(), n - 1);
  std::memcpy(to, from.data(), size);
  std::memset(to + size, 0, n - size);
}

// Absolute, without ".", ".." and empty components, and not the root: gates compare it with paths they have walked.
bool is_canonical(std::string_view path) {
  if (path.size() < 2 || path.front() != '/' || path.back() == '/') return false;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at + 1), path.size());
    const std::string_view component = path.substr(at + 1, end - at - 1);
    if (component.empty() || component == "." || component == "..") return false;
    at = end;
  }
  return true;
}

bool is_fuse_type(std::string_view type) { return type == "fuse" || type.starts_with("fuse."); }

bool is_below(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

}  // namespace

std::optional<size_t> Leader::free_entry() const {
  // An entry is free when its host has ended, not when its mount has: until then the host counts into it.
  std::vector<bool> taken(abi::mount_entries, false);
  for (const auto& [id, connection] : connections_) taken[connection.entry] = true;
  const auto found = std::find(taken.begin(), taken.end(), false);
  if (found == taken.end()) return std::nullopt;
  return static_cast<size_t>(found - taken.begin());
}

abi::LeaderReply Leader::open_device(uint32_t daemon_pid, UniqueFd& daemon_end) {
  const std::optional<size_t> index = free_entry();
  if (!index) {
    log_.line(fmt::format("cannot: open /dev/fuse for process {}: {} connections is the limit", daemon_pid,
                          abi::mount_entries));
    return {-ENFILE, 0};
  }
  // next_id_ is 0 only for the control file system.
  const uint32_t id = next_id_;
  abi::MountEntry& entry = table_.table().entry[*index];
  for (auto* count :
       {&entry.statistics.requests, &entry.statistics.replies, &entry.statistics.rejected, &entry.statistics.forgets})
    count->store(0);
  for (auto* count : {&entry.statistics.waiting, &entry.statistics.open_files}) count->store(0);
  auto host = start_host({.connection = id,
                          .directory = directory_,
                          .trace_file = id == 0 ? "" : trace_file_,
                          .statistics = &entry.statistics,
                          .log = &log_});
  if (!host) {
    log_.line(fmt::format("cannot: start a host process for process {}: {}", daemon_pid, std::strerror(-host.error())));
    return {host.error(), 0};
  }
  ++next_id_;
  daemon_end = std::move(host->daemon_end);
  Connection& connection = connections_[id];
  connection = {.id = id,
                .entry = *index,
                .host = host->pid,
                .control = std::move(host->control),
                .daemon_cookie = host->daemon_cookie,
                .daemon_pid = daemon_pid};
  table_.change([&](abi::MountTable&) {
    entry.state = static_cast<uint32_t>(abi::MountState::opened);
    entry.connection = id;
    entry.daemon_pid = daemon_pid;
    entry.host_pid = static_cast<uint32_t>(host->pid);
    copy_text(entry.socket, client_socket_name(id));
    copy_text(entry.path, "");
    copy_text(entry.type, "");
    copy_text(entry.source, "");
  });
  return {0, id};
}

abi::LeaderReply Leader::mount(const abi::LeaderRequest& request, const host::Credentials& peer, int device) {
  const auto refuse = [&](int error, std::string_view why) {
    log_.line(fmt::format("cannot: mount {} on {} for process {}: {}", request.type, request.path, peer.pid, why));
    return abi::LeaderReply{error, 0};
  };
  if (!is_fuse_type(request.type)) return refuse(-ENODEV, "only types fuse and fuse.* are served");
  if (!is_canonical(request.path)) return refuse(-EINVAL, "the mount point is no canonical absolute path");
  const uint64_t cookie = device < 0 ? 0 : host::socket_cookie(device);
  const auto found = std::find_if(connections_.begin(), connections_.end(),
                                  [&](const auto& each) { return cookie != 0 && each.second.daemon_cookie == cookie; });
  if (found == connections_.end()) return refuse(-EINVAL, "the descriptor is no device of this namespace");
  Connection& connection = found->second;
  if (connection.order != 0) return refuse(-EBUSY, "the device is mounted already");
  if (find_mounted(request.path)) return refuse(-EBUSY, "something is mounted there");
  const int error = mount_connection(connection, request, peer);
  if (error < 0) return refuse(error, std::strerror(-error));
  log_.line(fmt::format("connection {}: {} on {} by process {}", connection.id, request.type, request.path, peer.pid));
  return {0, connection.id};
}

int Leader::mount_connection(Connection& connection, const abi::LeaderRequest& request, const host::Credentials& peer) {
  host::HostRequest host_request{.operation = host::HostOperation::mount,
                                 .flags = request.flags & mount_read_only,
                                 .value = {peer.uid, 0},
                                 .dev = makedev(0, first_minor + connection.id)};
  copy_text(host_request.text, request.options);
  const host::HostMessage answer = ask_host(connection, host_request);
  if (answer.error < 0) return answer.error;
  connection.order = next_order_++;
  table_.change([&](abi::MountTable&) {
    abi::MountEntry& entry = entry_of(connection);
    entry.state = static_cast<uint32_t>(abi::MountState::mounted);
    entry.daemon_pid = connection.daemon_pid;
    entry.user_id = peer.uid, entry.group_id = peer.gid;
    entry.flags = (request.flags & kept_mount_flags) | (answer.read_only ? mount_read_only : 0);
    entry.allow_other = answer.allow_other;
    entry.default_permissions = answer.default_permissions;
    entry.max_read = answer.max_read;
    entry.dev = host_request.dev;
    copy_text(entry.path, request.path);
    copy_text(entry.type, request.type);
    copy_text(entry.source, request.source);
  });
  return 0;
}

int Leader::umount(const std::string& path, uint32_t flags) {
  Connection* connection = find_mounted(path);
  if (!connection) return -EINVAL;
  std::vector<Connection*> below;
  for (auto& [id, other] : connections_)
    if (other.order != 0 && is_below(entry_of(other).path, path)) below.push_back(&other);
  if (!below.empty() && !(flags & flag_detach)) return -EBUSY;
  std::sort(below.begin(), below.end(), [](const auto* a, const auto* b) { return a->order > b->order; });
  for (Connection* other : below) (void)umount_connection(*other, flags);
  return umount_connection(*connection, flags);
}

int Leader::umount_connection(Connection& connection, uint32_t flags) {
  if (connection.host > 0) {
    const int error =
        ask_host(connection, {.operation = host::HostOperation::umount, .flags = flags & (flag_force | flag_detach)})
            .error;
    // A host that is gone keeps nothing busy.
    if (error < 0 && error != -ENOTCONN) return error;
  }
  log_.line(fmt::format("connection {}: {} is unmounted", connection.id, entry_of(connection).path));
  connection.order = 0;
  table_.change([&](abi::MountTable&) { entry_of(connection).state = static_cast<uint32_t>(abi::MountState::free); });
  if (connection.host <= 0) connections_.erase(connection.id);
  return 0;
}

int Leader::set_limits(const abi::LeaderRequest& request) {
  Connection* connection = find(request.connection);
  if (!connection) return -ENOENT;
  return ask_host(*connection,
                  {.operation = host::HostOperation::set_limits, .value = {request.value[0], request.value[1]}})
      .error;
}

int Leader::set_tracing(const abi::LeaderRequest& request) {
  const bool on = request.value[0] != 0;
  if (on && request.options[0] != '/') return -EINVAL;
  trace_file_ = on ? request.options : "";
  table_.table().tracing.store(on ? 1 : 0);
  host::HostRequest host_request{.operation = host::HostOperation::set_tracing, .value = {on ? 1u : 0u, 0}};
  copy_text(host_request.text, trace_file_);
  int error = 0;
  for (auto& [id, connection] : connections_) {
    if (id == 0 || connection.host <= 0) continue;
    const int result = ask_host(connection, host_request).error;
    if (result < 0 && result != -ENOTCONN) error = result;
  }
  return error;
}

void Leader::start_control(const ControlDaemon& daemon) {
  UniqueFd device;
  next_id_ = 0;
  const abi::LeaderReply opened = open_device(static_cast<uint32_t>(::getpid()), device);
  next_id_ = 1;
  Connection* connection = find(0);
  if (opened.error < 0 || !connection) return;
  const pid_t pid = ::fork();
  if (pid == 0) {
    become_service({device.get()}, "fusewire-control");
    ::_exit(daemon(device.get(), table_.table(), directory_));
  }
  if (pid < 0) return log_.line("cannot: start the control file system's process");
  connection->daemon_pid = static_cast<uint32_t>(pid);
  abi::LeaderRequest request{};
  copy_text(request.path, control_mount_point);
  copy_text(request.type, "fusectl");
  copy_text(request.source, "fusectl");
  host::Credentials self;
  self.uid = ::geteuid(), self.gid = ::getegid();
  copy_text(request.options, fmt::format("fd=0,rootmode=40000,user_id={},group_id={},allow_other", self.uid, self.gid));
  if (const int error = mount_connection(*connection, request, self); error < 0)
    log_.line(fmt::format("cannot: mount the control file system: {}", std::strerror(-error)));
}

void Leader::umount_all() {
  std::vector<Connection*> mounted;
  for (auto& [id, connection] : connections_)
    if (connection.order != 0) mounted.push_back(&connection);
  std::sort(mounted.begin(), mounted.end(), [](const auto* a, const auto* b) { return a->order > b->order; });
  for (Connection* connection : mounted) (void)umount_connection(*connection, flag_detach);
}

}  // namespace fusewire::leader
