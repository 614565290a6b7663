// Rules of two threads on one thing, where one of them moves between this place and a native one; and what calls for
// other kinds of files say of a file.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <thread>

#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

constexpr int moves = 1500;

// A directory that no mount is on.
class Elsewhere {
 public:
  Elsewhere() {
    if (mkdtemp(path_) == nullptr) must(-1, "mkdtemp");
  }
  ~Elsewhere() {
    for (const char* name : {"/f", "/here", "/made"}) unlink((std::string(path_) + name).c_str());
    rmdir(path_);
  }
  Elsewhere(const Elsewhere&) = delete;
  std::string path(const std::string& name = "") const { return path_ + name; }
  int open(int flags) const { return static_cast<int>(must(::open(path("/f").c_str(), flags | O_CLOEXEC, 0600), "f")); }

 private:
  char path_[32] = "/tmp/conformanceXXXXXX";
};

// Runs act in a second thread until move has been called `moves` times. The first failure of act is the rule's.
template <typename Act, typename Move>
void while_moving(Act act, Move move) {
  std::atomic<bool> stop = false;
  std::mutex mutex;
  std::string failure;
  const auto note = [&](auto&& step) {
    try {
      step();
    } catch (const Failure& failed) {
      stop = true;
      const std::lock_guard lock(mutex);
      failure = failed.what;
    }
  };
  std::thread thread([&] {
    while (!stop) note(act);
  });
  for (int i = 0; i < moves && !stop; ++i) note([&] { move(i); });
  stop = true;
  thread.join();
  expect(failure.empty(), failure);
}

void no_byte_is_lost_when_a_descriptor_moves_between_file_systems(const Place& p) {
  const Elsewhere elsewhere;
  constexpr int flags = O_WRONLY | O_CREAT | O_APPEND;
  const Fd here(p.open("f", flags)), there(elsewhere.open(flags)), moving(dup(here));
  long written = 0;
  while_moving(
      [&] {
        must(write(moving, "x", 1), "write");
        ++written;
      },
      [&](int i) { must(dup2(i % 2 != 0 ? here : there, moving), "dup2"); });
  struct stat one, other;
  must(fstat(here, &one), "fstat here"), must(fstat(there, &other), "fstat there");
  expect_equal<long>(one.st_size + other.st_size, written, "bytes in the two files");
}

void a_log_is_rotated_under_its_writer(const Place& p) {
  const Fd log(p.open("log", O_WRONLY | O_CREAT | O_APPEND));
  while_moving([&] { must(write(log, "x", 1), "write"); },
               [&](int i) {
                 const Fd next(p.open("log" + std::to_string(i % 3), O_WRONLY | O_CREAT | O_APPEND));
                 must(dup2(next, log), "dup2");
               });
}

void a_moving_descriptor_is_always_one_of_the_two_files(const Place& p) {
  const Elsewhere elsewhere;
  const Fd here(p.open("f", O_RDWR | O_CREAT)), there(elsewhere.open(O_RDWR | O_CREAT)), moving(dup(here));
  struct stat one, other;
  must(fstat(here, &one), "fstat here"), must(fstat(there, &other), "fstat there");
  while_moving(
      [&] {
        struct stat st;
        must(fstat(moving, &st), "fstat");
        const auto is = [&st](const struct stat& file) { return st.st_dev == file.st_dev && st.st_ino == file.st_ino; };
        expect(is(one) || is(other), "fstat: a third file");
        const long flags = must(fcntl(moving, F_GETFL), "F_GETFL");
        expect_equal<long>(flags & (O_ACCMODE | O_PATH), O_RDWR, "F_GETFL");
        must(lseek(moving, 0, SEEK_SET), "lseek");
        must(fsync(moving), "fsync");
      },
      [&](int i) { must(dup2(i % 2 != 0 ? here : there, moving), "dup2"); });
}

void a_path_starts_at_one_of_two_directories_while_they_change(const Place& p) {
  const Elsewhere elsewhere;
  p.write_file("f", "here"), close(elsewhere.open(O_RDWR | O_CREAT));
  const Fd here(p.open(".", O_RDONLY | O_DIRECTORY));
  const Fd there(static_cast<int>(must(open(elsewhere.path().c_str(), O_RDONLY | O_DIRECTORY), "open")));
  const Fd moving(dup(here));
  while_moving([&] { close(static_cast<int>(must(openat(moving, "f", O_RDONLY | O_CLOEXEC), "openat"))); },
               [&](int i) { must(dup2(i % 2 != 0 ? here : there, moving), "dup2"); });
}

