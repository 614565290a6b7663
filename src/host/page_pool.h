// PagePool: the pages of the kernel's half. Slabs come out of chunks, lowest address first, so that a million of them
// are no million mappings; what is freed goes back to the kernel at once, and a chunk with its last slab.
// Thread rule: any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>

namespace fusewire::host {

class PagePool {
 public:
  PagePool() = default;
  ~PagePool();
  PagePool(const PagePool&) = delete;

  // As kernel::Host has it.
  void* alloc(size_t bytes);
  void free(void* pages, size_t bytes);
  // Handed out now.
  size_t bytes_out() const;

 private:
  static constexpr size_t slab_bytes = 16 * 1024, chunk_slabs = 64, chunk_bytes = chunk_slabs * slab_bytes;

  void* take_slab();
  void give_slab(void* slab);

  mutable std::mutex mutex_;
  std::map<uintptr_t, uint64_t> chunks_;  // by address: a bit for each slab that is free
  std::set<uintptr_t> open_;              // those that have any
  size_t bytes_out_ = 0;
};

}  // namespace fusewire::host
