#include "host/special_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "abi/ring.h"
#include "host/random_bits.h"
#include "kernel/file.h"

namespace fusewire::host {
namespace {

constexpr size_t old_addresses_max = 1024;

// Without random numbers 0, which no file has.
uint64_t random_token() {
  uint64_t token = 0;
  while (random_bits(token) && token == 0) continue;
  return token;
}

sockaddr_un address_at(std::string_view path, socklen_t& length) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t bytes = std::min(path.size(), sizeof address.sun_path - 1);
  std::memcpy(address.sun_path, path.data(), bytes);
  length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + bytes + 1);
  return address;
}

// The kernel keeps the address as it was given, and it must be the same in every process: so it is relative.
int bind_in(int directory, int socket, const std::string& name) {
  const UniqueFd before(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (::fchdir(directory) != 0) return -errno;
  socklen_t length;
  const sockaddr_un address = address_at(name, length);
  const int error = ::bind(socket, reinterpret_cast<const sockaddr*>(&address), length) == 0 ? 0 : -errno;
  if (!before || ::fchdir(before.get()) != 0) (void)!::chdir("/");
  return error;
}

int make_node(int directory, const std::string& name, const kernel::Inode& inode) {
  if (::mknodat(directory, name.c_str(), inode.type() | 0600, inode.attr.rdev) != 0) return -errno;
  return ::fchmodat(directory, name.c_str(), abi::behind_mode, 0) == 0 ? 0 : -errno;
}

}  // namespace

bool SpecialFiles::is_special(const syscall::OpenFile& file) {
  const mode_t type = file.inode->type();
  return !file.is_path() && (S_ISFIFO(type) || S_ISCHR(type) || S_ISBLK(type));
}

SpecialFiles::SpecialFile SpecialFiles::make(syscall::OpenFile& file) const {
  const uint64_t token = random_token();
  return {.held = {.file = &file, .token = token},
          .name = fmt::format("{}{}:{}:{:016x}", abi::shadow_name_prefix, leader_pid_, connection_, token),
          .address = {}};
}

SpecialFiles::SpecialFile& SpecialFiles::keep(SpecialFile special) {
  const kernel::Inode* inode = special.held.file->inode.get();
  if (const auto old = files_.find(inode); old != files_.end()) drop(old);
  tokens_.emplace(special.held.token, inode);
  return files_.emplace(inode, std::move(special)).first->second;
}

