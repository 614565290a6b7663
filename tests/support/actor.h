#pragma once

#include <sys/wait.h>

#include <csignal>
#include <functional>

#include "support/conformance.h"

namespace fusewire::conformance {

// Another process, which does what it is told, a word at a time, and answers with a number.
class Actor {
 public:
  explicit Actor(const std::function<long(char)>& act) {
    int asked[2], told[2];
    must(pipe2(asked, O_CLOEXEC), "pipe"), must(pipe2(told, O_CLOEXEC), "pipe");
    pid_ = fork();
    if (pid_ == 0) {
      ::close(asked[1]), ::close(told[0]);
      for (char word; read(asked[0], &word, 1) == 1;) {
        errno = 0;
        long answer = act(word);
        if (answer < 0 && errno != 0) answer = -errno;
        (void)!write(told[1], &answer, sizeof answer);
      }
      _exit(0);
    }
    ::close(asked[0]), ::close(told[1]);
    to_ = asked[1], from_ = told[0];
  }
  ~Actor() {
    ::close(to_), ::close(from_);
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
  }
  Actor(const Actor&) = delete;

  pid_t pid() const { return pid_; }
  void tell(char word) const { must(write(to_, &word, 1), "telling the other process"); }
  long answer() const {
    long value = 0;
    expect_equal<long>(must(read(from_, &value, sizeof value), "hearing the other process"), sizeof value, "answer");
    return value;
  }
  long ask(char word) const {
    tell(word);
    return answer();
  }
  void kill_it() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  int to_ = -1, from_ = -1;
};

}  // namespace fusewire::conformance
