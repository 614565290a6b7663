// The rule book of signals (K050-K056).
#include "kernel/local_wait.h"
#include "support/kernel_fixture.h"

namespace fusewire::test {
namespace {

using kernel::Errno;
using wire::Opcode;

class InterruptTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    mount_and_init();
    call = RawCall::lookup(*connection, "file");
  }
  void TearDown() override {
    if (call && call->done_locked() == false && unique) daemon->reply_error(unique, Errno::eintr);
    call.reset();
    KernelTest::TearDown();
  }
  void send() {
    call->start();
    unique = daemon->next(Opcode::lookup).header.unique;
  }
  int interrupt_reply(int32_t negative_error, const Bytes& payload = {}) {
    return errno_of(daemon->try_reply(unique | wire::interrupt_bit, payload, negative_error));
  }

  std::unique_ptr<RawCall> call;
  uint64_t unique = 0;
};

TEST_F(InterruptTest, signal_after_the_read_sends_interrupt_and_the_caller_waits_on) {
  send();
  call->interrupt();
  const auto request = daemon->next(Opcode::interrupt);
  EXPECT_EQ(request.header.len, 48u);
  EXPECT_EQ(request.header.nodeid, 0u);
  EXPECT_EQ(request.header.unique, unique + 1);
  EXPECT_EQ(request.header.uid | request.header.pid, 0u);
  EXPECT_EQ(request.as<wire::InterruptIn>().unique, unique);
  EXPECT_FALSE(call->done());
  daemon->reply_error(unique, Errno::eintr);
  EXPECT_EQ(call->error(), as_int(Errno::eintr));
}

TEST_F(InterruptTest, signal_before_the_read_sends_interrupt_right_after_it) {
  call->start().interrupt();
  unique = daemon->next(Opcode::lookup).header.unique;
  daemon->next(Opcode::interrupt);
  EXPECT_TRUE(daemon->quiet());
}

TEST_F(InterruptTest, signal_that_came_before_the_call_marks_its_request) {
  call->interrupt();
  send();
  daemon->next(Opcode::interrupt);
}

TEST_F(InterruptTest, several_signals_send_one_interrupt_while_it_waits) {
  send();
  call->interrupt();
  call->interrupt();
  daemon->next(Opcode::interrupt);
  EXPECT_TRUE(daemon->quiet());
}

TEST_F(InterruptTest, kill_before_the_read_takes_the_request_away) {
  call->start().kill();
  EXPECT_EQ(call->error(), as_int(Errno::eintr));
  EXPECT_TRUE(daemon->quiet());
  EXPECT_EQ(connection->counters().waiting, 0u);
}

TEST_F(InterruptTest, kill_after_the_read_sends_interrupt_and_waits_for_the_reply) {
  send();
  call->kill();
  EXPECT_FALSE(call->done());
  daemon->next(Opcode::interrupt);
  daemon->reply(unique, wire::EntryOut{});
  EXPECT_EQ(call->error(), 0);
}

TEST_F(InterruptTest, killed_caller_sends_nothing_any_more) {
  call->kill();
  call->start();
  EXPECT_EQ(call->error(), as_int(Errno::eintr));
  EXPECT_TRUE(daemon->quiet());
}

TEST_F(InterruptTest, forced_request_survives_a_kill_before_the_read) {
  call = RawCall::flush(*connection);
  call->start().kill();
  unique = daemon->next(Opcode::flush).header.unique;
  daemon->next(Opcode::interrupt);
  daemon->reply(unique);
  EXPECT_EQ(call->error(), 0);
}

TEST_F(InterruptTest, reply_takes_the_waiting_interrupt_away) {
  send();
  call->interrupt();
  daemon->reply(unique, wire::EntryOut{});
  EXPECT_TRUE(daemon->quiet());
  EXPECT_EQ(call->error(), 0);
}

TEST_F(InterruptTest, signal_after_the_reply_sends_nothing) {
  send();
  daemon->reply(unique, wire::EntryOut{});
  call->interrupt();
  EXPECT_TRUE(daemon->quiet());
}

TEST_F(InterruptTest, eagain_asks_for_the_interrupt_again) {
  send();
  call->interrupt();
  daemon->next(Opcode::interrupt);
  EXPECT_EQ(interrupt_reply(-as_int(Errno::eagain)), 0);
  daemon->next(Opcode::interrupt);
  EXPECT_TRUE(daemon->quiet());
}

