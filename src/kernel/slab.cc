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
constexpr size_t slab_bytes = 16 * 1024;
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
}

void SlabCache::destroy() {
  if (in_use() != 0) panic_not_empty(*host_, name_);
  while (pages_) {
    Page* page = pages_;
    pages_ = page->next;
    ASAN_UNPOISON_MEMORY_REGION(page, page->bytes);
    host_->free_pages(page, page->bytes);
  }
  free_ = nullptr;
}

bool SlabCache::grow() {
  const size_t needed = sizeof(Page) + objects_at_least * object_size_;
  const size_t bytes = needed <= slab_bytes ? slab_bytes : round_up(needed, page_bytes);
  char* memory = static_cast<char*>(host_->alloc_pages(bytes));
  if (!memory) return false;
  pages_ = ::new (memory) Page{pages_, bytes};
  for (size_t at = sizeof(Page); at + object_size_ <= bytes; at += object_size_) {
    free_ = ::new (memory + at) Free{free_};
    ASAN_POISON_MEMORY_REGION(memory + at, object_size_);
  }
  return true;
}

void* SlabCache::alloc() {
  LockGuard guard(lock_, *host_);
  if (!free_ && !grow()) return nullptr;
  Free* object = free_;
  ASAN_UNPOISON_MEMORY_REGION(object, object_size_);
  free_ = object->next;
  in_use_.fetch_add(1, std::memory_order_relaxed);
  return object;
}

void SlabCache::free(void* object) {
  LockGuard guard(lock_, *host_);
  free_ = ::new (object) Free{free_};
  ASAN_POISON_MEMORY_REGION(object, object_size_);
  in_use_.fetch_sub(1, std::memory_order_relaxed);
}

void Kmalloc::init(Host& host) {
  static constexpr const char* names[classes] = {"kmalloc-64",   "kmalloc-128",  "kmalloc-256",  "kmalloc-512",
                                                 "kmalloc-1024", "kmalloc-2048", "kmalloc-4096", "kmalloc-8192"};
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
