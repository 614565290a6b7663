// A lock between threads of all processes that share this memory.
#pragma once

#include <asm/unistd.h>

#include <atomic>

#include "gate/gate.h"

namespace fusewire::gate {

// Whether no thread of this number makes a step any more: a zombie's neither. Only numbers of our own PID namespace.
bool has_ended(int thread);

// For a few hundred instructions at most. Its holder must not be interruptible by a handler that takes it: hold it only
// with signals blocked or on a gate stack. Processes that share this memory are killed one by one, so who waits for a
// lock takes it over from a holder that has ended.
class SpinLock {
 public:
  // True: taken over. What it guards may be half done.
  bool lock() {
    const auto self = static_cast<int>(raw_syscall(__NR_gettid));
    int holder = 0;
    for (int waits = 1; !holder_.compare_exchange_strong(holder, self, std::memory_order_acquire);
         waits++, holder = 0) {
      for (int i = 0; i < 100 && holder_.load(std::memory_order_relaxed) != 0; i++) __builtin_ia32_pause();
      if (holder_.load(std::memory_order_relaxed) == 0) continue;
      if (waits % patience == 0 && take_over(holder, self)) return true;
      raw_syscall(__NR_sched_yield);
    }
    return false;
  }
  void unlock() { holder_.store(0, std::memory_order_release); }
  // In the child of fork: whoever held it stayed behind.
  void reset() { holder_.store(0, std::memory_order_relaxed); }

 private:
  static constexpr int patience = 1000;

  bool take_over(int holder, int self) {
    return holder != 0 && has_ended(holder) && holder_.compare_exchange_strong(holder, self, std::memory_order_acquire);
  }

  std::atomic<int> holder_{0};  // its number; 0: nobody
};

class Locked {
 public:
  explicit Locked(SpinLock& lock) : lock_(lock), taken_over_(lock.lock()) {}
  ~Locked() { lock_.unlock(); }
  Locked(const Locked&) = delete;
  bool taken_over() const { return taken_over_; }

 private:
  SpinLock& lock_;
  const bool taken_over_;
};

}  // namespace fusewire::gate
