// RawHost: the kernel's half's Host over raw system calls. Thread rule: any thread.
#pragma once

#include "kernel/host.h"
#include "platform.h"

namespace fusewire::freestanding {

class RawHost final : public kernel::Host {
 public:
  uint64_t now() override { return clock(clock_monotonic); }
  uint64_t wall_clock() override { return clock(clock_realtime); }
  void* alloc_pages(size_t bytes) override;
  uint64_t names_may_take(uint64_t) override { return UINT64_MAX; }
  void free_pages(void* pages, size_t bytes) override;
  uint64_t random() override;
  void wait(std::atomic<uint32_t>& word, uint32_t value) override;
  void wake_one(std::atomic<uint32_t>& word) override;
  void trace(const kernel::TraceEvent&) override {}
  [[noreturn]] void panic(const char* what) override;

  size_t bytes_out() const { return bytes_out_; }

 private:
  static constexpr long clock_realtime = 0, clock_monotonic = 1;
  static uint64_t clock(long id);
  std::atomic<size_t> bytes_out_{0};
};

}  // namespace fusewire::freestanding
