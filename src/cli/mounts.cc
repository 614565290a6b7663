#include "cli/mounts.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <optional>

namespace fusewire::cli {

namespace {

bool is_mounted(const leader::MountInfo& mount) {
  return mount.state == abi::MountState::mounted || mount.state == abi::MountState::ended;
}

bool contains(std::string_view mount_point, std::string_view path) {
  if (mount_point == "/") return true;
  return path.starts_with(mount_point) && (path.size() == mount_point.size() || path[mount_point.size()] == '/');
}

// Of those that fit, the one with the longest path; of equals the last, which is mounted on top.
template <typename Fits>
std::optional<FoundMount> find_mounted(const Namespaces& namespaces, Fits fits) {
  std::optional<FoundMount> best;
  for (const auto& space : namespaces) {
    for (const auto& mount : space.mounts) {
      if (!is_mounted(mount) || !fits(mount)) continue;
      if (!best || mount.path.size() >= best->mount.path.size()) best = {space.directory, mount};
    }
  }
  return best;
}

std::string what_there_is(const Namespaces& namespaces) {
  return namespaces.empty() ? " (no namespace is running)" : " (fusewire ps lists what there is)";
}

}  // namespace

std::string canonical_path(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code failed;
  const fs::path whole = fs::canonical(path, failed);
  if (!failed) return whole.string();
  fs::path absolute = fs::absolute(path, failed).lexically_normal();
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  const fs::path parent = fs::canonical(absolute.parent_path(), failed);
  return failed ? absolute.string() : (parent / absolute.filename()).string();
}

std::expected<FoundMount, std::string> find_mount_point(const Namespaces& namespaces, const std::string& path) {
  auto found = find_mounted(namespaces, [&](const leader::MountInfo& mount) { return mount.path == path; });
  if (found) return *std::move(found);
  return std::unexpected(fmt::format("{}: nothing of ours is mounted there{}", path, what_there_is(namespaces)));
}

std::expected<FoundMount, std::string> find_mount_of(const Namespaces& namespaces, const std::string& path) {
  auto found = find_mounted(namespaces, [&](const leader::MountInfo& mount) { return contains(mount.path, path); });
  if (found) return *std::move(found);
  return std::unexpected(fmt::format("{}: lies on no mount of ours{}", path, what_there_is(namespaces)));
}

std::expected<FoundMount, std::string> find_connection(const Namespaces& namespaces, uint32_t connection) {
  std::optional<FoundMount> found;
  for (const auto& space : namespaces) {
    for (const auto& mount : space.mounts) {
      if (mount.connection != connection || connection == 0) continue;
      if (found && found->directory != space.directory) {
        return std::unexpected(fmt::format(
            "connection {}: more than one namespace has it; run the command inside the one you mean", connection));
      }
      found = {space.directory, mount};
    }
  }
  if (found) return *std::move(found);
  return std::unexpected(fmt::format("connection {}: there is none{}", connection, what_there_is(namespaces)));
}

std::expected<FoundMount, std::string> find_by_id_or_path(const Namespaces& namespaces, const std::string& text) {
  uint32_t number = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failed == std::errc() && end == text.data() + text.size()) return find_connection(namespaces, number);
  return find_mount_point(namespaces, canonical_path(text));
}

}  // namespace fusewire::cli
