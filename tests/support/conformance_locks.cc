// Rules of locks with two actors: whose a lock is, who inherits it, and what ends it.
#include <sys/file.h>
#include <sys/wait.h>

#include <csignal>
#include <memory>

#include "support/actor.h"
#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

struct flock lock_of(short type, off_t start, off_t length) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start, lock.l_len = length;
  return lock;
}

int set(int fd, short type, off_t start = 0, off_t length = 0, int command = F_SETLK) {
  struct flock lock = lock_of(type, start, length);
  return fcntl(fd, command, &lock);
}

// An actor with an open file of its own: 'w' and 'r' lock it whole, 'u' unlocks, 'W' waits for the lock, 'g' who has it
// (its pid, 0: nobody), 'c' closes.
std::unique_ptr<Actor> locker(const Place& p, std::string_view name) {
  const std::string path = p.path(name);
  auto fd = std::make_shared<int>(-1);
  return std::make_unique<Actor>([path, fd](char word) -> long {
    if (*fd < 0) *fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    struct flock lock = lock_of(F_WRLCK, 0, 0);
    switch (word) {
      case 'w':
        return set(*fd, F_WRLCK);
      case 'r':
        return set(*fd, F_RDLCK);
      case 'u':
        return set(*fd, F_UNLCK);
      case 'W':
        return set(*fd, F_WRLCK, 0, 0, F_SETLKW);
      case 'g':
        if (fcntl(*fd, F_GETLK, &lock) < 0) return -1;
        return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
      case 'c':
        ::close(*fd);
        *fd = -1;
        return 0;
      default:
        return -1;
    }
  });
}

void posix_locks_keep_other_processes_out(const Place& p) {
  p.write_file("f", "0123456789");
  const Fd fd(p.open("f", O_RDWR));
  const auto other = locker(p, "f");
  must(set(fd, F_RDLCK), "a shared lock");
  expect_equal<long>(other->ask('r'), 0, "a second shared lock");
  expect_equal<long>(other->ask('w'), -EAGAIN, "an exclusive one beside it");
  must_fail(set(fd, F_WRLCK), EAGAIN, "making it exclusive");
  expect_equal<long>(other->ask('u'), 0, "unlocking");
  must(set(fd, F_WRLCK), "exclusive when alone");
  expect_equal<long>(other->ask('r'), -EAGAIN, "shared beside exclusive");
  expect_equal<long>(other->ask('g'), getpid(), "the holder's process");
}

