#include "host/page_pool.h"

#include <sys/mman.h>

#include <bit>

#include "kernel/host.h"

namespace fusewire::host {
namespace {

void* map(size_t bytes) {
  void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return pages == MAP_FAILED ? nullptr : pages;
}

// bytes: a power of two. Twice as much has an aligned half.
void* map_aligned(size_t bytes) {
  char* const mapped = static_cast<char*>(map(2 * bytes));
  if (!mapped) return nullptr;
  const size_t before = -reinterpret_cast<uintptr_t>(mapped) & (bytes - 1);
  if (before != 0) ::munmap(mapped, before);
  ::munmap(mapped + before + bytes, bytes - before);
  return mapped + before;
}

constexpr uint64_t all_free = UINT64_MAX;

}  // namespace

PagePool::~PagePool() {
  for (const auto& [address, free] : chunks_) ::munmap(reinterpret_cast<void*>(address), chunk_bytes);
}

void* PagePool::alloc(size_t bytes) {
  std::lock_guard guard(mutex_);
  void* pages = nullptr;
  if (bytes == slab_bytes)
    pages = take_slab();
  else
    pages = kernel::Host::is_aligned(bytes) ? map_aligned(bytes) : map(bytes);
  if (pages) bytes_out_ += bytes;
  return pages;
}

void PagePool::free(void* pages, size_t bytes) {
  std::lock_guard guard(mutex_);
  bytes_out_ -= bytes;
  if (bytes == slab_bytes)
    give_slab(pages);
  else
    ::munmap(pages, bytes);
}

size_t PagePool::bytes_out() const {
  std::lock_guard guard(mutex_);
  return bytes_out_;
}

void* PagePool::take_slab() {
  static_assert(chunk_slabs == 64);
  if (open_.empty()) {
    void* chunk = map_aligned(chunk_bytes);
    if (!chunk) return nullptr;
    const auto address = reinterpret_cast<uintptr_t>(chunk);
    chunks_.emplace(address, all_free);
    open_.insert(address);
  }
  const uintptr_t address = *open_.begin();
  uint64_t& free = chunks_.find(address)->second;
  const auto slab = static_cast<size_t>(std::countr_zero(free));
  free &= free - 1;
  if (free == 0) open_.erase(address);
  return reinterpret_cast<void*>(address + slab * slab_bytes);
}

void PagePool::give_slab(void* slab) {
  const auto at = reinterpret_cast<uintptr_t>(slab);
  const uintptr_t address = at & ~(chunk_bytes - 1);
  const auto chunk = chunks_.find(address);
  if (chunk->second == 0) open_.insert(address);
  chunk->second |= uint64_t{1} << ((at - address) / slab_bytes);
  // One chunk stays, so that a slab that comes and goes is no mapping.
  if (chunk->second == all_free && chunks_.size() > 1) {
    ::munmap(reinterpret_cast<void*>(address), chunk_bytes);
    open_.erase(address);
    chunks_.erase(chunk);
    return;
  }
  // The next one to have it finds zeros.
  if (::madvise(slab, slab_bytes, MADV_DONTNEED) != 0) __builtin_memset(slab, 0, slab_bytes);
}

}  // namespace fusewire::host
