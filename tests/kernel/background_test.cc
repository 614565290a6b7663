// The rule book of background requests (K035-K039, K231).
#include <vector>

#include "support/kernel_fixture.h"

namespace fusewire::test {
namespace {

using kernel::Errno;
using wire::Opcode;

class BackgroundTest : public KernelTest {
 protected:
  struct End final : kernel::RequestEnd {
    std::vector<int> errors;
    std::vector<size_t> sizes;
    void ended(kernel::Request&, kernel::Result<size_t> result) override {
      errors.push_back(result ? 0 : static_cast<int>(result.error()));
      sizes.push_back(result ? *result : SIZE_MAX);
    }
  };

  int send(bool force, Opcode opcode = Opcode::fsync) {
    const wire::FsyncIn in{static_cast<uint64_t>(++sent_), 0, 0};
    kernel::Args args;
    args.opcode = opcode;
    args.force = force;
    args.add_in(in);
    kernel::Connection::Entry entry(*connection);
    const auto result = connection->send_background(args, &end);
    return result ? 0 : static_cast<int>(result.error());
  }
  std::vector<DaemonRequest> read_all() {
    std::vector<DaemonRequest> requests;
    while (!daemon->quiet()) requests.push_back(daemon->next());
    return requests;
  }

  End end;
  int sent_ = 0;
};

TEST_F(BackgroundTest, sender_does_not_wait_and_its_arguments_are_copied) {
  mount_and_init();
  EXPECT_EQ(send(false), 0);
  const auto request = daemon->next(Opcode::fsync);
  EXPECT_EQ(request.as<wire::FsyncIn>().fh, 1u);
  EXPECT_EQ(request.header.pid, 0u) << "nocreds without a caller";
  EXPECT_TRUE(end.errors.empty());
  daemon->reply(request.header.unique);
  EXPECT_EQ(end.errors, std::vector<int>{0});
  EXPECT_EQ(connection->counters().waiting, 0u);
}

TEST_F(BackgroundTest, caller_gives_its_credentials) {
  mount_and_init();
  kernel::Caller caller;
  caller.uid = 7;
  caller.pid = 8;
  kernel::Args args;
  args.opcode = Opcode::unlink;
  const Bytes name = name_bytes("a");
  args.add_in_bytes(name);
  {
    kernel::Connection::Entry entry(*connection);
    ASSERT_TRUE(connection->send_background(args, nullptr, &caller).has_value());
  }
  const auto request = daemon->next();
  EXPECT_EQ(request.header.uid, 7u);
  EXPECT_EQ(request.header.pid, 8u);
  daemon->reply(request.header.unique);
}

TEST_F(BackgroundTest, error_and_size_reach_the_end) {
  mount_and_init();
  Bytes room(100);
  kernel::Args args;
  args.opcode = Opcode::read;
  const wire::ReadIn in{};
  args.add_in(in).add_out_bytes(room, true);
  for (int i = 0; i < 2; ++i) {
    kernel::Connection::Entry entry(*connection);
    ASSERT_TRUE(connection->send_background(args, &end).has_value());
  }
  daemon->reply(daemon->next().header.unique, bytes_of("abc"));
  daemon->reply_error(daemon->next().header.unique, Errno::enoent);
  EXPECT_EQ(end.errors, (std::vector<int>{0, as_int(Errno::enoent)}));
  EXPECT_EQ(end.sizes[0], 3u);
  EXPECT_EQ(room[2], std::byte{'c'});
}

TEST_F(BackgroundTest, before_init_only_forced_ones_are_taken) {
  mount();
  EXPECT_EQ(send(false), as_int(Errno::eagain));
  EXPECT_EQ(send(true), 0);
  daemon->answer_init(init);
  daemon->reply(daemon->next(Opcode::fsync).header.unique);
  EXPECT_EQ(end.errors, std::vector<int>{0});
}

TEST_F(BackgroundTest, at_max_background_unforced_ones_are_refused) {
  init.max_background = 3;
  mount_and_init();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(send(false), 0);
  EXPECT_EQ(send(false), as_int(Errno::eagain));
  daemon->reply(daemon->next().header.unique);
  EXPECT_EQ(send(false), 0);
  for (const auto& request : read_all()) daemon->reply(request.header.unique);
}

TEST_F(BackgroundTest, default_limit_is_12_active_and_the_rest_waits_in_order) {
  mount_and_init();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(send(true), 0);
  auto requests = read_all();
  ASSERT_EQ(requests.size(), 12u);
  daemon->reply(requests[0].header.unique);
  const auto next = daemon->next();
  EXPECT_EQ(next.as<wire::FsyncIn>().fh, 13u);
  EXPECT_TRUE(daemon->quiet());
  daemon->reply(next.header.unique);
  for (size_t i = 1; i < requests.size(); ++i) daemon->reply(requests[i].header.unique);
  for (const auto& request : read_all()) daemon->reply(request.header.unique);
  EXPECT_EQ(end.errors.size(), 20u);
}

TEST_F(BackgroundTest, waiting_ones_do_not_hold_up_callers) {
  init.max_background = 1;
  mount_and_init();
  send(true);
  send(true);
  auto call = RawCall::lookup(*connection, "a");
  call->start();
  const auto requests = read_all();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[1].opcode, Opcode::lookup);
  daemon->reply_error(requests[1].header.unique, Errno::enoent);
  daemon->reply(requests[0].header.unique);
  daemon->reply(daemon->next().header.unique);
}

TEST_F(BackgroundTest, raising_the_limit_lets_waiting_ones_go) {
  init.max_background = 1;
  mount_and_init();
  for (int i = 0; i < 3; ++i) send(true);
  auto requests = read_all();
  EXPECT_EQ(requests.size(), 1u);
  {
    kernel::Connection::Entry entry(*connection);
    connection->set_max_background(10);
  }
  for (const auto& request : read_all()) requests.push_back(request);
  EXPECT_EQ(requests.size(), 3u);
  for (const auto& request : requests) daemon->reply(request.header.unique);
}

TEST_F(BackgroundTest, the_end_tells_all_of_them_econnaborted) {
  init.max_background = 1;
  mount_and_init();
  for (int i = 0; i < 3; ++i) send(true);
  daemon->next();
  abort_connection();
  EXPECT_EQ(end.errors, std::vector<int>(3, as_int(Errno::econnaborted)));
  EXPECT_EQ(send(true), as_int(Errno::enotconn));
  EXPECT_EQ(connection->counters().waiting, 0u);
  EXPECT_EQ(module.requests().in_use(), 0u);
}

TEST_F(BackgroundTest, after_a_bad_init_they_get_econnrefused) {
  init.major = 6;
  mount_and_init();
  EXPECT_EQ(send(false), as_int(Errno::econnrefused));
}

TEST_F(BackgroundTest, no_memory_for_the_copy_is_enomem) {
  mount_and_init();
  host.limit_allocations(0);
  kernel::Args args;
  args.opcode = Opcode::removexattr;
  const Bytes name(100'000);
  args.add_in_bytes(name);
  kernel::Connection::Entry entry(*connection);
  const auto result = connection->send_background(args, &end);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error(), Errno::enomem);
  EXPECT_EQ(connection->counters().waiting, 0u);
}

}  // namespace
}  // namespace fusewire::test
