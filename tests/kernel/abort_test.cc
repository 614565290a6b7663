// The rule book of the end: abort, unmount, the last close (K010, K018, K033, K041, K042).
#include <optional>

#include "support/kernel_fixture.h"

namespace fusewire::test {
namespace {

using kernel::Errno;
using wire::Opcode;

class AbortTest : public KernelTest {
 protected:
  int read_errno() {
    Bytes buffer(1 << 18);
    return errno_of(daemon->device().read(buffer));
  }
};

TEST_F(AbortTest, abort_gives_econnaborted_to_pending_and_sent_requests) {
  mount_and_init();
  auto sent = RawCall::lookup(*connection, "sent"), pending = RawCall::lookup(*connection, "pending");
  sent->start();
  daemon->next();
  pending->start();
  abort_connection();
  EXPECT_EQ(sent->error(), as_int(Errno::econnaborted));
  EXPECT_EQ(pending->error(), as_int(Errno::econnaborted));
  EXPECT_EQ(connection->counters().waiting, 0u);
}

TEST_F(AbortTest, requests_after_the_end_get_enotconn) {
  mount_and_init();
  abort_connection();
  auto call = RawCall::lookup(*connection, "a");
  EXPECT_EQ(call->start().error(), as_int(Errno::enotconn));
  auto forced = RawCall::flush(*connection);
  EXPECT_EQ(forced->start().error(), as_int(Errno::enotconn));
}

TEST_F(AbortTest, callers_that_wait_for_init_get_enotconn) {
  mount();
  auto call = RawCall::lookup(*connection, "a");
  call->start();
  abort_connection();
  EXPECT_EQ(call->error(), as_int(Errno::enotconn));
}

TEST_F(AbortTest, abort_is_idempotent) {
  mount_and_init();
  abort_connection();
  abort_connection();
  EXPECT_EQ(read_errno(), as_int(Errno::enodev));
}

TEST_F(AbortTest, read_after_abort_is_enodev_without_abort_error) {
  mount_and_init();
  abort_connection();
  EXPECT_EQ(read_errno(), as_int(Errno::enodev));
}

TEST_F(AbortTest, read_after_abort_is_econnaborted_with_abort_error) {
  init = ScriptedDaemon::default_init(wire::init_flag::abort_error);
  mount_and_init();
  abort_connection();
  EXPECT_EQ(read_errno(), as_int(Errno::econnaborted));
}

TEST_F(AbortTest, read_after_unmount_is_enodev_even_with_abort_error) {
  init = ScriptedDaemon::default_init(wire::init_flag::abort_error);
  mount_and_init();
  unmount();
  EXPECT_EQ(read_errno(), as_int(Errno::enodev));
}

TEST_F(AbortTest, abort_after_unmount_changes_nothing) {
  init = ScriptedDaemon::default_init(wire::init_flag::abort_error);
  mount_and_init();
  unmount();
  abort_connection();
  EXPECT_EQ(read_errno(), as_int(Errno::enodev));
}

TEST_F(AbortTest, poll_after_the_end_is_pollerr_alone) {
  mount_and_init();
  abort_connection();
  EXPECT_EQ(daemon->device().poll(), 8u);
}

TEST_F(AbortTest, reply_after_the_end_is_enoent) {
  mount_and_init();
  auto call = RawCall::getattr(*connection);
  call->start();
  const auto request = daemon->next();
  abort_connection();
  EXPECT_EQ(errno_of(daemon->try_reply(request.header.unique, bytes_of(wire::AttrOut{}))), as_int(Errno::enoent));
  EXPECT_EQ(call->error(), as_int(Errno::econnaborted));
}

TEST_F(AbortTest, plain_unmount_sends_no_forget_and_no_destroy) {
  mount_and_init();
  forget(5, 1);
  unmount();
  EXPECT_EQ(read_errno(), as_int(Errno::enodev));
}

TEST_F(AbortTest, last_close_ends_the_connection) {
  mount_and_init();
  auto sent = RawCall::lookup(*connection, "sent"), pending = RawCall::lookup(*connection, "pending");
  sent->start();
  daemon->next();
  pending->start();
  daemon->close();
  EXPECT_FALSE(connection->connected());
  EXPECT_EQ(sent->error(), as_int(Errno::econnaborted));
  EXPECT_EQ(pending->error(), as_int(Errno::econnaborted));
  auto late = RawCall::lookup(*connection, "late");
  EXPECT_EQ(late->start().error(), as_int(Errno::enotconn));
}

TEST_F(AbortTest, close_before_init_is_answered_frees_the_callers) {
  mount();
  auto call = RawCall::lookup(*connection, "a");
  call->start();
  daemon->close();
  EXPECT_EQ(call->error(), as_int(Errno::enotconn));
}

TEST_F(AbortTest, connection_outlives_its_devices_until_the_unmount) {
  mount_and_init();
  daemon->close();
  size_t connections = 0;
  module.for_each_connection([&](kernel::Connection&) { ++connections; });
  EXPECT_EQ(connections, 1u);
  unmount();
  connection = nullptr;
  module.for_each_connection([&](kernel::Connection&) { ++connections; });
  EXPECT_EQ(connections, 1u) << "and is freed by it";
}

TEST_F(AbortTest, connection_outlives_its_mount_until_the_last_close) {
  mount_and_init();
  unmount();
  EXPECT_EQ(read_errno(), as_int(Errno::enodev));
}

TEST_F(AbortTest, mount_after_the_last_close_is_impossible_and_after_unmount_enotconn) {
  mount_and_init();
  unmount();
  const auto again = try_mount();
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error(), Errno::enotconn);
}

TEST_F(AbortTest, killed_and_sent_caller_is_freed_by_the_end) {
  mount_and_init();
  auto call = RawCall::lookup(*connection, "a");
  call->start();
  daemon->next();
  call->kill();
  EXPECT_FALSE(call->done());
  daemon->close();
  EXPECT_EQ(call->error(), as_int(Errno::econnaborted));
}

// Long messages are copied without the lock: the connection may end meanwhile, and the copier ends the request.
class AbortWhileCopyingTest : public AbortTest {
 protected:
  void SetUp() override {
    AbortTest::SetUp();
    mount_and_init();
  }
  // Aborts as soon as the next call on the device lets the lock go for a copy: that call finds the lock taken, so it
  // holds it as a contended one, and its unlock wakes.
  void abort_in_the_next_copy() {
    holder.emplace(*connection);
    host.instead_of_wait = [this] {
      holder.reset();
      host.before_wake = [this] { abort_connection(); };
    };
  }
  std::optional<kernel::Connection::Entry> holder;
};

TEST_F(AbortWhileCopyingTest, request_that_is_being_read_ends_after_its_copy) {
  RawCall call(*connection, Opcode::write, bytes_of(wire::WriteIn{}), sizeof(wire::WriteOut));
  const Bytes data(100'000);
  call.args.add_in_bytes(data);
  call.start();
  abort_in_the_next_copy();
  EXPECT_EQ(read_errno(), as_int(Errno::enodev));
  EXPECT_FALSE(connection->connected());
  EXPECT_EQ(call.error(), as_int(Errno::econnaborted));
}

TEST_F(AbortWhileCopyingTest, reply_that_is_being_written_comes_too_late) {
  auto call = RawCall::read(*connection, 100'000);
  call->start();
  const uint64_t unique = daemon->next().header.unique;
  abort_in_the_next_copy();
  EXPECT_EQ(errno_of(daemon->try_reply(unique, Bytes(100'000))), as_int(Errno::enoent));
  EXPECT_FALSE(connection->connected());
  EXPECT_EQ(call->error(), as_int(Errno::econnaborted));
}

TEST_F(AbortTest, the_end_is_traced) {
  mount_and_init();
  connection->set_tracing(true);
  abort_connection();
  const auto events = host.events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].step, kernel::TraceStep::aborted);
}

}  // namespace
}  // namespace fusewire::test
