#include "kernel/slab.h"

#include <bit>

#if defined(__SANITIZE_ADDRESS__) && __STDC_HOSTED__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(memory, bytes) (void(memory), void(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(memory, bytes) (void(memory), void(bytes))
#endif

namespace fusewire::kernel {

namespace {

constexpr size_t page_bytes = 4096;
constexpr size_t small_slab_bytes = 16 * 1024, large_slab_bytes = 64 * 1024;
static_assert(Host::is_aligned(small_slab_bytes) && Host::is_aligned(large_slab_bytes));
constexpr size_t head_bytes = 32;  // of a slab
constexpr size_t objects_at_least = 4;

constexpr size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Says which cache is not empty; the message lives until panic has printed it.
[[noreturn]] void panic_not_empty(Host& host, const char* name) {
  char message[96] = "slab is not empty at exit: ";
  size_t length = __builtin_strlen(message);
  for (const char* c = name; *c && length + 1 < sizeof(message); ++c) message[length++] = *c;
  message[length] = '\0';
  host.panic(message);
  __builtin_trap();
}

}  // namespace

void SlabCache::init(Host& host, const char* name, size_t object_size) {
  host_ = &host;
  name_ = name;
  object_size_ = round_up(object_size, 16);
  slab_bytes_ = head_bytes + objects_at_least * object_size_ <= small_slab_bytes ? small_slab_bytes : large_slab_bytes;
}

void SlabCache::destroy() {
  if (in_use() != 0) panic_not_empty(*host_, name_);
  while (!usable_.empty()) give_back(usable_.front());
}

bool SlabCache::grow() {
  static_assert(sizeof(Slab) <= head_bytes);
  void* memory = host_->alloc_pages(slab_bytes_);
  if (!memory) return false;
  usable_.push_front(*::new (memory) Slab(head_bytes));
  ++empty_;
  ASAN_POISON_MEMORY_REGION(static_cast<char*>(memory) + head_bytes, slab_bytes_ - head_bytes);
  return true;
}

void SlabCache::give_back(Slab& slab) {
  usable_.erase(usable_.iterator_to(slab));
  --empty_;
  ASAN_UNPOISON_MEMORY_REGION(&slab, slab_bytes_);
  slab.~Slab();
  host_->free_pages(&slab, slab_bytes_);
}

void* SlabCache::alloc() {
  LockGuard guard(lock_, *host_);
  if (usable_.empty() && !grow()) return nullptr;
  Slab& slab = usable_.front();
  void* object = slab.free;
  if (!object) {
    object = reinterpret_cast<char*>(&slab) + slab.fresh;
    slab.fresh += static_cast<uint32_t>(object_size_);
  }
  ASAN_UNPOISON_MEMORY_REGION(object, object_size_);
  if (object == slab.free) slab.free = slab.free->next;
  if (slab.in_use++ == 0) --empty_;
  if (is_full(slab)) usable_.pop_front();
  in_use_.fetch_add(1, std::memory_order_relaxed);
  return object;
}

void SlabCache::free(void* object) {
  LockGuard guard(lock_, *host_);
  Slab& slab = *reinterpret_cast<Slab*>(reinterpret_cast<uintptr_t>(object) & ~(slab_bytes_ - 1));
  if (is_full(slab)) usable_.push_front(slab);
  slab.free = ::new (object) Free{slab.free};
  ASAN_POISON_MEMORY_REGION(object, object_size_);
  in_use_.fetch_sub(1, std::memory_order_relaxed);
  if (--slab.in_use != 0) return;
  if (++empty_ > 1) give_back(slab);
}

void Kmalloc::init(Host& host) {
  static constexpr const char* names[classes] = {"kmalloc-32",   "kmalloc-64",   "kmalloc-128",
                                                 "kmalloc-256",  "kmalloc-512",  "kmalloc-1024",
                                                 "kmalloc-2048", "kmalloc-4096", "kmalloc-8192"};
  host_ = &host;
  for (size_t i = 0; i < classes; ++i) cache_[i].init(host, names[i], smallest << i);
}

void Kmalloc::destroy() {
  for (SlabCache& cache : cache_) cache.destroy();
  if (big_in_use_ != 0) panic_not_empty(*host_, "kmalloc pages");
}

size_t Kmalloc::class_of(size_t bytes) {
  if (bytes <= smallest) return 0;
  return static_cast<size_t>(std::bit_width((bytes - 1) / smallest));
}

void* Kmalloc::alloc(size_t bytes) {
  if (bytes <= largest) return cache_[class_of(bytes)].alloc();
  if (bytes > SIZE_MAX - page_bytes) return nullptr;
  void* pages = host_->alloc_pages(round_up(bytes, page_bytes));
  if (pages) big_in_use_.fetch_add(1, std::memory_order_relaxed);
  return pages;
}

void Kmalloc::free(void* memory, size_t bytes) {
  if (!memory) return;
  if (bytes <= largest) return cache_[class_of(bytes)].free(memory);
  host_->free_pages(memory, round_up(bytes, page_bytes));
  big_in_use_.fetch_sub(1, std::memory_order_relaxed);
}

size_t Kmalloc::in_use() const {
  size_t objects = big_in_use_.load(std::memory_order_relaxed);
  for (const SlabCache& cache : cache_) objects += cache.in_use();
  return objects;
}

}  // namespace fusewire::kernel
