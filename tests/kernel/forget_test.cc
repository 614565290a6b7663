// The rule book of queued FORGETs (K061, K065, K041).
#include "support/kernel_fixture.h"

namespace fusewire::test {
namespace {

using wire::Opcode;

class ForgetTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    mount_and_init();
  }
};

TEST_F(ForgetTest, one_forget_is_sent_alone_with_its_count) {
  forget(5, 3);
  const auto request = daemon->next(Opcode::forget);
  EXPECT_EQ(request.header.len, 48u);
  EXPECT_EQ(request.header.nodeid, 5u);
  EXPECT_EQ(request.as<wire::ForgetIn>().nlookup, 3u);
  EXPECT_EQ(request.header.unique, 4u) << "a fresh unique";
}

TEST_F(ForgetTest, several_forgets_are_sent_as_a_batch_in_order) {
  for (uint64_t node = 10; node < 22; ++node) forget(node, node * 2);
  const auto request = daemon->next(Opcode::batch_forget);
  EXPECT_EQ(request.header.len, 240u);
  EXPECT_EQ(request.header.nodeid, 0u);
  EXPECT_EQ(request.as<wire::BatchForgetIn>().count, 12u);
  for (uint64_t i = 0; i < 12; ++i) {
    const auto one = request.as<wire::ForgetOne>(8 + i * 16);
    EXPECT_EQ(one.nodeid, 10 + i);
    EXPECT_EQ(one.nlookup, (10 + i) * 2);
  }
  EXPECT_TRUE(daemon->quiet());
}

TEST_F(ForgetTest, batch_fills_the_reader_s_buffer_and_the_rest_follows) {
  for (uint64_t node = 1; node <= 10'000; ++node) forget(node, 1);
  Bytes buffer(40 + 40 + 131072);
  const auto length = daemon->device().read(buffer);
  ASSERT_TRUE(length.has_value());
  const size_t first = (buffer.size() - 48) / 16;
  EXPECT_EQ(*length, 48 + first * 16);
  const auto request = daemon->next(Opcode::batch_forget);
  EXPECT_EQ(request.as<wire::BatchForgetIn>().count, 10'000 - first);
}

TEST_F(ForgetTest, below_minor_16_there_are_no_batches) {
  end_everything();
  connection = *module.open_connection();
  daemon.emplace(connection->device());
  init.minor = 15;
  mount_and_init();
  forget(5, 1);
  forget(6, 1);
  EXPECT_EQ(daemon->next(Opcode::forget).header.nodeid, 5u);
  EXPECT_EQ(daemon->next(Opcode::forget).header.nodeid, 6u);
}

TEST_F(ForgetTest, zero_references_are_not_sent) {
  forget(5, 0);
  EXPECT_TRUE(daemon->quiet());
}

TEST_F(ForgetTest, queued_forgets_are_freed_by_the_end_and_later_ones_not_queued) {
  forget(5, 1);
  abort_connection();
  EXPECT_EQ(module.forgets().in_use(), 0u);
  forget(6, 1);
  EXPECT_EQ(module.forgets().in_use(), 0u);
}

TEST_F(ForgetTest, forget_without_memory_is_counted_as_lost) {
  host.limit_allocations(0);
  forget(5, 1);
  EXPECT_EQ(connection->counters().lost_forgets, 1u);
  EXPECT_TRUE(daemon->quiet());
}

TEST_F(ForgetTest, scripted_daemon_adds_up_what_it_got_back) {
  forget(5, 1);
  forget(5, 2);
  forget(6, 1);
  daemon->serve();
  EXPECT_EQ(daemon->forgotten(), (std::map<uint64_t, uint64_t>{{5, 3}, {6, 1}}));
}

}  // namespace
}  // namespace fusewire::test
