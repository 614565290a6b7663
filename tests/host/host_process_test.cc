#include "host/host_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <latch>
#include <random>

#include "abi/mount_rules.h"
#include "support/host_rig.h"

namespace fusewire::test {
namespace {

using abi::CallNumber;
using wire::Opcode;

TEST(HostProcess, a_call_goes_to_the_daemon_and_its_reply_to_the_client) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  EXPECT_EQ(client->call({.number = abi::CallNumber::statx, .path1 = "file", .arg = {0, 0x7ff}}), 0);
  syscall::Stat stat;
  std::memcpy(&stat, client->data(0), sizeof stat);
  EXPECT_EQ(stat.size, rig.daemon->content.size());
  EXPECT_EQ(stat.dev, 77u);
  EXPECT_EQ(client->call({.number = abi::CallNumber::statx, .path1 = "missing", .arg = {0, 0x7ff}}), -ENOENT);
}

TEST(HostProcess, unlink_is_one_lookup_and_one_unlink_by_the_calling_thread) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  EXPECT_EQ(client->call({.number = abi::CallNumber::unlinkat, .path1 = "file", .arg = {0}}), 0);
  const auto request = rig.daemon->wait_for(Opcode::unlink);
  EXPECT_EQ(request.header.pid, static_cast<uint32_t>(::gettid()));
  EXPECT_EQ(request.header.uid, ::geteuid());
  EXPECT_EQ(rig.daemon->count(Opcode::lookup), 1u);
}

TEST(HostProcess, a_thread_id_of_another_process_is_not_believed) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  client->submit(0, {.number = abi::CallNumber::nop});
  client->wait(0);
  abi::Slot& slot = client->slot(0);
  slot.number = static_cast<uint32_t>(abi::CallNumber::unlinkat);
  slot.tid = 1;
  std::memcpy(client->data(0), "file\0", 6);
  slot.path1_length = 4;
  slot.state.store(1, std::memory_order_release);
  client->ring_bell(1);
  EXPECT_EQ(client->wait(0), 0);
  EXPECT_EQ(rig.daemon->wait_for(Opcode::unlink).header.pid, static_cast<uint32_t>(::getpid()));
}

