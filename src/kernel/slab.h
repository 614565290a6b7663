// Slab caches of the kernel's half: fixed-size objects out of slabs of pages from Host. An empty slab goes back to the
// Host, but for one that each cache keeps.
// "kmalloc" is a row of them by size class; it serves names, coroutine frames and reply buffers.
// Thread rule: any thread; every cache has its own lock, since the connections of a Module share the caches.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "kernel/host.h"
#include "kernel/intrusive.h"
#include "kernel/lock.h"

namespace fusewire::kernel {

class SlabCache {
 public:
  // name appears in panics and in `fusewire ps --slabs`; object_size in bytes, rounded up to 16.
  void init(Host& host, const char* name, size_t object_size);
  // Gives all pages back. Panics when objects are still out: exit proves that nothing is left.
  void destroy();
  // nullptr when the host has no pages. Memory is not zeroed; aligned to 16.
  void* alloc();
  void free(void* object);
  size_t in_use() const { return in_use_.load(std::memory_order_relaxed); }
  size_t object_size() const { return object_size_; }
  const char* name() const { return name_; }

  template <typename T, typename... A>
  T* make(A&&... args) {
    void* memory = alloc();
    return memory ? ::new (memory) T(std::forward<A>(args)...) : nullptr;
  }
  template <typename T>
  void drop(T* object) {
    object->~T();
    free(object);
  }

 private:
  struct Free {
    Free* next;
  };
  // The head of a slab, which is aligned to its size: so an object leads to it.
  struct Slab : boost::intrusive::list_base_hook<> {
    Free* free = nullptr;
    uint32_t in_use = 0;
    uint32_t fresh;  // offset of the first object that was never out
    explicit Slab(uint32_t first) : fresh(first) {}
  };
  using SlabList = boost::intrusive::list<Slab, boost::intrusive::constant_time_size<false>>;

  bool grow();
  void give_back(Slab& slab);
  bool is_full(const Slab& slab) const { return !slab.free && slab.fresh + object_size_ > slab_bytes_; }

  Host* host_ = nullptr;
  const char* name_ = "";
  size_t object_size_ = 0;
  std::atomic<size_t> in_use_{0};
  Mutex lock_;
  size_t slab_bytes_ = 0;
  SlabList usable_;   // those that are not full
  size_t empty_ = 0;  // of these
};

// Size classes 32 B .. 8 KiB from slabs, larger straight from Host pages. free needs the size again, as sized delete
// does.
class Kmalloc {
 public:
  void init(Host& host);
  void destroy();
  void* alloc(size_t bytes);
  void free(void* memory, size_t bytes);
  size_t in_use() const;  // objects out, of all classes and of pages

 private:
  static constexpr size_t classes = 9;  // 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192
  static constexpr size_t smallest = 32;
  static constexpr size_t largest = smallest << (classes - 1);

  static size_t class_of(size_t bytes);

  Host* host_ = nullptr;
  SlabCache cache_[classes];
  std::atomic<size_t> big_in_use_{0};
};

}  // namespace fusewire::kernel
