#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "cli/commands.h"
#include "cli/message.h"
#include "cli/mounts.h"
#include "leader/leader_client.h"

namespace fusewire::cli {

namespace {

constexpr uint32_t mnt_force = 1, mnt_detach = 2;

int ask(const FoundMount& found, const abi::LeaderRequest& request, const std::string& what) {
  const auto reply = leader::ask_leader(found.directory, request);
  if (!reply) return complain(exit_failed, reply.error());
  if (reply->error == 0) return 0;
  std::string advice;
  if (reply->error == -EBUSY) advice = "; files of it are open: close them, or use -f (abort) or -l (lazy)";
  return complain(exit_failed, fmt::format("{}: {}{}", what, std::strerror(-reply->error), advice));
}

}  // namespace

int abort_command(const std::string& id_or_directory) {
  const auto namespaces = leader::list_namespaces();
  if (!namespaces) return complain(exit_failed, namespaces.error());
  const auto found = find_by_id_or_path(*namespaces, id_or_directory);
  if (!found) return complain(exit_usage, "abort: " + found.error());
  abi::LeaderRequest request{};
  request.operation = static_cast<uint32_t>(abi::LeaderOperation::abort);
  request.connection = found->mount.connection;
  return ask(*found, request, fmt::format("abort of connection {}", found->mount.connection));
}

int umount_command(const std::string& directory, bool force, bool lazy) {
  const auto namespaces = leader::list_namespaces();
  if (!namespaces) return complain(exit_failed, namespaces.error());
  const auto found = find_mount_point(*namespaces, canonical_path(directory));
  if (!found) return complain(exit_usage, "umount: " + found.error());
  abi::LeaderRequest request{};
  request.operation = static_cast<uint32_t>(abi::LeaderOperation::umount);
  request.connection = found->mount.connection;
  request.view = found->mount.view;
  request.flags = (force ? mnt_force : 0) | (lazy ? mnt_detach : 0);
  // It came out of a field of this size.
  std::memcpy(request.path, found->mount.path.data(), std::min(found->mount.path.size(), sizeof(request.path) - 1));
  return ask(*found, request, fmt::format("umount of {}", found->mount.path));
}

}  // namespace fusewire::cli
