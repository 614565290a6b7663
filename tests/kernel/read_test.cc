// The rule book of Device::read and poll (K006-K010, K014, K019).
#include "support/kernel_fixture.h"

namespace fusewire::test {
namespace {

using kernel::Errno;
using wire::Opcode;

class ReadTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    mount_and_init();
  }
  int read_with_buffer(size_t bytes) {
    Bytes buffer(bytes);
    return errno_of(daemon->device().read(buffer));
  }
};

TEST_F(ReadTest, nothing_pending_is_eagain) { EXPECT_EQ(read_with_buffer(1 << 20), as_int(Errno::eagain)); }

TEST_F(ReadTest, buffer_below_8192_is_einval_and_the_request_stays) {
  auto call = RawCall::lookup(*connection, "a");
  call->start();
  EXPECT_EQ(read_with_buffer(8191), as_int(Errno::einval));
  EXPECT_FALSE(call->done());
  daemon->reply(daemon->next(Opcode::lookup).header.unique, wire::EntryOut{});
}

TEST_F(ReadTest, buffer_must_hold_max_write_and_two_headers) {
  EXPECT_EQ(read_with_buffer(40 + 40 + 131072 - 1), as_int(Errno::einval));
  EXPECT_EQ(read_with_buffer(40 + 40 + 131072), as_int(Errno::eagain));
}

TEST_F(ReadTest, too_small_buffer_is_einval_even_when_nothing_is_pending) {
  EXPECT_EQ(read_with_buffer(0), as_int(Errno::einval));
}

