// The rule book of INIT (K002, K031, K032, K037, K013; compatibility rules by minor).
#include "support/kernel_fixture.h"

namespace fusewire::test {
namespace {

using kernel::Errno;
using kernel::Negotiated;
namespace flag = wire::init_flag;

class InitTest : public KernelTest {
 protected:
  uint64_t offered(const wire::InitIn& in) { return in.flags | uint64_t{in.flags2} << 32; }
  const Negotiated& agreed() { return connection->negotiated(); }
  // Answers INIT with the first bytes of reply only.
  void answer_short(const wire::InitOut& reply, size_t bytes) {
    const auto request = daemon->next(wire::Opcode::init);
    Bytes payload = bytes_of(reply);
    payload.resize(bytes);
    daemon->reply(request.header.unique, payload);
  }
};

TEST_F(InitTest, device_before_the_mount_refuses_read_and_write_with_eperm) {
  Bytes buffer(8192);
  EXPECT_EQ(errno_of(daemon->device().read(buffer)), as_int(Errno::eperm));
  EXPECT_EQ(errno_of(daemon->try_reply(2)), as_int(Errno::eperm));
  EXPECT_EQ(daemon->device().poll(), 8u);
}

TEST_F(InitTest, mount_queues_init_and_returns_before_the_answer) {
  mount();
  EXPECT_EQ(daemon->device().poll(), 5u);
  EXPECT_FALSE(connection->initialized());
  const auto request = daemon->next(wire::Opcode::init);
  EXPECT_EQ(request.header.unique, 2u);
  EXPECT_EQ(request.header.nodeid, 0u);
  EXPECT_EQ(request.header.uid | request.header.gid | request.header.pid, 0u);
  EXPECT_EQ(request.header.len, 104u);
  const auto in = request.as<wire::InitIn>();
  EXPECT_EQ(in.major, 7u);
  EXPECT_EQ(in.minor, 45u);
  EXPECT_EQ(in.max_readahead, 131072u);
  daemon->reply(request.header.unique, init);
  EXPECT_TRUE(connection->initialized());
}

TEST_F(InitTest, only_what_the_half_honours_is_offered) {
  mount();
  const uint64_t flags = offered(daemon->answer_init(init));
  for (const uint64_t yes :
       {flag::async_read, flag::posix_locks, flag::flock_locks, flag::atomic_o_trunc, flag::do_readdirplus,
        flag::max_pages, flag::init_ext, flag::has_resend, flag::abort_error, flag::setxattr_ext})
    EXPECT_TRUE(flags & yes);
  for (const uint64_t no :
       {flag::passthrough, flag::over_io_uring, flag::writeback_cache, flag::posix_acl, flag::submounts,
        flag::has_inode_dax, flag::map_alignment, flag::file_ops, flag::create_supp_group, flag::request_timeout})
    EXPECT_FALSE(flags & no);
}

TEST_F(InitTest, flags_that_were_not_offered_are_not_taken) {
  init = ScriptedDaemon::default_init(flag::writeback_cache | flag::passthrough | flag::init_ext | flag::async_read);
  mount_and_init();
  EXPECT_TRUE(agreed().has(flag::async_read));
  EXPECT_FALSE(agreed().has(flag::writeback_cache));
  EXPECT_FALSE(agreed().has(flag::passthrough));
}

TEST_F(InitTest, flags2_counts_only_with_init_ext) {
  init = ScriptedDaemon::default_init(flag::has_resend);
  mount_and_init();
  EXPECT_FALSE(agreed().has(flag::has_resend));
}

TEST_F(InitTest, second_mount_is_ebusy) {
  mount();
  const auto again = try_mount();
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error(), Errno::ebusy);
}

TEST_F(InitTest, mount_with_an_impossible_rootmode_is_einval) {
  options.rootmode = 0;
  const auto result = try_mount();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error(), Errno::einval);
}

TEST_F(InitTest, max_read_is_raised_to_a_page) {
  options.max_read = 1;
  mount();
  EXPECT_EQ(connection->options().max_read, 4096u);
}

