#include "oracle/user.h"

#include <fmt/format.h>

#include <cstring>

namespace fusewire::oracle {

namespace {

std::string open_flags(int flags) {
  static constexpr std::pair<int, const char*> names[] = {
      {O_CREAT, "O_CREAT"},         {O_EXCL, "O_EXCL"},         {O_NOCTTY, "O_NOCTTY"},
      {O_TRUNC, "O_TRUNC"},         {O_APPEND, "O_APPEND"},     {O_NONBLOCK, "O_NONBLOCK"},
      {O_DIRECTORY, "O_DIRECTORY"}, {O_NOFOLLOW, "O_NOFOLLOW"}, {O_CLOEXEC, "O_CLOEXEC"},
      {O_NOATIME, "O_NOATIME"},     {O_PATH, "O_PATH"}};
  static constexpr const char* modes[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "3"};
  std::string text = modes[flags & O_ACCMODE];
  for (auto [flag, name] : names)
    if (flags & flag) text += std::string("|") + name;
  return text;
}

std::string time_text(Time time) {
  if (time.nsec == utime_now) return "now";
  if (time.nsec == utime_omit) return "omit";
  return fmt::format("{}.{:09}", time.sec, time.nsec);
}

// Long data as in strace.
std::string shortened(std::string_view data) {
  return data.size() > 32 ? quoted(data.substr(0, 32)) + "..." : quoted(data);
}

}  // namespace

template <typename F>
Outcome User::step(std::string text, F&& call) {
  log_.line(std::move(text));
  Outcome outcome = call();
  std::string said =
      outcome.error ? fmt::format("= -1 {}", strerrorname_np(outcome.error)) : fmt::format("= {}", outcome.value);
  if (!outcome.error && !outcome.data.empty()) said += " " + outcome.data;
  log_.line(std::move(said));
  system_.settle();
  return outcome;
}

void User::run(Steps steps) {
  log_.line("= 0");
  system_.settle();
  steps(*this);
}
void User::umount() {
  step("umount", [&] { return system_.umount(); });
}

int User::open(const char* path, int flags, int mode) {
  std::string text = fmt::format("open({}, {}", quoted(path), open_flags(flags));
  if (flags & O_CREAT) text += fmt::format(", {:#o}", mode);
  const Outcome outcome = step(text + ")", [&] { return system_.open(path, flags, mode); });
  return outcome.error ? -1 : static_cast<int>(outcome.value);
}
void User::close(int h) {
  step(fmt::format("close({})", h), [&] { return system_.close(h); });
}
int User::dup(int h) {
  return static_cast<int>(step(fmt::format("dup({})", h), [&] { return system_.dup(h); }).value);
}
void User::read(int h, size_t size, int64_t offset) {
  step(offset < 0 ? fmt::format("read({}, {})", h, size) : fmt::format("pread({}, {}, {})", h, size, offset), [&] {
    Outcome outcome = system_.read(h, size, offset);
    outcome.data = shortened(outcome.data);
    return outcome;
  });
}
void User::write(int h, std::string_view data, int64_t offset) {
  step(offset < 0 ? fmt::format("write({}, {} bytes {})", h, data.size(), shortened(data))
                  : fmt::format("pwrite({}, {} bytes {}, {})", h, data.size(), shortened(data), offset),
       [&] { return system_.write(h, data, offset); });
}
void User::lseek(int h, int64_t offset, int whence) {
  static constexpr const char* names[] = {"SEEK_SET", "SEEK_CUR", "SEEK_END", "SEEK_DATA", "SEEK_HOLE"};
  step(fmt::format("lseek({}, {}, {})", h, offset, whence < 5 ? names[whence] : "?"),
       [&] { return system_.lseek(h, offset, whence); });
}
void User::getdents(int h, size_t room) {
  step(fmt::format("getdents64({}, {})", h, room), [&] { return system_.getdents(h, room); });
}
void User::list(const char* path) {
  const int h = open(path, O_RDONLY | O_DIRECTORY);
  if (h < 0) return;
  getdents(h);
  getdents(h);
  close(h);
}
void User::stat(const char* path) {
  step(fmt::format("stat({})", quoted(path)), [&] { return system_.stat(path, true, 0x7ff); });
}
void User::lstat(const char* path) {
  step(fmt::format("lstat({})", quoted(path)), [&] { return system_.stat(path, false, 0x7ff); });
}
void User::statx_btime(const char* path) {
  step(fmt::format("statx({}, STATX_BASIC_STATS|STATX_BTIME)", quoted(path)),
       [&] { return system_.stat(path, true, 0xfff); });
}
void User::statx(const char* path, int at_flags, uint32_t mask) {
  step(fmt::format("statx({}, {:#x}, {:#x})", quoted(path), at_flags, mask),
       [&] { return system_.stat(path, true, mask, at_flags); });
}
void User::fstat(int h) {
  step(fmt::format("fstat({})", h), [&] { return system_.fstat(h); });
}
void User::access(const char* path, int mask) {
  step(fmt::format("access({}, {})", quoted(path), mask), [&] { return system_.access(path, mask); });
}
void User::readlink(const char* path, size_t room) {
  step(fmt::format("readlink({}, {})", quoted(path), room), [&] { return system_.readlink(path, room); });
}
void User::mkdir(const char* path, int mode) {
  step(fmt::format("mkdir({}, {:#o})", quoted(path), mode), [&] { return system_.mkdir(path, mode); });
}
void User::mknod(const char* path, int mode, int rdev) {
  step(fmt::format("mknod({}, {:#o}, {})", quoted(path), mode, rdev), [&] { return system_.mknod(path, mode, rdev); });
}
void User::symlink(const char* target, const char* path) {
  step(fmt::format("symlink({}, {})", quoted(target), quoted(path)), [&] { return system_.symlink(target, path); });
}
void User::unlink(const char* path) {
  step(fmt::format("unlink({})", quoted(path)), [&] { return system_.unlink(path); });
}
void User::rmdir(const char* path) {
  step(fmt::format("rmdir({})", quoted(path)), [&] { return system_.rmdir(path); });
}
void User::rename(const char* from, const char* to, uint32_t flags) {
  step(flags ? fmt::format("renameat2({}, {}, {:#x})", quoted(from), quoted(to), flags)
             : fmt::format("rename({}, {})", quoted(from), quoted(to)),
       [&] { return system_.rename(from, to, flags); });
}
void User::link(const char* from, const char* to) {
  step(fmt::format("link({}, {})", quoted(from), quoted(to)), [&] { return system_.link(from, to); });
}
void User::chmod(const char* path, int mode) {
  step(fmt::format("chmod({}, {:#o})", quoted(path), mode), [&] { return system_.chmod(path, mode); });
}
void User::fchmod(int h, int mode) {
  step(fmt::format("fchmod({}, {:#o})", h, mode), [&] { return system_.fchmod(h, mode); });
}
void User::chown(const char* path, uint32_t uid, uint32_t gid) {
  step(fmt::format("chown({}, {}, {})", quoted(path), static_cast<int>(uid), static_cast<int>(gid)),
       [&] { return system_.chown(path, uid, gid, true); });
}
void User::lchown(const char* path, uint32_t uid, uint32_t gid) {
  step(fmt::format("lchown({}, {}, {})", quoted(path), static_cast<int>(uid), static_cast<int>(gid)),
       [&] { return system_.chown(path, uid, gid, false); });
}
void User::truncate(const char* path, int64_t size) {
  step(fmt::format("truncate({}, {})", quoted(path), size), [&] { return system_.truncate(path, size); });
}
void User::ftruncate(int h, int64_t size) {
  step(fmt::format("ftruncate({}, {})", h, size), [&] { return system_.ftruncate(h, size); });
}
void User::utimens(const char* path, Time atime, Time mtime) {
  step(fmt::format("utimensat({}, {}, {})", quoted(path), time_text(atime), time_text(mtime)),
       [&] { return system_.utimens(path, atime, mtime); });
}
void User::futimens(int h, Time atime, Time mtime) {
  step(fmt::format("futimens({}, {}, {})", h, time_text(atime), time_text(mtime)),
       [&] { return system_.futimens(h, atime, mtime); });
}
void User::statfs(const char* path) {
  step(fmt::format("statfs({})", quoted(path)), [&] { return system_.statfs(path); });
}
void User::setxattr(const char* path, const char* name, std::string_view value, int flags) {
  step(fmt::format("setxattr({}, {}, {}, {})", quoted(path), quoted(name), quoted(value), flags),
       [&] { return system_.setxattr(path, name, value, flags); });
}
void User::getxattr(const char* path, const char* name, size_t room) {
  step(fmt::format("getxattr({}, {}, {})", quoted(path), quoted(name), room),
       [&] { return system_.getxattr(path, name, room); });
}
void User::listxattr(const char* path, size_t room) {
  step(fmt::format("listxattr({}, {})", quoted(path), room), [&] { return system_.listxattr(path, room); });
}
void User::removexattr(const char* path, const char* name) {
  step(fmt::format("removexattr({}, {})", quoted(path), quoted(name)), [&] { return system_.removexattr(path, name); });
}
void User::fsync(int h, bool datasync) {
  step(fmt::format("{}({})", datasync ? "fdatasync" : "fsync", h), [&] { return system_.fsync(h, datasync); });
}
void User::fallocate(int h, int mode, int64_t offset, int64_t length) {
  step(fmt::format("fallocate({}, {:#x}, {}, {})", h, mode, offset, length),
       [&] { return system_.fallocate(h, mode, offset, length); });
}
void User::setlk(int h, int type, int64_t start, int64_t length, bool wait) {
  step(fmt::format("fcntl({}, {}, type={} start={} len={})", h, wait ? "F_SETLKW" : "F_SETLK", type, start, length),
       [&] { return system_.setlk(h, type, start, length, wait); });
}
void User::getlk(int h, int type, int64_t start, int64_t length) {
  step(fmt::format("fcntl({}, F_GETLK, type={} start={} len={})", h, type, start, length),
       [&] { return system_.getlk(h, type, start, length); });
}
void User::flock(int h, int operation) {
  step(fmt::format("flock({}, {})", h, operation), [&] { return system_.flock(h, operation); });
}
void User::ioctl(int h, uint32_t number, std::string_view data) {
  step(fmt::format("ioctl({}, {:#x}, {})", h, number, quoted(data)), [&] { return system_.ioctl(h, number, data); });
}
void User::umask(int mask) {
  step(fmt::format("umask({:#o})", mask), [&] { return system_.umask(mask); });
}
void User::become(uint32_t uid, uint32_t gid) {
  step(fmt::format("become uid={} gid={}", uid, gid), [&] { return system_.become(uid, gid); });
}
void User::abort() {
  step("abort through fusectl", [&] { return system_.abort(); });
}

namespace {

template <typename T>
Bytes notification(const T& header, std::string_view name = {}, bool named = false) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&header);
  Bytes payload(bytes, bytes + sizeof header);
  const auto* text = reinterpret_cast<const std::byte*>(name.data());
  payload.insert(payload.end(), text, text + name.size());
  if (named) payload.push_back(std::byte{0});
  return payload;
}

}  // namespace

