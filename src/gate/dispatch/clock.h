// CLOCK_MONOTONIC without a system call: the kernel's own code for it (vDSO), found without libc. The coarse clock: it
// needs no time-stamp counter, so that code never makes a system call.
// Thread rule: any thread.
#pragma once

#include <cstdint>

namespace fusewire::gate {

// Nanoseconds, behind by as much as the kernel's tick, and longer while the tick is late; 0: there is no such clock.
uint64_t coarse_clock();
// By how much it is taken to be behind at most.
inline constexpr uint64_t coarse_clock_behind = 100'000'000;

}  // namespace fusewire::gate