TEST_F(InitTest, wrong_major_refuses_every_request_but_keeps_the_mount) {
  init.major = 8;
  mount_and_init();
  auto call = RawCall::lookup(*connection, "file");
  EXPECT_EQ(call->start().error(), as_int(Errno::econnrefused));
  EXPECT_TRUE(connection->connected());
  EXPECT_TRUE(connection->refused());
}

TEST_F(InitTest, error_reply_refuses_every_request) {
  mount();
  daemon->reply_error(daemon->next().header.unique, Errno::einval);
  auto call = RawCall::lookup(*connection, "file");
  EXPECT_EQ(call->start().error(), as_int(Errno::econnrefused));
}

TEST_F(InitTest, callers_wait_for_the_answer_and_then_go_out) {
  mount();
  auto call = RawCall::lookup(*connection, "file");
  call->start();
  EXPECT_EQ(connection->counters().waiting, 2u) << "INIT and the caller that waits for it";
  daemon->answer_init(init);
  EXPECT_TRUE(daemon->quiet() == false);
  daemon->reply(daemon->next(wire::Opcode::lookup).header.unique, wire::EntryOut{});
  EXPECT_EQ(call->error(), 0);
}

TEST_F(InitTest, callers_that_wait_for_a_bad_answer_get_econnrefused) {
  mount();
  auto call = RawCall::lookup(*connection, "file");
  call->start();
  init.major = 6;
  daemon->answer_init(init);
  EXPECT_EQ(call->error(), as_int(Errno::econnrefused));
}

TEST_F(InitTest, forced_requests_do_not_wait_for_the_answer) {
  mount();
  auto call = RawCall::flush(*connection);
  call->start();
  daemon->answer_init(init);
  daemon->reply(daemon->next(wire::Opcode::flush).header.unique);
  EXPECT_EQ(call->error(), 0);
}

TEST_F(InitTest, caller_killed_before_the_answer_leaves_with_eintr) {
  mount();
  auto call = RawCall::lookup(*connection, "file");
  call->start().kill();
  EXPECT_EQ(call->error(), as_int(Errno::eintr));
  daemon->answer_init(init);
  EXPECT_TRUE(daemon->quiet());
}

TEST_F(InitTest, ordinary_signal_before_the_answer_does_not_break_the_wait) {
  mount();
  auto call = RawCall::lookup(*connection, "file");
  call->start().interrupt();
  EXPECT_FALSE(call->done());
  daemon->answer_init(init);
  daemon->reply(daemon->next(wire::Opcode::lookup).header.unique, wire::EntryOut{});
  EXPECT_EQ(call->error(), 0);
}

TEST_F(InitTest, reply_of_24_bytes_is_accepted_and_the_rest_is_zero) {
  init.max_pages = 200;
  init.time_gran = 1000;
  mount();
  answer_short(init, wire::compat_22_init_out_size);
  EXPECT_FALSE(connection->refused());
  EXPECT_EQ(agreed().max_pages, 1u);
  EXPECT_EQ(agreed().time_gran, 1u);
  EXPECT_EQ(agreed().max_write, 131072u);
}

TEST_F(InitTest, reply_of_8_bytes_is_accepted) {
  init.minor = 4;
  mount();
  answer_short(init, wire::compat_init_out_size);
  EXPECT_FALSE(connection->refused());
  EXPECT_EQ(agreed().minor, 4u);
  EXPECT_EQ(agreed().max_write, 4096u);
}

TEST_F(InitTest, empty_reply_is_a_wrong_major) {
  mount();
  answer_short(init, 0);
  EXPECT_TRUE(connection->refused());
}

TEST_F(InitTest, too_long_reply_is_refused_and_ends_init) {
  mount();
  const uint64_t unique = daemon->next().header.unique;
  EXPECT_EQ(errno_of(daemon->try_reply(unique, Bytes(65))), as_int(Errno::einval));
  EXPECT_TRUE(connection->refused());
}

TEST_F(InitTest, below_minor_5_max_write_is_a_page) {
  init.minor = 4;
  mount_and_init();
  EXPECT_EQ(agreed().max_write, 4096u);
}

