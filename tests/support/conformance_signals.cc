// Rules of what an open file signals: leases that others break (F_SETLEASE), changes in directories (F_NOTIFY).
#include <sys/syscall.h>

#include <csignal>

#include "support/actor.h"
#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

// A signal that waits until it is looked for; it names a descriptor.
class Signal {
 public:
  Signal() {
    sigemptyset(&set_);
    sigaddset(&set_, number());
    sigprocmask(SIG_BLOCK, &set_, &before_);
  }
  ~Signal() {
    while (come()) continue;
    sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  Signal(const Signal&) = delete;

  static int number() { return SIGRTMIN + 5; }
  // Of fd, to this thread: another one may not hold it back.
  static void make_of(int fd) {
    const f_owner_ex here{F_OWNER_TID, static_cast<pid_t>(syscall(SYS_gettid))};
    must(fcntl(fd, F_SETSIG, number()), "F_SETSIG");
    must(fcntl(fd, F_SETOWN_EX, &here), "F_SETOWN_EX");
  }
  // Whether one has come. descriptor: which it names.
  bool come(int* descriptor = nullptr) const { return wait(descriptor, 0); }
  bool comes(int* descriptor = nullptr) const { return wait(descriptor, 60); }

 private:
  bool wait(int* descriptor, time_t seconds) const {
    siginfo_t info;
    const timespec time{seconds, 0};
    if (sigtimedwait(&set_, &info, &time) < 0) return false;
    if (descriptor != nullptr) *descriptor = info.si_fd;
    return true;
  }
  sigset_t set_, before_;
};

int set_lease(int fd, int type) { return fcntl(fd, F_SETLEASE, type); }

int leased(const Place& p, int flags, int type) {
  const int fd = p.open("f", flags);
  Signal::make_of(fd);
  must(set_lease(fd, type), "F_SETLEASE");
  return fd;
}

// 'r' and 'w' open, 't' truncates, each waiting for leases.
Actor opener(const Place& p) {
  return Actor([path = p.path("f")](char word) -> long {
    if (word == 't') return truncate(path.c_str(), 0);
    const int fd = ::open(path.c_str(), word == 'w' ? O_WRONLY : O_RDONLY);
    return fd < 0 ? fd : ::close(fd);
  });
}

void a_lease_excludes_opens_of_before(const Place& p) {
  p.write_file("f", "x");
  {
    const Fd writer(p.open("f", O_RDWR));
    must_fail(set_lease(writer, F_RDLCK), EAGAIN, "read lease of a file that is open for writing");
    must(set_lease(writer, F_WRLCK), "write lease of the only one who has it open");
    expect_equal(fcntl(writer, F_GETLEASE), F_WRLCK, "F_GETLEASE");
    must(set_lease(writer, F_UNLCK), "giving it up");
    must_fail(set_lease(writer, F_UNLCK), EAGAIN, "giving up what is not there");
  }
  const Fd one(p.open("f", O_RDONLY)), two(p.open("f", O_RDONLY));
  must_fail(set_lease(one, F_WRLCK), EAGAIN, "write lease beside a reader");
  must(set_lease(one, F_RDLCK), "read lease");
  must(set_lease(two, F_RDLCK), "another one");
  must(set_lease(one, F_UNLCK), "giving one up");
  expect_equal(fcntl(two, F_GETLEASE), F_RDLCK, "the other one");
}

void a_lease_is_for_the_owner_and_for_regular_files(const Place& p) {
  p.mkdir("d");
  p.write_file("f", "x");
  const Fd directory(p.open("d", O_RDONLY)), path(p.open("f", O_PATH)), file(p.open("f", O_RDONLY));
  must_fail(set_lease(directory, F_RDLCK), EINVAL, "a directory");
  must_fail(set_lease(path, F_RDLCK), EBADF, "an O_PATH descriptor");
  must_fail(set_lease(file, 77), EINVAL, "no type");
  if (geteuid() != 0) throw Skip{"needs root"};
  Actor other([&](char) -> long { return setresuid(1234, 1234, 1234) != 0 ? -1 : set_lease(file, F_RDLCK); });
  expect_equal<long>(other.ask('l'), -EACCES, "another user");
}

void a_broken_lease_signals_and_who_asks_is_told_to_come_again(const Place& p) {
  const Signal signal;
  p.write_file("f", "x");
  const Fd fd(leased(p, O_RDONLY, F_RDLCK));
  ::close(p.open("f", O_RDONLY | O_NONBLOCK));
  expect(!signal.come(), "a reader breaks no read lease");
  must_fail(::open(p.path("f").c_str(), O_WRONLY | O_NONBLOCK), EAGAIN, "a writer");
  int named = -1;
  expect(signal.come(&named), "the signal");
  expect_equal<int>(named, fd, "the descriptor");
  expect_equal(fcntl(fd, F_GETLEASE), F_UNLCK, "what it is to become");
  must_fail(::open(p.path("f").c_str(), O_WRONLY | O_NONBLOCK), EAGAIN, "a writer once more");
  expect(!signal.come(), "no second signal");
  must(set_lease(fd, F_RDLCK), "holding on to it");
  expect_equal(fcntl(fd, F_GETLEASE), F_UNLCK, "what it still is to become");
  must(set_lease(fd, F_UNLCK), "giving it up");
  ::close(p.open("f", O_WRONLY | O_NONBLOCK));
}

void who_breaks_a_lease_waits_for_its_end(const Place& p) {
  const Signal signal;
  p.write_file("f", "x");
  const Fd fd(leased(p, O_RDWR, F_WRLCK));
  const Actor other = opener(p);
  other.tell('r');
  expect(signal.comes(), "the signal");
  expect_equal(fcntl(fd, F_GETLEASE), F_RDLCK, "what is enough for a reader");
  must(set_lease(fd, F_UNLCK), "giving it up");
  expect_equal<long>(other.answer(), 0, "the reader");
}

void a_close_ends_the_lease(const Place& p) {
  const Signal signal;
  p.write_file("f", "x");
  const Actor other = opener(p);  // before the lease, of which it would have a copy
  const int fd = leased(p, O_RDONLY, F_RDLCK);
  other.tell('t');
  expect(signal.comes(), "the signal of a truncation");
  ::close(fd);
  expect_equal<long>(other.answer(), 0, "the truncation");
  ::close(leased(p, O_RDONLY, F_RDLCK));
  ::close(p.open("f", O_WRONLY | O_NONBLOCK));
}

void the_holders_death_ends_the_lease(const Place& p) {
  p.write_file("f", "x");
  Actor holder([&](char) -> long {
    signal(SIGIO, SIG_IGN);
    return set_lease(::open(p.path("f").c_str(), O_RDONLY), F_RDLCK);
  });
  expect_equal<long>(holder.ask('l'), 0, "the lease");
  must_fail(::open(p.path("f").c_str(), O_WRONLY | O_NONBLOCK), EAGAIN, "a writer");
  const Actor other = opener(p);
  other.tell('w');
  holder.kill_it();
  expect_equal<long>(other.answer(), 0, "the writer that waited");
}

void who_waits_for_a_lease_can_be_killed(const Place& p) {
  const Signal signal;
  p.write_file("f", "x");
  const Fd fd(leased(p, O_RDONLY, F_RDLCK));
  Actor other = opener(p);
  other.tell('w');
  expect(signal.comes(), "the signal");
  other.kill_it();
  expect_equal(fcntl(fd, F_GETLEASE), F_UNLCK, "the lease stays broken");
}

// ---- F_NOTIFY

void change(int file) {
  must(pwrite(file, "x", 1, 0), "write");
  char byte;
  must(pread(file, &byte, 1, 0), "read");
  must(fchmod(file, 0600), "chmod");
}

void a_noticed_directory_signals_each_change(const Place& p) {
  const Signal signal;
  const Fd fd(p.open(".", O_RDONLY | O_DIRECTORY));
  Signal::make_of(fd);
  must(fcntl(fd, F_NOTIFY, DN_CREATE | DN_DELETE | DN_MULTISHOT), "F_NOTIFY");
  const auto told = [&](const std::string& of) {
    int named = -1;
    expect(signal.come(&named), of);
    expect_equal<int>(named, fd, "the descriptor");
    while (signal.come()) continue;
  };
  const Fd file(p.open("f", O_RDWR | O_CREAT));
  told("a new file");
  change(file);
  expect(!signal.come(), "what was not asked for");
  must(p.rename("f", "g"), "rename");
  told("a rename");
  must(unlink(p.path("g").c_str()), "unlink");
  told("an unlink");
  p.mkdir("d");
  told("a new directory");
  must(fcntl(fd, F_NOTIFY, DN_MODIFY | DN_ATTRIB | DN_ACCESS | DN_MULTISHOT), "more of it");
  const Fd second(p.open("h", O_RDWR | O_CREAT));
  told("what was asked for before");
  change(second);
  told("contents and attributes");
  must(fcntl(fd, F_NOTIFY, 0), "no more");
  p.mkdir("e");
  expect(!signal.come(), "after the end");
}

void a_notice_is_one_signal_unless_many_are_asked_for(const Place& p) {
  const Signal signal;
  const Fd fd(p.open(".", O_RDONLY | O_DIRECTORY));
  Signal::make_of(fd);
  must(fcntl(fd, F_NOTIFY, DN_CREATE), "F_NOTIFY");
  p.mkdir("one");
  expect(signal.come(), "the first");
  p.mkdir("two");
  expect(!signal.come(), "the second");
}

void a_notice_ends_with_the_close(const Place& p) {
  const Signal signal;
  const int fd = p.open(".", O_RDONLY | O_DIRECTORY);
  Signal::make_of(fd);
  must(fcntl(fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT), "F_NOTIFY");
  ::close(fd);
  p.mkdir("one");
  expect(!signal.come(), "after the close");
  p.write_file("f", "x");
  const Fd file(p.open("f", O_RDONLY)), path(p.open(".", O_PATH));
  must_fail(fcntl(file, F_NOTIFY, DN_CREATE), ENOTDIR, "a file");
  must_fail(fcntl(path, F_NOTIFY, DN_CREATE), EBADF, "an O_PATH descriptor");
}

void who_sets_a_lease_or_a_notice_is_the_owner_unless_there_is_one(const Place& p) {
  p.write_file("f", "x");
  const Fd file(p.open("f", O_RDONLY)), directory(p.open(".", O_RDONLY));
  expect_equal(fcntl(file, F_GETOWN), 0, "the owner at first");
  must(set_lease(file, F_RDLCK), "F_SETLEASE");
  expect_equal<int>(fcntl(file, F_GETOWN), getpid(), "the owner of the lease");
  const Actor other([](char) -> long { return 0; });
  must(fcntl(directory, F_SETOWN, other.pid()), "F_SETOWN");
  must(fcntl(directory, F_NOTIFY, DN_CREATE), "F_NOTIFY");
  expect_equal<int>(fcntl(directory, F_GETOWN), other.pid(), "the owner of before");
}

}  // namespace

#define RULE(name) \
  Rule { #name, name }
std::vector<Rule> signal_rules() {
  return {RULE(a_lease_excludes_opens_of_before),
          RULE(a_lease_is_for_the_owner_and_for_regular_files),
          RULE(a_broken_lease_signals_and_who_asks_is_told_to_come_again),
          RULE(who_breaks_a_lease_waits_for_its_end),
          RULE(a_close_ends_the_lease),
          RULE(the_holders_death_ends_the_lease),
          RULE(who_waits_for_a_lease_can_be_killed),
          RULE(a_noticed_directory_signals_each_change),
          RULE(a_notice_is_one_signal_unless_many_are_asked_for),
          RULE(a_notice_ends_with_the_close),
          RULE(who_sets_a_lease_or_a_notice_is_the_owner_unless_there_is_one)};
}

}  // namespace fusewire::conformance
