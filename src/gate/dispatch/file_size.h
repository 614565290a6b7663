// RLIMIT_FSIZE of the process, for the half to judge by: the limit is remembered, since a write must not cost a system
// call more. Whoever changes it through a call of this process is seen at once. Another process's prlimit is seen by
// the next call that is long or rare anyway (truncate, fallocate, a long transfer), or after a few writes. Thread rule:
// any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace fusewire::gate {

class FileSizeLimit {
 public:
  // In bytes; UINT64_MAX: none. As known.
  uint64_t known() const { return limit_.load(std::memory_order_relaxed); }
  // Before a write: asks the kernel at the first and each so many-th time.
  void look_now_and_then() {
    if (uses_.fetch_add(1, std::memory_order_relaxed) % writes_between == 0) look();
  }
  void look();
  // Another process stands here from now on.
  void forget() { uses_ = 0; }

 private:
  static constexpr uint32_t writes_between = 16;

  std::atomic<uint64_t> limit_{UINT64_MAX};
  std::atomic<uint32_t> uses_{0};
};

// What the kernel does to who runs into the limit: SIGXFSZ to the thread, as from itself.
void send_file_size_signal();

}  // namespace fusewire::gate
