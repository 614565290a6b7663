// Marks: what the measured program (client.cc) tells the tracer, by a system call that means nothing to anybody else.
// getppid(mark_magic, Mark, value): on the real kernel and in a namespace alike one native call, whose arguments nobody
// looks at. The tracer stops the program at it, lets everybody else run until all of them sleep, and goes on.
#pragma once

#include <cstdint>

namespace fusewire::counters {

inline constexpr uint64_t mark_magic = 0x4655534557495245;  // "FUSEWIRE"

enum class Mark : uint64_t {
  hello = 1,  // the process is the client from now on, and so are its children
  begin,      // the operation with the index `value` begins: its warm-up is over
  start,      // one of it starts
  stop,       // and is over. value: page faults to be counted to it
  end,        // of the operation
};

}  // namespace fusewire::counters
