#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "calls.h"

namespace fusewire::differential {

namespace {

// A time that a call set is shown; the clock's is "now".
std::string time_text(const World& world, int64_t seconds, int64_t nanoseconds) {
  const bool is_now = seconds >= world.start_seconds - 10 && seconds < world.start_seconds + 86400;
  return is_now ? "now" : fmt::format("{}.{:09}", seconds, nanoseconds);
}

// A link of /proc/self/fd shows how the host has opened what stands behind the descriptor.
std::string type_and_mode(uint32_t mode) { return S_ISLNK(mode) ? "link" : mode_text(mode); }

// A host file system gives the number of a file to another when it is gone, which is a matter of when.
std::string inode_text(World& world, uint64_t inode) {
  return world.options.own_inodes ? world.inodes.of(inode) : "some";
}

std::string stat_text(World& world, const struct stat& st) {
  std::string text = fmt::format(
      " {{ino {} dev {} mode {} nlink {} uid {} gid {} size {} blocks {} blksize {} mtime {}",
      inode_text(world, st.st_ino), world.devices.of(st.st_dev), type_and_mode(st.st_mode), st.st_nlink, st.st_uid,
      st.st_gid, st.st_size, st.st_blocks, st.st_blksize, time_text(world, st.st_mtim.tv_sec, st.st_mtim.tv_nsec));
  if (world.shows_atime) text += " atime " + time_text(world, st.st_atim.tv_sec, st.st_atim.tv_nsec);
  if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) text += fmt::format(" rdev {:#x}", st.st_rdev);
  return text + "}";
}

void stat_path(Turn& turn) {
  const Path path(turn.path_text(), turn.wrong_pointer());
  const bool follow = turn.random.chance(50), wrong = turn.random.chance(1);
  struct stat st {};
  turn.call("{}({}{})", follow ? "stat" : "lstat", turn.shown(path), wrong ? ", nowhere" : "");
  void* const to = wrong ? reinterpret_cast<void*>(8) : &st;
  if (turn.result(syscall(follow ? SYS_stat : SYS_lstat, path.pointer, to)) == 0) turn.say(stat_text(turn.world, st));
}

void stat_file(Turn& turn) {
  const int fd = turn.file();
  struct stat st {};
  turn.call("fstat({})", fd);
  if (turn.result(syscall(SYS_fstat, fd, &st)) == 0) turn.say(stat_text(turn.world, st));
}

int any_at_flags(Turn& turn) {
  static const int usual[] = {0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW};
  return turn.random.chance(95) ? turn.random.pick(usual) : turn.random.pick({0x10, 0x8000, AT_NO_AUTOMOUNT, 0x200});
}

void statat_path(Turn& turn) {
  const int dir = turn.directory();
  const Path path(turn.random.chance(20) ? "" : turn.path_text(), turn.wrong_pointer());
  const int flags = any_at_flags(turn);
  struct stat st {};
  turn.call("newfstatat({}, {}, {:#x})", dir, turn.shown(path), flags);
  if (turn.result(syscall(SYS_newfstatat, dir, path.pointer, &st, flags)) == 0) turn.say(stat_text(turn.world, st));
}

void statx_path(Turn& turn) {
  const int dir = turn.directory();
  const Path path(turn.random.chance(20) ? "" : turn.path_text(), turn.wrong_pointer());
  const int flags = any_at_flags(turn) | turn.random.pick({0, 0, 0, AT_STATX_FORCE_SYNC, 0x6000});
  static const unsigned masks[] = {STATX_BASIC_STATS, STATX_ALL, STATX_SIZE, STATX_MODE | STATX_TYPE, 0, 0x80000000};
  const unsigned mask = turn.random.pick(masks);
  struct statx st {};
  turn.call("statx({}, {}, {:#x}, {:#x})", dir, turn.shown(path), flags, mask);
  if (turn.result(syscall(SYS_statx, dir, path.pointer, flags, mask, &st)) != 0) return;
  World& world = turn.world;
  // No mount has an id of the host kernel's here.
  turn.say(fmt::format(" {{mask {:#x} attributes {:#x} of {:#x} dev {}", st.stx_mask & ~uint32_t{STATX_MNT_ID},
                       st.stx_attributes, st.stx_attributes_mask,
                       world.devices.of(makedev(st.stx_dev_major, st.stx_dev_minor))));
  if (st.stx_mask & STATX_TYPE)
    turn.say(fmt::format(" mode {} nlink {} uid {} gid {} ino {} size {} blocks {} blksize {} mtime {}",
                         type_and_mode(st.stx_mode), st.stx_nlink, st.stx_uid, st.stx_gid,
                         inode_text(world, st.stx_ino), st.stx_size, st.stx_blocks, st.stx_blksize,
                         time_text(world, st.stx_mtime.tv_sec, st.stx_mtime.tv_nsec)));
  turn.say("}");
}

void access_path(Turn& turn) {
  const Path path(turn.path_text(), turn.wrong_pointer());
  const int mode = turn.random.chance(97) ? static_cast<int>(turn.random.below(8)) : turn.random.pick({8, -1});
  turn.call("access({}, {})", turn.shown(path), mode);
  turn.result(syscall(SYS_access, path.pointer, mode));
}

void accessat_path(Turn& turn) {
  const int dir = turn.directory();
  const Path path(turn.random.chance(10) ? "" : turn.path_text(), turn.wrong_pointer());
  const int mode = static_cast<int>(turn.random.below(8));
  const int flags = any_at_flags(turn);
  turn.call("faccessat2({}, {}, {}, {:#x})", dir, turn.shown(path), mode, flags);
  const bool of_link = path.text.starts_with("/proc/") && (flags & AT_SYMLINK_NOFOLLOW);
  if (of_link) return turn.say(" left out");
  turn.result(syscall(SYS_faccessat2, dir, path.pointer, mode, flags));
}

void chmod_path(Turn& turn) {
  const Path path(turn.path_text(), turn.wrong_pointer());
  const uint32_t mode = any_mode(turn.random) | (turn.random.chance(5) ? 0170000 : 0);
  turn.call("chmod({}, {:#o})", turn.shown(path), mode);
  turn.result(syscall(SYS_chmod, path.pointer, mode));
}

void chmod_file(Turn& turn) {
  const int fd = turn.file();
  const uint32_t mode = any_mode(turn.random);
  turn.call("fchmod({}, {:#o})", fd, mode);
  turn.result(syscall(SYS_fchmod, fd, mode));
}

void chmodat_path(Turn& turn) {
  constexpr long fchmodat2 = 452;
  const int dir = turn.directory();
  const Path path(turn.random.chance(20) ? "" : turn.path_text(), turn.wrong_pointer());
  const uint32_t mode = any_mode(turn.random);
  const int flags = any_at_flags(turn);
  turn.call("fchmodat2({}, {}, {:#o}, {:#x})", dir, turn.shown(path), mode, flags);
  turn.result(syscall(fchmodat2, dir, path.pointer, mode, flags));
}

int any_id(Turn& turn) {
  static const int ids[] = {-1, -1, 0, 0, 1000, 65534};
  return turn.random.pick(ids);
}

void chown_path(Turn& turn) {
  const int dir = turn.directory();
  const Path path(turn.random.chance(10) ? "" : turn.path_text(), turn.wrong_pointer());
  const int uid = any_id(turn), gid = any_id(turn), flags = any_at_flags(turn);
  turn.call("fchownat({}, {}, {}, {}, {:#x})", dir, turn.shown(path), uid, gid, flags);
  turn.result(syscall(SYS_fchownat, dir, path.pointer, uid, gid, flags));
}

void chown_file(Turn& turn) {
  const int fd = turn.file(), uid = any_id(turn), gid = any_id(turn);
  turn.call("fchown({}, {}, {})", fd, uid, gid);
  turn.result(syscall(SYS_fchown, fd, uid, gid));
}

timespec any_time(Turn& turn) {
  static const int64_t seconds[] = {0, 1, 1000000000, 981173106, 4000000000, -1, -1000000};
  static const int64_t nanoseconds[] = {0, 1, 123456789, 999999999, UTIME_NOW, UTIME_OMIT, UTIME_OMIT, 5000};
  timespec time;
  time.tv_sec = turn.random.pick(seconds);
  time.tv_nsec = turn.random.chance(95) ? turn.random.pick(nanoseconds) : turn.random.pick({1000000000l, -1l});
  return time;
}

void set_times(Turn& turn) {
  const int dir = turn.directory();
  const bool of_descriptor = turn.random.chance(30);
  const Path path(turn.random.chance(5) ? "" : turn.path_text(), turn.wrong_pointer());
  const timespec times[] = {any_time(turn), any_time(turn)};
  const bool now = turn.random.chance(10);
  const int flags = of_descriptor && turn.random.chance(95) ? 0 : any_at_flags(turn);
  turn.call(
      "utimensat({}, {}, {}, {:#x})", dir, of_descriptor ? "null" : turn.shown(path),
      now ? "now" : fmt::format("{}.{} {}.{}", times[0].tv_sec, times[0].tv_nsec, times[1].tv_sec, times[1].tv_nsec),
      flags);
  turn.result(syscall(SYS_utimensat, dir, of_descriptor ? nullptr : path.pointer, now ? nullptr : times, flags));
}

void set_times_as_before(Turn& turn) {
  const Path path(turn.path_text(), turn.wrong_pointer());
  const timespec a = any_time(turn), b = any_time(turn);
  const timeval times[] = {{a.tv_sec, turn.random.pick({0l, 5l, 999999l, 1000000l, -1l})}, {b.tv_sec, 77}};
  const utimbuf seconds{a.tv_sec, b.tv_sec};
  switch (turn.random.below(3)) {
    case 0:
      turn.call("utime({}, {} {})", turn.shown(path), seconds.actime, seconds.modtime);
      turn.result(syscall(SYS_utime, path.pointer, &seconds));
      break;
    case 1:
      turn.call("utimes({}, {}.{} {})", turn.shown(path), times[0].tv_sec, times[0].tv_usec, times[1].tv_sec);
      turn.result(syscall(SYS_utimes, path.pointer, times));
      break;
    default:
      turn.call("futimesat(cwd, {}, {}.{} {})", turn.shown(path), times[0].tv_sec, times[0].tv_usec, times[1].tv_sec);
      turn.result(syscall(SYS_futimesat, AT_FDCWD, path.pointer, times));
  }
}

void show_file_system(Turn& turn) {
  const bool of_descriptor = turn.random.chance(50);
  struct statfs st {};
  long r;
  if (of_descriptor) {
    const int fd = turn.file();
    turn.call("fstatfs({})", fd);
    r = turn.result(syscall(SYS_fstatfs, fd, &st));
  } else {
    const Path path(turn.path_text(), turn.wrong_pointer());
    turn.call("statfs({})", turn.shown(path));
    r = turn.result(syscall(SYS_statfs, path.pointer, &st));
  }
  if (r == 0) turn.say(fmt::format(" {{type {:#x} bsize {} namelen {}}}", st.f_type, st.f_bsize, st.f_namelen));
}

// --- extended attributes: by path, by the path of a link, by descriptor.

struct Target {
  Path path;
  int fd = -1;
  unsigned kind;  // 0 path, 1 link, 2 descriptor

