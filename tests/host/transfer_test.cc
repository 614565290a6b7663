// Long transfers through a slot's area, and RLIMIT_FSIZE as a call brings it along.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>

#include "support/host_rig.h"

namespace fusewire::test {
namespace {

using abi::CallNumber;
using wire::Opcode;

constexpr int64_t three_mib = 3 << 20;

// The client's side of an area: nullptr when none came.
struct AreaOfClient {
  char* memory = nullptr;
  size_t bytes = 0;
  int error_of_shrinking = 0;

  AreaOfClient(RingClient& client, int64_t wanted) {
    const int64_t result = client.call({.number = CallNumber::memory, .arg = {wanted}});
    EXPECT_GE(result, wanted);
    abi::FileMessage message{};
    host::Packet packet = host::receive_packet(client.socket(), std::as_writable_bytes(std::span(&message, 1)));
    EXPECT_EQ(message.token, client.slot(0).token);
    if (result <= 0 || packet.fds.size() != 1) return;
    bytes = static_cast<size_t>(result);
    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, packet.fds[0].get(), 0);
    if (at != MAP_FAILED) memory = static_cast<char*>(at);
    error_of_shrinking = ::ftruncate(packet.fds[0].get(), 0) == 0 ? 0 : errno;
  }
  ~AreaOfClient() {
    if (memory) ::munmap(memory, bytes);
  }
};

TEST(Transfer, a_long_write_is_one_call_whose_requests_follow_each_other) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  auto file = client->open("file", O_RDWR);
  ASSERT_EQ(file.result, 0);
  AreaOfClient area(*client, three_mib);
  ASSERT_TRUE(area.memory);
  std::memset(area.memory, 'z', three_mib);
  EXPECT_EQ(client->call({.number = CallNumber::write, .file = file.token, .arg = {0, three_mib}}), three_mib);
  uint64_t end = 0;
  // The daemon counts a request when it has answered it: the last ones may be under way still.
  for (size_t n = 1; end < static_cast<uint64_t>(three_mib); ++n) {
    const auto request = rig.daemon->wait_for(Opcode::write, n);
    const auto in = request.as<wire::WriteIn>();
    EXPECT_EQ(in.offset, end);
    EXPECT_EQ(request.body[sizeof in], std::byte{'z'});
    end += in.size;
  }
  EXPECT_EQ(end, static_cast<uint64_t>(three_mib));
}

TEST(Transfer, a_long_read_fills_the_area) {
  HostRig rig;
  rig.daemon->content.assign(three_mib - 1, 'x');
  rig.go();
  auto client = rig.client();
  auto file = client->open("file", O_RDWR);
  ASSERT_EQ(file.result, 0);
  AreaOfClient area(*client, three_mib);
  ASSERT_TRUE(area.memory);
  EXPECT_EQ(client->call({.number = CallNumber::read, .file = file.token, .arg = {0, three_mib}}), three_mib - 1);
  EXPECT_EQ(std::string_view(area.memory, three_mib - 1), rig.daemon->content);
}

TEST(Transfer, an_area_cannot_be_shrunk_by_its_client) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  EXPECT_EQ(AreaOfClient(*client, three_mib).error_of_shrinking, EPERM);
}

TEST(Transfer, more_than_the_area_holds_is_einval) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  auto file = client->open("file", O_RDWR);
  ASSERT_EQ(file.result, 0);
  for (const CallNumber number : {CallNumber::read, CallNumber::write})
    EXPECT_EQ(client->call({.number = number, .file = file.token, .arg = {0, three_mib}}), -EINVAL) << "without one";
  AreaOfClient area(*client, three_mib);
  const auto beyond = static_cast<int64_t>(area.bytes) + 1;
  for (const CallNumber number : {CallNumber::read, CallNumber::write})
    for (const int64_t bytes : {beyond, int64_t{-1}, INT64_MAX})
      EXPECT_EQ(client->call({.number = number, .file = file.token, .arg = {0, bytes}}), -EINVAL) << bytes;
  EXPECT_EQ(client->call({.number = CallNumber::memory, .arg = {0}}), 0);
  EXPECT_EQ(client->call({.number = CallNumber::read, .file = file.token, .arg = {0, three_mib}}), -EINVAL)
      << "given back";
}

TEST(Transfer, a_write_across_the_file_size_limit_is_cut_and_one_behind_it_is_efbig) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  auto file = client->open("file", O_RDWR);
  ASSERT_EQ(file.result, 0);
  constexpr uint64_t limit = 100;
  client->slot(0).file_size_limit = limit + 1;
  const std::string data(200, 'x');
  EXPECT_EQ(client->call({.number = CallNumber::write, .file = file.token, .data = data, .arg = {0}}), 100);
  EXPECT_EQ(client->slot(0).over_file_size, 0u);
  EXPECT_EQ(client->call({.number = CallNumber::write, .file = file.token, .data = data, .arg = {100}}), -EFBIG);
  EXPECT_EQ(client->slot(0).over_file_size, 1u);
  EXPECT_EQ(rig.daemon->count(Opcode::write), 1u);
  EXPECT_EQ(client->call({.number = CallNumber::ftruncate, .file = file.token, .arg = {101}}), -EFBIG);
  EXPECT_EQ(client->call({.number = CallNumber::fallocate, .file = file.token, .arg = {0, 0, 101}}), -EFBIG);
  EXPECT_EQ(client->slot(0).over_file_size, 1u);
  EXPECT_EQ(rig.daemon->count(Opcode::setattr), 0u);
  EXPECT_EQ(rig.daemon->count(Opcode::fallocate), 0u);
}

}  // namespace
}  // namespace fusewire::test
