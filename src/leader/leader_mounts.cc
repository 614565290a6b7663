// The leader's work on devices and mounts.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "abi/mount_rules.h"
#include "host/credentials.h"
#include "leader/host_spawner.h"
#include "leader/leader.h"
#include "leader/leader_texts.h"

namespace fusewire::leader {
namespace {

namespace mount_flag = abi::mount_flag;
namespace umount_flag = abi::umount_flag;

constexpr uint32_t first_minor = 0xf0000;  // of st_dev: far from the kernel's own anonymous devices
constexpr char control_mount_point[] = "/sys/fs/fuse/connections";

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

// Whether a path is that of an entry's native mount point.
bool leads_to(const std::string& path, const abi::MountEntry& entry) {
  struct stat status;
  if (::lstat(path.c_str(), &status) != 0) return false;
  return status.st_dev == entry.point_device && status.st_ino == entry.point_inode;
}

// The first entry of the table that none of these has.
template <class Records>
std::optional<size_t> free_entry(const Records& records, size_t entries) {
  std::vector<bool> taken(entries, false);
  for (const auto& [id, record] : records) taken[record.entry] = true;
  const auto found = std::find(taken.begin(), taken.end(), false);
  if (found == taken.end()) return std::nullopt;
  return static_cast<size_t>(found - taken.begin());
}

}  // namespace

abi::LeaderReply Leader::open_device(uint32_t daemon_pid, uint32_t uid, uint32_t view, UniqueFd& daemon_end) {
  const std::optional<size_t> index = free_entry(connections_, abi::connection_entries);
  if (!index) {
    log_.line(fmt::format("cannot: open /dev/fuse for process {}: {} connections is the limit", daemon_pid,
                          abi::connection_entries));
    return {-ENFILE, 0};
  }
  // next_id_ is 0 only for the control file system.
  const uint32_t id = next_id_;
  abi::ConnectionEntry& entry = table_.table().connection[*index];
  for (auto* count :
       {&entry.statistics.requests, &entry.statistics.replies, &entry.statistics.rejected, &entry.statistics.forgets,
        &entry.statistics.hits, &entry.statistics.names, &entry.statistics.inodes, &entry.statistics.cache_bytes})
    count->store(0);
  for (auto* count : {&entry.statistics.waiting, &entry.statistics.open_files}) count->store(0);
  auto host = start_host({.connection = id,
                          .directory = directory_,
                          .trace_file = id == 0 ? "" : trace_file_of(view),
                          .statistics = &entry.statistics,
                          .sockets_bound = &table_.table().sockets_bound,
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
                .clients = std::move(host->clients),
                .daemon_cookie = host->daemon_cookie,
                .daemon_pid = daemon_pid,
                .opener = uid,
                .view = view};
  table_.change([&](abi::MountTable&) {
    entry.in_use = 1;
    entry.id = id;
    entry.daemon_pid = daemon_pid;
    entry.host_pid = static_cast<uint32_t>(host->pid);
    entry.view = view;
  });
  return {0, id};
}

void Leader::mount(const abi::LeaderRequest& request, const host::Credentials& peer, int device, Asker asker) {
  const auto refuse = [this](const abi::LeaderRequest& refused, uint32_t pid, std::string_view why) {
    log_.line(fmt::format("cannot: mount {} on {} for process {}: {}", refused.type, refused.path, pid, why));
  };
  const auto refuse_now = [&](int error, std::string_view why) {
    refuse(request, peer.pid, why);
    answer(asker, {error, 0});
  };
  if (!abi::is_fuse_type(request.type)) return refuse_now(-ENODEV, "only types fuse and fuseblk are served");
  if (!is_canonical(request.path)) return refuse_now(-EINVAL, "the mount point is no canonical absolute path");
  const uint64_t cookie = device < 0 ? 0 : host::socket_cookie(device);
  const auto found = std::find_if(connections_.begin(), connections_.end(),
                                  [&](const auto& each) { return cookie != 0 && each.second.daemon_cookie == cookie; });
  if (found == connections_.end()) return refuse_now(-EINVAL, "the descriptor is no device of this namespace");
  Connection& connection = found->second;
  if (connection.mounting) return refuse_now(-EBUSY, "the device is just being mounted");
  if (const int error = check_place(request); error < 0) return refuse_now(error, std::strerror(-error));
  mount_connection(
      connection, request, peer,
      [this, refuse, request, pid = peer.pid, id = connection.id, asker = std::move(asker)](int error) mutable {
        if (error < 0) {
          refuse(request, pid, std::strerror(-error));
          return answer(asker, {error, 0});
        }
        log_.line(fmt::format("connection {}: {} on {} by process {}", id, request.type, request.path, pid));
        answer(asker, {0, id});
      });
}

// Inside a mount of an outer namespace no mount is served.
int Leader::check_place(const abi::LeaderRequest& request) const {
  if (!is_canonical(request.path)) return -EINVAL;
  if (!is_view(request.view)) return -ENOTCONN;
  const MountRecord* around = find_mount(request.mount);
  if (request.mount != 0 && (!around || around->leaving)) return -ENOENT;
  return around && request.token != 0 && around->view != request.view ? -EINVAL : 0;
}

void Leader::mount_connection(Connection& connection, const abi::LeaderRequest& request, const host::Credentials& peer,
                              std::move_only_function<void(int)> done) {
  host::HostRequest host_request{.operation = host::HostOperation::mount,
                                 // A user's mount is nodev, as in a user namespace.
                                 .flags = (request.flags & mount_flag::kept) | (peer.uid != 0 ? mount_flag::nodev : 0),
                                 .value = {peer.uid, abi::is_block_fuse_type(request.type), request.value[0]},
                                 .bounds = bounds_of(peer),
                                 .dev = makedev(0, first_minor + connection.id)};
  copy_text(host_request.text, request.options);
  connection.mounting = true;
  const uint32_t id = connection.id, mount = next_mount_++;
  host_request.mount = mount;
  ask_host(
      connection, host_request,
      [this, id, mount, request, done = std::move(done)](const host::HostMessage& host) mutable {
        Connection* asked = find(id);
        if (asked) asked->mounting = false;
        if (!asked || host.error != 0) return done(asked ? host.error : -ENOTCONN);
        // Natively at a mount point means on top of what stands there.
        const MountRecord* covered = find_mount(request);
        // It may have gone while the new one's host was asked.
        const bool is_gone = request.mount != 0 && !covered;
        const int error = is_gone ? -ENOENT : mounted(mount, *asked, covered ? covered->id : 0, request, host);
        if (error < 0) {
          tell_to_unmount(*asked, mount, umount_flag::detach);
          return done(error);
        }
        attach(mount, request.token, [this, mount, done = std::move(done)](int attached) mutable {
          if (attached < 0 && find_mount(mount)) detach(mount, umount_flag::detach);
          done(attached);
        });
      },
      // Nobody knows of this mount.
      [this, id, mount](const host::HostMessage&) {
        if (Connection* asked = find(id)) tell_to_unmount(*asked, mount, umount_flag::detach);
      });
}

int Leader::mounted(uint32_t id, Connection& connection, uint32_t parent, const abi::LeaderRequest& request,
                    const host::HostMessage& host) {
  const std::optional<size_t> index = free_entry(mounts_, abi::mount_entries);
  if (!index) return -ENOSPC;
  const MountRecord* covered = find_mount(parent);
  if (parent != 0 && (!covered || covered->leaving)) return -ENOENT;
  if (!is_view(request.view)) return -ENOTCONN;
  const MountRecord mount{
      .id = id, .entry = *index, .connection = connection.id, .parent = parent, .view = request.view};
  mounts_.emplace(mount.id, mount);
  const CoveredObject object = cover(mount.id, parent, request);
  table_.change([&](abi::MountTable&) {
    abi::MountEntry& entry = entry_of(mount);
    entry.state = static_cast<uint32_t>(abi::MountState::mounted);
    entry.id = mount.id;
    entry.connection = connection.id;
    entry.view = mount.view;
    entry.of_part = host.value;
    entry.user_id = host.user_id, entry.group_id = host.group_id;
    entry.flags = host.flags;
    entry.super_read_only = host.read_only;
    entry.allow_other = host.allow_other;
    entry.default_permissions = host.default_permissions;
    entry.max_read = host.max_read;
    entry.dev = makedev(0, first_minor + connection.id);
    copy_text(entry.type, request.type);
    copy_text(entry.source, request.source);
    entry.twin_of = 0;
    entry.twin_place = abi::TwinPlace::anywhere;
    place(mount, request, object);
  });
  // Who is to see it looks for himself.
  if (is_foreign(request.mount_namespace)) count_native_change();
  return 0;
}

CoveredObject Leader::cover(uint32_t mount, uint32_t parent, const abi::LeaderRequest& request) {
  if (parent == 0) return covered_.cover(mount, request.path, request.point_device, request.point_inode);
  covered_.uncover(mount);
  return {};
}

void Leader::look_at_covered() {
  for (const uint32_t id : covered_.take_changes()) {
    const MountRecord* mount = find_mount(id);
    const abi::Cover cover = covered_.is_bare(id) ? abi::Cover::bare : abi::Cover::unknown;
    if (mount && entry_of(*mount).cover != cover)
      table_.change([&](abi::MountTable&) { entry_of(*mount).cover = cover; });
  }
}

void Leader::place(const MountRecord& mount, const abi::LeaderRequest& request, const CoveredObject& covered) {
  abi::MountEntry& entry = entry_of(mount);
  entry.cover = covered.cover;
  entry.covered_device = covered.device, entry.covered_inode = covered.inode;
  copy_text(table_.table().path[mount.entry], request.path);
  copy_text(table_.table().point[mount.entry], request.point);
  entry.parent = mount.parent;
  entry.on_root = mount.parent != 0 && request.token == 0 ? 1 : 0;
  entry.mount_namespace = request.mount_namespace;
  entry.point_device = request.point_device;
  entry.point_inode = request.point_inode;
  entry.point_file_system = request.point_file_system;
  entry.path_length = static_cast<uint32_t>(std::string_view(request.path).size());
}

void Leader::attach(uint32_t id, uint64_t token, std::move_only_function<void(int)> done) {
  const MountRecord* mount = find_mount(id);
  const MountRecord* parent = mount ? find_mount(mount->parent) : nullptr;
  // A host knows no views: what covers a mount of an outer view is found by the gates alone.
  if (!parent || (parent->view != mount->view && token == 0)) return done(mount ? 0 : -ENOENT);
  ask_host(
      connections_.at(parent->connection),
      {.operation = host::HostOperation::attach, .mount = id, .in = parent->id, .token = token},
      [this, id, token, done = std::move(done)](const host::HostMessage& host) mutable {
        const MountRecord* attached = find_mount(id);
        if (!attached) return done(-ENOENT);
        // Somebody was faster: on top of that, then.
        if (host.error == -EEXIST && find_mount(host.value)) {
          mounts_.at(id).parent = host.value;
          table_.change([&](abi::MountTable&) {
            entry_of(*attached).parent = host.value;
            entry_of(*attached).on_root = 1;
          });
          return attach(id, 0, std::move(done));
        }
        // Over the root of a mount whose host has ended nobody walks in it.
        done(token == 0 && host.error == -ENOTCONN ? 0 : host.error);
      },
      [this, id](const host::HostMessage&) {
        if (const MountRecord* attached = find_mount(id)) tell_to_detach(*attached);
      });
}

void Leader::tell_to_detach(const MountRecord& mount) {
  const MountRecord* parent = find_mount(mount.parent);
  Connection* connection = parent ? find(parent->connection) : nullptr;
  if (!connection || !connection->control) return;
  const host::HostRequest request{.operation = host::HostOperation::detach, .mount = mount.id};
  if (host::send_message(connection->control.get(), request, {}, MSG_DONTWAIT) < 0) connection->control.reset();
}

void Leader::umount(const abi::LeaderRequest& request, Asker asker) {
  const MountRecord* mount = find_mount(request);
  // A mount of an outer view is locked, as one that a user's mount namespace has from its parent.
  if (!mount || mount->view != request.view || is_from_elsewhere(request, *mount) || entry_of(*mount).twin_of != 0)
    return answer(asker, {-EINVAL, 0});
  const std::vector<uint32_t> tree = tree_of(mount->id);
  if (request.flags & umount_flag::detach) {
    detach_tree(mount->id, request.flags);
    return answer(asker, {0, 0});
  }
  Connection& connection = connections_.at(mount->connection);
  if (tree.size() > 1) {
    if (request.flags & umount_flag::force)
      return ask_host(connection, {.operation = host::HostOperation::abort},
                      [this, asker = std::move(asker)](const host::HostMessage&) mutable {
                        answer(asker, {-EBUSY, 0});
                      });
    return answer(asker, {-EBUSY, 0});
  }
  const auto unmounted = [this, id = mount->id] {
    if (find_mount(id)) take_out(id);
  };
  mounts_.at(mount->id).leaving = true;
  ask_host(
      connection,
      {.operation = host::HostOperation::umount, .flags = request.flags & umount_flag::known, .mount = mount->id},
      [this, unmounted, id = mount->id, asker = std::move(asker)](const host::HostMessage& host) mutable {
        // A host that has ended keeps nothing busy; one that does not answer may.
        const int error = host.error == -ENOTCONN ? 0 : host.error == -ETIMEDOUT ? -EBUSY : host.error;
        if (error == 0) unmounted();
        if (const auto found = mounts_.find(id); found != mounts_.end()) found->second.leaving = false;
        answer(asker, {error, 0});
      },
      [unmounted](const host::HostMessage&) { unmounted(); });
}

void Leader::detach_tree(uint32_t mount, uint32_t flags) {
  const std::vector<uint32_t> tree = tree_of(mount);
  for (auto each = tree.rbegin(); each != tree.rend(); ++each) detach(*each, flags);
}

// The mount is gone at once; its host ends it when the last file is closed, or when it goes on at all.
void Leader::detach(uint32_t mount, uint32_t flags) {
  tell_to_unmount(connections_.at(mounts_.at(mount).connection), mount, flags | umount_flag::detach);
  take_out(mount);
}

// Whatever it waits for. A host that cannot even be told is hung up on, and ends as without a leader.
void Leader::tell_to_unmount(Connection& connection, uint32_t mount, uint32_t flags) {
  if (!connection.control) return;
  const host::HostRequest request{
      .operation = host::HostOperation::umount, .flags = flags & umount_flag::known, .mount = mount};
  if (host::send_message(connection.control.get(), request, {}, MSG_DONTWAIT) < 0) connection.control.reset();
}

void Leader::take_out(uint32_t id) {
  const MountRecord mount = mounts_.at(id);
  Connection& connection = connections_.at(mount.connection);
  log_.line(fmt::format("connection {}: {} is unmounted", mount.connection, path_of(mount)));
  tell_to_detach(mount);
  covered_.uncover(id);
  mounts_.erase(id);
  table_.change([&](abi::MountTable&) {
    entry_of(mount).state = static_cast<uint32_t>(abi::MountState::free);
    if (!is_mounted(mount.connection)) entry_of(connection).in_use = 0;
  });
  if (connection.host <= 0 && !is_mounted(mount.connection)) connections_.erase(mount.connection);
}

// A native directory has another name. Whether a mount point lies at its new place is looked at here: it is known by
// what it is, and nobody is believed.
void Leader::follow_directory(const abi::LeaderRequest& request, Asker asker) {
  const std::string from = request.path, to = request.point;
  const bool exchanged = request.value[0] != 0;
  std::vector<std::pair<uint32_t, std::string>> moved;
  for (const auto& [id, mount] : mounts_) {
    const std::string path = path_of(mount);
    std::string now;
    if (is_below(path, from)) now = to + path.substr(from.size());
    if (exchanged && is_below(path, to)) now = from + path.substr(to.size());
    if (mount.parent == 0 && !now.empty() && now.size() < abi::mount_path_max && leads_to(now, entry_of(mount)))
      moved.emplace_back(id, now);
  }
  for (const auto& [id, now] : moved) move_tree(id, path_of(mounts_.at(id)), now);
  answer(asker, {0, 0});
}

// The mount and all that stand in it get other paths. Where the mount point lies in its file system changes alike: up
// to the directory that holds both names.
void Leader::move_tree(uint32_t root, const std::string& from, const std::string& to) {
  const std::vector<uint32_t> tree = tree_of(root);
  size_t common = 0;
  for (size_t at = 0; at < from.size() && at < to.size() && from[at] == to[at]; ++at)
    if (from[at] == '/') common = at;
  table_.change([&](abi::MountTable& table) {
    for (const uint32_t id : tree) {
      const MountRecord& mount = mounts_.at(id);
      const std::string path = path_of(mount);
      if (path == from || is_below(path, from)) {
        const std::string now = to + path.substr(from.size());
        copy_text(table.path[mount.entry], now);
        entry_of(mount).path_length = static_cast<uint32_t>(std::string_view(table.path[mount.entry]).size());
      }
      const std::string point = table.point[mount.entry];
      if (id == root && point.ends_with(from.substr(common)))
        copy_text(table.point[mount.entry], point.substr(0, point.size() - (from.size() - common)) + to.substr(common));
    }
  });
  // Who looks for mount points by himself looks again.
  if (table_.table().native_changes != 0) count_native_change();
  log_.line(fmt::format("connection {}: {} is at {} now", mounts_.at(root).connection, from, to));
}

// 0 says that nothing has changed.
void Leader::count_native_change() {
  if (++table_.table().native_changes == 0) ++table_.table().native_changes;
}

// Asked for in another mount namespace than it was mounted in: there a copy of it is seen, which is locked.
bool Leader::is_from_elsewhere(const abi::LeaderRequest& request, const MountRecord& mount) const {
  const uint64_t there = table_.table().entry[mount.entry].mount_namespace;
  return there != 0 && request.mount_namespace != 0 && there != request.mount_namespace;
}

void Leader::remount(const abi::LeaderRequest& request, Asker asker) {
  const MountRecord* mount = find_mount(request);
  if (!mount) return answer(asker, {-EINVAL, 0});
  if (mount->view != request.view) return answer(asker, {-EPERM, 0});
  // Of a copy that another mount namespace has, the file system itself is not its to change.
  if (is_from_elsewhere(request, *mount) || ((request.flags & mount_flag::bind) == 0 && entry_of(*mount).twin_of != 0))
    return answer(asker, {-EPERM, 0});
  host::HostRequest host_request{.operation = host::HostOperation::remount, .flags = request.flags, .mount = mount->id};
  copy_text(host_request.text, request.options);
  const auto changed = [this, id = mount->id](const host::HostMessage& host) {
    const MountRecord* asked = find_mount(id);
    if (!asked) return;
    table_.change([&](abi::MountTable&) {
      entry_of(*asked).flags = host.flags;
      for (const auto& [each, record] : mounts_)
        if (record.connection == asked->connection) entry_of(record).super_read_only = host.read_only;
    });
  };
  ask_host(
      connections_.at(mount->connection), host_request,
      [this, changed, asker = std::move(asker)](const host::HostMessage& host) mutable {
        if (host.error == 0) changed(host);
        answer(asker, {host.error, 0});
      },
      changed);
}

// One answer when all hosts have given theirs: the first error, of those that have not ended.
void Leader::set_tracing(const abi::LeaderRequest& request, Asker asker) {
  const bool on = request.value[0] != 0;
  if (on && request.options[0] != '/') return answer(asker, {-EINVAL, 0});
  trace_file_ = on ? request.options : "";
  table_.table().tracing.store(anybody_traces() ? 1 : 0);
  struct Common {
    Asker asker;
    int error = 0;
    size_t open = 1;
  };
  const auto common = std::make_shared<Common>(Common{.asker = std::move(asker)});
  const auto one_done = [this, common](int error) {
    if (error < 0 && error != -ENOTCONN && common->error == 0) common->error = error;
    if (--common->open == 0) answer(common->asker, {common->error, 0});
  };
  for (auto& [id, connection] : connections_) {
    if (id == 0 || connection.host <= 0) continue;
    ++common->open;
    const std::string& file = trace_file_of(connection.view);
    host::HostRequest host_request{.operation = host::HostOperation::set_tracing, .value = {file.empty() ? 0u : 1u}};
    copy_text(host_request.text, file);
    ask_host(connection, host_request, [one_done](const host::HostMessage& host) { one_done(host.error); });
  }
  one_done(0);
}

void Leader::start_control(const ControlDaemon& daemon) {
  UniqueFd device;
  next_id_ = 0;
  const abi::LeaderReply opened = open_device(static_cast<uint32_t>(::getpid()), ::geteuid(), 0, device);
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
  mount_connection(*connection, request, self, [this](int error) {
    if (error < 0) log_.line(fmt::format("cannot: mount the control file system: {}", std::strerror(-error)));
  });
  // The command finds it mounted.
  for (Connection* asked = connection; asked && asked->mounting; asked = find(0)) turn(-1);
}

void Leader::umount_all() {
  while (!mounts_.empty()) detach(mounts_.rbegin()->first, umount_flag::detach);
}

}  // namespace fusewire::leader
