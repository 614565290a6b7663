#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/ladder.h"
#include "cli/message.h"
#include "leader/leader_client.h"

namespace fusewire::cli {

namespace {

using Row = std::array<std::string, 6>;

std::string_view state_name(abi::MountState state) {
  switch (state) {
    case abi::MountState::free:
      return "free";
    case abi::MountState::opened:
      return "opened";
    case abi::MountState::mounted:
      return "mounted";
    case abi::MountState::ended:
      return "ended";
  }
  return "unknown";
}

nlohmann::json to_json(const leader::MountInfo& mount) {
  return {{"connection", mount.connection},
          {"state", state_name(mount.state)},
          {"path", mount.path},
          {"type", mount.type},
          {"source", mount.source},
          {"daemon_pid", mount.daemon_pid},
          {"host_pid", mount.host_pid},
          {"user_id", mount.user_id},
          {"view", mount.view},
          {"waiting", mount.waiting},
          {"requests", mount.requests},
          {"hits", mount.hits},
          {"replies", mount.replies},
          {"rejected", mount.rejected},
          {"forgets", mount.forgets},
          {"max_background", mount.max_background},
          {"congestion_threshold", mount.congestion_threshold},
          {"open_files", mount.open_files},
          {"names", mount.names},
          {"inodes", mount.inodes},
          {"cache_bytes", mount.cache_bytes}};
}

nlohmann::json to_json(const std::vector<leader::NamespaceInfo>& namespaces) {
  auto list = nlohmann::json::array();
  for (const auto& space : namespaces) {
    auto mounts = nlohmann::json::array();
    for (const auto& mount : space.mounts) mounts.push_back(to_json(mount));
    list.push_back({{"directory", space.directory}, {"leader_pid", space.leader_pid}, {"mounts", mounts}});
  }
  return list;
}

Row row_of(const leader::MountInfo& mount) {
  std::string type = mount.type;
  if (mount.state == abi::MountState::ended) type += " (ended)";
  if (mount.view != 0) type += fmt::format(" (in inner run {})", mount.view);
  if (mount.state == abi::MountState::opened) type = "(not mounted yet)";
  return {fmt::to_string(mount.connection),
          mount.path.empty() ? "-" : printable(mount.path),
          printable(type),
          fmt::to_string(mount.daemon_pid),
          fmt::to_string(mount.waiting),
          fmt::to_string(mount.requests)};
}

void print_table(const std::vector<Row>& rows) {
  std::array<size_t, std::tuple_size_v<Row>> width{};
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  for (const Row& row : rows) {
    fmt::print("{:>{}}  {:<{}}  {:<{}}  {:>{}}  {:>{}}  {:>{}}\n", row[0], width[0], row[1], width[1], row[2], width[2],
               row[3], width[3], row[4], width[4], row[5], width[5]);
  }
}

}  // namespace

int ps_command(bool json) {
  const auto namespaces = leader::list_namespaces();
  if (!namespaces) return complain(exit_failed, namespaces.error());
  if (json) {
    constexpr int indent = 2;
    fmt::print("{}\n", to_json(*namespaces).dump(indent, ' ', false, nlohmann::json::error_handler_t::replace));
    return 0;
  }
  std::vector<Row> rows{{"ID", "MOUNT POINT", "TYPE", "DAEMON", "WAITING", "REQUESTS"}};
  for (const auto& space : *namespaces) {
    for (const auto& mount : space.mounts) {
      // Connection 0 is the control file system: part of the namespace, nobody's mount.
      if (mount.connection != 0) rows.push_back(row_of(mount));
    }
  }
  print_table(rows);
  return 0;
}

}  // namespace fusewire::cli
