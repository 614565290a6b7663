// The end of the processes below this one, as a namespace's end wants it: no process is left.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <functional>
#include <set>

namespace fusewire::leader {

struct ProcessEnd {
  int signal = SIGTERM;                             // what programs get first; SIGKILL follows
  std::function<std::set<pid_t>()> spared = {};     // who is none of them
  std::function<std::set<pid_t>()> daemons = {};    // who may finish by themselves first: their mounts are gone
  std::function<void(int milliseconds)> wait = {};  // takes ended children meanwhile
};

// A daemon with all it started (sshfs's ssh): those end with it.
std::set<pid_t> with_descendants(const std::set<pid_t>& daemons);
void signal_all(const std::set<pid_t>& pids, int signal);
// False: not even SIGKILL ends them all, waiting as they do in the real kernel.
bool end_processes_below_us(const ProcessEnd& end);

}  // namespace fusewire::leader