void a_posix_lock_is_split_by_an_unlock_in_its_middle(const Place& p) {
  p.write_file("f", "x");
  const Fd fd(p.open("f", O_RDWR));
  must(set(fd, F_WRLCK, 0, 100), "lock");
  must(set(fd, F_UNLCK, 40, 20), "unlock of the middle");
  const std::string path = p.path("f");
  const Actor other([&](char word) -> long {
    const Fd own(::open(path.c_str(), O_RDWR));
    struct flock lock = lock_of(F_WRLCK, word == 'l' ? 0 : word == 'm' ? 40 : 50, word == 'm' ? 20 : 0);
    if (fcntl(own, F_GETLK, &lock) < 0) return -1;
    return lock.l_type == F_UNLCK ? -1 : lock.l_start * 1000 + lock.l_len;
  });
  expect_equal<long>(other.ask('l'), 40, "the lower part");
  expect_equal<long>(other.ask('m'), -1, "the middle");
  expect_equal<long>(other.ask('h'), 60'040, "the upper part");
}

void posix_locks_go_when_any_descriptor_of_the_file_is_closed(const Place& p) {
  p.write_file("f", "x");
  const Fd fd(p.open("f", O_RDWR));
  const auto other = locker(p, "f");
  must(set(fd, F_WRLCK), "lock");
  ::close(p.open("f", O_RDONLY));
  expect_equal<long>(other->ask('w'), 0, "lock after a close");
  expect_equal<long>(other->ask('u'), 0, "unlock");
  must(set(fd, F_WRLCK), "lock again");
  ::close(static_cast<int>(must(dup(fd), "dup")));
  expect_equal<long>(other->ask('w'), 0, "lock after the close of a copy");
}

void a_child_does_not_inherit_posix_locks_and_does_not_end_them(const Place& p) {
  p.write_file("f", "x");
  const Fd fd(p.open("f", O_RDWR));
  must(set(fd, F_WRLCK), "lock");
  const Actor child([&](char word) -> long {
    if (word == 'w') return set(fd, F_WRLCK);
    return ::close(fd);
  });
  expect_equal<long>(child.ask('w'), -EAGAIN, "the child's own lock");
  expect_equal<long>(child.ask('c'), 0, "the child's close");
  const auto other = locker(p, "f");
  expect_equal<long>(other->ask('g'), getpid(), "the holder");
}

void posix_locks_stay_over_exec(const Place& p) {
  p.write_file("f", "x");
  int ready[2], hold[2];
  must(pipe(ready), "pipe"), must(pipe(hold), "pipe");
  const std::string path = p.path("f");
  const pid_t child = fork();
  if (child == 0) {
    const int fd = ::open(path.c_str(), O_RDWR);
    if (fd < 0 || set(fd, F_WRLCK) != 0) _exit(1);
    dup2(ready[1], 1), dup2(hold[0], 0);
    ::close(hold[1]);
    execl("/bin/sh", "sh", "-c", "echo x; read -r line", nullptr);
    _exit(2);
  }
  ::close(ready[1]), ::close(hold[0]);
  char text[2];
  const ssize_t heard = read(ready[0], text, sizeof text);
  const auto other = locker(p, "f");
  const long holder = other->ask('g');
  // The locker has a copy of this end: closing it would not end the program.
  must(write(hold[1], "\n", 1), "write");
  ::close(hold[1]), ::close(ready[0]);
  waitpid(child, nullptr, 0);
  expect_equal<long>(heard, 2, "the program started");
  expect_equal<long>(holder, child, "the holder while the program runs");
  expect_equal<long>(other->ask('w'), 0, "lock after its end");
}

void a_killed_process_leaves_no_posix_lock(const Place& p) {
  p.write_file("f", "x");
  const Fd fd(p.open("f", O_RDWR));
  const auto other = locker(p, "f");
  expect_equal<long>(other->ask('w'), 0, "lock");
  must_fail(set(fd, F_WRLCK), EAGAIN, "lock beside it");
  other->kill_it();
  must(set(fd, F_WRLCK), "lock after its end");
}

void who_waits_for_a_posix_lock_gets_it(const Place& p) {
  p.write_file("f", "x");
  const Fd fd(p.open("f", O_RDWR));
  must(set(fd, F_WRLCK), "lock");
  const auto waits = locker(p, "f"), looks = locker(p, "f");
  waits->tell('W');
  must(set(fd, F_UNLCK), "unlock");
  expect_equal<long>(waits->answer(), 0, "the lock waited for");
  expect_equal<long>(looks->ask('g'), waits->pid(), "the holder");
}

void a_circle_of_waiters_is_edeadlk(const Place& p) {
  p.write_file("f", "x");
  const Fd fd(p.open("f", O_RDWR));
  const std::string path = p.path("f");
  must(set(fd, F_WRLCK, 0, 1), "the first byte");
  auto own = std::make_shared<int>(-1);
  const Actor other([path, own](char word) -> long {
    if (*own < 0) *own = ::open(path.c_str(), O_RDWR);
    if (word == '1') return set(*own, F_WRLCK, 1, 1);
    const int r = set(*own, F_WRLCK, 0, 1, F_SETLKW);
    const int error = errno;
    if (r < 0) set(*own, F_UNLCK, 1, 1);
    errno = error;
    return r;
  });
  expect_equal<long>(other.ask('1'), 0, "the second byte");
  other.tell('0');
  // One of the two is told, whoever comes later.
  const int r = set(fd, F_WRLCK, 1, 1, F_SETLKW);
  const int error = errno;
  if (r < 0) {
    expect_equal(error, EDEADLK, "the wait that closes the circle");
    must(set(fd, F_UNLCK, 0, 1), "unlock");
    expect_equal<long>(other.answer(), 0, "the other's wait");
  } else {
    expect_equal<long>(other.answer(), -EDEADLK, "the other's wait");
  }
}

void a_lock_needs_the_access_it_is_for(const Place& p) {
  p.write_file("f", "x");
  const Fd reads(p.open("f", O_RDONLY)), writes(p.open("f", O_WRONLY));
  must_fail(set(reads, F_WRLCK), EBADF, "exclusive on a file opened for reading");
  must_fail(set(writes, F_RDLCK), EBADF, "shared on a file opened for writing");
  must(flock(reads, LOCK_EX), "flock needs none");
}

void ofd_locks_belong_to_the_open_file(const Place& p) {
  p.write_file("f", "x");
  const Fd one(p.open("f", O_RDWR)), two(p.open("f", O_RDWR));
  must(set(one, F_WRLCK, 0, 0, F_OFD_SETLK), "lock");
  must_fail(set(two, F_WRLCK, 0, 0, F_OFD_SETLK), EAGAIN, "another open file of the process");
  must_fail(set(two, F_WRLCK), EAGAIN, "a POSIX lock beside it");
  ::close(p.open("f", O_RDONLY));
  ::close(static_cast<int>(must(dup(one), "dup")));
  must_fail(set(two, F_WRLCK, 0, 0, F_OFD_SETLK), EAGAIN, "after closes of others");
  const Actor child([&](char) -> long { return set(one, F_UNLCK, 0, 0, F_OFD_SETLK); });
  expect_equal<long>(child.ask('u'), 0, "unlock by a child");
  must(set(two, F_WRLCK, 0, 0, F_OFD_SETLK), "then the other's lock");
}

void ofd_locks_go_with_the_last_descriptor(const Place& p) {
  p.write_file("f", "x");
  const Fd looks(p.open("f", O_RDWR));
  int fd = p.open("f", O_RDWR);
  must(set(fd, F_WRLCK, 0, 0, F_OFD_SETLK), "lock");
  const Actor child([&](char) -> long { return ::close(fd); });
  ::close(fd);
  must_fail(set(looks, F_WRLCK, 0, 0, F_OFD_SETLK), EAGAIN, "while the child has it");
  expect_equal<long>(child.ask('c'), 0, "the child's close");
  must(set(looks, F_WRLCK, 0, 0, F_OFD_SETLKW), "after it");
}

void flock_belongs_to_the_open_file(const Place& p) {
  p.write_file("f", "x");
  const Fd one(p.open("f", O_RDONLY)), two(p.open("f", O_RDWR));
  must(flock(one, LOCK_SH), "shared");
  must(flock(two, LOCK_SH | LOCK_NB), "shared beside it");
  must_fail(flock(two, LOCK_EX | LOCK_NB), EWOULDBLOCK, "exclusive beside it");
  must(flock(one, LOCK_UN), "unlock");
  must(flock(two, LOCK_EX | LOCK_NB), "exclusive when alone");
  must_fail(flock(one, LOCK_SH | LOCK_NB), EWOULDBLOCK, "shared beside exclusive");
  const Actor child(
      [&](char word) -> long { return word == 'l' ? flock(two, LOCK_EX | LOCK_NB) : flock(two, LOCK_UN); });
  expect_equal<long>(child.ask('l'), 0, "the child has the same lock");
  expect_equal<long>(child.ask('u'), 0, "and ends it");
  must(flock(one, LOCK_EX | LOCK_NB), "then the other's");
}

void flock_goes_with_the_last_descriptor(const Place& p) {
  p.write_file("f", "x");
  const Fd looks(p.open("f", O_RDWR));
  const int fd = p.open("f", O_RDWR);
  must(flock(fd, LOCK_EX), "lock");
  const int copy = static_cast<int>(must(dup(fd), "dup"));
  ::close(fd);
  must_fail(flock(looks, LOCK_EX | LOCK_NB), EWOULDBLOCK, "while a copy is open");
  ::close(p.open("f", O_RDONLY));
  must_fail(flock(looks, LOCK_EX | LOCK_NB), EWOULDBLOCK, "after the close of another open file");
  ::close(copy);
  must(flock(looks, LOCK_EX), "after the last close");
}

void who_waits_for_flock_gets_it_when_the_holder_dies(const Place& p) {
  p.write_file("f", "x");
  const std::string path = p.path("f");
  const auto flocker = [&] {
    auto fd = std::make_shared<int>(-1);
    return std::make_unique<Actor>([path, fd](char) -> long {
      *fd = ::open(path.c_str(), O_RDWR);
      return flock(*fd, LOCK_EX);
    });
  };
  const auto holds = flocker();
  expect_equal<long>(holds->ask('l'), 0, "lock");
  const auto waits = flocker();
  waits->tell('l');
  holds->kill_it();
  expect_equal<long>(waits->answer(), 0, "the lock waited for");
}

void flock_and_posix_locks_do_not_meet(const Place& p) {
  p.write_file("f", "x");
  const Fd fd(p.open("f", O_RDWR));
  must(flock(fd, LOCK_EX), "flock");
  const auto other = locker(p, "f");
  expect_equal<long>(other->ask('w'), 0, "a POSIX lock beside it");
}

}  // namespace

#define RULE(name) \
  Rule { #name, name }
std::vector<Rule> lock_rules() {
  return {RULE(posix_locks_keep_other_processes_out),
          RULE(a_posix_lock_is_split_by_an_unlock_in_its_middle),
          RULE(posix_locks_go_when_any_descriptor_of_the_file_is_closed),
          RULE(a_child_does_not_inherit_posix_locks_and_does_not_end_them),
          RULE(posix_locks_stay_over_exec),
          RULE(a_killed_process_leaves_no_posix_lock),
          RULE(who_waits_for_a_posix_lock_gets_it),
          RULE(a_circle_of_waiters_is_edeadlk),
          RULE(a_lock_needs_the_access_it_is_for),
          RULE(ofd_locks_belong_to_the_open_file),
          RULE(ofd_locks_go_with_the_last_descriptor),
          RULE(flock_belongs_to_the_open_file),
          RULE(flock_goes_with_the_last_descriptor),
          RULE(who_waits_for_flock_gets_it_when_the_holder_dies),
          RULE(flock_and_posix_locks_do_not_meet)};
}

}  // namespace fusewire::conformance