void User::inval_entry(uint64_t parent, std::string_view name, uint32_t flags) {
  step(fmt::format("notify INVAL_ENTRY {} {} flags={}", parent, quoted(name), flags), [&] {
    const wire::NotifyInvalEntryOut out{parent, static_cast<uint32_t>(name.size()), flags};
    return system_.notify(wire::NotifyCode::inval_entry, notification(out, name, true));
  });
}
void User::inval_inode(uint64_t nodeid, int64_t offset, int64_t length) {
  step(fmt::format("notify INVAL_INODE {} offset={} length={}", nodeid, offset, length), [&] {
    return system_.notify(wire::NotifyCode::inval_inode,
                          notification(wire::NotifyInvalInodeOut{nodeid, offset, length}));
  });
}
void User::delete_entry(uint64_t parent, uint64_t child, std::string_view name) {
  step(fmt::format("notify DELETE {} {} child={}", parent, quoted(name), child), [&] {
    const wire::NotifyDeleteOut out{parent, child, static_cast<uint32_t>(name.size()), 0};
    return system_.notify(wire::NotifyCode::delete_entry, notification(out, name, true));
  });
}
void User::store(uint64_t nodeid, uint64_t offset, std::string_view data) {
  step(fmt::format("notify STORE {} offset={} {}", nodeid, offset, quoted(data)), [&] {
    const wire::NotifyStoreOut out{nodeid, offset, static_cast<uint32_t>(data.size()), 0};
    return system_.notify(wire::NotifyCode::store, notification(out, data));
  });
}
void User::daemon(const char* what, DaemonAction action) {
  step(fmt::format("daemon: {}", what), [&] {
    system_.daemon(action);
    return Outcome{};
  });
}
void User::daemon_dies() {
  step("the daemon dies", [&] {
    system_.daemon_dies();
    return Outcome{};
  });
}

}  // namespace fusewire::oracle
