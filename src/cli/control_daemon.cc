#include "cli/control_daemon.h"

#include <signal.h>

#include <algorithm>

#include "daemon/device_transport.h"
#include "daemon/session.h"
#include "filesystems/control_fs.h"
#include "leader/leader_client.h"

namespace fusewire::cli {
namespace {

using filesystems::ConnectionStatus;

constexpr uint32_t control_connection = 0;  // does not list itself
constexpr uint32_t leave_as_is = UINT32_MAX;

class NamespaceConnections final : public filesystems::ConnectionsView {
 public:
  NamespaceConnections(const abi::MountTable& table, const std::string& directory)
      : table_(table), directory_(directory) {}

  std::vector<ConnectionStatus> list() override {
    std::vector<ConnectionStatus> out;
    for (const auto& mount : leader::read_entries(table_)) {
      bool mounted = mount.state == abi::MountState::mounted || mount.state == abi::MountState::ended;
      if (!mounted || mount.connection == control_connection || is_listed(out, mount.connection)) continue;
      out.push_back({mount.connection, mount.user_id, group_of(mount.connection), mount.waiting, mount.max_background,
                     mount.congestion_threshold});
    }
    return out;
  }

  daemon::Result<void> abort(uint32_t id) override {
    abi::LeaderRequest request{};
    request.operation = static_cast<uint32_t>(abi::LeaderOperation::abort);
    request.connection = id;
    return ask(request);
  }

  daemon::Result<void> set_limits(uint32_t id, std::optional<uint32_t> max_background,
                                  std::optional<uint32_t> congestion_threshold) override {
    abi::LeaderRequest request{};
    request.operation = static_cast<uint32_t>(abi::LeaderOperation::set_limits);
    request.connection = id;
    request.value[0] = max_background.value_or(leave_as_is);
    request.value[1] = congestion_threshold.value_or(leave_as_is);
    return ask(request);
  }

 private:
  // One connection may be mounted at several places.
  static bool is_listed(const std::vector<ConnectionStatus>& list, uint32_t connection) {
    return std::any_of(list.begin(), list.end(), [&](const auto& each) { return each.id == connection; });
  }

  uint32_t group_of(uint32_t connection) const {
    for (const auto& entry : table_.entry) {
      if (entry.connection == connection && entry.state != static_cast<uint32_t>(abi::MountState::free)) {
        return entry.group_id;
      }
    }
    return 0;
  }

  daemon::Result<void> ask(const abi::LeaderRequest& request) {
    auto reply = leader::ask_leader(directory_, request);
    if (!reply) return daemon::error(daemon::Errno::eio);
    if (reply->error != 0) return daemon::error(static_cast<daemon::Errno>(-reply->error));
    return {};
  }

  const abi::MountTable& table_;
  const std::string directory_;
};

}  // namespace

int serve_control(int device_fd, const abi::MountTable& table, const std::string& directory) {
  // Keys of the terminal are meant for the command; the leader ends this process by its socket.
  for (int key : {SIGINT, SIGQUIT, SIGTSTP, SIGHUP}) signal(key, SIG_IGN);
  NamespaceConnections connections(table, directory);
  filesystems::ControlFs file_system(connections);
  daemon::DeviceTransport transport{UniqueFd(device_fd)};
  daemon::Session session(
      transport, file_system,
      {.threads = 1, .max_write = 4096, .max_readahead = 4096, .max_background = 0, .congestion_threshold = 0});
  return session.run() ? 0 : 1;
}

}  // namespace fusewire::cli