TEST_F(InitTest, below_minor_6_no_flag_is_read) {
  init = ScriptedDaemon::default_init(flag::posix_locks | flag::async_read);
  init.minor = 5;
  options.max_read = 16384;
  mount_and_init();
  EXPECT_EQ(agreed().flags, 0u);
  EXPECT_EQ(agreed().max_readahead, 16384u);
}

TEST_F(InitTest, below_minor_9_there_is_no_export) {
  init = ScriptedDaemon::default_init(flag::export_support);
  init.minor = 8;
  mount_and_init();
  EXPECT_FALSE(agreed().has(flag::export_support));
}

TEST_F(InitTest, below_minor_13_background_limits_are_not_read) {
  init.minor = 12;
  init.max_background = 5;
  mount_and_init();
  EXPECT_EQ(connection->limits().max_background, 12u);
}

TEST_F(InitTest, below_minor_17_flock_follows_posix_locks) {
  init = ScriptedDaemon::default_init(flag::posix_locks);
  init.minor = 16;
  mount_and_init();
  EXPECT_TRUE(agreed().has(flag::flock_locks));
}

TEST_F(InitTest, from_minor_17_flock_is_a_flag_of_its_own) {
  init = ScriptedDaemon::default_init(flag::posix_locks);
  mount_and_init();
  EXPECT_FALSE(agreed().has(flag::flock_locks));
}

TEST_F(InitTest, higher_minor_than_ours_is_kept) {
  init.minor = 99;
  mount_and_init();
  EXPECT_EQ(agreed().minor, 99u);
}

TEST_F(InitTest, max_write_is_at_least_a_page) {
  init.max_write = 1;
  mount_and_init();
  EXPECT_EQ(agreed().max_write, 4096u);
}

TEST_F(InitTest, max_pages_is_within_1_and_256) {
  init.max_pages = 5000;
  mount_and_init();
  EXPECT_EQ(agreed().max_pages, 256u);
}

TEST_F(InitTest, without_the_flag_max_pages_is_32) {
  init = ScriptedDaemon::default_init(0);
  init.max_pages = 100;
  mount_and_init();
  EXPECT_EQ(agreed().max_pages, 32u);
}

TEST_F(InitTest, transport_bounds_max_write_and_max_pages) {
  options.transport_max_write = 65536;
  init.max_pages = 256;
  init.max_write = 1 << 20;
  mount_and_init();
  EXPECT_EQ(agreed().max_write, 65536u);
  EXPECT_EQ(agreed().max_pages, 16u);
}

TEST_F(InitTest, time_granularity_above_a_second_is_not_taken) {
  init.time_gran = 2'000'000'000;
  mount_and_init();
  EXPECT_EQ(agreed().time_gran, 1u);
}

TEST_F(InitTest, auto_inval_data_excludes_explicit) {
  init = ScriptedDaemon::default_init(flag::auto_inval_data | flag::explicit_inval_data);
  mount_and_init();
  EXPECT_TRUE(agreed().has(flag::auto_inval_data));
  EXPECT_FALSE(agreed().has(flag::explicit_inval_data));
}

TEST_F(InitTest, readdirplus_auto_needs_readdirplus) {
  init = ScriptedDaemon::default_init(flag::readdirplus_auto);
  mount_and_init();
  EXPECT_FALSE(agreed().has(flag::readdirplus_auto));
}

TEST_F(InitTest, background_limits_of_an_unprivileged_daemon_are_clamped) {
  init.max_background = 60000;
  init.congestion_threshold = 50000;
  mount_and_init();
  EXPECT_EQ(connection->limits().max_background, kernel::max_user_background);
  EXPECT_EQ(connection->limits().congestion_threshold, kernel::max_user_background);
}

TEST_F(InitTest, background_limits_of_a_privileged_daemon_are_taken) {
  options.privileged_daemon = true;
  init.max_background = 60000;
  mount_and_init();
  EXPECT_EQ(connection->limits().max_background, 60000u);
  EXPECT_EQ(connection->limits().congestion_threshold, 9u);
}

}  // namespace
}  // namespace fusewire::test
