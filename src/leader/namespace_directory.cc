#include "leader/namespace_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "abi/leader_protocol.h"
#include "host/random_bits.h"

namespace fusewire::leader {
namespace {

// Sockets in the directory must fit into sockaddr_un.
constexpr size_t parent_path_max = 60;

// Of a variable that names a directory this program may write in; what it says else (a session's directory in a
// container, or another user's after sudo) says nothing about this program.
const char* writable_directory(const char* variable) {
  const char* path = std::getenv(variable);
  return path && path[0] == '/' && ::access(path, W_OK | X_OK) == 0 ? path : nullptr;
}

std::vector<std::string> parents() {
  std::vector<std::string> paths;
  const auto add = [&](std::string path) {
    if (path.size() <= parent_path_max && std::find(paths.begin(), paths.end(), path) == paths.end())
      paths.push_back(std::move(path));
  };
  if (const char* runtime = writable_directory("XDG_RUNTIME_DIR")) add(fmt::format("{}/fusewire", runtime));
  if (const char* temporary = writable_directory("TMPDIR")) add(fmt::format("{}/fusewire-{}", temporary, ::geteuid()));
  add(fmt::format("/tmp/fusewire-{}", ::geteuid()));
  return paths;
}

// Opens dir if it is a directory of this user that nobody else may enter; a sentence otherwise.
std::expected<UniqueFd, std::string> open_private(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (!fd || ::fstat(fd.get(), &status) != 0)
    return std::unexpected(fmt::format("cannot open the directory {}: {}", path, std::strerror(errno)));
  if (status.st_uid != ::geteuid())
    return std::unexpected(
        fmt::format("{} belongs to user {}: remove it, or set XDG_RUNTIME_DIR to a directory of "
                    "your own",
                    path, status.st_uid));
  if ((status.st_mode & 077) != 0)
    return std::unexpected(
        fmt::format("{} is open to other users (mode {:o}): chmod 700 it", path, status.st_mode & 07777));
  return fd;
}

// The parent, made when needed and locked against other leaders that come or go.
std::expected<UniqueFd, std::string> lock_parent(const std::string& path) {
  for (;;) {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
      return std::unexpected(fmt::format("cannot make the directory {}: {}", path, std::strerror(errno)));
    auto fd = open_private(path);
    if (!fd && ::access(path.c_str(), F_OK) != 0) continue;
    if (!fd) return fd;
    if (::flock(fd->get(), LOCK_EX) != 0)
      return std::unexpected(fmt::format("cannot lock the directory {}: {}", path, std::strerror(errno)));
    // A leader that ended meanwhile may have removed it.
    struct stat status;
    if (::fstat(fd->get(), &status) == 0 && status.st_nlink != 0) return fd;
  }
}

std::vector<std::string> children(const std::string& path) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), &::closedir);
  if (!dir) return names;
  while (const dirent* entry = ::readdir(dir.get()))
    if (entry->d_name[0] != '.') names.push_back(path + "/" + entry->d_name);
  return names;
}

// Whether the leader of the directory is dead; then lock holds the directory's lock.
bool is_stale(const std::string& path, int how, UniqueFd& lock) {
  lock.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (!lock || ::fstat(lock.get(), &status) != 0 || status.st_uid != ::geteuid()) return false;
  return ::flock(lock.get(), how | LOCK_NB) == 0;
}

void remove_tree(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

std::string random_name() {
  uint64_t random = 0;
  (void)host::random_bits(random);  // a name that is taken is told by mkdir
  return fmt::format("{}.{:012x}", ::getpid(), random & 0xffffffffffff);
}

}  // namespace

std::expected<NamespaceDirectory, std::string> NamespaceDirectory::create() {
  const std::string parent = parents().front();
  auto parent_lock = lock_parent(parent);
  if (!parent_lock) return std::unexpected(parent_lock.error());
  for (const std::string& path : children(parent)) {
    UniqueFd lock;
    if (is_stale(path, LOCK_EX, lock)) remove_tree(path);
  }

  const std::string path = parent + "/" + random_name();
  if (::mkdir(path.c_str(), 0700) != 0) {
    const int error = errno;
    ::rmdir(parent.c_str());
    return std::unexpected(fmt::format("cannot make the directory {}: {}", path, std::strerror(error)));
  }
  UniqueFd lock(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock || ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0 ||
      ::mkdir((path + "/" + abi::void_name).c_str(), 0700) != 0 ||
      // A process of another user stands in it too: it comes there by a descriptor.
      ::chmod((path + "/" + abi::void_name).c_str(), 0555) != 0) {
    const int error = errno;
    remove_tree(path);
    ::rmdir(parent.c_str());
    return std::unexpected(fmt::format("cannot set up the directory {}: {}", path, std::strerror(error)));
  }
  return NamespaceDirectory(path, std::move(lock));
}

void NamespaceDirectory::remove() {
  const std::string parent = path_.substr(0, path_.rfind('/'));
  auto parent_lock = lock_parent(parent);
  remove_tree(path_);
  lock_.reset();
  ::rmdir(parent.c_str());
}

std::vector<std::string> live_namespaces() {
  std::vector<std::string> live;
  for (const std::string& parent : parents()) {
    if (!open_private(parent)) continue;
    for (const std::string& path : children(parent)) {
      UniqueFd lock;
      if (!is_stale(path, LOCK_SH, lock) && lock) live.push_back(path);
    }
  }
  return live;
}

}  // namespace fusewire::leader
