#include "host/watches.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "host/inotify_users.h"

namespace fusewire::host {
namespace {

using kernel::Dentry;
using kernel::Inode;
using syscall::Change;
using syscall::OpenFile;
using syscall::Use;

constexpr uint64_t second = 1'000'000'000;
constexpr uint64_t look_every = 20 * second;
// Between the hand-over of a mirror and its watch.
constexpr uint64_t hand_over_time = 10 * second;
// Watching needs the right to read; nobody but the namespace's user makes events.
constexpr mode_t file_mode = 0644, directory_mode = 0755, name_mode = 0600, name_directory_mode = 0700;

uint64_t now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  return static_cast<uint64_t>(time.tv_sec) * second + static_cast<uint64_t>(time.tv_nsec);
}

// fsnotify_change: what the kernel makes of the times that are set.
struct Times {
  timespec pair[2];
  explicit Times(Change change) : pair{{0, UTIME_NOW}, {0, UTIME_NOW}} {
    if (change == Change::contents) pair[0].tv_nsec = UTIME_OMIT;
    if (change == Change::access) pair[1].tv_nsec = UTIME_OMIT;
  }
};

int open_flags(const OpenFile& file) {
  constexpr int common = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  if (file.inode->is_dir()) return common | O_RDONLY | O_DIRECTORY;
  if (!file.writable()) return common | (file.access() == O_ACCMODE ? O_RDWR : O_RDONLY);
  return common | (file.readable() ? O_RDWR : O_WRONLY);
}

void touch(int fd, Change change) {
  if (fd >= 0) ::futimens(fd, Times(change).pair);
}

}  // namespace

// ---- names in mirrored directories

