#include "host/file_registry.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>

#include "support/host_rig.h"

namespace fusewire::test {
namespace {

using abi::CallNumber;
using wire::Opcode;

class FileRegistry : public testing::Test {
 protected:
  void SetUp() override {
    rig.go();
    client = rig.client();
    file = client->open("file");
    ASSERT_EQ(file.result, 0);
  }
  // Twice, so that the host has certainly looked at its events in between.
  bool is_open() {
    for (int i = 0; i < 2; ++i)
      if (client->call({.number = abi::CallNumber::read, .file = file.token, .arg = {0, 7}}) != 7) return false;
    return rig.daemon->count(Opcode::release) == 0;
  }
  void expect_released() {
    rig.daemon->wait_for(Opcode::release);
    EXPECT_EQ(client->call({.number = abi::CallNumber::read, .file = file.token, .arg = {0, 7}}), -EBADF);
  }

  HostRig rig;
  std::unique_ptr<RingClient> client;
  RingClient::Opened file;
};

TEST_F(FileRegistry, the_shadow_tells_connection_and_token) {
  char target[256] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(file.fd.get());
  ASSERT_GT(::readlink(link.c_str(), target, sizeof target - 1), 0);
  char expected[64];
  std::snprintf(expected, sizeof expected, "/memfd:fusewire:0:5:%016lx (deleted)",
                static_cast<unsigned long>(file.token));
  EXPECT_STREQ(target, expected);
  struct stat status;
  ASSERT_EQ(::fstat(file.fd.get(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, abi::shadow_mode);
}

TEST_F(FileRegistry, the_last_close_releases) {
  EXPECT_TRUE(is_open());
  file.fd.reset();
  expect_released();
}

TEST_F(FileRegistry, a_duplicate_keeps_it_open) {
  UniqueFd copy(::dup(file.fd.get()));
  file.fd.reset();
  EXPECT_TRUE(is_open());
  copy.reset();
  expect_released();
}

TEST_F(FileRegistry, a_descriptor_in_a_message_keeps_it_open) {
  UniqueFd one, other;
  ASSERT_EQ(host::packet_pair(one, other), 0);
  const int fds[] = {file.fd.get()};
  ASSERT_EQ(host::send_message(one.get(), 'x', fds), 1);
  file.fd.reset();
  EXPECT_TRUE(is_open());
  other.reset();
  one.reset();
  expect_released();
}

TEST_F(FileRegistry, a_mapping_keeps_it_open) {
  void* memory = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file.fd.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  file.fd.reset();
  EXPECT_TRUE(is_open());
  ::munmap(memory, 4096);
  expect_released();
}

TEST_F(FileRegistry, sigkill_of_the_holder_releases) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t holder = ::fork();
  if (holder == 0) {
    (void)!::write(ready[1], "x", 1);
    for (;;) ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  file.fd.reset();
  EXPECT_TRUE(is_open());
  ::kill(holder, SIGKILL);
  ::waitpid(holder, nullptr, 0);
  expect_released();
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(FileRegistry, the_hosts_own_close_does_not_release) {
  ASSERT_EQ(client->call({.number = abi::CallNumber::openat, .path1 = "file"}), 0);
  const uint64_t token = client->slot(0).token;
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(client->call({.number = abi::CallNumber::read, .file = token, .arg = {0, 7}}), 7);
  EXPECT_EQ(rig.daemon->count(Opcode::release), 0u);
}

TEST_F(FileRegistry, a_file_whose_descriptor_was_never_taken_is_released_with_its_client) {
  auto other = rig.client();
  ASSERT_EQ(other->call({.number = abi::CallNumber::openat, .path1 = "file"}), 0);
  other.reset();
  rig.daemon->wait_for(Opcode::release);
  EXPECT_EQ(client->call({.number = abi::CallNumber::read, .file = file.token, .arg = {0, 7}}), 7);
}

TEST_F(FileRegistry, closing_a_second_open_of_the_shadow_does_not_release) {
  if (::geteuid() != 0) GTEST_SKIP() << "the shadow's mode lets nobody but root open it again";
  const std::string link = "/proc/self/fd/" + std::to_string(file.fd.get());
  UniqueFd again(::open(link.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(again);
  again.reset();
  EXPECT_TRUE(is_open());
  file.fd.reset();
  expect_released();
}

TEST_F(FileRegistry, another_clients_token_is_the_right_to_use_the_file) {
  auto other = rig.client();
  EXPECT_EQ(other->call({.number = abi::CallNumber::read, .file = file.token, .arg = {0, 7}}), 7);
}

}  // namespace
}  // namespace fusewire::test