TEST(HostProcess, read_and_write_carry_data) {
  HostRig rig;
  rig.daemon->content.assign(100'000, 'x');
  rig.go();
  auto client = rig.client();
  auto file = client->open("file", O_RDWR);
  ASSERT_EQ(file.result, 0);
  EXPECT_EQ(client->call({.number = abi::CallNumber::read, .file = file.token, .arg = {0, abi::io_bytes_max}}),
            100'000);
  EXPECT_EQ(std::string_view(client->data(0), 100'000), rig.daemon->content);
  const std::string data(abi::io_bytes_max, 'y');
  EXPECT_EQ(client->call({.number = abi::CallNumber::write, .file = file.token, .data = data, .arg = {0}}),
            static_cast<int64_t>(data.size()));
  EXPECT_EQ(rig.daemon->wait_for(Opcode::write).as<wire::WriteIn>().size, data.size());
}

TEST(HostProcess, bad_calls_get_their_errno) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  EXPECT_EQ(client->call({.number = abi::CallNumber{63}, .path1 = "file"}), -EINVAL);
  EXPECT_EQ(client->call({.number = abi::CallNumber::none, .path1 = "file"}), -EINVAL);
  EXPECT_EQ(client->call({.number = abi::CallNumber{0xffffffff}}), -EINVAL);
  EXPECT_EQ(client->call({.number = abi::CallNumber::fstat, .file = 0x1234}), abi::stale_token);
  EXPECT_EQ(client->call({.number = abi::CallNumber::fstat, .file = 0}), abi::stale_token);
  EXPECT_EQ(client->call({.number = abi::CallNumber::statx, .file = 99, .path1 = "file"}), abi::stale_token);
  EXPECT_EQ(client->call({.number = abi::CallNumber::renameat2, .file2 = 99, .path1 = "a", .path2 = "b"}),
            abi::stale_token);
  EXPECT_EQ(client->call({.number = abi::CallNumber::statx, .path1 = std::string("fi\0le", 5)}), -EINVAL);
  EXPECT_EQ(client->call({.number = abi::CallNumber::statx, .path1 = std::string(4096, 'a')}), -ENAMETOOLONG);
  EXPECT_EQ(client->call({.number = abi::CallNumber::setxattr,
                          .path1 = "file",
                          .path2 = "user.a",
                          .data = std::string(70'000, 'v'),
                          .arg = {0, 0}}),
            -E2BIG);
}

TEST(HostProcess, lengths_beyond_the_slot_get_einval) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  auto file = client->open("file", O_RDWR);
  ASSERT_EQ(file.result, 0);
  for (const uint32_t length : {abi::slot_data_bytes, UINT32_MAX, UINT32_MAX - 1}) {
    abi::Slot& slot = client->slot(0);
    slot.number = static_cast<uint32_t>(abi::CallNumber::write);
    slot.file = file.token;
    slot.path1_length = slot.path2_length = 0;
    slot.data_length = length;
    slot.arg[0] = 0;
    slot.state.store(1, std::memory_order_release);
    client->ring_bell(1);
    EXPECT_EQ(client->wait(0), -EINVAL);
  }
  EXPECT_EQ(client->call({.number = abi::CallNumber::read, .file = file.token, .arg = {0, abi::io_bytes_max + 1}}),
            -EINVAL);
  EXPECT_EQ(client->call({.number = abi::CallNumber::read, .file = file.token, .arg = {0, -1}}), -EINVAL);
}

TEST(HostProcess, garbage_in_a_ring_harms_nobody) {
  HostRig rig;
  rig.go();
  auto good = rig.client();
  auto file = good->open("file", O_RDWR);
  ASSERT_EQ(file.result, 0);
  auto bad = rig.client();
  std::mt19937_64 random(20240607);
  for (int round = 0; round < 3000; ++round) {
    const auto i = static_cast<uint32_t>(random() % abi::slot_count);
    abi::Slot& slot = bad->slot(i);
    const uint64_t kind = random() % 4;
    slot.number = static_cast<uint32_t>(kind == 0 ? random() : random() % 100);
    slot.tid = static_cast<uint32_t>(random());
    slot.umask = static_cast<uint32_t>(random());
    slot.path1_length = static_cast<uint32_t>(kind == 1 ? random() : random() % 64);
    slot.path2_length = static_cast<uint32_t>(kind == 1 ? random() : random() % 64);
    slot.data_length = static_cast<uint32_t>(kind == 2 ? random() : random() % 70'000);
    slot.file = random() % 3 == 0 ? file.token : random() % 2;
    slot.file2 = random() % 2;
    for (int64_t& arg : slot.arg) arg = static_cast<int64_t>(random() >> (random() % 64));
    for (uint32_t at = 0; at < 256; ++at)
      bad->data(i)[at] = static_cast<char>(random() % 3 ? 'a' + random() % 4 : random());
    slot.interrupt.store(static_cast<uint32_t>(random() % 2));
    slot.state.store(1, std::memory_order_release);
    bad->ring_bell(random() | uint64_t{1} << i);
    bad->wait(i);
  }
  EXPECT_EQ(good->call({.number = abi::CallNumber::read, .file = file.token, .arg = {0, 7}}), 7);
  EXPECT_EQ(std::string_view(good->data(0), 7), "content");
}

TEST(HostProcess, a_client_cannot_shrink_its_ring) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  EXPECT_NE(::ftruncate(client->ring_fd.get(), 0), 0);
}

TEST(HostProcess, the_daemons_end_ends_sleepers_and_later_calls) {
  HostRig rig;
  rig.daemon->on(Opcode::unlink, [](const auto&) { return SocketDaemon::Reply{.later = true}; });
  rig.go();
  auto client = rig.client();
  client->submit(1, {.number = abi::CallNumber::unlinkat, .path1 = "file", .arg = {0}});
  rig.daemon->wait_for(Opcode::unlink);
  rig.daemon->stop();
  EXPECT_EQ(client->wait(1), -ECONNABORTED);
  EXPECT_EQ(client->call({.number = abi::CallNumber::statx, .path1 = "file"}), -ENOTCONN);
  rig.wait_for_event(host::HostMessageKind::ended);
  EXPECT_EQ(rig.umount(), 0);
  rig.join();
}

TEST(HostProcess, abort_ends_sleepers_and_the_daemons_socket) {
  HostRig rig;
  rig.daemon->on(Opcode::unlink, [](const auto&) { return SocketDaemon::Reply{.later = true}; });
  rig.go();
  auto client = rig.client();
  client->submit(1, {.number = abi::CallNumber::unlinkat, .path1 = "file", .arg = {0}});
  rig.daemon->wait_for(Opcode::unlink);
  EXPECT_EQ(rig.ask({.operation = host::HostOperation::abort}).error, 0);
  EXPECT_EQ(client->wait(1), -ECONNABORTED);
  rig.daemon->join();
  EXPECT_EQ(client->call({.number = abi::CallNumber::statx, .path1 = "file"}), -ENOTCONN);
}

TEST(HostProcess, the_leaders_end_ends_the_host_and_its_calls) {
  auto rig = std::make_unique<HostRig>();
  rig->daemon->on(Opcode::unlink, [](const auto&) { return SocketDaemon::Reply{.later = true}; });
  rig->go();
  auto client = rig->client();
  client->submit(1, {.number = abi::CallNumber::unlinkat, .path1 = "file", .arg = {0}});
  rig->daemon->wait_for(Opcode::unlink);
  rig.reset();
  EXPECT_EQ(client->wait(1), -ECONNABORTED);
}

TEST(HostProcess, a_client_that_dies_in_a_call_leaves_nothing_behind) {
  HostRig rig;
  uint64_t unique = 0;
  rig.daemon->on(Opcode::unlink, [](const auto&) { return SocketDaemon::Reply{.later = true}; });
  rig.go();
  {
    auto dying = rig.client();
    auto file = dying->open("file");
    ASSERT_EQ(file.result, 0);
    dying->submit(1, {.number = abi::CallNumber::unlinkat, .path1 = "file", .arg = {0}});
    unique = rig.daemon->wait_for(Opcode::unlink).header.unique;
  }
  rig.daemon->wait_for(Opcode::release);
  rig.daemon->wait_for(Opcode::interrupt);
  rig.daemon->reply(unique, {}, -EINTR);
  auto client = rig.client();
  EXPECT_EQ(client->call({.number = abi::CallNumber::statx, .path1 = "missing"}), -ENOENT);
  EXPECT_EQ(rig.umount(), 0);
  rig.join();
}

TEST(HostProcess, an_interrupt_reaches_the_daemon) {
  HostRig rig;
  rig.daemon->on(Opcode::unlink, [](const auto&) { return SocketDaemon::Reply{.later = true}; });
  rig.go();
  auto client = rig.client();
  client->submit(3, {.number = abi::CallNumber::unlinkat, .path1 = "file", .arg = {0}});
  const uint64_t unique = rig.daemon->wait_for(Opcode::unlink).header.unique;
  client->slot(3).interrupt.store(1);
  client->ring_bell(0);
  EXPECT_EQ(rig.daemon->wait_for(Opcode::interrupt).as<wire::InterruptIn>().unique, unique);
  rig.daemon->reply(unique, {}, -EINTR);
  EXPECT_EQ(client->wait(3), -EINTR);
}

TEST(HostProcess, umount_of_a_mount_in_use_is_busy_and_a_lazy_one_waits_for_the_last_close) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  auto file = client->open("file");
  ASSERT_EQ(file.result, 0);
  EXPECT_EQ(rig.umount(), -EBUSY);
  EXPECT_EQ(rig.umount(2), 0);
  EXPECT_EQ(client->call({.number = abi::CallNumber::read, .file = file.token, .arg = {0, 7}}), 7);
  file.fd.reset();
  rig.daemon->wait_for(Opcode::release);
  rig.daemon->join();
  rig.join();
}

TEST(HostProcess, no_call_is_missed_between_watching_and_sleeping) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  // Every few calls a pause about as long as the host watches.
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t pause = i % 3 == 0 ? abi::Spin::ticks_max - 2'000 + static_cast<uint64_t>(i) * 7 % 8'000 : 0;
    for (const uint64_t begin = __builtin_ia32_rdtsc(); __builtin_ia32_rdtsc() - begin < pause;) continue;
    ASSERT_EQ(client->call({.number = abi::CallNumber::nop}), 0);
  }
}

