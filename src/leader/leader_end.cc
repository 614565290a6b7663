// The end of a namespace: everything is unmounted, daemons may finish, and no process, file or socket is left.
#include <csignal>

#include "leader/leader.h"
#include "leader/process_tree.h"

namespace fusewire::leader {
namespace {

using namespace std::chrono_literals;

// How long daemons may take when their mount is gone, and everybody between SIGTERM and SIGKILL.
constexpr auto grace = 2s;
// Ends that SIGCHLD does not tell of (of grandchildren) are looked for this often.
constexpr int look_milliseconds = 20;

void signal_all(const std::set<pid_t>& pids, int signal) {
  for (const pid_t pid : pids) {
    ::kill(pid, signal);
    // A stopped process takes SIGTERM only when it goes on.
    if (signal == SIGTERM) ::kill(pid, SIGCONT);
  }
}

std::set<pid_t> without(std::set<pid_t> pids, const std::set<pid_t>& others) {
  for (const pid_t pid : others) pids.erase(pid);
  return pids;
}

}  // namespace

void Leader::end() {
  umount_all();
  end_processes();
  serve_line();  // what the last programs said
  end_hosts();
  for (const std::string& line : log_limit_.rest()) log_.line(line);
}

std::set<pid_t> Leader::hosts() const {
  std::set<pid_t> pids;
  for (const auto& [id, connection] : connections_)
    if (connection.host > 0) pids.insert(connection.host);
  return pids;
}

// With all they started (sshfs's ssh): those end with them.
std::set<pid_t> Leader::daemons() const {
  std::set<pid_t> pids;
  for (const auto& [id, connection] : connections_) {
    const auto daemon = static_cast<pid_t>(connection.daemon_pid);
    if (daemon <= 0 || daemon == ::getpid()) continue;
    pids.insert(daemon);
    pids.merge(descendants_of(daemon));
  }
  return pids;
}

void Leader::end_processes() {
  const auto start = Clock::now();
  bool told_programs = false, told_daemons = false;
  for (;;) {
    reap();
    const std::set<pid_t> all = without(descendants_of(::getpid()), hosts());
    if (all.empty()) return;
    const std::set<pid_t> programs = without(all, daemons());
    const auto passed = Clock::now() - start;
    if (!told_programs) signal_all(programs, ending_signal_ ? ending_signal_ : SIGTERM);
    told_programs = true;
    if (passed > grace) {
      signal_all(programs, SIGKILL);
      if (!told_daemons) signal_all(all, SIGTERM);
      told_daemons = true;
    }
    if (passed > 2 * grace) signal_all(all, SIGKILL);
    // Only what even SIGKILL does not end, waiting in the real kernel, is left behind.
    if (passed > 4 * grace) return log_.line("cannot: end all processes of the namespace: SIGKILL does not end them");
    turn(look_milliseconds);
  }
}

// Hosts end by themselves when daemon and mount are gone, and else when the leader hangs up.
void Leader::end_hosts() {
  for (auto& [id, connection] : connections_) {
    connection.control.reset();
    connection.waiting.clear();
    connection.clients.reset();
  }
  const auto start = Clock::now();
  while (!hosts().empty()) {
    reap();
    if (Clock::now() - start > grace) signal_all(hosts(), SIGKILL);
    if (!hosts().empty()) turn(look_milliseconds);
  }
}

}  // namespace fusewire::leader
