// The rule book of notifications as far as the device knows them (§1.3, K215, K217); the caches' part is the target's.
#include <utility>
#include <vector>

#include "support/kernel_fixture.h"

namespace fusewire::test {
namespace {

using kernel::Errno;
using wire::NotifyCode;
using wire::Opcode;

class NotifyTest : public KernelTest {
 protected:
  struct Target final : kernel::NotifyTarget {
    std::vector<std::pair<NotifyCode, size_t>> got;
    kernel::Result<void> answer;
    kernel::Result<void> notify(NotifyCode code, std::span<const std::byte> payload) override {
      got.emplace_back(code, payload.size());
      return answer;
    }
  };
  void SetUp() override {
    KernelTest::SetUp();
    mount_and_init();
    kernel::Connection::Entry entry(*connection);
    connection->set_notify_target(&target);
  }
  Target target;
};

TEST_F(NotifyTest, known_notifications_reach_the_target) {
  EXPECT_TRUE(daemon->notify(NotifyCode::inval_inode, bytes_of(wire::NotifyInvalInodeOut{})).has_value());
  EXPECT_TRUE(daemon->notify(NotifyCode::inval_entry, bytes_of(wire::NotifyInvalEntryOut{}, "a", '\0')).has_value());
  const std::vector<std::pair<NotifyCode, size_t>> expected{{NotifyCode::inval_inode, 24},
                                                            {NotifyCode::inval_entry, 18}};
  EXPECT_EQ(target.got, expected);
}

TEST_F(NotifyTest, target_s_errno_reaches_the_daemon) {
  target.answer = kernel::error(Errno::enotempty);
  EXPECT_EQ(errno_of(daemon->notify(NotifyCode::delete_entry, Bytes(26))), as_int(Errno::enotempty));
}

TEST_F(NotifyTest, unknown_codes_are_einval) {
  for (const int32_t code : {0, -1, 10, 1000, INT32_MIN})
    EXPECT_EQ(errno_of(daemon->try_reply(0, {}, code)), as_int(Errno::einval)) << code;
  EXPECT_TRUE(target.got.empty());
  EXPECT_EQ(connection->counters().rejected, 5u);
}

TEST_F(NotifyTest, fixed_payload_must_have_its_exact_length) {
  EXPECT_EQ(errno_of(daemon->notify(NotifyCode::poll, Bytes(7))), as_int(Errno::einval));
  EXPECT_EQ(errno_of(daemon->notify(NotifyCode::poll, Bytes(9))), as_int(Errno::einval));
  EXPECT_EQ(errno_of(daemon->notify(NotifyCode::inval_inode, Bytes(25))), as_int(Errno::einval));
  EXPECT_EQ(errno_of(daemon->notify(NotifyCode::retrieve, Bytes(31))), as_int(Errno::einval));
}

TEST_F(NotifyTest, payload_shorter_than_its_struct_is_einval) {
  EXPECT_EQ(errno_of(daemon->notify(NotifyCode::inval_entry, Bytes(15))), as_int(Errno::einval));
  EXPECT_EQ(errno_of(daemon->notify(NotifyCode::store, Bytes(23))), as_int(Errno::einval));
  EXPECT_EQ(errno_of(daemon->notify(NotifyCode::prune, {})), as_int(Errno::einval));
  EXPECT_TRUE(target.got.empty());
}

TEST_F(NotifyTest, without_a_file_system_nodes_are_unknown) {
  {
    kernel::Connection::Entry entry(*connection);
    connection->set_notify_target(nullptr);
  }
  EXPECT_EQ(errno_of(daemon->notify(NotifyCode::inval_inode, Bytes(24))), as_int(Errno::enoent));
}

TEST_F(NotifyTest, inc_epoch_raises_the_epoch) {
  const uint32_t before = connection->epoch();
  EXPECT_TRUE(daemon->notify(NotifyCode::inc_epoch).has_value());
  EXPECT_EQ(connection->epoch(), before + 1);
}

TEST_F(NotifyTest, resend_of_nothing_is_accepted) {
  EXPECT_TRUE(daemon->notify(NotifyCode::resend).has_value());
  EXPECT_TRUE(daemon->quiet());
}

TEST_F(NotifyTest, notification_is_traced) {
  connection->set_tracing(true);
  EXPECT_TRUE(daemon->notify(NotifyCode::inc_epoch).has_value());
  const auto events = host.events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].step, kernel::TraceStep::notify);
  EXPECT_EQ(events[0].text, "NOTIFY_INC_EPOCH");
}

TEST(NotifyBeforeInitTest, resend_before_the_answer_queues_init_again) {
  TestHost host;
  kernel::Module module(host);
  ASSERT_TRUE(module.init().has_value());
  auto connection = module.open_connection();
  ScriptedDaemon daemon((*connection)->device());
  {
    kernel::Connection::Entry entry(**connection);
    ASSERT_TRUE((*connection)->mount({}).has_value());
  }
  const auto first = daemon.next(Opcode::init);
  ASSERT_TRUE(daemon.notify(NotifyCode::resend).has_value());
  EXPECT_EQ(daemon.try_reply(first.header.unique, bytes_of(ScriptedDaemon::default_init())).error(), Errno::enoent);
  daemon.answer_init();
  EXPECT_TRUE((*connection)->initialized());
  {
    kernel::Connection::Entry entry(**connection);
    (*connection)->unmount();
  }
  daemon.close();
  module.exit();
}

}  // namespace
}  // namespace fusewire::test
