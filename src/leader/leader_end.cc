// The end of a namespace: everything is unmounted, daemons may finish, and no process, file or socket is left.
#include <csignal>

#include "leader/end_processes.h"
#include "leader/leader.h"

namespace fusewire::leader {
namespace {

using namespace std::chrono_literals;

// How long hosts may take that were hung up on.
constexpr auto grace = 2s;
constexpr int look_milliseconds = 20;

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

std::set<pid_t> Leader::daemons() const {
  std::set<pid_t> pids;
  for (const auto& [id, connection] : connections_) pids.insert(static_cast<pid_t>(connection.daemon_pid));
  return with_descendants(pids);
}

void Leader::end_processes() {
  const bool ended = end_processes_below_us({.signal = ending_signal_ ? ending_signal_ : SIGTERM,
                                             .spared = [this] { return hosts(); },
                                             .daemons = [this] { return daemons(); },
                                             .wait =
                                                 [this](int milliseconds) {
                                                   reap();
                                                   if (milliseconds != 0) turn(milliseconds);
                                                 }});
  if (!ended) log_.line("cannot: end all processes of the namespace: SIGKILL does not end them");
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
