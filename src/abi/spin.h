// Spin: looking for the other side's move for a moment before going to sleep. Freestanding: the gate includes it.
//
// Waking an idle CPU costs some 30 us; looking costs nothing but the CPU, which must not be taken from anybody who
// would use it. So: only where there is a second CPU, no longer than a few wake-ups cost, yielding to whom the
// scheduler has put behind us, and after looking in vain a few times in a row only now and then, until it pays again.
//
// Thread rule: any threads; they may lose each other's updates, which are hints.
#pragma once

#include <atomic>
#include <cstdint>

namespace fusewire::abi {

class Spin {
 public:
  static constexpr uint64_t ticks_max = 300'000;  // of the time-stamp counter: 75-300 us
  static constexpr uint32_t vain_max = 3;         // looks in a row
  static constexpr uint32_t probe = 64;           // after these, each so many-th time

  explicit constexpr Spin(bool has_second_cpu = false) : allowed_(has_second_cpu) {}
  void set_second_cpu(bool has) { allowed_ = has; }

  // Looks once, then until seen() or the time is over, and yields the CPU (sched_yield) between. The last answer of
  // seen().
  template <class Seen, class Yield>
  bool until(Seen seen, Yield yield) {
    if (seen()) return true;
    if (!is_worth_it()) return false;
    const uint64_t begin = __builtin_ia32_rdtsc();
    bool found = false;
    do {
      for (int i = 0; !found && i < looks_per_yield; i++) {
        __builtin_ia32_pause();
        found = seen();
      }
      if (!found) yield();
    } while (!found && __builtin_ia32_rdtsc() - begin < ticks_max);
    vain_.store(found ? 0 : vain_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return found;
  }

 private:
  static constexpr int looks_per_yield = 32;

  bool is_worth_it() {
    if (!allowed_) return false;
    if (vain_.load(std::memory_order_relaxed) < vain_max) return true;
    const uint32_t skipped = skipped_.load(std::memory_order_relaxed) + 1;
    skipped_.store(skipped, std::memory_order_relaxed);
    return skipped % probe == 0;
  }

  bool allowed_;
  std::atomic<uint32_t> vain_{0};
  std::atomic<uint32_t> skipped_{0};
};

}  // namespace fusewire::abi
