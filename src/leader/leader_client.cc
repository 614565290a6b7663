#include "leader/leader_client.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>

#include "host/packet_socket.h"
#include "leader/namespace_directory.h"

namespace fusewire::leader {
namespace {

constexpr int answer_milliseconds = 10000;

std::expected<NamespaceInfo, std::string> read_namespace(const std::string& directory) {
  auto file = MountTableFile::open(directory + "/" + abi::mount_table_name);
  if (!file) return std::unexpected(file.error());
  const abi::MountTable& table = file->table();
  return NamespaceInfo{directory, table.leader_pid, read_entries(table)};
}

// Of the mounts of views those that a process with this $FUSEWIRE_VIEWS sees.
void keep_seen(std::vector<MountInfo>& mounts, std::string_view views) {
  std::erase_if(mounts, [&](const MountInfo& mount) {
    const std::string id = fmt::format(",{},", mount.view);
    return mount.view != 0 && !fmt::format(",{},", views).contains(id);
  });
}

}  // namespace

std::expected<std::vector<NamespaceInfo>, std::string> list_namespaces() {
  std::vector<NamespaceInfo> namespaces;
  if (const char* own = std::getenv("FUSEWIRE_NAMESPACE"); own && own[0]) {
    auto info = read_namespace(own);
    if (!info) return std::unexpected(info.error());
    const char* views = std::getenv("FUSEWIRE_VIEWS");
    keep_seen(info->mounts, views ? views : "");
    namespaces.push_back(std::move(*info));
    return namespaces;
  }
  for (const std::string& directory : live_namespaces()) {
    // One that is just coming or going has no table: it is not there yet, or no more.
    if (auto info = read_namespace(directory)) namespaces.push_back(std::move(*info));
  }
  return namespaces;
}

std::expected<abi::LeaderReply, std::string> ask_leader(const std::string& directory,
                                                        const abi::LeaderRequest& request) {
  const std::string path = directory + "/" + abi::leader_socket_name;
  UniqueFd socket(host::connect_to(path));
  if (socket.get() < 0)
    return std::unexpected(
        fmt::format("cannot reach the leader of the namespace at {}: {}", path, std::strerror(-socket.get())));
  if (const ssize_t sent = host::send_message(socket.get(), request); sent < 0)
    return std::unexpected(
        fmt::format("cannot ask the leader of the namespace at {}: {}", path, std::strerror(static_cast<int>(-sent))));
  abi::LeaderReply reply;
  if (!host::wait_readable(socket.get(), answer_milliseconds))
    return std::unexpected(fmt::format("the leader of the namespace at {} does not answer", path));
  const host::Packet packet = host::receive_packet(socket.get(), std::as_writable_bytes(std::span(&reply, 1)));
  if (packet.size != sizeof reply)
    return std::unexpected(fmt::format("the leader of the namespace at {} ended before it answered", path));
  return reply;
}

}  // namespace fusewire::leader
