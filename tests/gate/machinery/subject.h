// Small helpers of the programs that run under the gate. They use the C library as any program would.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <string>

// Runs body in a forked child; its wait status. body's result is the exit status.
inline int in_child(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = -1;
  EXPECT_EQ(child, waitpid(child, &status, 0));
  return status;
}

// For the time of a test.
class Handler {
 public:
  Handler(int signal, void (*handler)(int), int flags = 0) : signal_(signal) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    EXPECT_EQ(0, sigaction(signal, &action, &before_));
  }
  Handler(int signal, void (*handler)(int, siginfo_t*, void*), int flags = 0) : signal_(signal) {
    struct sigaction action {};
    action.sa_sigaction = handler;
    action.sa_flags = flags | SA_SIGINFO;
    EXPECT_EQ(0, sigaction(signal, &action, &before_));
  }
  ~Handler() { sigaction(signal_, &before_, nullptr); }
  Handler(const Handler&) = delete;

 private:
  int signal_;
  struct sigaction before_ {};
};

struct Pipe {
  Pipe() { EXPECT_EQ(0, pipe2(end, O_CLOEXEC)); }
  ~Pipe() {
    close(end[0]);
    close(end[1]);
  }
  Pipe(const Pipe&) = delete;
  int end[2];
};

// Whether the thread sleeps in the kernel: it is where the test wants it.
inline bool is_sleeping(pid_t thread) {
  const std::string path = "/proc/self/task/" + std::to_string(thread) + "/stat";
  char text[512] = {};
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  const std::string stat(text, n > 0 ? static_cast<size_t>(n) : 0);
  const size_t end = stat.rfind(')');
  return end != std::string::npos && end + 2 < stat.size() && stat[end + 2] == 'S';
}
inline void wait_until_sleeping(pid_t thread) {
  while (!is_sleeping(thread)) sched_yield();
}
inline pid_t thread_id() { return static_cast<pid_t>(syscall(SYS_gettid)); }

// The arguments of a program that gets its name alone.
inline char arg0[] = "name";
inline char* const one_argument[] = {arg0, nullptr};

// Of its own, for files; with all of them it goes at the end.
class Directory {
 public:
  Directory() {
    char name[] = "/tmp/machinery-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Directory() { EXPECT_EQ(0, system(("rm -rf " + path_).c_str())); }
  Directory(const Directory&) = delete;
  std::string file(const std::string& name, const std::string& content, mode_t mode = 0755) const {
    const std::string path = path_ + "/" + name;
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    EXPECT_EQ(static_cast<ssize_t>(content.size()), write(fd, content.data(), content.size()));
    close(fd);
    return path;
  }

 private:
  std::string path_;
};
