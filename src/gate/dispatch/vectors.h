// A program's iovec array, walked byte by byte of what it names; nothing of it is trusted or kept.
#pragma once

#include <sys/uio.h>

#include <cstddef>

namespace fusewire::gate {

class Vectors {
 public:
  // One buffer of the program's.
  static Vectors single(void* base, size_t bytes);
  // An array of them. error(): -EINVAL for a bad count or length, -EFAULT.
  static Vectors array(const iovec* vectors, long count);

  long error() const { return error_; }
  bool is_empty_array() const { return is_array_ && total_ == 0; }
  size_t total() const { return total_; }  // as the kernel cuts it: at most MAX_RW_COUNT

  // Copies up to `bytes` on from where the last copy ended, and up to the first page that cannot be. The bytes copied,
  // or -EFAULT when there were none.
  long gather(void* to, size_t bytes) { return move(to, nullptr, bytes); }
  long scatter(const void* from, size_t bytes) { return move(nullptr, from, bytes); }

 private:
  long move(void* to, const void* from, size_t bytes);
  bool load_next();

  const iovec* next_ = nullptr;
  long left_ = 0;
  iovec current_{};
  size_t total_ = 0;
  bool is_array_ = false;
  long error_ = 0;
};

}  // namespace fusewire::gate
