// What is counted, and whose it is.
#pragma once

#include <array>
#include <compare>
#include <cstdint>

namespace fusewire::counters {

// client: the measured program and its children. host: the processes that serve the namespace's connections.
// daemon: the file system's. leader: of the namespace.
enum class Party { client, host, daemon, leader };
inline constexpr int parties = 4;
inline constexpr std::array<const char*, parties> party_names{"client", "host", "daemon", "leader"};

struct Counts {
  uint64_t calls = 0;       // system calls that entered the kernel's table, rt_sigreturn(2) among them
  uint64_t sigsys = 0;      // system calls that were caught instead (Syscall User Dispatch, seccomp)
  uint64_t sleeps = 0;      // calls in which the thread left the CPU until something happened
  uint64_t hand_overs = 0;  // calls in which a sleeping thread of another process was woken
  uint64_t bytes = 0;       // that calls copied: the results of read, write, send, receive and their kin
  uint64_t faults = 0;      // minor page faults, of programs that were started

  Counts& operator+=(const Counts& o) {
    calls += o.calls;
    sigsys += o.sigsys;
    sleeps += o.sleeps;
    hand_overs += o.hand_overs;
    bytes += o.bytes;
    faults += o.faults;
    return *this;
  }
  auto operator<=>(const Counts&) const = default;
};

using PartyCounts = std::array<Counts, parties>;

}  // namespace fusewire::counters