std::expected<UniqueFd, int> SpecialFiles::path_descriptor(const SpecialFile& special) const {
  UniqueFd fd(::openat(directory_.get(), special.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return std::unexpected(-errno);
  return fd;
}

std::expected<UniqueFd, int> SpecialFiles::open(syscall::OpenFile& file) {
  const kernel::Inode& inode = *file.inode;
  if (const auto found = files_.find(&inode); found != files_.end() && !found->second.nameless) {
    mount_->release(file);
    return path_descriptor(found->second);
  }
  SpecialFile special = make(file);
  if (special.held.token == 0) {
    mount_->release(file);
    return std::unexpected(-EIO);
  }
  if (const int error = make_node(directory_.get(), special.name, inode); error < 0) {
    ::unlinkat(directory_.get(), special.name.c_str(), 0);
    mount_->release(file);
    return std::unexpected(error == -EPERM ? -EACCES : error);
  }
  return path_descriptor(keep(std::move(special)));
}

int SpecialFiles::bind(syscall::OpenFile& file, int socket, std::string_view address) {
  reap();
  SpecialFile special = make(file);
  if (special.held.token == 0) return -EIO;
  socklen_t length = sizeof special.socket_type;
  if (::getsockopt(socket, SOL_SOCKET, SO_TYPE, &special.socket_type, &length) != 0) return -errno;
  if (const int error = bind_in(directory_.get(), socket, special.name); error < 0) return error;
  ::fchmodat(directory_.get(), special.name.c_str(), abi::behind_mode, 0);
  special.address = address;
  keep(std::move(special));
  if (sockets_bound_) sockets_bound_->store(1);
  return 0;
}

std::expected<UniqueFd, int> SpecialFiles::reach(syscall::OpenFile& file) {
  const auto found = files_.find(file.inode.get());
  mount_->release(file);
  if (found == files_.end() || found->second.socket_type == 0) return std::unexpected(-ECONNREFUSED);
  return path_descriptor(found->second);
}

RegisteredFile* SpecialFiles::use(uint64_t token) {
  const auto found = tokens_.find(token);
  if (found == tokens_.end()) return nullptr;
  RegisteredFile& held = files_.at(found->second).held;
  ++held.uses;
  return &held;
}

std::string_view SpecialFiles::address_of(uint64_t token) const {
  if (const auto found = tokens_.find(token); found != tokens_.end()) return files_.at(found->second).address;
  const auto old = old_addresses_.find(token);
  return old == old_addresses_.end() ? std::string_view() : std::string_view(old->second);
}

// Connecting with a socket of another type has no effect: EPROTOTYPE when one is bound, ECONNREFUSED when none is.
bool SpecialFiles::is_bound(const SpecialFile& special) const {
  const int other_type = special.socket_type == SOCK_DGRAM ? SOCK_STREAM : SOCK_DGRAM;
  const UniqueFd probe(::socket(AF_UNIX, other_type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return true;
  socklen_t length;
  const std::string path = fmt::format("/proc/self/fd/{}/{}", directory_.get(), special.name);
  const sockaddr_un address = address_at(path, length);
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0 || errno != ECONNREFUSED;
}

// Whether a process that we may look at has it open.
bool SpecialFiles::is_open_somewhere(const SpecialFile& special) const {
  std::error_code error;
  using std::filesystem::directory_iterator;
  for (directory_iterator process("/proc", error), end; !error && process != end; process.increment(error)) {
    if (!std::isdigit(static_cast<unsigned char>(process->path().filename().native()[0]))) continue;
    std::error_code gone;
    for (directory_iterator fd(process->path() / "fd", gone); !gone && fd != end; fd.increment(gone)) {
      char target[512] = {};
      const ssize_t size = ::readlink(fd->path().c_str(), target, sizeof target - 1);
      if (size > 0 && std::string_view(target, static_cast<size_t>(size)).ends_with(special.name)) return true;
    }
  }
  return false;
}

void SpecialFiles::remember(SpecialFile& special) {
  if (special.address.empty()) return;
  old_addresses_.emplace(special.held.token, std::move(special.address));
  old_tokens_.push_back(special.held.token);
  if (old_tokens_.size() <= old_addresses_max) return;
  old_addresses_.erase(old_tokens_.front());
  old_tokens_.pop_front();
}

SpecialFiles::Files::iterator SpecialFiles::drop(Files::iterator at) {
  SpecialFile& special = at->second;
  ::unlinkat(directory_.get(), special.name.c_str(), 0);
  tokens_.erase(special.held.token);
  remember(special);
  syscall::OpenFile& file = *special.held.file;
  const auto next = files_.erase(at);
  mount_->release(file);
  return next;
}

// Of a file that is never moved nothing is told but its end.
void SpecialFiles::take_name(SpecialFile& special) {
  if (!inotify_) inotify_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  const std::string path = fmt::format("/proc/self/fd/{}/{}", directory_.get(), special.name);
  const int watch = ::inotify_add_watch(inotify_.get(), path.c_str(), IN_MOVE_SELF);
  if (watch < 0) return;
  watches_.emplace(watch, special.held.token);
  special.nameless = true;
  ::unlinkat(directory_.get(), special.name.c_str(), 0);
}

void SpecialFiles::take_ends() {
  alignas(inotify_event) char buffer[4096];
  for (ssize_t size; inotify_ && (size = ::read(inotify_.get(), buffer, sizeof buffer)) > 0;) {
    for (ssize_t at = 0; at < size;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof event);
      at += static_cast<ssize_t>(sizeof event + event.len);
      if ((event.mask & IN_IGNORED) == 0) continue;
      const auto watch = watches_.extract(event.wd);
      const auto special = watch ? tokens_.find(watch.mapped()) : tokens_.end();
      if (special != tokens_.end()) files_.at(special->second).ended = true;
    }
  }
}

bool SpecialFiles::is_over(const SpecialFile& special) const {
  if (special.held.uses > 0) return false;
  if (special.socket_type != 0) return !is_bound(special);
  return special.ended || (!special.nameless && special.held.file->inode->attr.nlink == 0);
}

void SpecialFiles::reap() {
  for (auto& [inode, special] : files_)
    if (inode->attr.nlink == 0 && special.socket_type == 0 && !special.nameless) take_name(special);
  take_ends();
  for (auto at = files_.begin(); at != files_.end();)
    at = at->first->attr.nlink == 0 && is_over(at->second) ? drop(at) : std::next(at);
}

bool SpecialFiles::in_use() {
  reap();
  for (auto at = files_.begin(); at != files_.end();) {
    const SpecialFile& special = at->second;
    if (special.nameless || (special.socket_type == 0 ? is_open_somewhere(special) : is_bound(special))) return true;
    at = special.held.uses == 0 ? drop(at) : std::next(at);
  }
  return false;
}

void SpecialFiles::release_all() {
  for (auto at = files_.begin(); at != files_.end();) at = drop(at);
}

}  // namespace fusewire::host
