// Locks between processes that share memory and are killed one by one.
#include "gate/machinery/lock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <new>
#include <thread>

namespace fusewire::gate {
namespace {

// In memory that children share.
class LockTest : public testing::Test {
 protected:
  LockTest() {
    void* at = ::mmap(nullptr, sizeof(SpinLock), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    lock = new (at) SpinLock;
  }
  ~LockTest() override {
    ::munmap(lock, sizeof(SpinLock));
    if (holder > 0) ::kill(holder, SIGKILL), ::waitpid(holder, nullptr, 0);
  }

  // A child that takes the lock and stops.
  void have_it_held() {
    holder = ::fork();
    if (holder == 0) {
      lock->lock();
      ::raise(SIGSTOP);
      lock->unlock();
      ::pause();
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(holder, ::waitpid(holder, &status, WUNTRACED));
    ASSERT_TRUE(WIFSTOPPED(status));
  }

  // It stays a zombie.
  void kill_the_holder() const {
    ::kill(holder, SIGKILL);
    siginfo_t info{};
    ASSERT_EQ(0, ::waitid(P_PID, static_cast<id_t>(holder), &info, WEXITED | WNOWAIT));
  }

  SpinLock* lock;
  pid_t holder = -1;
};

TEST_F(LockTest, a_free_lock_is_not_taken_over) {
  EXPECT_FALSE(lock->lock());
  lock->unlock();
  EXPECT_FALSE(lock->lock());
}

TEST_F(LockTest, a_lock_of_a_killed_holder_is_taken_over_although_nobody_has_waited_for_it) {
  have_it_held();
  kill_the_holder();
  EXPECT_TRUE(lock->lock());
  lock->unlock();
  EXPECT_FALSE(lock->lock());
}

TEST_F(LockTest, a_holder_that_is_killed_while_others_wait_is_followed_by_one_of_them) {
  have_it_held();
  std::atomic<int> taken_over{0}, taken{0};
  const auto take = [&] {
    taken_over += lock->lock() ? 1 : 0;
    taken++;
    lock->unlock();
  };
  std::thread one(take), two(take);
  kill_the_holder();
  one.join(), two.join();
  EXPECT_EQ(2, taken);
  EXPECT_EQ(1, taken_over);
}

TEST_F(LockTest, a_stopped_holder_has_not_ended) {
  have_it_held();
  EXPECT_FALSE(has_ended(holder));
  std::thread waiter([&] {
    EXPECT_FALSE(lock->lock());
    lock->unlock();
  });
  ::kill(holder, SIGCONT);
  waiter.join();
  kill_the_holder();
  EXPECT_TRUE(has_ended(holder));
}

TEST_F(LockTest, a_number_that_nobody_has_has_ended) {
  have_it_held();
  ::kill(holder, SIGKILL);
  ::waitpid(holder, nullptr, 0);
  EXPECT_TRUE(has_ended(holder));
  holder = -1;
}

}  // namespace
}  // namespace fusewire::gate
