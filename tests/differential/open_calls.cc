#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "calls.h"

namespace fusewire::differential {

namespace {

// Opening a fifo is not served (docs/compatibility.md).
bool is_fifo(Turn& turn, int dirfd, const Path& path) {
  if (!turn.world.has_special || path.pointer != path.text.c_str()) return false;
  struct stat st;
  return fstatat(dirfd, path.pointer, &st, 0) == 0 && S_ISFIFO(st.st_mode);
}

void open_file(Turn& turn) {
  const Path path(turn.path_text(), turn.wrong_pointer());
  const uint32_t flags = any_open_flags(turn.random), mode = any_mode(turn.random);
  turn.call("open({}, {:#o}, {:#o})", turn.shown(path), flags, mode);
  if (is_fifo(turn, AT_FDCWD, path)) return turn.say(" left out");
  turn.keep(turn.slot(), turn.result(syscall(SYS_open, path.pointer, flags, mode)));
}

void openat_file(Turn& turn) {
  const int dir = turn.directory();
  const Path path(turn.path_text(), turn.wrong_pointer());
  const uint32_t flags = any_open_flags(turn.random), mode = any_mode(turn.random);
  turn.call("openat({}, {}, {:#o}, {:#o})", dir, turn.shown(path), flags, mode);
  if (is_fifo(turn, dir, path)) return turn.say(" left out");
  turn.keep(turn.slot(), turn.result(syscall(SYS_openat, dir, path.pointer, flags, mode)));
}

// RESOLVE_ flags are refused (docs/compatibility.md).
void openat2_file(Turn& turn) {
  const int dir = turn.directory();
  const Path path(turn.path_text(), turn.wrong_pointer());
  struct open_how how {};
  how.flags = any_open_flags(turn.random);
  how.mode = turn.random.chance(30) ? any_mode(turn.random) : (how.flags & O_CREAT) ? 0644 : 0;
  if (turn.random.chance(4)) how.flags |= 1ULL << 40;
  if (turn.random.chance(4)) how.mode |= 0200000;
  const size_t size = turn.random.chance(95) ? sizeof how : turn.random.pick({size_t{0}, size_t{23}, size_t{5000}});
  turn.call("openat2({}, {}, {:#o}, {:#o}, {})", dir, turn.shown(path), uint64_t{how.flags}, uint64_t{how.mode}, size);
  if (is_fifo(turn, dir, path)) return turn.say(" left out");
  turn.keep(turn.slot(), turn.result(syscall(SYS_openat2, dir, path.pointer, &how, size)));
}

void creat_file(Turn& turn) {
  const Path path(turn.path_text(), turn.wrong_pointer());
  const uint32_t mode = any_mode(turn.random);
  turn.call("creat({}, {:#o})", turn.shown(path), mode);
  if (is_fifo(turn, AT_FDCWD, path)) return turn.say(" left out");
  turn.keep(turn.slot(), turn.result(syscall(SYS_creat, path.pointer, mode)));
}

// The way most files come to be, so that there are some.
void open_plainly(Turn& turn) {
  static const char* const names[] = {"a", "b", "c", "d/a", "d/b", "e/a", "../a"};
  const char* name = turn.random.pick(names);
  turn.call("open({}, O_RDWR | O_CREAT, 0644)", name);
  if (is_fifo(turn, AT_FDCWD, Path(name, nullptr))) return turn.say(" left out");
  turn.keep(turn.slot(), turn.result(syscall(SYS_open, name, O_RDWR | O_CREAT, 0644)));
}

void open_directory(Turn& turn) {
  static const char* const names[] = {".", "d", "e", "..", "d/d", "d/e", "e/d", "../.."};
  const char* name = turn.random.pick(names);
  turn.call("open({}, O_DIRECTORY)", name);
  turn.keep(turn.slot(), turn.result(syscall(SYS_open, name, O_RDONLY | O_DIRECTORY)));
}

const Choice choices[] = {{5, open_file},  {6, openat_file},  {2, openat2_file},
                          {1, creat_file}, {5, open_plainly}, {4, open_directory}};

}  // namespace

std::span<const Choice> open_calls() { return choices; }

}  // namespace fusewire::differential
