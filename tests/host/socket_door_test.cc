#include "host/socket_door.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <latch>
#include <thread>

#include "support/host_rig.h"

namespace fusewire::test {
namespace {

using abi::CallNumber;
using wire::Opcode;

constexpr int64_t read_bytes = abi::io_bytes_max;

SocketDaemon::Reply reply_later(const SocketDaemon::Request&) { return {.later = true}; }

// Sends a message in pieces of at most this size, as splice does.
void send_pieces(SocketDaemon& daemon, const Payload& message, size_t piece) {
  for (size_t at = 0; at < message.size(); at += piece)
    daemon.send(std::span(message).subspan(at, std::min(piece, message.size() - at)));
}

class SocketDoor : public testing::Test {
 protected:
  void open() {
    rig.go();
    client = rig.client();
    file = client->open("file", O_RDWR);
    ASSERT_EQ(file.result, 0);
  }
  void submit_read(uint32_t slot) {
    client->submit(slot, {.number = abi::CallNumber::read, .file = file.token, .arg = {0, read_bytes}});
  }

  HostRig rig;
  std::unique_ptr<RingClient> client;
  RingClient::Opened file;
};

TEST_F(SocketDoor, a_reply_in_pieces_is_joined) {
  rig.daemon->on(Opcode::read, reply_later);
  open();
  submit_read(1);
  const std::string content =
      std::string(60'000, 'a') + std::string(60'000, 'b') + std::string(read_bytes - 120'000, 'c');
  const uint64_t unique = rig.daemon->wait_for(Opcode::read).header.unique;
  send_pieces(*rig.daemon, SocketDaemon::message(unique, text_of(content)), 61456);
  EXPECT_EQ(client->wait(1), read_bytes);
  EXPECT_EQ(std::string_view(client->data(1), content.size()), content);
}

TEST_F(SocketDoor, another_reply_between_pieces_goes_its_own_way) {
  rig.daemon->on(Opcode::read, reply_later);
  open();
  submit_read(1);
  const uint64_t unique = rig.daemon->wait_for(Opcode::read).header.unique;
  const Payload message = SocketDaemon::message(unique, text_of(std::string(read_bytes, 'a')));
  rig.daemon->send(std::span(message).first(65536));
  EXPECT_EQ(client->call({.number = abi::CallNumber::statx, .path1 = "missing"}), -ENOENT);
  rig.daemon->send(std::span(message).subspan(65536));
  EXPECT_EQ(client->wait(1), read_bytes);
}

TEST_F(SocketDoor, a_daemon_that_answers_in_pieces_gets_one_large_read_at_a_time) {
  rig.daemon->on(Opcode::read, reply_later);
  open();
  const Payload content = text_of(std::string(read_bytes, 'a'));
  submit_read(1);
  send_pieces(*rig.daemon, SocketDaemon::message(rig.daemon->wait_for(Opcode::read).header.unique, content), 65536);
  EXPECT_EQ(client->wait(1), read_bytes);
  submit_read(1);
  submit_read(2);
  const uint64_t first = rig.daemon->wait_for(Opcode::read, 2).header.unique;
  // The host has gone on to later calls, and still the second read is kept back.
  EXPECT_EQ(client->call({.number = abi::CallNumber::nop}), 0);
  EXPECT_EQ(client->call({.number = abi::CallNumber::nop}), 0);
  EXPECT_EQ(rig.daemon->count(Opcode::read), 2u);
  send_pieces(*rig.daemon, SocketDaemon::message(first, content), 65536);
  send_pieces(*rig.daemon, SocketDaemon::message(rig.daemon->wait_for(Opcode::read, 3).header.unique, content), 65536);
  EXPECT_EQ(client->wait(1), read_bytes);
  EXPECT_EQ(client->wait(2), read_bytes);
}

TEST_F(SocketDoor, mixed_pieces_of_two_replies_are_eio_and_never_wrong_data) {
  rig.daemon->on(Opcode::read, reply_later);
  open();
  submit_read(1);
  const uint64_t one = rig.daemon->wait_for(Opcode::read, 1).header.unique;
  submit_read(2);
  const uint64_t two = rig.daemon->wait_for(Opcode::read, 2).header.unique;
  const Payload a = SocketDaemon::message(one, text_of(std::string(read_bytes, 'a')));
  const Payload b = SocketDaemon::message(two, text_of(std::string(read_bytes, 'b')));
  rig.daemon->send(std::span(a).first(65536));
  rig.daemon->send(std::span(b).first(65536));
  EXPECT_EQ(client->wait(1), -EIO);
  EXPECT_EQ(client->wait(2), -EIO);
}

TEST_F(SocketDoor, malformed_messages_are_counted_and_the_connection_goes_on) {
  open();
  const uint64_t before = rig.statistics.rejected.load();
  rig.daemon->send({});
  rig.daemon->send(std::as_bytes(std::span("short")));
  rig.daemon->send(SocketDaemon::message(12345678, {}));
  Payload wrong_length = SocketDaemon::message(2, text_of("x"));
  wrong_length[0] = std::byte{200};
  rig.daemon->send(wrong_length);
  rig.daemon->send(Payload(size_t{1200} * 1024));
  EXPECT_EQ(client->call({.number = abi::CallNumber::statx, .path1 = "missing"}), -ENOENT);
  EXPECT_EQ(client->call({.number = abi::CallNumber::nop}), 0);
  EXPECT_GT(rig.statistics.rejected.load(), before);
}

// What is wrong with a notification is the daemon's loss; there is no end to them while the calls are made.
TEST_F(SocketDoor, a_flood_of_notifications_keeps_no_client_waiting) {
  open();
  std::atomic<bool> over{false};
  std::thread flood([&] {
    const wire::OutHeader notification{sizeof notification, 1, 0};
    while (!over) rig.daemon->send(std::as_bytes(std::span(&notification, 1)));
  });
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(client->call({.number = CallNumber::statx, .path1 = "missing", .arg = {0, 0x7ff}}), -ENOENT);
  over = true;
  flood.join();
}

TEST_F(SocketDoor, a_reply_that_is_too_long_is_eio) {
  rig.daemon->on(Opcode::getattr, [](const auto&) { return SocketDaemon::Reply{0, Payload(500)}; });
  open();
  EXPECT_EQ(client->call({.number = abi::CallNumber::fstat, .file = file.token, .arg = {0x7ff}}), -EIO);
}

TEST(SocketDoorWithSmallBuffers, writes_are_cut_to_what_a_packet_may_carry) {
  HostRig rig(32 * 1024);
  rig.daemon->max_write = 1 << 20;
  rig.go();
  auto client = rig.client();
  auto file = client->open("file", O_RDWR);
  ASSERT_EQ(file.result, 0);
  const std::string data(abi::io_bytes_max, 'y');
  EXPECT_EQ(client->call({.number = abi::CallNumber::write, .file = file.token, .data = data, .arg = {0}}),
            static_cast<int64_t>(data.size()));
  EXPECT_LE(rig.daemon->wait_for(Opcode::write).as<wire::WriteIn>().size, 32u * 1024);
}

TEST(SocketDoorWithSmallBuffers, requests_wait_for_a_daemon_that_does_not_read_and_none_is_lost) {
  HostRig rig(4096);
  std::latch go_on(1);
  rig.daemon->init_flags |= wire::init_flag::parallel_dirops;
  rig.daemon->on(Opcode::unlink, [&](const auto&) {
    go_on.wait();
    return SocketDaemon::Reply{};
  });
  rig.go();
  auto client = rig.client();
  client->submit(40, {.number = abi::CallNumber::unlinkat, .path1 = "file", .arg = {0}});
  for (uint32_t i = 1; i < 40; ++i)
    client->submit(i,
                   {.number = abi::CallNumber::statx, .path1 = "missing" + std::to_string(i) + std::string(200, 'x')});
  EXPECT_EQ(client->call({.number = abi::CallNumber::nop}), 0);
  go_on.count_down();
  EXPECT_EQ(client->wait(40), 0);
  for (uint32_t i = 1; i < 40; ++i) EXPECT_EQ(client->wait(i), -ENOENT);
}

}  // namespace
}  // namespace fusewire::test
