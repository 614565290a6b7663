// Calls and the answer to INIT: what a request looks like depends on it, so no call begins before.
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

class BeforeInitTest : public SyscallTest {
 protected:
  // Mounts; INIT is read by nobody yet.
  void mount_without_answer() {
    init.minor = 8;  // its requests and replies have older sizes
    mount();
    kernel::Connection::Entry entry(*connection);
    auto made = Mount::create(*connection, 77);
    ASSERT_TRUE(made.has_value());
    fs = *made;
  }
};

TEST_F(BeforeInitTest, a_call_waits_and_then_speaks_the_minor_that_was_agreed) {
  mount_without_answer();
  auto call = start(fs->sys_statx(caller, {nullptr, "name"}, 0, basic_stats, leave));
  EXPECT_FALSE(call.done());
  EXPECT_EQ(connection->counters().waiting.load(), 2u);  // INIT and the call
  daemon->answer_init(init);
  const auto request = daemon->next(Opcode::lookup);
  wire::EntryOut entry{};
  entry.nodeid = 2;
  entry.attr_valid = 1;
  entry.attr.mode = 0100644;
  entry.attr.nlink = 1;
  const Bytes whole = bytes_of(entry);
  daemon->reply(request.header.unique, Bytes(whole.begin(), whole.begin() + wire::compat_entry_out_size));
  EXPECT_EQ(call.take()->mode, 0100644u);
}

TEST_F(BeforeInitTest, a_waiting_call_can_be_killed) {
  mount_without_answer();
  auto call = start(fs->sys_statx(caller, {nullptr, "name"}, 0, basic_stats, leave));
  kill(caller);
  EXPECT_TRUE(call.done());
  EXPECT_EQ(as_int(call.take().error()), EINTR);
  daemon->answer_init(init);
}

TEST_F(BeforeInitTest, the_end_of_the_connection_ends_the_wait) {
  mount_without_answer();
  auto call = start(fs->sys_statx(caller, {nullptr, "name"}, 0, basic_stats, leave));
  {
    kernel::Connection::Entry entry(*connection);
    connection->abort();
  }
  EXPECT_EQ(as_int(call.take().error()), ENOTCONN);
}

}  // namespace
}  // namespace fusewire::test
