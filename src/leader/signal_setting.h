// SignalSetting: how the leader takes signals while it lives, and what the process had before. Whatever is sent to the
// leader (programs whose parent ended have it for theirs, and signal it) must not end the namespace: everything that
// can be ignored is, but for what the leader reads (SIGCHLD, SIGTERM, SIGHUP) and what stops a job.
//
// A signal that was ignored already stays so (nohup).
// Thread rule: of the leader's one thread. Children of fork inherit the setting until they restore().
#pragma once

#include <array>
#include <csignal>
#include <cstdint>

namespace fusewire::leader {

class SignalSetting {
 public:
  SignalSetting();
  ~SignalSetting() { restore(); }
  SignalSetting(const SignalSetting&) = delete;

  // Every disposition and the mask as they were: what the command starts with.
  void restore() const;

 private:
  // As rt_sigaction(2) takes it: the C library keeps two signals to itself, whose default ends the process all the
  // same.
  struct Action {
    uintptr_t handler = 0;
    unsigned long flags = 0;
    uintptr_t restorer = 0;
    uint64_t mask = 0;
  };

  std::array<Action, 65> saved_{};  // by signal
  sigset_t mask_{};
};

// Whether this process ignores it, as one that nohup started does SIGHUP.
bool is_ignored(int signal);

// For hosts and the control file system's process: nothing but SIGKILL ends or stops them from outside. Their end is
// the leader's: it hangs up.
void ignore_all_signals();

}  // namespace fusewire::leader
