// The rule book of sockets bound in a mount, on the host's side.
#include "host/special_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <csignal>

#include "support/host_rig.h"

namespace fusewire::test {
namespace {

using abi::CallNumber;
using wire::Opcode;

constexpr uint64_t socket_node = 9;

class SpecialFiles : public testing::Test {
 protected:
  void SetUp() override {
    rig.daemon->on(Opcode::mknod, [](const SocketDaemon::Request&) {
      wire::EntryOut entry{};
      entry.nodeid = socket_node;
      entry.entry_valid = entry.attr_valid = 100;
      entry.attr.ino = socket_node;
      entry.attr.mode = S_IFSOCK | 0755;
      entry.attr.nlink = 1;
      return SocketDaemon::Reply{.payload = payload_of(entry)};
    });
    rig.daemon->on(Opcode::unlink, [](const SocketDaemon::Request&) { return SocketDaemon::Reply{}; });
    rig.go();
    client = rig.client();
    socket.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }
  int64_t bind(int fd, uint32_t slot = 0) {
    const abi::SocketMessage message{slot, 0};
    const int fds[] = {fd};
    EXPECT_GT(host::send_message(client->socket(), message, fds), 0);
    return client->call({.number = CallNumber::bind_socket, .path1 = "new", .data = "as/given", .arg = {0755}}, slot);
  }

  HostRig rig;
  std::unique_ptr<RingClient> client;
  UniqueFd socket;
};

TEST_F(SpecialFiles, the_kernel_is_given_a_name_that_leads_back) {
  ASSERT_EQ(bind(socket.get()), 0);
  EXPECT_EQ(rig.sockets_bound.load(), 1u);
  sockaddr_un address{};
  socklen_t length = sizeof address;
  ASSERT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  unsigned connection = 0;
  unsigned long token = 0;
  ASSERT_EQ(std::sscanf(address.sun_path, "fusewire:0:%u:%lx", &connection, &token), 2) << address.sun_path;
  EXPECT_EQ(connection, 5u);
  ASSERT_EQ(client->call({.number = CallNumber::socket_name, .arg = {static_cast<int64_t>(token)}}), 8);
  EXPECT_EQ(std::string(client->data(0), 8), "as/given");
}

TEST_F(SpecialFiles, a_bound_socket_keeps_the_mount_busy_until_it_is_closed) {
  ASSERT_EQ(bind(socket.get()), 0);
  EXPECT_EQ(rig.umount(), -EBUSY);
  socket.reset();
  EXPECT_EQ(rig.umount(), 0);
}

TEST_F(SpecialFiles, a_detached_mount_ends_with_its_last_socket) {
  ASSERT_EQ(bind(socket.get()), 0);
  EXPECT_EQ(rig.umount(2 /* MNT_DETACH */), 0);
  socket.reset();
  rig.daemon->join();
}

TEST_F(SpecialFiles, a_socket_that_cannot_be_bound_leaves_no_name) {
  const UniqueFd bound(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un automatic{};
  automatic.sun_family = AF_UNIX;
  ASSERT_EQ(::bind(bound.get(), reinterpret_cast<sockaddr*>(&automatic), sizeof(sa_family_t)), 0);
  EXPECT_EQ(bind(bound.get()), -EINVAL);
  EXPECT_EQ(rig.daemon->count(Opcode::unlink), 1u);
  EXPECT_EQ(rig.sockets_bound.load(), 0u);
}

TEST_F(SpecialFiles, without_a_socket_nothing_is_made) {
  EXPECT_EQ(client->call({.number = CallNumber::bind_socket, .path1 = "new", .data = "x", .arg = {0755}}), -EBADF);
  EXPECT_EQ(rig.daemon->count(Opcode::mknod), 0u);
}

TEST_F(SpecialFiles, an_address_longer_than_addresses_are_is_refused) {
  EXPECT_EQ(client->call({.number = CallNumber::bind_socket, .path1 = "new", .data = std::string(109, 'x')}), -EINVAL);
}

}  // namespace
}  // namespace fusewire::test