TEST(HostProcess, a_device_that_is_closed_before_the_mount_ends_its_host) {
  HostRig rig;
  rig.daemon->start();
  rig.daemon->stop();
  rig.join();
}

TEST(HostProcess, mount_options_are_checked) {
  HostRig rig;
  host::HostRequest request{.operation = host::HostOperation::mount};
  std::strcpy(request.text, "fd=3,rootmode=40000,user_id=0");
  EXPECT_EQ(rig.ask(request).error, -EINVAL);
  rig.daemon->start();
  EXPECT_EQ(rig.mount(",no_such_option"), -EINVAL);
  EXPECT_EQ(rig.mount(), 0);
}

TEST(HostProcess, a_mounted_device_is_mounted_again_with_flags_of_its_own) {
  HostRig rig;
  rig.daemon->start();
  EXPECT_EQ(rig.mount(), 0);
  EXPECT_EQ(rig.mount(), 0);
  EXPECT_EQ(rig.mount(",no_such_option"), -EINVAL);
  host::HostRequest request{.operation = host::HostOperation::mount,
                            .flags = abi::mount_flag::read_only | abi::mount_flag::noexec,
                            .mount = 9};
  std::strcpy(request.text, "fd=3,rootmode=40000,user_id=0,group_id=0");
  const host::HostMessage again = rig.ask(request);
  EXPECT_EQ(again.error, 0);
  EXPECT_EQ(again.flags, abi::mount_flag::read_only | abi::mount_flag::noexec);
  EXPECT_EQ(again.read_only, 0u);
}

