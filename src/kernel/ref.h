// Ref<T>: a counted hold on an object of the caches (Inode, Dentry). T counts in ref() and unref().
// Thread rule: under the connection lock. A coroutine that keeps an object across a co_await holds a Ref of it.
#pragma once

#include <utility>

namespace fusewire::kernel {

template <typename T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T& object) : object_(&object) { object.ref(); }
  Ref(const Ref& other) : object_(other.object_) {
    if (object_) object_->ref();
  }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) object_->unref();
  }

  T* get() const { return object_; }
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

}  // namespace fusewire::kernel