TEST_F(ReadTest, request_larger_than_the_buffer_is_eio_for_its_sender_and_the_read_goes_on) {
  RawCall big(*connection, Opcode::removexattr, Bytes(140'000), 0);
  big.start();
  auto small = RawCall::lookup(*connection, "a");
  small->start();
  Bytes buffer(40 + 40 + 131072);
  const auto length = daemon->device().read(buffer);
  ASSERT_TRUE(length.has_value());
  EXPECT_EQ(*length, 42u);
  EXPECT_EQ(big.error(), as_int(Errno::eio));
  daemon->reply_error(6, Errno::enoent);
  EXPECT_EQ(small->error(), as_int(Errno::enoent));
}

TEST_F(ReadTest, setxattr_larger_than_the_buffer_is_e2big) {
  RawCall big(*connection, Opcode::setxattr, Bytes(140'000), 0);
  big.start();
  EXPECT_EQ(read_with_buffer(40 + 40 + 131072), as_int(Errno::eagain));
  EXPECT_EQ(big.error(), as_int(Errno::e2big));
}

TEST_F(ReadTest, long_requests_arrive_whole) {
  Bytes data(100'000);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 7);
  RawCall call(*connection, Opcode::write, bytes_of(wire::WriteIn{}), sizeof(wire::WriteOut));
  call.args.add_in_bytes(data);
  call.start();
  const auto request = daemon->next(Opcode::write);
  ASSERT_EQ(request.body.size(), sizeof(wire::WriteIn) + data.size());
  EXPECT_EQ(std::memcmp(request.body.data() + sizeof(wire::WriteIn), data.data(), data.size()), 0);
  daemon->reply(request.header.unique, wire::WriteOut{100'000, 0});
  EXPECT_EQ(call.error(), 0);
}

TEST_F(ReadTest, interrupts_come_first) {
  auto sent = RawCall::lookup(*connection, "sent");
  sent->start();
  const auto request = daemon->next();
  auto pending = RawCall::lookup(*connection, "pending");
  pending->start();
  forget(5, 1);
  sent->interrupt();
  EXPECT_EQ(daemon->next().opcode, Opcode::interrupt);
  daemon->ignore_the_rest_with(Errno::enoent);
  daemon->serve();
  daemon->reply_error(request.header.unique, Errno::eintr);
}

TEST_F(ReadTest, forgets_and_requests_take_turns_of_16_and_8) {
  init.minor = 15;  // single FORGETs
  end_everything();
  connection = *module.open_connection();
  daemon.emplace(connection->device());
  mount_and_init();
  std::vector<std::unique_ptr<RawCall>> calls;
  for (int i = 0; i < 40; ++i) {
    calls.push_back(RawCall::lookup(*connection, "a"));
    calls.back()->start();
  }
  for (uint64_t i = 0; i < 60; ++i) forget(10 + i, 1);
  std::vector<std::pair<Opcode, int>> turns;
  while (!daemon->quiet()) {
    const auto request = daemon->next();
    if (turns.empty() || turns.back().first != request.opcode) turns.emplace_back(request.opcode, 0);
    ++turns.back().second;
    if (request.opcode == Opcode::lookup) daemon->reply_error(request.header.unique, Errno::enoent);
  }
  const std::vector<std::pair<Opcode, int>> expected{
      {Opcode::lookup, 8},  {Opcode::forget, 16}, {Opcode::lookup, 8},  {Opcode::forget, 16}, {Opcode::lookup, 8},
      {Opcode::forget, 16}, {Opcode::lookup, 8},  {Opcode::forget, 12}, {Opcode::lookup, 8},
  };
  EXPECT_EQ(turns, expected);
}

TEST_F(ReadTest, poll_says_readable_while_something_is_pending) {
  EXPECT_EQ(daemon->device().poll(), 4u);
  auto call = RawCall::lookup(*connection, "a");
  call->start();
  EXPECT_EQ(daemon->device().poll(), 5u);
  const auto request = daemon->next();
  EXPECT_EQ(daemon->device().poll(), 4u);
  call->interrupt();
  EXPECT_EQ(daemon->device().poll(), 5u);
  daemon->next(Opcode::interrupt);
  forget(7, 1);
  EXPECT_EQ(daemon->device().poll(), 5u);
  daemon->next(Opcode::forget);
  daemon->reply_error(request.header.unique, Errno::enoent);
}

TEST_F(ReadTest, listener_is_told_of_each_request_and_of_what_waits_already) {
  struct Listener final : kernel::DeviceListener {
    int readable_count = 0, ended_count = 0;
    void readable() override { ++readable_count; }
    void ended() override { ++ended_count; }
  } listener;
  auto first = RawCall::lookup(*connection, "a");
  first->start();
  daemon->device().set_listener(&listener);
  EXPECT_EQ(listener.readable_count, 1);
  auto second = RawCall::lookup(*connection, "b");
  second->start();
  EXPECT_EQ(listener.readable_count, 2);
  abort_connection();
  EXPECT_EQ(listener.ended_count, 1);
  daemon->device().set_listener(nullptr);
  daemon->device().set_listener(&listener);
  EXPECT_EQ(listener.ended_count, 2) << "a listener that comes late is told that it is over";
}

TEST_F(ReadTest, notify_reply_is_finished_by_the_read) {
  const wire::NotifyRetrieveIn in{0, 0, 3, 0, 0, 0};
  const Bytes data = bytes_of("abc");
  kernel::Args args;
  args.opcode = Opcode::notify_reply;
  args.nodeid = 9;
  args.add_in(in).add_in_bytes(data);
  {
    kernel::Connection::Entry entry(*connection);
    ASSERT_TRUE(connection->send_notify_reply(args, 777).has_value());
  }
  const auto request = daemon->next(Opcode::notify_reply);
  EXPECT_EQ(request.header.unique, 777u);
  EXPECT_EQ(request.header.nodeid, 9u);
  EXPECT_EQ(request.data(sizeof(in)), "abc");
  EXPECT_EQ(connection->counters().waiting, 0u);
  EXPECT_EQ(errno_of(daemon->try_reply(777)), as_int(Errno::enoent));
}

}  // namespace
}  // namespace fusewire::test
