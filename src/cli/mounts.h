// Finding the mount that a user means, by directory or by connection number, among the namespaces he can reach.
// Errors are sentences for a person.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "leader/leader_client.h"

namespace fusewire::cli {

struct FoundMount {
  std::string directory;  // of the namespace
  leader::MountInfo mount;
};

using Namespaces = std::vector<leader::NamespaceInfo>;

// path as the mount table has paths: absolute, without symbolic links. The last component may be one that nobody
// answers for any more (a mount whose daemon is gone): it is taken as it stands.
std::string canonical_path(const std::string& path);

// The mount on exactly this canonical path; the topmost when several are stacked there.
std::expected<FoundMount, std::string> find_mount_point(const Namespaces& namespaces, const std::string& path);

// The mount that path lies in: the longest mount point that contains it.
std::expected<FoundMount, std::string> find_mount_of(const Namespaces& namespaces, const std::string& path);

// The connection with this number. An error when two namespaces have one.
std::expected<FoundMount, std::string> find_connection(const Namespaces& namespaces, uint32_t connection);

// "7": its number; else the mount point DIR.
std::expected<FoundMount, std::string> find_by_id_or_path(const Namespaces& namespaces, const std::string& text);

}  // namespace fusewire::cli
