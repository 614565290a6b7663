#include "host/file_registry.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>
#include <utility>
#include <vector>

#include "abi/ring.h"
#include "host/random_bits.h"
#include "kernel/file.h"

namespace fusewire::host {
namespace {

// A memfd is never moved: of its watch nothing is told but its end, when the file itself is gone (IN_IGNORED).
constexpr uint32_t watched = IN_MOVE_SELF;

std::string own_link(int fd) { return fmt::format("/proc/self/fd/{}", fd); }

// Nobody can put a byte into it, not even root, who may open it once more.
bool seal(int fd) {
  return ::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0 &&
         ::fchmod(fd, abi::shadow_mode) == 0;
}

}  // namespace

int FileRegistry::start() {
  inotify_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  return inotify_ ? 0 : -errno;
}

// Without random numbers 0, which no file has: the open fails.
uint64_t FileRegistry::random_token() {
  for (;;) {
    if (tokens_left_ == 0 && !random_bits(tokens_)) return 0;
    if (tokens_left_ == 0) tokens_left_ = tokens_.size();
    const uint64_t token = std::exchange(tokens_[--tokens_left_], 0);
    if (token != 0) return token;
  }
}

std::expected<UniqueFd, int> FileRegistry::add(syscall::OpenFile& file, uint64_t client, uint64_t& token) {
  token = random_token();
  if (token == 0) return std::unexpected(-EIO);
  const std::string name = fmt::format("{}{}:{}:{:016x}", abi::shadow_name_prefix, leader_pid_, connection_, token);
  const UniqueFd created(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!created) return std::unexpected(-errno);
  UniqueFd shadow(::open(own_link(created.get()).c_str(), O_PATH | O_CLOEXEC));
  if (!shadow) return std::unexpected(-errno);
  // The watch comes before the mode: watching needs the right to read, which the mode takes away.
  const int watch = ::inotify_add_watch(inotify_.get(), own_link(created.get()).c_str(), watched);
  if (watch < 0) return std::unexpected(errno == ENOSPC ? -ENFILE : -errno);
  if (!seal(created.get())) {
    const int error = errno;
    ::inotify_rm_watch(inotify_.get(), watch);
    return std::unexpected(-error);
  }
  files_.emplace(token,
                 RegisteredFile{.file = &file, .token = token, .file_token = token, .client = client, .watch = watch});
  watches_.emplace(watch, token);
  return shadow;
}

uint64_t FileRegistry::use_kept(uint64_t shadow, uint64_t client, syscall::OpenFile& file) {
  const auto found = files_.find(shadow);
  if (found == files_.end() || found->second.file || found->second.client != client) return 0;
  const uint64_t token = random_token();
  if (token == 0) return 0;
  found->second.file = &file;
  found->second.file_token = token;
  later_files_.emplace(token, shadow);
  --kept_;
  return token;
}

uint64_t FileRegistry::keep(RegisteredFile& file, uint64_t client) {
  if (file.closed || file.shared || file.client != client || file.uses != 1) return 0;
  release(file);
  file.file_token = 0;
  file.position = 0;
  file.owner = {};
  file.notice = {};
  ++kept_;
  return file.token;
}

void FileRegistry::abandon(uint64_t token) {
  if (auto found = files_.find(token); found != files_.end()) unwatch(found->second);
}

void FileRegistry::lease_broken(syscall::OpenFile& file) {
  for (auto& [token, each] : files_)
    if (each.file == &file) each.owner.signal();
}

bool FileRegistry::any_writable(uint32_t mount) const {
  return std::any_of(files_.begin(), files_.end(), [mount](const auto& each) {
    const syscall::OpenFile* file = each.second.file;
    return file && file->writable() && (mount == 0 || file->mount == mount);
  });
}

RegisteredFile* FileRegistry::find(uint64_t token) {
  const auto later = later_files_.find(token);
  const auto found = files_.find(later == later_files_.end() ? token : later->second);
  return found == files_.end() || found->second.closed || !found->second.file ? nullptr : &found->second;
}

RegisteredFile* FileRegistry::use(uint64_t token, uint64_t client) {
  RegisteredFile* file = find(token);
  if (!file) return nullptr;
  if (file->client != client || file->file_token != token) file->shared = true;
  ++file->uses;
  return file;
}

void FileRegistry::unuse(RegisteredFile& file) {
  --file.uses;
  if (file.closed) drop(file);
}

void FileRegistry::take_events() {
  alignas(inotify_event) char buffer[16 * 1024];
  bool overflowed = false;
  for (;;) {
    const ssize_t size = ::read(inotify_.get(), buffer, sizeof buffer);
    for (ssize_t at = 0; at < size;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof event);
      at += static_cast<ssize_t>(sizeof event + event.len);
      overflowed |= (event.mask & IN_Q_OVERFLOW) != 0;
      if ((event.mask & IN_IGNORED) == 0) continue;
      if (auto watch = watches_.find(event.wd); watch != watches_.end()) close(files_.at(watch->second));
    }
    if (size < static_cast<ssize_t>(sizeof buffer / 2)) break;
  }
  if (!overflowed) return;
  ++overflows_;
  close_unwatched();
}

// Ends that no event told of: the kernel lists the watches that live.
void FileRegistry::close_unwatched() {
  std::ifstream list(fmt::format("/proc/self/fdinfo/{}", inotify_.get()));
  std::set<int> living;
  bool complete = false;
  for (std::string line; std::getline(list, line); complete = true) {
    int watch = 0;
    if (std::sscanf(line.c_str(), "inotify wd:%x", reinterpret_cast<unsigned*>(&watch)) == 1) living.insert(watch);
  }
  if (!complete) return;
  std::vector<uint64_t> gone;
  for (const auto& [watch, token] : watches_)
    if (!living.contains(watch)) gone.push_back(token);
  for (uint64_t token : gone) close(files_.at(token));
}

void FileRegistry::unwatch(RegisteredFile& file) {
  ::inotify_rm_watch(inotify_.get(), file.watch);
  close(file);
}

void FileRegistry::close(RegisteredFile& file) {
  watches_.erase(file.watch);
  file.closed = true;
  drop(file);
}

void FileRegistry::drop(RegisteredFile& file) {
  if (file.uses > 0) return;
  if (file.file)
    release(file);
  else
    --kept_;
  files_.erase(file.token);
}

void FileRegistry::release(RegisteredFile& file) {
  later_files_.erase(file.file_token);
  syscall::OpenFile& open_file = *std::exchange(file.file, nullptr);
  kernel::Connection::Entry entry(mount_->connection());
  mount_->release(open_file);
}

void FileRegistry::release_all() {
  while (!watches_.empty()) unwatch(files_.at(watches_.begin()->second));
}

}  // namespace fusewire::host
