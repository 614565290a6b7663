// Buffer: bytes from kmalloc for the length of a scope. Empty when there was no memory.
// Thread rule: that of Kmalloc.
#pragma once

#include <cstddef>
#include <span>

#include "kernel/slab.h"

namespace fusewire::kernel {

class Buffer {
 public:
  Buffer(Kmalloc& kmalloc, size_t bytes)
      : kmalloc_(kmalloc), bytes_(bytes), data_(static_cast<std::byte*>(kmalloc.alloc(bytes))) {}
  ~Buffer() {
    if (data_) kmalloc_.free(data_, bytes_);
  }
  Buffer(const Buffer&) = delete;

  explicit operator bool() const { return data_ != nullptr; }
  std::byte* data() const { return data_; }
  std::span<std::byte> span() const { return {data_, data_ ? bytes_ : 0}; }

 private:
  Kmalloc& kmalloc_;
  size_t bytes_;
  std::byte* data_;
};

}  // namespace fusewire::kernel
