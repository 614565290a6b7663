#include "leader/covered_points.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace fusewire::leader {
namespace {

constexpr long fuse_control_magic = 0x65735543;

bool is_empty(int directory) {
  const int fd = ::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd), ::closedir);
  if (!stream) return ::close(fd), false;
  constexpr int dots = 2;
  int names = 0;
  errno = 0;
  while (names <= dots && ::readdir(stream.get()) != nullptr) ++names;
  return names == dots && errno == 0;
}

// The control file system has one superblock: its files are nowhere but at its mount points.
bool is_root_of_control(int directory) {
  struct statfs status;
  return ::fstatfs(directory, &status) == 0 && status.f_type == fuse_control_magic;
}

}  // namespace

CoveredPoints::CoveredPoints() : watch_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {}

CoveredObject CoveredPoints::cover(uint32_t mount, const std::string& path, uint64_t device, uint64_t inode) {
  uncover(mount);
  CoveredObject object{.device = device, .inode = inode};
  UniqueFd directory(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  // What the namespace's user cannot reach, its programs cannot.
  const bool is_absent = !directory && (errno == ENOENT || errno == ENOTDIR || errno == EACCES);
  if (is_absent && inode == 0) object.cover = abi::Cover::bare;
  struct stat status {};
  if (!directory || ::fstat(directory.get(), &status) != 0) return object;
  if (inode != 0 && (status.st_dev != device || status.st_ino != inode)) return object;
  object.device = status.st_dev, object.inode = status.st_ino;
  if (!S_ISDIR(status.st_mode)) return object;
  if (is_root_of_control(directory.get())) {
    object.cover = abi::Cover::own_device;
    return object;
  }
  // Watched before it is looked through: nothing comes in between.
  const std::string link = fmt::format("/proc/self/fd/{}", directory.get());
  const int watch = ::inotify_add_watch(watch_.get(), link.c_str(), IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM);
  if (watch < 0) return object;
  if (is_empty(directory.get())) object.cover = abi::Cover::bare;
  points_.insert_or_assign(mount, Point{std::move(directory), watch});
  return object;
}

void CoveredPoints::uncover(uint32_t mount) {
  const auto found = points_.find(mount);
  if (found == points_.end()) return;
  const int watch = found->second.watch;
  points_.erase(found);
  // One directory may be covered several times.
  const bool is_shared =
      std::any_of(points_.begin(), points_.end(), [&](const auto& each) { return each.second.watch == watch; });
  if (!is_shared) ::inotify_rm_watch(watch_.get(), watch);
}

std::vector<uint32_t> CoveredPoints::take_changes() {
  alignas(inotify_event) char events[4096];
  std::vector<uint32_t> changed;
  for (ssize_t bytes; (bytes = ::read(watch_.get(), events, sizeof events)) > 0;) {
    for (ssize_t at = 0; at < bytes;) {
      const auto* event = reinterpret_cast<const inotify_event*>(events + at);
      at += static_cast<ssize_t>(sizeof *event + event->len);
      for (const auto& [mount, point] : points_)
        if (point.watch == event->wd || (event->mask & IN_Q_OVERFLOW) != 0) changed.push_back(mount);
    }
  }
  return changed;
}

bool CoveredPoints::is_bare(uint32_t mount) const {
  const auto found = points_.find(mount);
  return found != points_.end() && is_empty(found->second.directory.get());
}

}  // namespace fusewire::leader
