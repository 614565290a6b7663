// TraceEvent: one step in the life of a request or a call, handed to Host::trace.
#pragma once

#include <cstdint>

namespace fusewire::kernel {

enum class TraceStep : uint8_t {
  call,      // a system call entered the half
  queued,    // request on `pending` (or the background queue), daemon's waitq woken
  sleeping,  // the caller sleeps on the request's waitq
  read,      // off `pending`, copied out to the daemon, on `processing`
  replied,   // the daemon wrote the reply: off `processing`
  ended,     // caches updated, waiter woken
  returned,  // the system call leaves the half with its result
  notify,    // the daemon sent a notification
  aborted,   // the connection ended
};

struct TraceEvent {
  TraceStep step;
  uint64_t time;    // Host::now() at the step, nanoseconds
  uint32_t opcode;  // wire::Opcode; for call and returned 0
  uint64_t unique;
  uint64_t nodeid;
  uint32_t pid;      // of the caller; 0 when nobody waits
  int32_t error;     // replied, ended, returned: 0 or -errno
  uint32_t bytes;    // size of the message at this step
  uint32_t pending;  // queue depths after the step
  uint32_t processing;
  uint32_t background;
  const char* name;  // call, returned: the system call's name; queued: the file name in the request, or ""
};

}  // namespace fusewire::kernel
