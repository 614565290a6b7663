// Waitq: where coroutines sleep. wake moves sleepers to a ReadyList; they run when the entry that woke them ends
// (Connection::Entry), never inside wake itself: so a waker finishes its own work first, as with a run queue.
// Thread rule: under the connection lock. A sleeper's Waiter lives in its coroutine frame.
#pragma once

#include <coroutine>

#include "kernel/intrusive.h"

namespace fusewire::kernel {

struct Waiter : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  std::coroutine_handle<> coroutine;
};
using WaiterList = boost::intrusive::list<Waiter, boost::intrusive::constant_time_size<false>>;

// Coroutines that may run; drained by Connection::Entry.
class ReadyList {
 public:
  void push(Waiter& waiter) { list_.push_back(waiter); }
  bool empty() const { return list_.empty(); }
  // Who waits for a SleepLock (local_wait.h), first come first: one list for all locks of the connection, so that a
  // lock, of which every inode has one, is a word.
  WaiterList& lock_waiters() { return lock_waiters_; }
  void run() {
    while (!list_.empty()) {
      Waiter& next = list_.front();
      list_.pop_front();
      next.coroutine.resume();
    }
  }

 private:
  WaiterList list_, lock_waiters_;
};

class Waitq {
 public:
  explicit Waitq(ReadyList& ready) : ready_(ready) {}
  Waitq(const Waitq&) = delete;

  // co_await waitq.sleep(): suspends until woken. The caller tests its condition again afterwards.
  auto sleep() {
    struct Awaiter : Waiter {
      Waitq& waitq;
      explicit Awaiter(Waitq& q) : waitq(q) {}
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> self) noexcept {
        coroutine = self;
        waitq.sleepers_.push_back(*this);
      }
      void await_resume() const noexcept {}
    };
    return Awaiter(*this);
  }
  void wake_one() {
    if (sleepers_.empty()) return;
    Waiter& waiter = sleepers_.front();
    sleepers_.pop_front();
    ready_.push(waiter);
  }
  void wake_all() {
    while (!sleepers_.empty()) wake_one();
  }
  bool empty() const { return sleepers_.empty(); }

 private:
  ReadyList& ready_;
  WaiterList sleepers_;
};

}  // namespace fusewire::kernel
