// Slab caches of the kernel's half: fixed-size objects out of pages from Host, made at Module::init, freed at exit.
// "kmalloc" is a row of them by size class; it serves names, coroutine frames and reply buffers.
// Thread rule: any thread; every cache has its own lock, since the connections of a Module share the caches.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "kernel/host.h"
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
  struct Page {
    Page* next;
    size_t bytes;
  };

  bool grow();

  Host* host_ = nullptr;
  const char* name_ = "";
  size_t object_size_ = 0;
  std::atomic<size_t> in_use_{0};
  Mutex lock_;
  Free* free_ = nullptr;
  Page* pages_ = nullptr;
};

// Size classes 64 B .. 8 KiB from slabs, larger straight from Host pages. free needs the size again, as sized delete
// does.
class Kmalloc {
 public:
  void init(Host& host);
  void destroy();
  void* alloc(size_t bytes);
  void free(void* memory, size_t bytes);
  size_t in_use() const;  // objects out, of all classes and of pages

 private:
  static constexpr size_t classes = 8;  // 64, 128, 256, 512, 1024, 2048, 4096, 8192
  static constexpr size_t smallest = 64;
  static constexpr size_t largest = smallest << (classes - 1);

  static size_t class_of(size_t bytes);

  Host* host_ = nullptr;
  SlabCache cache_[classes];
  std::atomic<size_t> big_in_use_{0};
};

}  // namespace fusewire::kernel
