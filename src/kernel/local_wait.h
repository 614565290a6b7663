// LocalWait: a sleep of a caller inside the half that is not a wait for the daemon: for a file lock, for a directory's
// or a file's lock. Connection::interrupt and kill end it, so that no wait outlives its task.
// Thread rule: under the connection lock; the objects live in the sleeper's coroutine frame.
#pragma once

#include <utility>

#include "kernel/caller.h"
#include "kernel/errno.h"
#include "kernel/waitq.h"

namespace fusewire::kernel {

struct LocalWait {
  Waiter* waiter;
  ReadyList* ready;
  bool interruptible;  // ends at any signal, not only when the task is killed

  void end() {
    waiter->unlink();
    ready->push(*waiter);
  }
};

// Where callers sleep until something local changes; they test their condition again.
class LocalWaitq {
 public:
  // co_await sleep(ready, caller): suspends until wake_all, a signal or the end of the task.
  auto sleep(ReadyList& ready, Caller& caller) {
    struct Awaiter : Waiter {
      LocalWaitq& waitq;
      Caller& caller;
      LocalWait wait;
      Awaiter(LocalWaitq& q, ReadyList& r, Caller& c) : waitq(q), caller(c), wait{this, &r, true} {}
      bool await_ready() const noexcept { return caller.killed || caller.interrupted; }
      void await_suspend(std::coroutine_handle<> self) noexcept {
        coroutine = self;
        waitq.sleepers_.push_back(*this);
        caller.local_wait = &wait;
      }
      void await_resume() noexcept { caller.local_wait = nullptr; }
    };
    return Awaiter(*this, ready, caller);
  }
  void wake_all(ReadyList& ready) {
    while (!sleepers_.empty()) {
      Waiter& waiter = sleepers_.front();
      sleepers_.pop_front();
      ready.push(waiter);
    }
  }

 private:
  WaiterList sleepers_;
};

// SleepLock: Linux's i_rwsem: many sharers or one exclusive holder, first come first served. Ownership is handed over
// at unlock. Waiting ends with EINTR when the task is killed. All uses of one lock go by the same ReadyList, where its
// waiters stand.
class SleepLock {
 public:
  class Guard {
   public:
    Guard() = default;
    Guard(SleepLock& lock, ReadyList& ready) : lock_(&lock), ready_(&ready) {}
    Guard(Guard&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)), ready_(other.ready_) {}
    Guard& operator=(Guard&& other) noexcept {
      std::swap(lock_, other.lock_);
      std::swap(ready_, other.ready_);
      return *this;
    }
    ~Guard() {
      if (lock_) lock_->unlock(*ready_);
    }

   private:
    SleepLock* lock_ = nullptr;
    ReadyList* ready_ = nullptr;
  };

  auto shared(ReadyList& ready, Caller& caller) { return Awaiter(*this, ready, caller, false); }
  auto exclusive(ReadyList& ready, Caller& caller) { return Awaiter(*this, ready, caller, true); }
  bool idle() const { return holders_ == 0 && !waited_for_; }
  // Nobody holds it alone.
  bool shareable() const { return holders_ >= 0; }

 private:
  struct Awaiter : Waiter {
    SleepLock& lock;
    ReadyList& ready;
    Caller& caller;
    LocalWait wait;
    const bool is_exclusive;
    bool granted = false;

    Awaiter(SleepLock& l, ReadyList& r, Caller& c, bool x)
        : lock(l), ready(r), caller(c), wait{this, &r, false}, is_exclusive(x) {}
    bool await_ready() noexcept {
      granted = !lock.waited_for_ && lock.free_for(is_exclusive);
      if (granted) lock.take(is_exclusive);
      return granted || caller.killed;
    }
    void await_suspend(std::coroutine_handle<> self) noexcept {
      coroutine = self;
      lock.waited_for_ = true;
      ready.lock_waiters().push_back(*this);
      caller.local_wait = &wait;
    }
    Result<Guard> await_resume() noexcept {
      caller.local_wait = nullptr;
      if (granted) return Guard(lock, ready);
      lock.grant(ready);
      return error(Errno::eintr);
    }
  };

  bool free_for(bool is_exclusive) const { return is_exclusive ? holders_ == 0 : holders_ >= 0; }
  void take(bool is_exclusive) { holders_ = is_exclusive ? -1 : holders_ + 1; }
  void unlock(ReadyList& ready) {
    holders_ = holders_ < 0 ? 0 : holders_ - 1;
    grant(ready);
  }
  void grant(ReadyList& ready) {
    if (!waited_for_) return;
    WaiterList& waiters = ready.lock_waiters();
    for (auto it = waiters.begin(); it != waiters.end();) {
      Awaiter& next = static_cast<Awaiter&>(*it);
      if (&next.lock != this) {
        ++it;
        continue;
      }
      if (!free_for(next.is_exclusive)) return;
      take(next.is_exclusive);
      next.granted = true;
      it = waiters.erase(it);
      ready.push(next);
    }
    waited_for_ = false;
  }

  int32_t holders_ : 31 = 0;  // sharers, or -1: one exclusive holder
  // Somebody may stand in line. A killed waiter leaves the line before its coroutine runs, which looks again.
  bool waited_for_ : 1 = false;
};
static_assert(sizeof(SleepLock) == 4);

}  // namespace fusewire::kernel
