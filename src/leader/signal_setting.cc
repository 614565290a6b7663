#include "leader/signal_setting.h"

#include <sys/syscall.h>
#include <unistd.h>

namespace fusewire::leader {
namespace {

constexpr int last_signal = 64;
constexpr size_t set_bytes = 8;

long exchange(int signal, const void* action, void* old) {
  return ::syscall(SYS_rt_sigaction, signal, action, old, set_bytes);
}

// Those of job control stop the leader with its command, as the shell outside expects.
bool is_left_alone(int signal) {
  return signal == SIGTERM || signal == SIGHUP || signal == SIGTSTP || signal == SIGCONT;
}

constexpr auto default_handler = reinterpret_cast<uintptr_t>(SIG_DFL);
const auto ignoring_handler = reinterpret_cast<uintptr_t>(SIG_IGN);

}  // namespace

SignalSetting::SignalSetting() {
  ::sigprocmask(SIG_BLOCK, nullptr, &mask_);
  const Action defaults{};
  const Action ignoring{.handler = ignoring_handler};
  for (int signal = 1; signal <= last_signal; ++signal) {
    Action& saved = saved_[static_cast<size_t>(signal)];
    if (exchange(signal, nullptr, &saved) != 0) continue;
    // An ignored SIGCHLD would take the command's status away.
    if (signal == SIGCHLD) exchange(signal, &defaults, nullptr);
    // Who has a handler (a sanitizer's, for faults) knows what to do.
    else if (saved.handler == default_handler && !is_left_alone(signal))
      exchange(signal, &ignoring, nullptr);
  }
  // As a shell that waits: these are the command's to take.
  for (const int signal : {SIGINT, SIGQUIT}) exchange(signal, &ignoring, nullptr);
}

void SignalSetting::restore() const {
  for (int signal = 1; signal <= last_signal; ++signal) exchange(signal, &saved_[static_cast<size_t>(signal)], nullptr);
  ::sigprocmask(SIG_SETMASK, &mask_, nullptr);
}

bool is_ignored(int signal) {
  struct sigaction action {};
  return ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

void ignore_all_signals() {
  const uintptr_t action[4] = {ignoring_handler};
  uintptr_t old[4];
  for (int signal = 1; signal <= last_signal; ++signal)
    if (signal != SIGCHLD && exchange(signal, nullptr, old) == 0 && (old[0] == default_handler || signal == SIGTERM))
      exchange(signal, action, nullptr);
  ::signal(SIGCHLD, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace fusewire::leader
