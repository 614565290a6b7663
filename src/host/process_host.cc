#include "host/process_host.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "host/memory_bound.h"
#include "host/random_bits.h"

namespace fusewire::host {
namespace {

uint64_t clock_ns(clockid_t clock) {
  timespec time;
  ::clock_gettime(clock, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

}  // namespace

uint64_t ProcessHost::now() { return clock_ns(CLOCK_MONOTONIC); }
uint64_t ProcessHost::wall_clock() { return clock_ns(CLOCK_REALTIME); }

void* ProcessHost::alloc_pages(size_t bytes) { return pages_.alloc(bytes); }
void ProcessHost::free_pages(void* pages, size_t bytes) { pages_.free(pages, bytes); }

// Without /proc nothing is known, and as little is kept as does not hurt.
uint64_t ProcessHost::names_may_take(uint64_t used) {
  constexpr uint64_t little = 64 << 20;
  const std::optional<MemoryState> memory = memory_state();
  return memory ? names_bound(*memory, used) : little;
}

uint64_t ProcessHost::random() {
  uint64_t value = 0;
  if (!random_bits(value)) panic("no random numbers: neither getrandom(2) nor /dev/urandom works");
  return value;
}

void ProcessHost::wait(std::atomic<uint32_t>& word, uint32_t value) {
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void ProcessHost::wake_one(std::atomic<uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

void ProcessHost::trace(const kernel::TraceEvent& event) {
  const auto call = traced_calls_.find(event.pid);
  traces_.write(event, call == traced_calls_.end() ? TracedCall{} : call->second);
}

void ProcessHost::panic(const char* what) {
  traces_.flush();
  std::fprintf(stderr, "fusewire host process %d: internal error: %s\n", static_cast<int>(::getpid()), what);
  std::abort();
}

}  // namespace fusewire::host
