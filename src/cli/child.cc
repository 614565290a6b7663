#include "cli/child.h"

#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "cli/message.h"

namespace fusewire::cli {

namespace {

constexpr int status_not_executable = 126, status_not_found = 127, status_signal = 128;

// While it lives, the signals that concern a waiting parent come through sigwaitinfo or not at all.
class HeldSignals {
 public:
  HeldSignals() {
    sigemptyset(&waited_);
    for (const int signal : {SIGCHLD, SIGTERM, SIGHUP}) sigaddset(&waited_, signal);
    sigset_t held = waited_;
    for (const int signal : {SIGINT, SIGQUIT}) sigaddset(&held, signal);
    // An inherited SIG_IGN would reap the child before it is waited for.
    ::signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &held, &before_);
  }
  ~HeldSignals() {
    // What came for the command is not to end this program afterwards.
    sigset_t typed;
    sigemptyset(&typed);
    for (const int signal : {SIGINT, SIGQUIT}) sigaddset(&typed, signal);
    const timespec at_once{};
    while (sigtimedwait(&typed, nullptr, &at_once) > 0) {
    }
    sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

  const sigset_t& before() const { return before_; }
  int wait() const { return sigwaitinfo(&waited_, nullptr); }

 private:
  sigset_t waited_{}, before_{};
};

int spawn(pid_t& child, const std::vector<std::string>& command, const sigset_t& mask) {
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setsigmask(&attributes, &mask);
  const int error = posix_spawnp(&child, argv[0], nullptr, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  return error;
}

int shell_status(int status) { return WIFSIGNALED(status) ? status_signal + WTERMSIG(status) : WEXITSTATUS(status); }

}  // namespace

int run_child(const std::vector<std::string>& command) {
  const HeldSignals signals;
  pid_t child = 0;
  if (const int error = spawn(child, command, signals.before()); error != 0) {
    return complain(error == ENOENT ? status_not_found : status_not_executable,
                    fmt::format("cannot run {}: {}", command.front(), std::strerror(error)));
  }
  for (;;) {
    const int signal = signals.wait();
    if (signal == SIGTERM || signal == SIGHUP) ::kill(child, signal);
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) return shell_status(status);
  }
}

}  // namespace fusewire::cli
