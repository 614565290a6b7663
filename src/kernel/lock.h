// Mutex: a lock over Host::wait and wake_one; three states, so that an uncontended lock or unlock is one atomic step.
// Not recursive: a second lock by its holder never returns.
// Thread rule: any thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "kernel/host.h"

namespace fusewire::kernel {

class Mutex {
 public:
  void lock(Host& host) {
    uint32_t expected = unlocked;
    if (!word_.compare_exchange_strong(expected, locked, std::memory_order_acquire)) lock_contended(host);
  }
  void unlock(Host& host) {
    if (word_.exchange(unlocked, std::memory_order_release) == contended) host.wake_one(word_);
  }

 private:
  static constexpr uint32_t unlocked = 0, locked = 1, contended = 2;

  void lock_contended(Host& host) {
    // Whoever has waited cannot know whether others still do: it takes the lock as contended.
    while (word_.exchange(contended, std::memory_order_acquire) != unlocked) host.wait(word_, contended);
  }

  std::atomic<uint32_t> word_{unlocked};
};

class LockGuard {
 public:
  LockGuard(Mutex& mutex, Host& host) : mutex_(mutex), host_(host) { mutex_.lock(host_); }
  ~LockGuard() { mutex_.unlock(host_); }
  LockGuard(const LockGuard&) = delete;

 private:
  Mutex& mutex_;
  Host& host_;
};

}  // namespace fusewire::kernel
