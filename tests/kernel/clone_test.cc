// The rule book of several devices on one connection (K011, K017, K018).
#include "support/kernel_fixture.h"

namespace fusewire::test {
namespace {

using kernel::Errno;
using wire::Opcode;

class CloneTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    mount_and_init();
    auto device = daemon->device().clone();
    ASSERT_TRUE(device.has_value());
    clone.emplace(**device);
  }
  void TearDown() override {
    clone->close();
    KernelTest::TearDown();
  }
  std::optional<ScriptedDaemon> clone;
};

TEST_F(CloneTest, clones_share_what_is_pending) {
  auto a = RawCall::lookup(*connection, "a"), b = RawCall::lookup(*connection, "b");
  a->start();
  b->start();
  const auto first = clone->next(), second = daemon->next();
  EXPECT_EQ(first.name(), "a");
  EXPECT_EQ(second.name(), "b");
  clone->reply(first.header.unique, wire::EntryOut{});
  daemon->reply(second.header.unique, wire::EntryOut{});
  EXPECT_EQ(a->error(), 0);
  EXPECT_EQ(b->error(), 0);
}

TEST_F(CloneTest, reply_on_another_device_is_enoent_and_the_request_stays) {
  auto call = RawCall::lookup(*connection, "a");
  call->start();
  const auto request = clone->next();
  EXPECT_EQ(errno_of(daemon->try_reply(request.header.unique, bytes_of(wire::EntryOut{}))), as_int(Errno::enoent));
  EXPECT_FALSE(call->done());
  clone->reply(request.header.unique, wire::EntryOut{});
  EXPECT_EQ(call->error(), 0);
}

TEST_F(CloneTest, close_ends_only_the_requests_of_its_device) {
  auto a = RawCall::lookup(*connection, "a"), b = RawCall::lookup(*connection, "b"),
       c = RawCall::lookup(*connection, "c");
  a->start();
  b->start();
  c->start();
  clone->next();
  const auto kept = daemon->next();
  a->interrupt();
  clone->close();
  EXPECT_EQ(a->error(), as_int(Errno::econnaborted));
  EXPECT_FALSE(b->done());
  EXPECT_TRUE(connection->connected());
  const auto pending = daemon->next(Opcode::lookup);
  EXPECT_EQ(pending.name(), "c") << "and the closed device's interrupt is gone";
  daemon->reply(kept.header.unique, wire::EntryOut{});
  daemon->reply(pending.header.unique, wire::EntryOut{});
}

TEST_F(CloneTest, only_the_last_close_ends_the_connection) {
  daemon->close();
  EXPECT_TRUE(connection->connected());
  auto call = RawCall::lookup(*connection, "a");
  call->start();
  clone->reply(clone->next().header.unique, wire::EntryOut{});
  EXPECT_EQ(call->error(), 0);
  clone->close();
  EXPECT_FALSE(connection->connected());
}

TEST_F(CloneTest, resend_takes_back_the_requests_of_all_devices) {
  auto a = RawCall::lookup(*connection, "a"), b = RawCall::lookup(*connection, "b"),
       c = RawCall::lookup(*connection, "c");
  a->start();
  b->start();
  const auto old = clone->next();
  daemon->next();
  c->start();
  ASSERT_TRUE(clone->notify(wire::NotifyCode::resend).has_value());
  EXPECT_EQ(errno_of(clone->try_reply(old.header.unique, bytes_of(wire::EntryOut{}))), as_int(Errno::enoent));
  for (int i = 0; i < 2; ++i) {
    const auto again = daemon->next(Opcode::lookup);
    EXPECT_TRUE(again.header.unique & wire::unique_resend);
    daemon->reply(again.header.unique, wire::EntryOut{});
  }
  EXPECT_EQ(a->error(), 0);
  EXPECT_EQ(b->error(), 0);
  const auto fresh = daemon->next();
  EXPECT_EQ(fresh.name(), "c") << "what was sent comes in front of what was pending";
  EXPECT_FALSE(fresh.header.unique & wire::unique_resend);
  daemon->reply(fresh.header.unique, wire::EntryOut{});
}

TEST(CloneBeforeMountTest, clone_of_a_device_that_is_not_mounted_is_einval) {
  TestHost host;
  kernel::Module module(host);
  ASSERT_TRUE(module.init().has_value());
  auto connection = module.open_connection();
  const auto device = (*connection)->device().clone();
  ASSERT_FALSE(device.has_value());
  EXPECT_EQ(device.error(), Errno::einval);
  (*connection)->device().close();
  module.exit();
}

}  // namespace
}  // namespace fusewire::test
