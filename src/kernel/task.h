// Task<T>: a system call in the kernel's half, as a coroutine (D2). co_await on a Task runs it and yields its T.
// A Task starts when it is awaited, or when start() hands it to the driver. A frame comes from the Kmalloc of the first
// coroutine parameter (for a member function: the object) that has a kmalloc(); when there is no memory, the Task is
// empty and awaiting it yields ENOMEM, so T must be a Result<...>.
//
// Thread rule: a Task runs under the connection lock of the connection it belongs to.
#pragma once

#include <coroutine>
#include <cstddef>
#include <optional>
#include <utility>

#include "kernel/errno.h"
#include "kernel/slab.h"

// GCC 12 takes a promise's operator new with the coroutine's parameters for one that its operator delete does not
// match, and says so at every coroutine: the rest of the translation unit must not hear it.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace fusewire::kernel {

template <typename A>
concept has_kmalloc = requires(A& a) {
  { a.kmalloc() } -> std::same_as<Kmalloc&>;
};

// The frame's allocator, stored behind the frame, so that operator delete finds it.
struct FrameAllocation {
  template <typename... A>
  static void* allocate(size_t bytes, A&... args) noexcept {
    Kmalloc* kmalloc = nullptr;
    (pick(kmalloc, args), ...);
    static_assert((has_kmalloc<std::remove_cvref_t<A>> || ...), "a coroutine needs a parameter with kmalloc()");
    const size_t whole = round_up(bytes) + sizeof(Kmalloc*);
    char* memory = static_cast<char*>(kmalloc->alloc(whole));
    if (memory) *reinterpret_cast<Kmalloc**>(memory + round_up(bytes)) = kmalloc;
    return memory;
  }
  static void release(void* frame, size_t bytes) noexcept {
    Kmalloc* kmalloc = *reinterpret_cast<Kmalloc**>(static_cast<char*>(frame) + round_up(bytes));
    kmalloc->free(frame, round_up(bytes) + sizeof(Kmalloc*));
  }

 private:
  static constexpr size_t round_up(size_t bytes) { return (bytes + 7) & ~size_t{7}; }
  template <typename A>
  static void pick(Kmalloc*& kmalloc, A& arg) noexcept {
    // An incomplete type has no kmalloc() here and one elsewhere: the two instances would be taken for the same.
    static_assert(sizeof(std::remove_cvref_t<A>) > 0, "a coroutine's parameters must be of complete types");
    if constexpr (has_kmalloc<std::remove_cvref_t<A>>)
      if (!kmalloc) kmalloc = &const_cast<std::remove_cvref_t<A>&>(arg).kmalloc();
  }
};

template <typename T>
class [[nodiscard]] Task {
 public:
  struct promise_type {
    std::coroutine_handle<> continuation;
    std::optional<T> value;

    template <typename... A>
    static void* operator new(size_t bytes, A&&... args) noexcept {
      return FrameAllocation::allocate(bytes, args...);
    }
    static void operator delete(void* frame, size_t bytes) { FrameAllocation::release(frame, bytes); }
    static Task get_return_object_on_allocation_failure() noexcept { return Task(nullptr); }
    Task get_return_object() noexcept { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    struct Final {
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> self) noexcept {
        if (self.promise().continuation) return self.promise().continuation;
        return std::noop_coroutine();
      }
      void await_resume() noexcept {}
    };
    Final final_suspend() noexcept { return {}; }
    template <typename U>
    void return_value(U&& result) {
      value.emplace(std::forward<U>(result));
    }
    void unhandled_exception() noexcept { __builtin_trap(); }
  };

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  // Runs until the first suspension. For drivers; under the connection lock (Connection::Entry).
  void start() {
    if (handle_) handle_.resume();
  }
  bool done() const { return !handle_ || handle_.done(); }
  // The value, once done().
  T take() { return handle_ ? std::move(*handle_.promise().value) : T(std::unexpect, Errno::enomem); }

  bool await_ready() const noexcept { return !handle_; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
    handle_.promise().continuation = caller;
    return handle_;
  }
  T await_resume() { return take(); }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace fusewire::kernel
