#include "host/file_registry.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <vector>

#include "abi/ring.h"
#include "host/random_bits.h"

namespace fusewire::host {
namespace {

constexpr uint32_t watched = IN_CLOSE_WRITE | IN_CLOSE_NOWRITE | IN_OPEN;

uint64_t random_token() {
  uint64_t token = 0;
  // Without random numbers 0, which no file has: the open fails.
  while (random_bits(token) && token == 0) continue;
  return token;
}

// The tokens of all shadows of this connection that processes we may look at have descriptors of.
std::set<uint64_t> held_tokens(uint32_t leader_pid, uint32_t connection) {
  const std::string prefix = fmt::format("/memfd:{}{}:{}:", abi::shadow_name_prefix, leader_pid, connection);
  std::set<uint64_t> tokens;
  std::error_code error;
  using std::filesystem::directory_iterator;
  for (directory_iterator process("/proc", error), end; !error && process != end; process.increment(error)) {
    if (!std::isdigit(static_cast<unsigned char>(process->path().filename().native()[0]))) continue;
    std::error_code gone;
    for (directory_iterator fd(process->path() / "fd", gone); !gone && fd != end; fd.increment(gone)) {
      char target[128] = {};
      if (::readlink(fd->path().c_str(), target, sizeof target - 1) <= 0) continue;
      if (std::strncmp(target, prefix.c_str(), prefix.size()) == 0)
        tokens.insert(std::strtoull(target + prefix.size(), nullptr, 16));
    }
  }
  return tokens;
}

// A memfd, opened once more by its path: since Linux 6.14 the kernel tells of no event on the descriptor that
// memfd_create gives (FMODE_NONOTIFY of pseudo files).
int make_shadow(const std::string& name) {
  const UniqueFd created(::memfd_create(name.c_str(), MFD_CLOEXEC));
  if (!created) return -errno;
  const int opened = ::open(fmt::format("/proc/self/fd/{}", created.get()).c_str(), O_RDWR | O_CLOEXEC);
  return opened < 0 ? -errno : opened;
}

}  // namespace

int FileRegistry::start() {
  inotify_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  return inotify_ ? 0 : -errno;
}

std::expected<UniqueFd, int> FileRegistry::add(syscall::OpenFile& file, uint64_t& token) {
  token = random_token();
  if (token == 0) return std::unexpected(-EIO);
  const std::string name = fmt::format("{}{}:{}:{:016x}", abi::shadow_name_prefix, leader_pid_, connection_, token);
  UniqueFd shadow(make_shadow(name));
  if (shadow.get() < 0) return std::unexpected(shadow.release());
  // The watch comes before the mode: watching needs the right to read, which the mode takes away.
  const int watch = ::inotify_add_watch(inotify_.get(), fmt::format("/proc/self/fd/{}", shadow.get()).c_str(), watched);
  if (watch < 0) return std::unexpected(errno == ENOSPC ? -ENFILE : -errno);
  if (::fchmod(shadow.get(), abi::shadow_mode) != 0) {
    const int error = errno;
    ::inotify_rm_watch(inotify_.get(), watch);
    return std::unexpected(-error);
  }
  files_.emplace(token, RegisteredFile{.file = &file, .token = token, .watch = watch});
  watches_.emplace(watch, token);
  return shadow;
}

void FileRegistry::abandon(uint64_t token) {
  if (auto found = files_.find(token); found != files_.end()) close(found->second);
}

RegisteredFile* FileRegistry::use(uint64_t token) {
  auto found = files_.find(token);
  if (found == files_.end() || found->second.closed) return nullptr;
  ++found->second.uses;
  return &found->second;
}

void FileRegistry::unuse(RegisteredFile& file) {
  --file.uses;
  if (file.closed) drop(file);
}

void FileRegistry::take_events() {
  alignas(inotify_event) char buffer[16 * 1024];
  bool search_reopened = false, search_all = false;
  for (;;) {
    const ssize_t size = ::read(inotify_.get(), buffer, sizeof buffer);
    for (ssize_t at = 0; at < size;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof event);
      at += static_cast<ssize_t>(sizeof event + event.len);
      if (event.mask & IN_Q_OVERFLOW) search_all = true;
      auto watch = watches_.find(event.wd);
      if (watch == watches_.end()) continue;
      RegisteredFile& file = files_.at(watch->second);
      // The shadow itself is gone, and its watch with it: Linux 6.13 and later tell nothing else of a memfd's close.
      if (event.mask & IN_IGNORED) {
        close(file);
        continue;
      }
      if (event.mask & IN_OPEN) file.reopened = true;
      if (!(event.mask & (IN_CLOSE_WRITE | IN_CLOSE_NOWRITE))) continue;
      if (file.reopened)
        search_reopened = true;
      else
        close(file);
    }
    if (size < static_cast<ssize_t>(sizeof buffer / 2)) break;
  }
  if (search_all) ++overflows_;
  if (search_all || search_reopened) close_unheld(!search_all);
}

void FileRegistry::close_unheld(bool only_reopened) {
  const std::set<uint64_t> held = held_tokens(leader_pid_, connection_);
  std::vector<uint64_t> gone;
  for (const auto& [token, file] : files_)
    if (!file.closed && (file.reopened || !only_reopened) && !held.contains(token)) gone.push_back(token);
  for (uint64_t token : gone) close(files_.at(token));
}

void FileRegistry::close(RegisteredFile& file) {
  ::inotify_rm_watch(inotify_.get(), file.watch);
  watches_.erase(file.watch);
  file.closed = true;
  drop(file);
}

void FileRegistry::drop(RegisteredFile& file) {
  if (file.uses > 0) return;
  syscall::OpenFile& open_file = *file.file;
  files_.erase(file.token);
  kernel::Connection::Entry entry(mount_->connection());
  mount_->release(open_file);
}

void FileRegistry::release_all() {
  while (!watches_.empty()) close(files_.at(watches_.begin()->second));
}

}  // namespace fusewire::host
