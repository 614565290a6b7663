#include "gate/dispatch/vectors.h"

#include <errno.h>

#include "abi/ring.h"
#include "gate/gate.h"

namespace fusewire::gate {

namespace {

constexpr long vectors_max = 1024;  // UIO_MAXIOV
constexpr size_t page_size = 4096;

// Page by page up to the one that faults: the bytes copied. `there` is the program's side of the copy.
size_t copy_whole_pages(void* to, const void* from, const void* there, size_t bytes) {
  size_t done = 0;
  while (done < bytes) {
    const size_t in_page = page_size - (reinterpret_cast<uintptr_t>(there) + done) % page_size;
    const size_t n = in_page < bytes - done ? in_page : bytes - done;
    if (copy_from_program(static_cast<char*>(to) + done, static_cast<const char*>(from) + done, n) != 0) break;
    done += n;
  }
  return done;
}

}  // namespace

Vectors Vectors::single(void* base, size_t bytes) {
  Vectors v;
  v.total_ = bytes < abi::transfer_bytes_max ? bytes : size_t{abi::transfer_bytes_max};
  v.current_ = {base, v.total_};
  return v;
}

Vectors Vectors::array(const iovec* vectors, long count) {
  Vectors v;
  v.is_array_ = true;
  if (count < 0 || count > vectors_max) {
    v.error_ = -EINVAL;
    return v;
  }
  for (long i = 0; i < count; i++) {
    iovec one;
    if (copy_from_program(&one, vectors + i, sizeof one) != 0) {
      v.error_ = -EFAULT;
      return v;
    }
    if (static_cast<ptrdiff_t>(one.iov_len) < 0) {
      v.error_ = -EINVAL;
      return v;
    }
    const size_t room = abi::transfer_bytes_max - v.total_;
    v.total_ += one.iov_len < room ? one.iov_len : room;
  }
  v.next_ = vectors;
  v.left_ = count;
  return v;
}

bool Vectors::load_next() {
  while (current_.iov_len == 0) {
    if (left_ == 0) return false;
    if (copy_from_program(&current_, next_, sizeof current_) != 0) return false;
    next_++;
    left_--;
  }
  return true;
}

long Vectors::move(void* to, const void* from, size_t bytes) {
  size_t done = 0;
  while (done < bytes && load_next()) {
    const size_t n = current_.iov_len < bytes - done ? current_.iov_len : bytes - done;
    void* const target = to != nullptr ? static_cast<char*>(to) + done : current_.iov_base;
    const void* const source = to != nullptr ? current_.iov_base : static_cast<const char*>(from) + done;
    if (copy_to_program(target, source, n) != 0) {
      done += copy_whole_pages(target, source, current_.iov_base, n);
      return done == 0 ? -EFAULT : static_cast<long>(done);
    }
    current_.iov_base = static_cast<char*>(current_.iov_base) + n;
    current_.iov_len -= n;
    done += n;
  }
  return static_cast<long>(done);
}

}  // namespace fusewire::gate
