// The rule book of leases, as far as the clock and the daemon's view of them go; the rest is conformance_signals.cc.
#include "kernel/leases.h"
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

constexpr uint32_t rdlck = 0, wrlck = 1, unlck = 2;
constexpr uint64_t break_time = 45 * nanoseconds_per_second;

class LeasesTest : public SyscallTest, public kernel::LeaseHolders {
 protected:
  void SetUp() override {
    SyscallTest::SetUp();
    mount_tree();
    add(root, "file", regular, 100);
    fs->set_lease_holders(this, break_time);
    holder = open("file", o_rdonly);
  }
  void TearDown() override {
    if (holder) close(holder);
    SyscallTest::TearDown();
  }
  void lease_broken(OpenFile&) override { ++broken; }

  int set(uint32_t type) {
    kernel::Connection::Entry entry(*connection);
    auto result = fs->sys_setlease(caller, *holder, type);
    return result ? 0 : as_int(result.error());
  }
  uint32_t type() {
    kernel::Connection::Entry entry(*connection);
    return *fs->sys_getlease(*holder);
  }
  void expire() {
    kernel::Connection::Entry entry(*connection);
    fs->expire_leases();
  }
  auto start_open(uint32_t flags) { return start(fs->sys_openat(other, {nullptr, "file"}, flags, 0, leave)); }

  OpenFile* holder = nullptr;
  int broken = 0;
};

TEST_F(LeasesTest, a_broken_lease_ends_by_itself_when_its_time_is_over) {
  ASSERT_EQ(set(rdlck), 0);
  EXPECT_EQ(fs->next_lease_end(), UINT64_MAX);
  auto writer = start_open(o_wronly);
  EXPECT_EQ(broken, 1);
  EXPECT_EQ(fs->next_lease_end(), host.now() + break_time);
  host.advance(break_time - 1);
  expire();
  daemon->serve();
  EXPECT_FALSE(writer.done());
  host.advance(1);
  expire();
  daemon->serve();
  ASSERT_TRUE(writer.done());
  EXPECT_EQ(fs->next_lease_end(), UINT64_MAX);
  EXPECT_EQ(type(), unlck);
  release(*writer.take());
}

TEST_F(LeasesTest, the_daemon_sees_no_open_before_the_lease_is_given_up) {
  ASSERT_EQ(set(rdlck), 0);
  auto writer = start_open(o_wronly);
  daemon->serve();
  EXPECT_EQ(daemon->count(Opcode::open), 1u) << "the holder's";
  EXPECT_EQ(set(unlck), 0);
  daemon->serve();
  EXPECT_EQ(daemon->count(Opcode::open), 2u);
  ASSERT_TRUE(writer.done());
  release(*writer.take());
}

TEST_F(LeasesTest, a_write_lease_that_a_reader_breaks_becomes_a_read_lease) {
  ASSERT_EQ(set(wrlck), 0);
  auto reader = start_open(o_rdonly);
  EXPECT_EQ(type(), rdlck) << "what it is to become";
  EXPECT_FALSE(reader.done());
  host.advance(break_time);
  expire();
  daemon->serve();
  ASSERT_TRUE(reader.done());
  EXPECT_EQ(type(), rdlck);
  release(*reader.take());
}

TEST_F(LeasesTest, an_interrupted_waiter_leaves_the_lease_broken) {
  ASSERT_EQ(set(rdlck), 0);
  auto writer = start_open(o_wronly);
  interrupt(other);
  ASSERT_TRUE(writer.done());
  EXPECT_EQ(as_int(writer.take().error()), as_int(Errno::eintr));
  EXPECT_EQ(type(), unlck) << "what it is to become";
  EXPECT_EQ(set(unlck), 0);
  EXPECT_EQ(set(rdlck), 0) << "nobody counts as a writer";
}

TEST_F(LeasesTest, where_there_is_no_break_time_a_lease_lasts) {
  fs->set_lease_holders(this, 0);
  ASSERT_EQ(set(rdlck), 0);
  auto writer = start_open(o_wronly);
  host.advance(1000 * break_time);
  expire();
  EXPECT_FALSE(writer.done());
  EXPECT_EQ(set(unlck), 0);
  daemon->serve();
  ASSERT_TRUE(writer.done());
  release(*writer.take());
}

}  // namespace
}  // namespace fusewire::test
