// Records of processes in one memory.
#include "gate/dispatch/process.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fusewire::gate {
namespace {

// The number of a process that was, in the record as the kernel writes it.
void run_and_die(Process& guest) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ASSERT_EQ(child, ::waitpid(child, nullptr, 0));
  guest.pid = child;
}

class Guests : public testing::Test {
 protected:
  void SetUp() override { process_start(); }
  static Process* prepare(bool is_awaited) {
    return prepare_guest({.shares_descriptors = false, .is_awaited = is_awaited, .is_numbered = true});
  }
};

TEST_F(Guests, a_guest_that_is_awaited_is_ended_by_who_waits_alone) {
  Process* first = prepare(true);
  run_and_die(*first);
  Process* second = prepare(true);
  EXPECT_NE(first, second) << "its parent would end another one's record";
  end_guest(*first);
  end_guest(*second);
  Process* third = prepare(true);
  EXPECT_TRUE(third == first || third == second);
  end_guest(*third);
}

TEST_F(Guests, a_guest_that_nobody_awaits_is_ended_when_it_is_gone) {
  Process* first = prepare(false);
  run_and_die(*first);
  Process* second = prepare(true);
  EXPECT_EQ(first, second);
  end_guest(*second);
}

TEST_F(Guests, a_guest_whose_waiting_parent_is_gone_is_ended_too) {
  Process* first = prepare(true);
  run_and_die(*first);
  first->awaited_by = first->pid.load();
  Process* second = prepare(true);
  EXPECT_EQ(first, second);
  end_guest(*second);
}

}  // namespace
}  // namespace fusewire::gate
