// The rule book of sending: headers, order, states, counters (K030, K033, K034, K051).
#include "support/kernel_fixture.h"

namespace fusewire::test {
namespace {

using kernel::Errno;

class QueueTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    mount_and_init();
  }
};

TEST_F(QueueTest, header_carries_the_caller) {
  auto call = RawCall::lookup(*connection, "file");
  call->start();
  const auto request = daemon->next(wire::Opcode::lookup);
  EXPECT_EQ(request.header.unique, 4u);
  EXPECT_EQ(request.header.nodeid, wire::root_id);
  EXPECT_EQ(request.header.uid, 1000u);
  EXPECT_EQ(request.header.gid, 100u);
  EXPECT_EQ(request.header.pid, 4711u);
  EXPECT_EQ(request.header.len, 45u);
  EXPECT_EQ(request.name(), "file");
  daemon->reply_error(request.header.unique, Errno::enoent);
  EXPECT_EQ(call->error(), as_int(Errno::enoent));
}

TEST_F(QueueTest, nocreds_requests_carry_nobody) {
  auto call = RawCall::flush(*connection);
  call->args.nocreds = true;
  call->start();
  const auto request = daemon->next();
  EXPECT_EQ(request.header.uid | request.header.gid | request.header.pid, 0u);
  daemon->reply(request.header.unique);
  EXPECT_EQ(call->error(), 0);
}

TEST_F(QueueTest, extensions_are_counted_in_units_of_eight) {
  auto call = RawCall::lookup(*connection, "f");
  call->args.total_extlen = 3;
  call->start();
  const auto request = daemon->next();
  EXPECT_EQ(request.header.total_extlen, 3u);
  daemon->reply_error(request.header.unique, Errno::enoent);
}

TEST_F(QueueTest, several_in_arguments_stand_one_behind_the_other) {
  const wire::Rename2In in{7, 1, 0};
  RawCall call(*connection, wire::Opcode::rename2, bytes_of(in), 0);
  const Bytes from = name_bytes("from"), to = name_bytes("to");
  call.args.add_in_bytes(from).add_in_bytes(to);
  call.start();
  const auto request = daemon->next();
  EXPECT_EQ(request.name(sizeof(in)), "from");
  EXPECT_EQ(request.name(sizeof(in) + from.size()), "to");
  daemon->reply(request.header.unique);
  EXPECT_EQ(call.error(), 0);
}

TEST_F(QueueTest, requests_reach_the_daemon_in_the_order_of_their_callers) {
  auto first = RawCall::lookup(*connection, "a");
  auto second = RawCall::lookup(*connection, "b");
  first->start();
  second->start();
  const auto a = daemon->next(), b = daemon->next();
  EXPECT_EQ(a.name(), "a");
  EXPECT_EQ(b.name(), "b");
  EXPECT_EQ(b.header.unique, a.header.unique + 2);
  daemon->reply(b.header.unique, wire::EntryOut{});
  EXPECT_TRUE(second->done());
  EXPECT_FALSE(first->done());
  daemon->reply(a.header.unique, wire::EntryOut{});
  EXPECT_EQ(first->error(), 0);
}

TEST_F(QueueTest, waiting_counts_from_the_attempt_to_the_end) {
  EXPECT_EQ(connection->counters().waiting, 0u);
  auto call = RawCall::lookup(*connection, "a");
  call->start();
  EXPECT_EQ(connection->counters().waiting, 1u);
  const auto request = daemon->next();
  EXPECT_EQ(connection->counters().waiting, 1u);
  daemon->reply(request.header.unique, wire::EntryOut{});
  EXPECT_EQ(connection->counters().waiting, 0u);
}

TEST_F(QueueTest, counters_count_requests_and_replies) {
  auto call = RawCall::lookup(*connection, "a");
  call->start();
  EXPECT_EQ(connection->counters().requests, 2u) << "INIT and LOOKUP";
  EXPECT_EQ(connection->counters().replies, 1u);
  daemon->reply(daemon->next().header.unique, wire::EntryOut{});
  EXPECT_EQ(connection->counters().replies, 2u);
}

TEST_F(QueueTest, no_memory_for_a_request_is_enomem) {
  host.limit_allocations(0);
  std::vector<std::unique_ptr<RawCall>> calls;
  // What is left of the first slab serves some; then there is none.
  for (int i = 0; i < 200; ++i) {
    calls.push_back(RawCall::lookup(*connection, "a"));
    calls.back()->start();
  }
  EXPECT_EQ(calls.back()->error(), as_int(Errno::enomem));
  daemon->on_error(wire::Opcode::lookup, Errno::enoent);
  daemon->serve();
  for (auto& call : calls) EXPECT_TRUE(call->done());
  EXPECT_EQ(connection->counters().waiting, 0u);
}

TEST_F(QueueTest, each_step_of_a_request_is_traced_with_the_depths_of_the_queues) {
  connection->set_tracing(true);
  auto call = RawCall::lookup(*connection, "file");
  call->start();
  host.advance(1000);
  const auto request = daemon->next();
  host.advance(1000);
  daemon->reply(request.header.unique, wire::EntryOut{});
  const auto events = host.events();
  ASSERT_EQ(events.size(), 5u);
  using kernel::TraceStep;
  const TraceStep steps[] = {TraceStep::queued, TraceStep::sleeping, TraceStep::read, TraceStep::replied,
                             TraceStep::ended};
  const uint32_t pending[] = {1, 1, 0, 0, 0};
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].step, steps[i]) << i;
    EXPECT_EQ(events[i].pending, pending[i]) << i;
    EXPECT_EQ(events[i].unique, request.header.unique);
    EXPECT_EQ(events[i].pid, 4711u);
    EXPECT_EQ(events[i].opcode, 1u);
  }
  EXPECT_EQ(events[0].text, "file");
  EXPECT_EQ(events[0].bytes, 45u);
  EXPECT_EQ(events[2].time, events[0].time + 1000);
  EXPECT_EQ(events[3].bytes, 144u);
}

TEST_F(QueueTest, nothing_is_traced_when_tracing_is_off) {
  auto call = RawCall::lookup(*connection, "file");
  call->start();
  daemon->reply(daemon->next().header.unique, wire::EntryOut{});
  EXPECT_TRUE(host.events().empty());
}

TEST_F(QueueTest, calls_are_traced_by_name) {
  connection->set_tracing(true);
  kernel::Caller caller;
  caller.pid = 12;
  {
    kernel::Connection::Entry entry(*connection);
    connection->trace_call(kernel::TraceStep::call, "unlinkat", caller, 0);
    connection->trace_call(kernel::TraceStep::returned, "unlinkat", caller, -2);
  }
  const auto events = host.events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].text, "unlinkat");
  EXPECT_EQ(events[1].error, -2);
  EXPECT_EQ(events[1].pid, 12u);
}

using QueueDeathTest = QueueTest;

TEST_F(QueueDeathTest, buffers_that_differ_from_the_protocol_table_are_a_bug_of_the_half) {
  RawCall call(*connection, wire::Opcode::lookup, name_bytes("a"), 12);
  EXPECT_DEATH(call.start(), "differ from the protocol table");
}

}  // namespace
}  // namespace fusewire::test