// Back to where the process was.
class WorkingDirectory {
 public:
  WorkingDirectory() : before_(static_cast<int>(must(open(".", O_PATH | O_CLOEXEC), "open ."))) {}
  ~WorkingDirectory() { (void)!fchdir(before_); }

 private:
  Fd before_;
};

void a_relative_path_starts_in_one_of_two_working_directories(const Place& p) {
  const WorkingDirectory back;
  const Elsewhere elsewhere;
  p.write_file("f", "here"), close(elsewhere.open(O_RDWR | O_CREAT));
  const std::string here = std::filesystem::absolute(p.root()), there = elsewhere.path();
  must(chdir(here.c_str()), "chdir");
  while_moving(
      [&] {
        struct stat st;
        must(stat("f", &st), "stat");
        close(static_cast<int>(must(open("f", O_RDONLY | O_CLOEXEC), "open")));
      },
      [&](int i) { must(chdir((i % 2 != 0 ? here : there).c_str()), "chdir"); });
}

// As deep as it goes, by one call: also out of the file system that the place is in.
void dots_lead_a_working_directory_up_and_out(const Place& p) {
  const WorkingDirectory before;
  char where[PATH_MAX];
  must(chdir(p.root().c_str()), "chdir");
  must(getcwd(where, sizeof where) == nullptr ? -1 : 0, "getcwd");
  const std::string start = where;
  std::string at = start, dots;
  while (at != "/") {
    must(chdir(start.c_str()), "chdir " + start);
    dots += dots.empty() ? ".." : "/..";
    at = at.substr(0, at.rfind('/'));
    if (at.empty()) at = "/";
    must(chdir(dots.c_str()), "chdir " + dots);
    must(getcwd(where, sizeof where) == nullptr ? -1 : 0, "getcwd after " + dots);
    expect_equal<std::string>(where, at, "the working directory after " + dots);
    struct stat by_dot, by_path;
    must(stat(".", &by_dot), "stat ."), must(stat(where, &by_path), "stat by its path");
    expect(by_dot.st_dev == by_path.st_dev && by_dot.st_ino == by_path.st_ino, "another directory after " + dots);
  }
}

void a_file_is_made_in_one_of_two_working_directories(const Place& p) {
  const WorkingDirectory back;
  const Elsewhere elsewhere;
  const std::string here = std::filesystem::absolute(p.root()), there = elsewhere.path();
  must(chdir(here.c_str()), "chdir");
  while_moving(
      [&] {
        close(static_cast<int>(must(open("made", O_RDWR | O_CREAT | O_CLOEXEC, 0600), "open")));
        const bool in_one = unlink((here + "/made").c_str()) == 0;
        expect(in_one || unlink(elsewhere.path("/made").c_str()) == 0, "made in neither");
      },
      [&](int i) { must(chdir((i % 2 != 0 ? here : there).c_str()), "chdir"); });
}

void files_are_always_ready(const Place& p) {
  const Fd file(p.open("f", O_RDWR | O_CREAT)), directory(p.open(".", O_RDONLY));
  int ends[2];
  must(pipe(ends), "pipe");
  const Fd reader(ends[0]), writer(ends[1]);
  pollfd all[] = {{file, POLLIN | POLLOUT, 0}, {reader, POLLIN, 0}, {directory, POLLIN, 0}, {9999, POLLIN, 0}};
  expect_equal<long>(must(poll(all, 4, -1), "poll"), 3, "poll");
  expect_equal<long>(all[0].revents, POLLIN | POLLOUT, "a file");
  expect_equal<long>(all[1].revents, 0, "an empty pipe");
  expect_equal<long>(all[2].revents, POLLIN, "a directory");
  expect_equal<long>(all[3].revents, POLLNVAL, "nothing");
  pollfd odd[] = {{file, POLLPRI, 0}, {reader, POLLIN, 0}};
  expect_equal<long>(must(poll(odd, 2, 1), "poll of nothing that is ready"), 0, "poll");
  must(write(writer, "x", 1), "write");
  expect_equal<long>(must(poll(odd, 2, -1), "poll of a pipe"), 1, "poll");
  expect_equal<long>(odd[1].revents, POLLIN, "a full pipe");
}

