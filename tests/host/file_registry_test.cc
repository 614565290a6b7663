#include "host/file_registry.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>
#include <thread>

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
    EXPECT_EQ(client->call({.number = abi::CallNumber::read, .file = file.token, .arg = {0, 7}}), abi::stale_token);
  }

  // The client closes `file` and keeps its shadow. The name of that, or 0: the host does not let it.
  uint64_t keep(uint64_t token) {
    const int64_t r = client->call({.number = CallNumber::flush, .file = token, .arg = {1}});
    EXPECT_GE(r, 0);
    return client->slot(0).shadow;
  }
  // Another open of the file, by a shadow that is kept: its token, or 0.
  uint64_t open_by(RingClient& who, uint64_t shadow) {
    const int64_t r = who.call({.number = CallNumber::openat, .path1 = "file", .arg = {0, 0}, .shadow = shadow});
    EXPECT_EQ(r, 0);
    return who.slot(0).shadow == shadow ? who.slot(0).token : 0;
  }
  // Slot::position: the offset there, or -1: it is with the host.
  int64_t offset_of(uint32_t position) {
    const uint64_t word = position_at(position).load();
    const bool is_here = (word & ~abi::position_max) == turn_of(position);
    return is_here ? static_cast<int64_t>(word & abi::position_max) : -1;
  }
  void move_to(uint32_t position, uint64_t offset) { position_at(position).store(turn_of(position) | offset); }
  static uint64_t turn_of(uint32_t position) {
    return abi::position_word((position - 1) >> abi::position_number_bits, 0);
  }
  abi::RingPosition& position_at(uint32_t position) { return abi::ring_position(client->ring(), position - 1); }
  int64_t read(RingClient& who, uint64_t token) {
    return who.call({.number = CallNumber::read, .file = token, .arg = {0, 7}});
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

TEST_F(FileRegistry, a_forked_child_keeps_it_open_until_it_ends) {
  int end[2];
  ASSERT_EQ(::pipe(end), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(end[1]);
    char byte;
    (void)!::read(end[0], &byte, 1);
    ::_exit(0);
  }
  ::close(end[0]);
  file.fd.reset();
  EXPECT_TRUE(is_open());
  ::close(end[1]);
  ::waitpid(child, nullptr, 0);
  expect_released();
}

TEST_F(FileRegistry, a_close_that_keeps_the_shadow_releases_the_file_at_once) {
  EXPECT_EQ(keep(file.token), file.token);
  rig.daemon->wait_for(Opcode::release);
  EXPECT_EQ(read(*client, file.token), abi::stale_token);
}

TEST_F(FileRegistry, a_kept_shadow_serves_the_next_file_under_a_token_of_its_own) {
  const uint64_t shadow = keep(file.token);
  const uint64_t token = open_by(*client, shadow);
  ASSERT_NE(token, 0u);
  EXPECT_NE(token, file.token);
  EXPECT_EQ(read(*client, token), 7);
  EXPECT_EQ(keep(token), shadow);
  EXPECT_EQ(read(*client, token), abi::stale_token);
}

TEST_F(FileRegistry, the_last_close_of_a_shadow_that_serves_again_releases) {
  const uint64_t token = open_by(*client, keep(file.token));
  ASSERT_NE(token, 0u);
  const size_t before = rig.daemon->count(Opcode::release);
  file.fd.reset();
  rig.daemon->wait_for(Opcode::release, before + 1);
  EXPECT_EQ(read(*client, token), abi::stale_token);
}

TEST_F(FileRegistry, who_has_a_kept_shadow_by_its_name_has_the_file_that_it_stands_for) {
  const std::unique_ptr<RingClient> other = rig.client();
  const uint64_t shadow = keep(file.token);
  EXPECT_EQ(read(*other, shadow), abi::stale_token);
  const uint64_t token = open_by(*client, shadow);
  ASSERT_NE(token, 0u);
  EXPECT_EQ(read(*other, shadow), 7);
}

TEST_F(FileRegistry, a_shadow_that_another_client_has_used_is_not_kept) {
  const std::unique_ptr<RingClient> other = rig.client();
  EXPECT_EQ(read(*other, file.token), 7);
  EXPECT_EQ(keep(file.token), 0u);
  EXPECT_EQ(read(*other, file.token), 7);
  EXPECT_EQ(rig.daemon->count(Opcode::release), 0u);
}

TEST_F(FileRegistry, a_kept_shadow_serves_nobody_but_who_keeps_it) {
  const std::unique_ptr<RingClient> other = rig.client();
  const uint64_t shadow = keep(file.token);
  EXPECT_EQ(open_by(*other, shadow), 0u);
  EXPECT_NE(open_by(*client, shadow), 0u);
}

TEST_F(FileRegistry, a_shadow_that_stands_for_a_file_serves_no_other) {
  EXPECT_EQ(open_by(*client, file.token), 0u);
  EXPECT_EQ(read(*client, file.token), 7);
}

// ---- positions

TEST_F(FileRegistry, a_client_finds_the_position_where_its_calls_have_left_it) {
  const uint32_t position = client->slot(0).position;
  ASSERT_NE(position, 0u);
  EXPECT_EQ(offset_of(position), 0);
  EXPECT_EQ(client->call({.number = CallNumber::read, .file = file.token, .arg = {-1, 4}}), 4);
  EXPECT_EQ(offset_of(position), 4);
}

TEST_F(FileRegistry, a_call_begins_where_the_client_has_moved_the_position) {
  const uint32_t position = client->slot(0).position;
  move_to(position, 5);
  EXPECT_EQ(client->call({.number = CallNumber::lseek, .file = file.token, .arg = {1, SEEK_CUR}}), 6);
  EXPECT_EQ(offset_of(position), 6);
}

TEST_F(FileRegistry, a_position_that_another_client_uses_is_with_the_host_from_then_on) {
  const std::unique_ptr<RingClient> other = rig.client();
  const uint32_t position = client->slot(0).position;
  move_to(position, 3);
  EXPECT_EQ(other->call({.number = CallNumber::lseek, .file = file.token, .arg = {0, SEEK_CUR}}), 3);
  EXPECT_EQ(offset_of(position), -1);
  EXPECT_EQ(client->call({.number = CallNumber::lseek, .file = file.token, .arg = {9, SEEK_SET}}), 9);
  EXPECT_EQ(offset_of(position), -1);
  EXPECT_EQ(other->call({.number = CallNumber::lseek, .file = file.token, .arg = {0, SEEK_CUR}}), 9);
}

TEST_F(FileRegistry, a_position_stays_where_a_client_left_it_that_is_gone) {
  const std::unique_ptr<RingClient> other = rig.client();
  move_to(client->slot(0).position, 6);
  client.reset();
  while (other->call({.number = CallNumber::lseek, .file = file.token, .arg = {0, SEEK_CUR}}) != 6) continue;
}

TEST_F(FileRegistry, a_position_belongs_to_one_file_at_a_time) {
  const uint32_t position = client->slot(0).position;
  const uint64_t token = open_by(*client, keep(file.token));
  ASSERT_NE(token, 0u);
  EXPECT_NE(client->slot(0).position, position);
  EXPECT_EQ(offset_of(position), -1);
}

// What reaches the shadow by mistake, or in a race, changes nothing and says so.
TEST_F(FileRegistry, nothing_can_be_done_with_the_shadow_natively) {
  const int fd = file.fd.get();
  char byte = 'x';
  EXPECT_EQ(::fcntl(fd, F_GETFL) & O_PATH, O_PATH);
  const auto is_bad = [](long result) { return result == -1 && errno == EBADF; };
  EXPECT_TRUE(is_bad(::read(fd, &byte, 1)));
  EXPECT_TRUE(is_bad(::write(fd, &byte, 1)));
  EXPECT_TRUE(is_bad(::pwrite(fd, &byte, 1, 0)));
  EXPECT_TRUE(is_bad(::lseek(fd, 0, SEEK_CUR)));
  EXPECT_TRUE(is_bad(::ftruncate(fd, 1)));
  EXPECT_TRUE(is_bad(::fsync(fd)));
  EXPECT_TRUE(is_bad(::fchmod(fd, 0600)));
  EXPECT_TRUE(is_bad(::fcntl(fd, F_SETFL, O_APPEND)));
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fd, 0), MAP_FAILED);
  EXPECT_EQ(::openat(fd, "file", O_RDONLY), -1);
  EXPECT_EQ(errno, ENOTDIR);
}