TEST_F(InterruptTest, enosys_ends_interrupts_for_the_connection) {
  send();
  call->interrupt();
  daemon->next(Opcode::interrupt);
  EXPECT_EQ(interrupt_reply(-as_int(Errno::enosys)), 0);
  call->interrupt();
  EXPECT_TRUE(daemon->quiet());
  auto other = RawCall::lookup(*connection, "other");
  other->start().interrupt();
  const auto request = daemon->next(Opcode::lookup);
  EXPECT_TRUE(daemon->quiet());
  daemon->reply_error(request.header.unique, Errno::enoent);
}

TEST_F(InterruptTest, other_answers_to_interrupt_are_ignored) {
  send();
  call->interrupt();
  daemon->next(Opcode::interrupt);
  EXPECT_EQ(interrupt_reply(0), 0);
  EXPECT_EQ(interrupt_reply(-5), 0);
  EXPECT_FALSE(call->done());
  EXPECT_TRUE(daemon->quiet());
}

TEST_F(InterruptTest, answer_to_interrupt_with_payload_is_einval) {
  send();
  call->interrupt();
  daemon->next(Opcode::interrupt);
  EXPECT_EQ(interrupt_reply(0, Bytes(8)), as_int(Errno::einval));
  EXPECT_FALSE(call->done());
}

TEST_F(InterruptTest, answer_to_interrupt_after_the_reply_is_enoent) {
  send();
  call->interrupt();
  daemon->next(Opcode::interrupt);
  daemon->reply(unique, wire::EntryOut{});
  EXPECT_EQ(interrupt_reply(-as_int(Errno::eagain)), as_int(Errno::enoent));
}

TEST_F(InterruptTest, eagain_without_an_interrupt_is_einval) {
  send();
  EXPECT_EQ(interrupt_reply(-as_int(Errno::eagain)), as_int(Errno::einval));
  EXPECT_TRUE(daemon->quiet());
}

TEST_F(InterruptTest, resend_takes_the_waiting_interrupt_away_until_the_request_is_read_again) {
  send();
  call->interrupt();
  ASSERT_TRUE(daemon->notify(wire::NotifyCode::resend).has_value());
  unique = daemon->next(Opcode::lookup).header.unique;
  const auto request = daemon->next(Opcode::interrupt);
  EXPECT_EQ(request.as<wire::InterruptIn>().unique, unique);
}

// A call that sleeps inside the half, for something local.
kernel::Task<kernel::Result<int>> sleep_locally(kernel::Connection& connection, kernel::LocalWaitq& waitq,
                                                kernel::Caller& caller) {
  co_await waitq.sleep(connection.ready(), caller);
  co_return caller.killed || caller.interrupted ? 1 : 0;
}
kernel::Task<kernel::Result<int>> lock_exclusively(kernel::Connection& connection, kernel::SleepLock& lock,
                                                   kernel::Caller& caller) {
  auto guard = co_await lock.exclusive(connection.ready(), caller);
  if (!guard) co_return kernel::error(guard.error());
  co_return 0;
}

TEST_F(InterruptTest, signal_and_kill_end_a_sleep_inside_the_half) {
  for (const bool kill : {false, true}) {
    kernel::LocalWaitq waitq;
    kernel::Caller caller;
    kernel::Connection::Entry entry(*connection);
    auto task = sleep_locally(*connection, waitq, caller);
    task.start();
    EXPECT_FALSE(task.done());
    kill ? connection->kill(caller) : connection->interrupt(caller);
    connection->ready().run();
    ASSERT_TRUE(task.done());
    EXPECT_EQ(*task.take(), 1);
  }
}

TEST_F(InterruptTest, only_a_kill_ends_the_wait_for_a_sleep_lock) {
  kernel::SleepLock lock;
  kernel::Caller holder, waiter;
  kernel::Connection::Entry entry(*connection);
  auto held = lock.shared(connection->ready(), holder);
  ASSERT_TRUE(held.await_ready());
  auto guard = held.await_resume();
  auto task = lock_exclusively(*connection, lock, waiter);
  task.start();
  connection->interrupt(waiter);
  connection->ready().run();
  EXPECT_FALSE(task.done());
  connection->kill(waiter);
  connection->ready().run();
  ASSERT_TRUE(task.done());
  EXPECT_EQ(task.take().error(), Errno::eintr);
}

}  // namespace
}  // namespace fusewire::test