  explicit Target(Turn& turn)
      : path(turn.path_text(), turn.wrong_pointer()),
        fd(turn.file()),
        kind(static_cast<unsigned>(turn.random.below(3))) {}
  std::string shown(Turn& turn) const { return kind == 2 ? std::to_string(fd) : turn.shown(path); }
  long first() const { return kind == 2 ? fd : reinterpret_cast<long>(path.pointer); }
  const char* prefix() const {
    static const char* const prefixes[] = {"", "l", "f"};
    return prefixes[kind];
  }
  template <typename... Args>
  long call(const long (&numbers)[3], Args... args) const {
    return syscall(numbers[kind], first(), args...);
  }
};

void set_xattr(Turn& turn) {
  static const size_t sizes[] = {0, 1, 5, 100, 5000, 65536, 65537};
  const Target target(turn);
  const Path name(any_xattr_name(turn.random), turn.wrong_pointer());
  const size_t size = turn.random.chance(80) ? turn.random.below(40) : turn.random.pick(sizes);
  const std::vector<char> value(size + 1, static_cast<char>('a' + turn.random.below(26)));
  const int flags = turn.random.chance(60) ? 0 : turn.random.pick({1, 2, 3, 4});
  turn.call("{}setxattr({}, {}, {}, {})", target.prefix(), target.shown(turn), turn.shown(name), size, flags);
  turn.result(target.call({SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr}, name.pointer, value.data(), size, flags));
}

void get_xattr(Turn& turn) {
  const Target target(turn);
  const Path name(any_xattr_name(turn.random), turn.wrong_pointer());
  std::vector<char> value(70000);
  const size_t room = turn.random.chance(60) ? value.size() : turn.random.below(30);
  turn.call("{}getxattr({}, {}, {})", target.prefix(), target.shown(turn), turn.shown(name), room);
  const long n =
      turn.result(target.call({SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr}, name.pointer, value.data(), room));
  if (n >= 0 && room > 0) turn.say(content_text(value.data(), static_cast<size_t>(n)));
}

void list_xattrs(Turn& turn) {
  const Target target(turn);
  std::vector<char> list(70000);
  const size_t room = turn.random.chance(60) ? list.size() : turn.random.below(30);
  turn.call("{}listxattr({}, {})", target.prefix(), target.shown(turn), room);
  const long n = turn.result(target.call({SYS_listxattr, SYS_llistxattr, SYS_flistxattr}, list.data(), room));
  if (n < 0 || room == 0) return;
  std::vector<std::string> names;
  for (long at = 0; at < n; at += static_cast<long>(names.back().size()) + 1) names.emplace_back(list.data() + at);
  std::sort(names.begin(), names.end());
  for (const auto& name : names) turn.say(" " + turn.shown_text(name));
}

void remove_xattr(Turn& turn) {
  const Target target(turn);
  const Path name(any_xattr_name(turn.random), turn.wrong_pointer());
  turn.call("{}removexattr({}, {})", target.prefix(), target.shown(turn), turn.shown(name));
  turn.result(target.call({SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr}, name.pointer));
}

const Choice choices[] = {{8, stat_path},           {8, stat_file},        {5, statat_path}, {3, statx_path},
                          {2, access_path},         {2, accessat_path},    {3, chmod_path},  {2, chmod_file},
                          {2, chmodat_path},        {2, chown_path},       {2, chown_file},  {4, set_times},
                          {1, set_times_as_before}, {1, show_file_system}, {3, set_xattr},   {3, get_xattr},
                          {2, list_xattrs},         {2, remove_xattr}};

}  // namespace

std::span<const Choice> attribute_calls() { return choices; }

}  // namespace fusewire::differential
