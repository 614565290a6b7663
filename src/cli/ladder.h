// The ladder: one system call drawn through the three parties of FUSE (docs/architecture.md), from the steps of a
// trace.
//
//   unlinkat "file"  by rm (thread 33), daemon memfs (20), connection 2
//          µs      user process            kernel's half                                 daemon
//              (1)                                                                       sleeps in read: …
//         0.0      unlinkat ─────────────▶ caught by the gate
//         4.0                              enters the half: sys_unlinkat
//         9.5                              UNLINK unique=12 on `pending` (1 there)
//                                          wakes the connection's waitq ───────────────▶ woken
//         9.7  (2) sleeps                  caller sleeps on the request's waitq
//        20.1  (3)                         `pending` → `processing` ◀─────────────────── read: UNLINK of 45 bytes
//        30.5  (4)                         reply: off `processing` ◀──────────────────── write: 16 bytes, success
//        31.0      woken ◀──────────────── request ended: caches updated, waiter woken
//        40.2  (5) returns 0 ◀──────────── result
#pragma once

#include <string>
#include <vector>

#include "cli/trace_events.h"

namespace fusewire::cli {

struct LadderNames {
  std::string user;    // the program whose calls are drawn; may be empty
  std::string daemon;  // may be empty
};

// One run, with heading and footer, as lines that end in '\n'. A call that needed no request is one line.
std::string draw_ladder(const Run& run, const LadderNames& names);

// Text that a terminal shows as it is: control characters become \xNN.
std::string printable(std::string_view text);

}  // namespace fusewire::cli