namespace {

int make(int directory, const std::string& name, bool is_directory) {
  const int r = is_directory ? ::mkdirat(directory, name.c_str(), name_directory_mode)
                             : ::mknodat(directory, name.c_str(), S_IFREG | name_mode, 0);
  return r == 0 ? 0 : -errno;
}

int take_away(int directory, const std::string& name, bool is_directory) {
  return ::unlinkat(directory, name.c_str(), is_directory ? AT_REMOVEDIR : 0) == 0 ? 0 : -errno;
}

// A name that came without a call of ours, by the daemon alone, is made when it is first met.
template <typename Act>
int on_name(int directory, const std::string& name, bool is_directory, Act act) {
  if (act() >= 0) return 0;
  if (errno != ENOENT || make(directory, name, is_directory) != 0) return -errno;
  return act() >= 0 ? 0 : -errno;
}

// Of a directory that nobody watches any more, or whose names have gone by the daemon alone.
void clear(int directory) {
  const UniqueFd readable(::openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* names = readable ? ::fdopendir(::dup(readable.get())) : nullptr;
  if (!names) return;
  while (const dirent* entry = ::readdir(names)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") take_away(directory, name, entry->d_type == DT_DIR);
  }
  ::closedir(names);
}

}  // namespace

Watches::Filling::Filling(Watches& watches, const Inode& directory) : watches_(watches), directory_(directory) {
  watches_.fillings_.push_back(this);
}

Watches::Filling::~Filling() { watches_.fillings_.remove(this); }

void Watches::Filling::take(std::span<const std::byte> records) {
  constexpr size_t length_at = 16, type_at = 18, name_at = 19;
  while (records.size() > name_at) {
    uint16_t length = 0;
    std::memcpy(&length, records.data() + length_at, sizeof length);
    if (length <= name_at || length > records.size()) return;
    const auto* text = reinterpret_cast<const char*>(records.data() + name_at);
    const std::string name(text, ::strnlen(text, length - name_at));
    const bool is_directory = static_cast<unsigned char>(records[type_at]) == DT_DIR;
    if (name != "." && name != ".." && !gone_.contains(name)) names_.emplace(name, is_directory);
    records = records.subspan(length);
  }
}

void Watches::note_name(const Inode& directory, std::string_view name, bool is_directory) {
  for (Filling* filling : fillings_) {
    if (&filling->directory_ != &directory) continue;
    filling->names_.insert_or_assign(std::string(name), is_directory);
    filling->gone_.erase(std::string(name));
  }
}

void Watches::note_gone(const Inode& directory, std::string_view name) {
  for (Filling* filling : fillings_) {
    if (&filling->directory_ != &directory) continue;
    filling->names_.erase(std::string(name));
    filling->gone_.emplace(name);
  }
}

// ---- mirrors

Watches::Mirror* Watches::find(const Inode& inode) {
  const auto found = mirrors_.find(&inode);
  return found == mirrors_.end() ? nullptr : &found->second;
}

Watches::Mirror* Watches::mirror_of_parent(const Dentry& dentry) {
  return dentry.is_root() ? nullptr : find(*dentry.parent->inode);
}

int Watches::open_pool() {
  if (pool_) return 0;
  const std::string name = fmt::format("watched-{}-{}", connection_, ::getpid());
  if (::mkdirat(directory_.get(), name.c_str(), 0700) != 0 && errno != EEXIST) return -errno;
  pool_.reset(::openat(directory_.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  return pool_ ? 0 : -errno;
}

int Watches::add(Inode& inode, const Filling* names) {
  if (const int error = open_pool(); error < 0) return error;
  Mirror mirror{.inode = kernel::Ref<Inode>(inode), .name = new_name(), .names = {}};
  if (const int error = make(pool_.get(), mirror.name, inode.is_dir()); error < 0) return error;
  struct stat st {};
  const bool ready =
      ::fchmodat(pool_.get(), mirror.name.c_str(), inode.is_dir() ? directory_mode : file_mode, 0) == 0 &&
      ::fstatat(pool_.get(), mirror.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (ready && inode.is_dir())
    mirror.names.reset(::openat(pool_.get(), mirror.name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!ready || inode.is_dir() != mirror.is_directory()) {
    const int error = errno;
    take_away(pool_.get(), mirror.name, inode.is_dir());
    return -error;
  }
  mirror.number = st.st_ino;
  if (names)
    for (const auto& [name, is_directory] : names->names_) make(mirror.names.get(), name, is_directory);
  hold_open_files(mirrors_.emplace(&inode, std::move(mirror)).first->second);
  mount_->set_events(this);
  return 0;
}

std::expected<UniqueFd, int> Watches::reach(const Inode& inode) {
  Mirror& mirror = mirrors_.at(&inode);
  mirror.handed_at = now();
  UniqueFd fd(::openat(pool_.get(), mirror.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return std::unexpected(-errno);
  return fd;
}

// The inode is gone, or nobody watches it. An open file that holds the mirror puts off the kernel's word.
void Watches::end(Mirrors::iterator at) {
  Mirror& mirror = at->second;
  const bool is_directory = mirror.is_directory();
  mirror.names.reset();
  if (take_away(pool_.get(), mirror.name, is_directory) == -ENOTEMPTY) {
    const UniqueFd names(::openat(pool_.get(), mirror.name.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    clear(names.get());
  }
  if (is_directory) take_away(pool_.get(), mirror.name, true);
  mirrors_.erase(at);
}

// The names of directories that are still watched stay behind: taking them away would be told as their removal.
void Watches::release_all() {
  if (mirrors_.empty()) return;
  look_for_watchers(UINT64_MAX);
  for (const auto& [inode, mirror] : mirrors_) {
    const bool is_directory = mirror.is_directory();
    const_cast<Mirror&>(mirror).names.reset();
    take_away(pool_.get(), mirror.name, is_directory);
  }
  mirrors_.clear();
  held_.clear();
  mount_->set_events(nullptr);
}

// ---- open files

void Watches::hold(OpenFile& file) {
  Held held;
  const int flags = open_flags(file);
  if (Mirror* parent = file.dentry->hashed ? mirror_of_parent(*file.dentry) : nullptr) {
    const std::string name(file.dentry->name());
    on_name(parent->names.get(), name, file.inode->is_dir(), [&] {
      held.by_name.reset(::openat(parent->names.get(), name.c_str(), flags));
      return held.by_name.get();
    });
  }
  if (Mirror* mirror = find(*file.inode)) held.itself.reset(::openat(pool_.get(), mirror->name.c_str(), flags));
  if (held.by_name || held.itself) held_.insert_or_assign(&file, std::move(held));
}

// Files that were open before the watch tell of what is done with them too.
void Watches::hold_open_files(Mirror& mirror) {
  const Inode* inode = mirror.inode.get();
  files_.for_each([&](OpenFile& file) {
    if (file.is_path()) return;
    const Dentry& dentry = *file.dentry;
    const bool named_in_it = !dentry.is_root() && dentry.hashed && dentry.parent->inode == inode;
    if (file.inode.get() != inode && !named_in_it) return;
    Held& held = held_[&file];
    const int flags = open_flags(file);
    if (file.inode.get() == inode) held.itself.reset(::openat(pool_.get(), mirror.name.c_str(), flags));
    if (!named_in_it) return;
    const std::string name(dentry.name());
    on_name(mirror.names.get(), name, file.inode->is_dir(), [&] {
      held.by_name.reset(::openat(mirror.names.get(), name.c_str(), flags));
      return held.by_name.get();
    });
  });
}

// Of files that are open by a dentry which comes into a mirrored directory.
void Watches::hold_by_name(const Dentry& source, int directory, const std::string& name) {
  files_.for_each([&](OpenFile& file) {
    if (file.is_path() || file.dentry.get() != &source) return;
    held_[&file].by_name.reset(::openat(directory, name.c_str(), open_flags(file)));
  });
}

void Watches::used(OpenFile& file, Use use) {
  look_now_and_then();
  if (use == Use::opened) return hold(file);
  if (use == Use::closed) {
    if (auto held = held_.extract(&file)) {
      held.mapped().by_name.reset();
      held.mapped().itself.reset();
    }
    return;
  }
  const auto found = held_.find(&file);
  if (found == held_.end()) return;
  for (const int fd : {found->second.by_name.get(), found->second.itself.get()}) {
    // By the file, not by its name: so IN_EXCL_UNLINK is served.
    const bool writes = use == Use::modified && !file.dentry->hashed && file.writable() && fd >= 0;
    if (writes && ::pwrite(fd, "", 1, 0) == 1) continue;
    touch(fd, use == Use::modified ? Change::contents : Change::access);
  }
}

void Watches::changed(Dentry& dentry, Change change, OpenFile* file) {
  look_now_and_then();
  const Times times(change);
  const auto found = file ? held_.find(file) : held_.end();
  const int by_name = found == held_.end() ? -1 : found->second.by_name.get();
  const int itself = found == held_.end() ? -1 : found->second.itself.get();
  if (by_name >= 0) {
    ::futimens(by_name, times.pair);
  } else if (Mirror* parent = dentry.hashed ? mirror_of_parent(dentry) : nullptr) {
    const std::string name(dentry.name());
    on_name(parent->names.get(), name, dentry.inode && dentry.inode->is_dir(),
            [&] { return ::utimensat(parent->names.get(), name.c_str(), times.pair, AT_SYMLINK_NOFOLLOW); });
  }
  if (itself >= 0) {
    ::futimens(itself, times.pair);
  } else if (Mirror* mirror = dentry.inode ? find(*dentry.inode) : nullptr) {
    ::utimensat(pool_.get(), mirror->name.c_str(), times.pair, AT_SYMLINK_NOFOLLOW);
  }
}

// ---- names

void Watches::made(Inode& directory, std::string_view name, bool is_directory, Inode* linked) {
  look_now_and_then();
  note_name(directory, name, is_directory);
  if (Mirror* mirror = linked ? find(*linked) : nullptr)
    ::utimensat(pool_.get(), mirror->name.c_str(), Times(Change::attributes).pair, AT_SYMLINK_NOFOLLOW);
  Mirror* parent = find(directory);
  if (!parent) return;
  const std::string text(name);
  if (make(parent->names.get(), text, is_directory) != -EEXIST) return;
  // The one of that name went by the daemon alone.
  if (take_away(parent->names.get(), text, false) != 0) take_away(parent->names.get(), text, true);
  make(parent->names.get(), text, is_directory);
}

void Watches::removed(Inode& directory, std::string_view name, Inode& victim) {
  look_now_and_then();
  note_gone(directory, name);
  if (const auto mirror = mirrors_.find(&victim); mirror != mirrors_.end()) {
    if (victim.attr.nlink == 0)
      end(mirror);
    else
      ::utimensat(pool_.get(), mirror->second.name.c_str(), Times(Change::attributes).pair, AT_SYMLINK_NOFOLLOW);
  }
  Mirror* parent = find(directory);
  if (!parent) return;
  const std::string text(name);
  const bool is_directory = victim.is_dir();
  on_name(parent->names.get(), text, is_directory,
          [&] { return ::unlinkat(parent->names.get(), text.c_str(), is_directory ? AT_REMOVEDIR : 0); });
}

// A name that was there is told as one whose attributes have changed, another as a new one: who watches looks at it.
void Watches::doubted(Inode& directory, std::string_view name) {
  Mirror* parent = find(directory);
  if (!parent) return;
  const Times times(Change::attributes);
  const std::string text(name);
  if (::utimensat(parent->names.get(), text.c_str(), times.pair, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
    make(parent->names.get(), text, false);
}

void Watches::tell_moved_itself(const Inode& inode) {
  Mirror* mirror = find(inode);
  if (!mirror) return;
  std::string name = new_name();
  if (::renameat(pool_.get(), mirror->name.c_str(), pool_.get(), name.c_str()) == 0) mirror->name = std::move(name);
}

// What comes into a mirrored directory, or goes out of it, stays in the pool for the moment.
void Watches::move_names(const Move& move) {
  Mirror* from = find(move.from);
  Mirror* to = find(move.to);
  if (!from && !to) return;
  const bool is_directory = move.source.inode->is_dir();
  const bool target_is_directory = move.target && move.target->is_dir();
  const std::string passing = new_name();
  const int from_directory = from ? from->names.get() : pool_.get();
  const int to_directory = to ? to->names.get() : pool_.get();
  const std::string from_name = from ? std::string(move.from_name) : passing;
  const std::string to_name = to ? std::string(move.to_name) : passing;
  if (!from) {
    make(from_directory, from_name, is_directory);
    hold_by_name(move.source, from_directory, from_name);
  }
  if (!to && move.exchange) make(to_directory, to_name, target_is_directory);
  const unsigned flags = move.exchange ? RENAME_EXCHANGE : 0;
  const auto rename = [&] {
    return ::renameat2(from_directory, from_name.c_str(), to_directory, to_name.c_str(), flags);
  };
  on_name(from_directory, from_name, is_directory, rename);
  if (!to) take_away(to_directory, to_name, is_directory);
  if (!from && move.exchange) take_away(from_directory, from_name, target_is_directory);
}

// fsnotify_move; of a target that is gone the end comes last, with the last hold on its dentry.
void Watches::moved(const Move& move) {
  look_now_and_then();
  const bool is_directory = move.source.inode->is_dir();
  note_gone(move.from, move.from_name);
  note_name(move.to, move.to_name, is_directory);
  if (move.exchange) note_name(move.from, move.from_name, move.target->is_dir());
  move_names(move);
  UniqueFd last;
  const auto target = move.target && !move.exchange ? mirrors_.find(move.target) : mirrors_.end();
  if (target != mirrors_.end()) {
    const Mirror& mirror = target->second;
    const bool gone = move.target->attr.nlink == 0;
    if (!gone || mirror.is_directory())
      ::utimensat(pool_.get(), mirror.name.c_str(), Times(Change::attributes).pair, AT_SYMLINK_NOFOLLOW);
    if (gone) {
      last.reset(::openat(pool_.get(), mirror.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      end(target);
    }
  }
  tell_moved_itself(*move.source.inode);
  if (move.exchange) tell_moved_itself(*move.target);
}

// ---- who watches

void Watches::look_for_watchers(uint64_t not_handed_since) {
  looked_at_ = now();
  const auto watched = watched_inodes();
  if (!watched) return;
  std::vector<const Inode*> useless;
  for (const auto& [inode, mirror] : mirrors_)
    if (!watched->contains(mirror.number) && mirror.handed_at <= not_handed_since) useless.push_back(inode);
  for (const Inode* inode : useless) end(mirrors_.find(inode));
  if (mirrors_.empty() && held_.empty()) mount_->set_events(nullptr);
}

void Watches::look_now_and_then() {
  const uint64_t time = now();
  if (time - looked_at_ > look_every) look_for_watchers(time - hand_over_time);
}

}  // namespace fusewire::host
