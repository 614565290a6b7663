// Host: everything the kernel's half needs from outside (D1). One object per Module, given to its factory and
// outliving it. A test, the host process and, later, a foreign daemon's process each bring their own.
//
// Thread rule: every method may be called from any thread that drives the half; wait and wake concurrently.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace fusewire::kernel {

struct TraceEvent;

class Host {
 public:
  // CLOCK_MONOTONIC, nanoseconds. Timeouts of entries and attributes are measured with it.
  virtual uint64_t now() = 0;
  // CLOCK_REALTIME, nanoseconds since the epoch.
  virtual uint64_t wall_clock() = 0;
  // Zeroed memory, page aligned; bytes is a multiple of 4096. Powers of two up to aligned_bytes are aligned to
  // themselves. nullptr when there is none.
  static constexpr size_t aligned_bytes = 64 * 1024;
  static constexpr bool is_aligned(size_t bytes) { return bytes <= aligned_bytes && (bytes & (bytes - 1)) == 0; }
  virtual void* alloc_pages(size_t bytes) = 0;
  virtual void free_pages(void* pages, size_t bytes) = 0;
  // How many bytes the names of one mount may take that nobody uses, while all its cached names take `used`. Asked
  // now and then, since it depends on what memory there is.
  virtual uint64_t names_may_take(uint64_t used) = 0;
  virtual uint64_t random() = 0;
  // Sleeps while word holds value; may return early. Used by the connection lock only.
  virtual void wait(std::atomic<uint32_t>& word, uint32_t value) = 0;
  virtual void wake_one(std::atomic<uint32_t>& word) = 0;
  // One step of a request (trace.h); called only while Connection::tracing is on.
  virtual void trace(const TraceEvent& event) = 0;
  // A rule of the half itself is broken (a bug, never bad input). Must not return.
  [[noreturn]] virtual void panic(const char* what) = 0;

 protected:
  ~Host() = default;
};

}  // namespace fusewire::kernel