void select_takes_files(const Place& p) {
  const Fd file(p.open("f", O_RDWR | O_CREAT));
  int ends[2];
  must(pipe(ends), "pipe");
  const Fd reader(ends[0]), writer(ends[1]);
  fd_set to_read, to_write, other;
  FD_ZERO(&to_read);
  FD_ZERO(&to_write);
  FD_ZERO(&other);
  FD_SET(file, &to_read);
  FD_SET(reader, &to_read);
  FD_SET(file, &to_write);
  FD_SET(file, &other);
  expect_equal<long>(must(select(FD_SETSIZE, &to_read, &to_write, &other, nullptr), "select"), 2, "select");
  expect(FD_ISSET(file, &to_read) && FD_ISSET(file, &to_write), "the file");
  expect(!FD_ISSET(reader, &to_read) && !FD_ISSET(file, &other), "what is not ready");
  FD_SET(file, &to_read);
  expect_equal<long>(must(pselect(FD_SETSIZE, &to_read, nullptr, nullptr, nullptr, nullptr), "pselect"), 1, "pselect");
  const int closed = dup(file);
  close(closed);
  FD_SET(closed, &to_read);
  must_fail(select(FD_SETSIZE, &to_read, nullptr, nullptr, nullptr), EBADF, "select of a closed descriptor");
}

void a_file_is_no_socket(const Place& p) {
  const Fd file(p.open("f", O_RDWR | O_CREAT)), path(p.open("f", O_PATH));
  char byte = 0;
  sockaddr_storage address;
  socklen_t size = sizeof address;
  auto* name = reinterpret_cast<sockaddr*>(&address);
  must_fail(send(file, &byte, 1, 0), ENOTSOCK, "send");
  must_fail(recv(file, &byte, 1, 0), ENOTSOCK, "recv");
  must_fail(getsockname(file, name, &size), ENOTSOCK, "getsockname");
  must_fail(getsockopt(file, SOL_SOCKET, SO_TYPE, &byte, &size), ENOTSOCK, "getsockopt");
  must_fail(listen(file, 1), ENOTSOCK, "listen");
  must_fail(accept(file, nullptr, nullptr), ENOTSOCK, "accept");
  must_fail(shutdown(file, SHUT_RD), ENOTSOCK, "shutdown");
  must_fail(send(path, &byte, 1, 0), EBADF, "send by an O_PATH descriptor");
  epoll_event event{};
  must_fail(epoll_wait(file, &event, 1, 0), EINVAL, "epoll_wait");
}

void a_shared_mapping_that_only_reads_is_read(const Place& p) {
  p.write_file("f", "mapped");
  const Fd file(p.open("f", O_RDONLY));
  void* at = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file, 0);
  expect(at != MAP_FAILED, "mmap");
  const std::string seen(static_cast<char*>(at), 6);
  const int more = mprotect(at, 4096, PROT_READ | PROT_WRITE);
  munmap(at, 4096);
  expect_equal(seen, std::string("mapped"), "content");
  must_fail(more, EACCES, "writing through a mapping of a file opened to read");
}

}  // namespace

std::vector<Rule> race_rules() {
  return {
      {"no_byte_is_lost_when_a_descriptor_moves_between_file_systems",
       no_byte_is_lost_when_a_descriptor_moves_between_file_systems},
      {"a_log_is_rotated_under_its_writer", a_log_is_rotated_under_its_writer},
      {"a_moving_descriptor_is_always_one_of_the_two_files", a_moving_descriptor_is_always_one_of_the_two_files},
      {"a_path_starts_at_one_of_two_directories_while_they_change",
       a_path_starts_at_one_of_two_directories_while_they_change},
      {"a_relative_path_starts_in_one_of_two_working_directories",
       a_relative_path_starts_in_one_of_two_working_directories},
      {"dots_lead_a_working_directory_up_and_out", dots_lead_a_working_directory_up_and_out},
      {"a_file_is_made_in_one_of_two_working_directories", a_file_is_made_in_one_of_two_working_directories},
      {"files_are_always_ready", files_are_always_ready},
      {"select_takes_files", select_takes_files},
      {"a_file_is_no_socket", a_file_is_no_socket},
      {"a_shared_mapping_that_only_reads_is_read", a_shared_mapping_that_only_reads_is_read},
  };
}

}  // namespace fusewire::conformance