TEST_F(FileRegistry, not_even_root_puts_a_byte_into_a_shadow) {
  if (::geteuid() != 0) GTEST_SKIP() << "the shadow's mode lets nobody but root open it again";
  const std::string link = "/proc/self/fd/" + std::to_string(file.fd.get());
  UniqueFd again(::open(link.c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(again);
  EXPECT_EQ(::write(again.get(), "x", 1), -1);
  EXPECT_EQ(errno, EPERM);
}

// Holds the host's thread in a signal handler until it is destroyed.
class Hold {
 public:
  explicit Hold(std::thread& thread) {
    ::sem_init(&held_, 0, 0), ::sem_init(&go_, 0, 0);
    struct sigaction action {};
    action.sa_handler = [](int) {
      ::sem_post(&held_);
      while (::sem_wait(&go_) != 0) continue;
    };
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGUSR1, &action, nullptr);
    ::pthread_kill(thread.native_handle(), SIGUSR1);
    while (::sem_wait(&held_) != 0) continue;
  }
  ~Hold() { ::sem_post(&go_); }

 private:
  static inline sem_t held_, go_;
};

int inotify_of_this_process() {
  for (int fd = 0; fd < 256; ++fd) {
    char target[64] = {};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    if (::readlink(link.c_str(), target, sizeof target - 1) > 0 && std::string_view(target) == "anon_inode:inotify")
      return fd;
  }
  return -1;
}

// Fills the kernel's queue of events while the host cannot take them.
void overflow(int inotify) {
  char name[] = "/tmp/overflowXXXXXX";
  const UniqueFd fd(::mkstemp(name));
  const int watch = ::inotify_add_watch(inotify, name, IN_ATTRIB | IN_MODIFY);
  ASSERT_GE(watch, 0);
  int most = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> most;
  ASSERT_GT(most, 0);
  // Two equal events in a row are one.
  for (int i = 0; i <= most / 2; ++i) {
    ASSERT_EQ(::write(fd.get(), "x", 1), 1);
    ASSERT_EQ(::fchmod(fd.get(), 0600), 0);
  }
  ::inotify_rm_watch(inotify, watch);
  ::unlink(name);
}

TEST_F(FileRegistry, a_close_that_no_event_told_of_releases_all_the_same) {
  RingClient::Opened kept = client->open("file");
  ASSERT_EQ(kept.result, 0);
  const int inotify = inotify_of_this_process();
  ASSERT_GE(inotify, 0);
  {
    const Hold hold(rig.thread());
    ASSERT_NO_FATAL_FAILURE(overflow(inotify));
    file.fd.reset();
  }
  expect_released();
  EXPECT_EQ(client->call({.number = abi::CallNumber::read, .file = kept.token, .arg = {0, 7}}), 7);
  EXPECT_EQ(rig.daemon->count(Opcode::release), 1u);
}

TEST_F(FileRegistry, an_overflow_closes_nothing_that_only_travels) {
  UniqueFd one, other;
  ASSERT_EQ(host::packet_pair(one, other), 0);
  const int fds[] = {file.fd.get()};
  ASSERT_EQ(host::send_message(one.get(), 'x', fds), 1);
  file.fd.reset();
  {
    const Hold hold(rig.thread());
    ASSERT_NO_FATAL_FAILURE(overflow(inotify_of_this_process()));
  }
  EXPECT_TRUE(is_open());
  other.reset();
  one.reset();
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

TEST_F(FileRegistry, a_second_open_of_the_shadow_keeps_it_open) {
  if (::geteuid() != 0) GTEST_SKIP() << "the shadow's mode lets nobody but root open it again";
  const std::string link = "/proc/self/fd/" + std::to_string(file.fd.get());
  UniqueFd again(::open(link.c_str(), O_RDONLY | O_CLOEXEC));
  UniqueFd third(::open(link.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(again && third);
  third.reset();
  file.fd.reset();
  EXPECT_TRUE(is_open());
  again.reset();
  expect_released();
}

TEST_F(FileRegistry, another_clients_token_is_the_right_to_use_the_file) {
  auto other = rig.client();
  EXPECT_EQ(other->call({.number = abi::CallNumber::read, .file = file.token, .arg = {0, 7}}), 7);
}

}  // namespace
}  // namespace fusewire::test
