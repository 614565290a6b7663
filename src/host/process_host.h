// ProcessHost: what the kernel's half needs from an ordinary process (kernel::Host): clocks, pages, random, futex.
// Thread rule: as kernel::Host; trace is called by the one thread of a host process.
#pragma once

#include <unordered_map>

#include "host/page_pool.h"
#include "host/trace_writer.h"
#include "kernel/host.h"

namespace fusewire::host {

class ProcessHost final : public kernel::Host {
 public:
  explicit ProcessHost(TraceWriter& traces) : traces_(traces) {}

  uint64_t now() override;
  uint64_t wall_clock() override;
  void* alloc_pages(size_t bytes) override;
  void free_pages(void* pages, size_t bytes) override;
  uint64_t names_may_take(uint64_t used) override;
  uint64_t random() override;
  void wait(std::atomic<uint32_t>& word, uint32_t value) override;
  void wake_one(std::atomic<uint32_t>& word) override;
  void trace(const kernel::TraceEvent& event) override;
  [[noreturn]] void panic(const char* what) override;

  // The system call that a thread is in, for its call and returned steps.
  void set_traced_call(uint32_t pid, const TracedCall& call) { traced_calls_.insert_or_assign(pid, call); }
  void forget_traced_call(uint32_t pid) { traced_calls_.erase(pid); }
  // What the half has of memory.
  size_t bytes_out() const { return pages_.bytes_out(); }

 private:
  std::unordered_map<uint32_t, TracedCall> traced_calls_;
  TraceWriter& traces_;
  PagePool pages_;
};

}  // namespace fusewire::host
