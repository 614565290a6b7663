#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "calls.h"

namespace fusewire::differential {

namespace {

void make_directory(Turn& turn) {
  const int dir = turn.directory();
  const Path path(turn.path_text(), turn.wrong_pointer());
  const uint32_t mode = any_mode(turn.random);
  if (dir == AT_FDCWD) {
    turn.call("mkdir({}, {:#o})", turn.shown(path), mode);
    turn.result(syscall(SYS_mkdir, path.pointer, mode));
  } else {
    turn.call("mkdirat({}, {}, {:#o})", dir, turn.shown(path), mode);
    turn.result(syscall(SYS_mkdirat, dir, path.pointer, mode));
  }
}

void make_usual_directory(Turn& turn) {
  static const char* const names[] = {"d", "e", "d/d", "d/e", "e/d", "d/d/d", "../d"};
  const char* name = turn.random.pick(names);
  turn.call("mkdir({}, 0755)", name);
  turn.result(syscall(SYS_mkdir, name, 0755));
}

void make_node(Turn& turn) {
  static const uint32_t plain[] = {0, S_IFREG, S_IFREG, S_IFDIR, 0050000};
  static const uint32_t special[] = {S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
  const int dir = turn.directory();
  const Path path(turn.path_text(), turn.wrong_pointer());
  const uint32_t type = turn.world.has_special ? turn.random.pick(special) : turn.random.pick(plain);
  const uint32_t mode = type | any_mode(turn.random);
  turn.call("mknodat({}, {}, {:#o})", dir, turn.shown(path), mode);
  turn.result(syscall(SYS_mknodat, dir, path.pointer, mode, makedev(1, 3)));
}

void remove_directory(Turn& turn) {
  const Path path(turn.path_text(), turn.wrong_pointer());
  turn.call("rmdir({})", turn.shown(path));
  turn.result(syscall(SYS_rmdir, path.pointer));
}

void unlink_name(Turn& turn) {
  const Path path(turn.path_text(), turn.wrong_pointer());
  turn.call("unlink({})", turn.shown(path));
  turn.result(syscall(SYS_unlink, path.pointer));
}

void unlinkat_name(Turn& turn) {
  const int dir = turn.directory();
  const Path path(turn.path_text(), turn.wrong_pointer());
  const int flags = turn.random.chance(95) ? turn.random.pick({0, AT_REMOVEDIR}) : 0x1000;
  turn.call("unlinkat({}, {}, {:#x})", dir, turn.shown(path), flags);
  turn.result(syscall(SYS_unlinkat, dir, path.pointer, flags));
}

void rename_name(Turn& turn) {
  const Path from(turn.path_text(), turn.wrong_pointer()), to(turn.path_text(), turn.wrong_pointer());
  turn.call("rename({}, {})", turn.shown(from), turn.shown(to));
  turn.result(syscall(SYS_rename, from.pointer, to.pointer));
}

void renameat2_name(Turn& turn) {
  const int from_dir = turn.directory(), to_dir = turn.directory();
  const Path from(turn.path_text(), turn.wrong_pointer()), to(turn.path_text(), turn.wrong_pointer());
  static const unsigned usual[] = {0, 0, 1, 2, 2};
  const unsigned flags = turn.random.chance(92) ? turn.random.pick(usual) : turn.random.pick({3u, 4u, 5u, 6u, 8u});
  turn.call("renameat2({}, {}, {}, {}, {})", from_dir, turn.shown(from), to_dir, turn.shown(to), flags);
  turn.result(syscall(SYS_renameat2, from_dir, from.pointer, to_dir, to.pointer, flags));
}

void link_name(Turn& turn) {
  const Path from(turn.path_text(), turn.wrong_pointer()), to(turn.path_text(), turn.wrong_pointer());
  turn.call("link({}, {})", turn.shown(from), turn.shown(to));
  turn.result(syscall(SYS_link, from.pointer, to.pointer));
}

void linkat_name(Turn& turn) {
  const int from_dir = turn.directory(), to_dir = turn.directory();
  const bool of_descriptor = turn.random.chance(25);
  const Path from(of_descriptor ? "" : turn.path_text(), turn.wrong_pointer());
  const Path to(turn.path_text(), turn.wrong_pointer());
  const int flags = of_descriptor            ? AT_EMPTY_PATH
                    : turn.random.chance(95) ? turn.random.pick({0, AT_SYMLINK_FOLLOW})
                                             : 0x100;
  turn.call("linkat({}, {}, {}, {}, {:#x})", from_dir, turn.shown(from), to_dir, turn.shown(to), flags);
  turn.result(syscall(SYS_linkat, from_dir, from.pointer, to_dir, to.pointer, flags));
}

void make_symlink(Turn& turn) {
  const int dir = turn.directory();
  const Path target(any_target(turn.random, turn.world.place), turn.wrong_pointer());
  const Path path(turn.random.chance(60) ? turn.random.pick({"l", "m"}) : turn.path_text(), turn.wrong_pointer());
  turn.call("symlinkat({}, {}, {})", turn.shown(target), dir, turn.shown(path));
  turn.result(syscall(SYS_symlinkat, target.pointer, dir, path.pointer));
}

void read_symlink(Turn& turn) {
  const int dir = turn.random.chance(50) ? AT_FDCWD : turn.directory();
  const Path path(turn.random.chance(50) ? turn.random.pick({"l", "m", "d/l"}) : turn.path_text(),
                  turn.wrong_pointer());
  // A machine's own path has its own length: it is given room, or nearly none.
  char text[5000];
  const int room = turn.random.chance(90) ? static_cast<int>(sizeof text) : turn.random.pick({0, -1, 1});
  turn.call("readlinkat({}, {}, {})", dir, turn.shown(path), room);
  const long n = syscall(SYS_readlinkat, dir, path.pointer, text, room);
  if (n < 0) {
    turn.result(n);
  } else {
    turn.say(" = " + turn.shown_text({text, static_cast<size_t>(n)}));
  }
}

struct Record {
  uint64_t inode;
  int64_t offset;
  std::string name;
  unsigned type;
};

// Records whose order and offsets are a host file system's are shown in a row of their own.
std::string records_text(Turn& turn, std::vector<Record> records) {
  if (!turn.world.options.own_inodes)
    std::sort(records.begin(), records.end(), [](const Record& a, const Record& b) { return a.name < b.name; });
  std::string text = " {";
  for (const auto& record : records) {
    text += fmt::format(" {}:{}", turn.shown_text(record.name), record.type);
    if (turn.world.options.own_inodes) text += fmt::format(":{}:{}", record.offset, turn.world.inodes.of(record.inode));
  }
  return text + " }";
}

void list_directory(Turn& turn) {
  const int fd = turn.file();
  static const unsigned sizes[] = {0, 10, 24, 32, 48, 100, 300, 4096, 32768};
  const bool exact = turn.world.options.own_inodes;
  const unsigned room = exact && turn.random.chance(30) ? turn.random.pick(sizes) : 32768;
  std::vector<char> bytes(32768 + 1);
  const bool wrong = turn.random.chance(2);
  char* const to = wrong ? reinterpret_cast<char*>(8) : bytes.data();
  const bool old = turn.random.chance(20);
  turn.call("{}({}, {}{})", old ? "getdents" : "getdents64", fd, room, wrong ? " nowhere" : "");
  const long n = turn.result(syscall(old ? SYS_getdents : SYS_getdents64, fd, to, room));
  std::vector<Record> records;
  for (long at = 0; at < n;) {
    const char* record = bytes.data() + at;
    uint16_t size;
    Record out;
    std::memcpy(&out.inode, record, 8);
    std::memcpy(&out.offset, record + 8, 8);
    std::memcpy(&size, record + 16, 2);
    if (size == 0) break;
    out.name = record + (old ? 18 : 19);
    out.type = static_cast<unsigned char>(old ? record[size - 1] : record[18]);
    records.push_back(std::move(out));
    at += size;
  }
  turn.say(records_text(turn, std::move(records)));
}

// From the beginning to the end, in one turn.
void list_whole_directory(Turn& turn) {
  const int fd = turn.file();
  turn.call("rewind({})", fd);
  if (turn.result(syscall(SYS_lseek, fd, 0, SEEK_SET)) != 0) return;
  std::vector<Record> records;
  alignas(8) char bytes[1024];
  long n;
  while ((n = syscall(SYS_getdents64, fd, bytes, sizeof bytes)) > 0) {
    for (long at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const dirent64*>(bytes + at);
      records.push_back({entry->d_ino, entry->d_off, entry->d_name, entry->d_type});
      at += entry->d_reclen;
    }
  }
  turn.result(n);
  turn.say(records_text(turn, std::move(records)));
}

void change_directory(Turn& turn) {
  const Path path(turn.path_text(), turn.wrong_pointer());
  turn.call("chdir({})", turn.shown(path));
  turn.result(syscall(SYS_chdir, path.pointer));
}

void change_to_file(Turn& turn) {
  const int fd = turn.file();
  turn.call("fchdir({})", fd);
  turn.result(syscall(SYS_fchdir, fd));
}

void change_back(Turn& turn) {
  const Path work(turn.world.place + "/mnt/w", nullptr);
  turn.call("chdir({})", turn.shown(work));
  turn.result(syscall(SYS_chdir, work.pointer));
}

void show_directory(Turn& turn) {
  char text[5000];
  const unsigned long room = turn.random.chance(90) ? sizeof text : turn.random.pick({0ul, 1ul, 2ul});
  turn.call("getcwd({})", room);
  const long n = syscall(SYS_getcwd, text, room);
  if (n < 0) {
    turn.result(n);
  } else {
    turn.say(" = " + turn.shown_text(text));
  }
}

void change_umask(Turn& turn) {
  const unsigned mask = turn.random.pick({022u, 0u, 077u, 027u, 0777u, 07022u});
  turn.call("umask({:#o})", mask);
  turn.result(syscall(SYS_umask, mask));
}

const Choice choices[] = {{3, make_directory}, {4, make_usual_directory}, {2, make_node},        {3, remove_directory},
                          {4, unlink_name},    {3, unlinkat_name},        {5, rename_name},      {5, renameat2_name},
                          {3, link_name},      {4, linkat_name},          {5, make_symlink},     {3, read_symlink},
                          {4, list_directory}, {4, list_whole_directory}, {3, change_directory}, {1, change_to_file},
                          {2, change_back},    {2, show_directory},       {1, change_umask}};

}  // namespace

std::span<const Choice> name_calls() { return choices; }

}  // namespace fusewire::differential
