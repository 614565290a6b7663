// TraceWriter: the steps of requests and calls as JSON lines, appended to one file by all hosts of a namespace.
// Keys of every line: step, time (CLOCK_MONOTONIC ns), connection, pid, name; of a request's step also opcode (its
// name), unique, nodeid, error, bytes, pending, processing, background, daemon_pid; of call and returned: error,
// entered (when the gate caught the call, ns; 0 unknown) and nr (the Linux system call number).
// Lines are gathered and written whole, so that hosts do not mix them.
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <string>

#include "abi/unique_fd.h"
#include "kernel/trace.h"

namespace fusewire::host {

// The Linux system call behind a call or returned step.
struct TracedCall {
  uint64_t entered = 0;
  uint32_t nr = 0;
};

class TraceWriter {
 public:
  explicit TraceWriter(uint32_t connection) : connection_(connection) {}
  ~TraceWriter() { flush(); }

  // Appends to the file at path from now on; 0 or -errno.
  int start(const std::string& path);
  void stop();
  bool on() const { return static_cast<bool>(file_); }
  void set_daemon_pid(uint32_t pid) { daemon_pid_ = pid; }

  void write(const kernel::TraceEvent& event, const TracedCall& call);
  void flush();

 private:
  const uint32_t connection_;
  uint32_t daemon_pid_ = 0;
  UniqueFd file_;
  std::string lines_;
};

// text as the inside of a JSON string. Bytes that are no UTF-8 become U+FFFD, one each.
std::string json_escaped(std::string_view text);

}  // namespace fusewire::host
