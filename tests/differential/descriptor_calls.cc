#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"

namespace fusewire::differential {

namespace {

void close_file(Turn& turn) {
  int& slot = turn.world.slots[turn.slot()];
  const int fd = turn.random.chance(3) ? 77 : slot;
  turn.call("close({})", fd);
  turn.result(syscall(SYS_close, fd));
  if (fd == slot) slot = -1;
}

void duplicate(Turn& turn) {
  const int fd = turn.file();
  turn.call("dup({})", fd);
  turn.keep(turn.slot(), turn.result(syscall(SYS_dup, fd)));
}

// Onto another descriptor of ours, whose file is closed by it.
void duplicate_onto(Turn& turn) {
  const int fd = turn.file();
  const size_t slot = turn.slot();
  const int to = turn.world.slots[slot];
  if (to < 0) return turn.call("dup2 left out");
  const int flags = turn.random.pick({0, 0, O_CLOEXEC, O_APPEND});
  if (flags == 0) {
    turn.call("dup2({}, {})", fd, to);
    turn.result(syscall(SYS_dup2, fd, to));
  } else {
    turn.call("dup3({}, {}, {:#o})", fd, to, flags);
    turn.result(syscall(SYS_dup3, fd, to, flags));
  }
}

void control_duplicate(Turn& turn) {
  const int fd = turn.file();
  const int command = turn.random.pick({F_DUPFD, F_DUPFD_CLOEXEC});
  const int lowest = turn.random.chance(95) ? turn.random.pick({0, 20}) : -1;
  turn.call("fcntl({}, {}, {})", fd, command == F_DUPFD ? "F_DUPFD" : "F_DUPFD_CLOEXEC", lowest);
  turn.keep(turn.slot(), turn.result(syscall(SYS_fcntl, fd, command, lowest)));
}

void show_flags(Turn& turn) {
  const int fd = turn.file();
  const bool status = turn.random.chance(80);
  turn.call("fcntl({}, {})", fd, status ? "F_GETFL" : "F_GETFD");
  const long flags = syscall(SYS_fcntl, fd, status ? F_GETFL : F_GETFD);
  if (flags < 0) {
    turn.result(flags);
  } else {
    turn.say(fmt::format(" = {:#o}", flags));
  }
}

void set_flags(Turn& turn) {
  const int fd = turn.file();
  static const int flags[] = {0,      O_APPEND, O_NONBLOCK, O_NOATIME, O_DIRECT, O_APPEND | O_NONBLOCK,
                              O_RDWR, O_SYNC,   O_ASYNC};
  const int to = turn.random.pick(flags);
  turn.call("fcntl({}, F_SETFL, {:#o})", fd, to);
  turn.result(syscall(SYS_fcntl, fd, F_SETFL, to));
}

void set_close_on_exec(Turn& turn) {
  const int fd = turn.file();
  const int to = turn.random.pick({0, 1});
  turn.call("fcntl({}, F_SETFD, {})", fd, to);
  turn.result(syscall(SYS_fcntl, fd, F_SETFD, to));
}

void control_otherwise(Turn& turn) {
  struct Command {
    int number;
    long argument;
  };
  static const Command commands[] = {{F_GETOWN, 0},        {F_GETSIG, 0},    {F_GETLEASE, 0},
                                     {F_GET_SEALS, 0},     {F_ADD_SEALS, 1}, {F_GETPIPE_SZ, 0},
                                     {F_SETPIPE_SZ, 4096}, {9999, 0},        {F_SETLEASE, F_UNLCK}};
  const int fd = turn.file();
  const Command command = turn.random.pick(commands);
  turn.call("fcntl({}, {}, {})", fd, command.number, command.argument);
  turn.result(syscall(SYS_fcntl, fd, command.number, command.argument));
}

struct flock any_lock(Turn& turn) {
  struct flock lock {};
  lock.l_type = static_cast<short>(turn.random.chance(97) ? turn.random.pick({F_RDLCK, F_WRLCK, F_UNLCK}) : 7);
  lock.l_whence = static_cast<short>(turn.random.chance(97) ? turn.random.pick({SEEK_SET, SEEK_CUR, SEEK_END}) : 9);
  lock.l_start = turn.random.chance(95) ? turn.random.pick({0l, 0l, 5l, 10l, 100l}) : any_offset(turn.random);
  lock.l_len = turn.random.chance(95) ? turn.random.pick({0l, 1l, 5l, 10l, -5l}) : any_offset(turn.random);
  return lock;
}

std::string lock_text(const struct flock& lock) {
  return fmt::format("type {} whence {} start {} length {}", lock.l_type, lock.l_whence, lock.l_start, lock.l_len);
}

void posix_lock(Turn& turn) {
  const int fd = turn.file();
  struct flock lock = any_lock(turn);
  const bool get = turn.random.chance(40);
  turn.call("fcntl({}, {}, {})", fd, get ? "F_GETLK" : "F_SETLK", lock_text(lock));
  if (turn.result(syscall(SYS_fcntl, fd, get ? F_GETLK : F_SETLK, &lock)) == 0 && get)
    turn.say(fmt::format(" {{{}}}", lock_text(lock)));
}

void whole_file_lock(Turn& turn) {
  const int fd = turn.file();
  const int operation = (turn.random.chance(96) ? turn.random.pick({LOCK_SH, LOCK_EX, LOCK_UN}) : 3) | LOCK_NB;
  turn.call("flock({}, {})", fd, operation);
  turn.result(syscall(SYS_flock, fd, operation));
}

void control_device(Turn& turn) {
  struct Command {
    const char* name;
    unsigned long number;
  };
  static const Command commands[] = {{"FIONREAD", FIONREAD},
                                     {"FIOCLEX", FIOCLEX},
                                     {"FIONCLEX", FIONCLEX},
                                     {"FIONBIO", FIONBIO},
                                     {"FIOASYNC", FIOASYNC},
                                     {"TCGETS", 0x5401},
                                     {"FIGETBSZ", FIGETBSZ},
                                     {"FIBMAP", FIBMAP},
                                     {"FIOQSIZE", 0x5460},
                                     {"unknown", 0x1234},
                                     {"FS_IOC_GETFLAGS", FS_IOC_GETFLAGS}};
  const int fd = turn.file();
  const Command command = turn.random.pick(commands);
  alignas(8) unsigned char data[256] = {};
  turn.call("ioctl({}, {})", fd, command.name);
  // That no file is a terminal is said without its daemon here.
  if (is_lost(fd)) return turn.say(" left out");
  const long r = turn.result(syscall(SYS_ioctl, fd, command.number, data));
  // FIOQSIZE shows what is cached of the blocks, and FIBMAP where a host file system has put one.
  if (r >= 0 && command.number != 0x5460 && command.number != FIBMAP) turn.say(" " + content_text(data, 8));
}

void poll_file(Turn& turn) {
  const int fd = turn.file();
  // The daemon is not asked here. A descriptor of O_PATH can be polled as if it were open.
  if (is_lost(fd)) return turn.call("poll left out");
  if (const int flags = fcntl(fd, F_GETFL); flags >= 0 && (flags & O_PATH)) return turn.call("poll left out");
  pollfd wanted{fd, static_cast<short>(turn.random.pick({POLLIN, POLLOUT, POLLIN | POLLOUT, POLLPRI})), 0};
  turn.call("poll({}, {:#x})", fd, wanted.events);
  turn.result(syscall(SYS_poll, &wanted, 1, 0));
  turn.say(fmt::format(" {:#x}", wanted.revents));
}

std::string child_text(World& world, int fd, pid_t parent, const struct flock& lock, int flock_operation) {
  Turn turn(world, 0);
  struct flock seen = lock;
  turn.say(fmt::format("F_GETLK({}, {})", fd, lock_text(lock)));
  if (turn.result(syscall(SYS_fcntl, fd, F_GETLK, &seen)) == 0)
    turn.say(fmt::format(" {{{}{}}}", lock_text(seen), seen.l_pid == parent ? " parent's" : ""));
  struct flock wanted = lock;
  turn.say("; F_SETLK");
  turn.result(syscall(SYS_fcntl, fd, F_SETLK, &wanted));
  turn.say("; flock");
  turn.result(syscall(SYS_flock, fd, flock_operation));
  turn.say("; position");
  turn.result(syscall(SYS_lseek, fd, 0, SEEK_CUR));
  if (world.shows_atime) return turn.line();
  turn.say("; read");
  char bytes[20] = {};
  turn.result(syscall(SYS_read, fd, bytes, sizeof bytes));
  return turn.line();
}

// What a child sees and does: the open files are shared, POSIX locks are not.
void child(Turn& turn) {
  const int fd = turn.file();
  const struct flock lock = any_lock(turn);
  const int flock_operation = turn.random.pick({LOCK_SH, LOCK_EX, LOCK_UN}) | LOCK_NB;
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) return;
  const pid_t parent = getpid();
  turn.call("fork {{");
  const pid_t pid = fork();
  if (pid == 0) {
    const std::string text = child_text(turn.world, fd, parent, lock, flock_operation);
    _exit(write(pipe_ends[1], text.data(), text.size()) < 0);
  }
  close(pipe_ends[1]);
  char text[4096];
  for (long n; (n = read(pipe_ends[0], text, sizeof text)) > 0;) turn.say({text, static_cast<size_t>(n)});
  close(pipe_ends[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  turn.say(fmt::format("}} = {:#x}", status));
}

const Choice choices[] = {{6, close_file}, {3, duplicate},       {2, duplicate_onto},    {1, control_duplicate},
                          {3, show_flags}, {2, set_flags},       {1, set_close_on_exec}, {1, control_otherwise},
                          {3, posix_lock}, {3, whole_file_lock}, {2, control_device},    {1, poll_file},
                          {1, child}};

}  // namespace

std::span<const Choice> descriptor_calls() { return choices; }

}  // namespace fusewire::differential
