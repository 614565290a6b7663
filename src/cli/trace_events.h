// The steps of a trace file (host/trace_writer.h), read back and sorted into runs: one run a system call with the
// requests it made, or a request that nobody waited for.
// Plain values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/trace.h"

namespace fusewire::cli {

struct Event {
  kernel::TraceStep step{};
  uint64_t time = 0;  // CLOCK_MONOTONIC, nanoseconds
  std::string opcode;
  uint64_t unique = 0, nodeid = 0;
  uint32_t pid = 0;  // of the calling thread; 0: nobody waits
  int32_t error = 0;
  uint32_t bytes = 0;
  uint32_t pending = 0, processing = 0, background = 0;
  std::string name;  // call, returned: the system call; queued: the file name in the request
  uint32_t connection = 0;
  uint32_t daemon_pid = 0;
  uint64_t entered = 0;  // call, returned: when the gate caught the call, nanoseconds; 0: unknown
  uint32_t nr = 0;       // call, returned: the Linux system call number; 0: unknown

  // The system call as the program made it: the half's name for it is often the newer one (mkdir: mkdirat).
  std::string call_name() const;
};

// One line of a trace file; nothing when it is none.
std::optional<Event> parse_event(std::string_view line);

struct RequestRun {
  uint64_t unique = 0;
  std::vector<Event> steps;  // queued, sleeping, read, replied, ended, as far as they came

  const Event* find(kernel::TraceStep step) const;
};

struct Run {
  uint32_t connection = 0;
  std::optional<Event> call, returned;
  std::vector<RequestRun> requests;
  std::vector<Event> connection_events;  // notify, aborted: a run of their own

  // The gate's time when it is known, else that of the first step.
  uint64_t start() const;
  // Whether word is, in any letter case, a name of the system call or the opcode of one of the requests.
  bool is_about(std::string_view word) const;
};

// In the order of their starts. Events need not be sorted: several hosts append to one file.
std::vector<Run> group_runs(std::vector<Event> events);

}  // namespace fusewire::cli