TEST(HostProcess, statistics_are_published) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  auto file = client->open("file");
  EXPECT_EQ(client->call({.number = abi::CallNumber::nop}), 0);
  EXPECT_EQ(client->call({.number = abi::CallNumber::nop}), 0);
  EXPECT_EQ(rig.ask({.operation = host::HostOperation::set_limits, .value = {33, 22}}).error, 0);
  EXPECT_EQ(rig.ask({.operation = host::HostOperation::set_limits, .value = {UINT32_MAX, UINT32_MAX}}).error, 0);
  EXPECT_EQ(rig.statistics.open_files.load(), 1u);
  EXPECT_GE(rig.statistics.requests.load(), 3u);
  EXPECT_EQ(rig.statistics.max_background.load(), 33u);
  EXPECT_EQ(rig.statistics.congestion_threshold.load(), 22u);
}

TEST(HostProcess, the_daemons_pid_is_learnt_from_its_first_message) {
  HostRig rig;
  rig.go();
  EXPECT_EQ(rig.wait_for_event(host::HostMessageKind::daemon_pid).value, static_cast<uint32_t>(::getpid()));
}

TEST(HostProcess, many_threads_of_one_client_are_served_at_once) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (uint32_t i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      for (int round = 0; round < 200; ++round)
        if (client->call({.number = abi::CallNumber::statx, .path1 = "file", .arg = {0, 0x7ff}}, i) != 0) ++wrong;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace fusewire::test
