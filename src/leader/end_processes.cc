#include "leader/end_processes.h"

#include <unistd.h>

#include <chrono>

#include "leader/process_tree.h"

namespace fusewire::leader {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// How long daemons may take when their mount is gone, and everybody between SIGTERM and SIGKILL.
constexpr auto grace = 2s;
// Ends that SIGCHLD does not tell of (of grandchildren) are looked for this often.
constexpr int look_milliseconds = 20;

std::set<pid_t> without(std::set<pid_t> pids, const std::set<pid_t>& others) {
  for (const pid_t pid : others) pids.erase(pid);
  return pids;
}

}  // namespace

void signal_all(const std::set<pid_t>& pids, int signal) {
  for (const pid_t pid : pids) {
    ::kill(pid, signal);
    // A stopped process takes SIGTERM only when it goes on.
    if (signal == SIGTERM) ::kill(pid, SIGCONT);
  }
}

std::set<pid_t> with_descendants(const std::set<pid_t>& daemons) {
  std::set<pid_t> all;
  for (const pid_t daemon : daemons) {
    if (daemon <= 0 || daemon == ::getpid()) continue;
    all.insert(daemon);
    all.merge(descendants_of(daemon));
  }
  return all;
}

bool end_processes_below_us(const ProcessEnd& end) {
  const auto start = Clock::now();
  bool told_programs = false, told_daemons = false;
  for (;;) {
    end.wait(0);
    const std::set<pid_t> all = without(descendants_of(::getpid()), end.spared());
    if (all.empty()) {
      end.wait(0);  // those that ended after the last look
      return true;
    }
    const std::set<pid_t> programs = without(all, end.daemons());
    const auto passed = Clock::now() - start;
    if (!told_programs) signal_all(programs, end.signal);
    told_programs = true;
    if (passed > grace) {
      signal_all(programs, SIGKILL);
      if (!told_daemons) signal_all(all, SIGTERM);
      told_daemons = true;
    }
    if (passed > 2 * grace) signal_all(all, SIGKILL);
    if (passed > 4 * grace) return false;
    end.wait(look_milliseconds);
  }
}

}  // namespace fusewire::leader
