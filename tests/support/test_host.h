// TestHost: a Host for tests: memory from malloc, a clock that the test sets, recorded trace events, panic aborts with
// its message. Counts pages that are out, and can refuse to give more.
// Thread rule: any thread.
#pragma once

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "kernel/host.h"
#include "kernel/trace.h"

namespace fusewire::test {

inline constexpr uint64_t nanoseconds_per_second = 1'000'000'000;

// A TraceEvent that owns its name.
struct RecordedEvent : kernel::TraceEvent {
  std::string text;
};

class TestHost final : public kernel::Host {
 public:
  ~TestHost() = default;

  // The monotonic clock stands still until the test moves it.
  void advance(uint64_t nanoseconds) { clock_ += nanoseconds; }
  void advance_seconds(uint64_t seconds) { advance(seconds * nanoseconds_per_second); }

  // No more than this many further alloc_pages succeed.
  void limit_allocations(uint64_t count) { allocations_left_ = count; }
  // What names_may_take says.
  uint64_t names_bound = UINT64_MAX;
  uint64_t bytes_out() const { return bytes_out_; }

  std::vector<RecordedEvent> events() const {
    std::lock_guard guard(mutex_);
    return events_;
  }
  void clear_events() {
    std::lock_guard guard(mutex_);
    events_.clear();
  }

  uint64_t now() override { return clock_; }
  uint64_t wall_clock() override { return wall_clock_start + clock_; }
  void* alloc_pages(size_t bytes) override {
    if (bytes % 4096 != 0) panic("alloc_pages: not whole pages");
    uint64_t left = allocations_left_;
    do {
      if (left == 0) return nullptr;
    } while (!allocations_left_.compare_exchange_weak(left, left - 1));
    void* pages = std::aligned_alloc(is_aligned(bytes) ? bytes : 4096, bytes);
    std::memset(pages, 0, bytes);
    bytes_out_ += bytes;
    return pages;
  }
  void free_pages(void* pages, size_t bytes) override {
    bytes_out_ -= bytes;
    std::free(pages);
  }
  // Run once, in place of the next sleep on a lock, and before the next wake-up of one. For tests that must be in the
  // middle of something; single-threaded.
  std::function<void()> instead_of_wait, before_wake;

  uint64_t names_may_take(uint64_t) override { return names_bound; }
  // The same numbers in every run.
  uint64_t random() override { return (random_ += 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9; }
  void wait(std::atomic<uint32_t>& word, uint32_t value) override {
    if (instead_of_wait) return std::exchange(instead_of_wait, nullptr)();
    word.wait(value);
  }
  void wake_one(std::atomic<uint32_t>& word) override {
    if (before_wake) std::exchange(before_wake, nullptr)();
    word.notify_one();
  }
  void trace(const kernel::TraceEvent& event) override {
    RecordedEvent recorded{event, event.name ? event.name : ""};
    recorded.name = nullptr;
    std::lock_guard guard(mutex_);
    events_.push_back(recorded);
  }
  [[noreturn]] void panic(const char* what) override {
    std::fprintf(stderr, "panic: %s\n", what);
    std::abort();
  }

 private:
  static constexpr uint64_t wall_clock_start = 1'700'000'000 * nanoseconds_per_second;
  std::atomic<uint64_t> clock_{1000 * nanoseconds_per_second};
  std::atomic<uint64_t> random_{0};
  std::atomic<uint64_t> allocations_left_{UINT64_MAX};
  std::atomic<uint64_t> bytes_out_{0};
  mutable std::mutex mutex_;
  std::vector<RecordedEvent> events_;
};

}  // namespace fusewire::test
