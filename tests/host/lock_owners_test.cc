#include "host/lock_owners.h"

#include <gtest/gtest.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <map>

#include "host/packet_socket.h"
#include "support/host_rig.h"

namespace fusewire::test {
namespace {

using host::LockOwners;

// A process that does nothing until it is killed; then a zombie until it is reaped.
class Idler {
 public:
  explicit Idler(uint64_t clone_flags = 0) {
    clone_args args{};
    args.flags = clone_flags;
    args.exit_signal = SIGCHLD;
    pid = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
    if (pid == 0)
      for (;;) ::pause();
  }
  ~Idler() {
    if (pid > 0) kill(), reap();
  }
  void kill() {
    ::kill(pid, SIGKILL);
    siginfo_t info;
    EXPECT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  }
  void reap() { ::waitpid(std::exchange(pid, -1), nullptr, 0); }
  host::Credentials peer() const {
    host::Credentials peer;
    peer.pid = static_cast<uint32_t>(pid);
    peer.parent = static_cast<uint32_t>(::getpid());
    return peer;
  }
  static constexpr int no_socket = -1;  // its process is known by its number alone
  pid_t pid;
};

host::Credentials self() {
  host::Credentials peer;
  peer.pid = static_cast<uint32_t>(::getpid());
  return peer;
}

class LockOwnersTest : public testing::TestWithParam<LockOwners::Watch> {
 protected:
  uint64_t join(const host::Credentials& peer) {
    auto owner = owners.join(peer, Idler::no_socket, next++);
    held.emplace(peer.pid, owner);
    return owner->id;
  }
  void leave(uint32_t pid) {
    auto found = held.find(pid);
    owners.leave(found->second, pid);
    held.erase(found);
  }

  std::map<uint64_t, int> released;
  LockOwners owners{[this](uint64_t id) { ++released[id]; }, GetParam()};
  std::multimap<uint32_t, std::shared_ptr<host::LockOwner>> held;
  uint64_t next = 1;
};

TEST_P(LockOwnersTest, all_clients_of_a_process_are_one_owner_and_each_process_its_own) {
  Idler other;
  const uint64_t mine = join(self());
  EXPECT_EQ(join(self()), mine);
  EXPECT_NE(join(other.peer()), mine);
}

TEST_P(LockOwnersTest, a_process_without_clients_keeps_its_locks) {
  const uint64_t mine = join(self());
  leave(self().pid);
  owners.take_deaths();
  EXPECT_TRUE(released.empty());
  EXPECT_EQ(join(self()), mine);
}

TEST_P(LockOwnersTest, who_has_seen_a_process_end_finds_its_locks_gone) {
  Idler other;
  const uint64_t theirs = join(other.peer());
  leave(other.peer().pid);
  other.kill();
  owners.take_deaths();
  EXPECT_EQ(released[theirs], 1);
}

TEST_P(LockOwnersTest, a_call_that_outlives_its_process_leaves_no_lock) {
  Idler other;
  const uint32_t pid = other.peer().pid;
  const uint64_t theirs = join(other.peer());
  other.kill();
  owners.take_deaths();
  EXPECT_EQ(released[theirs], 1);
  leave(pid);
  EXPECT_EQ(released[theirs], 2);
}

TEST_P(LockOwnersTest, a_number_that_is_used_again_is_another_owner) {
  Idler other;
  const host::Credentials peer = other.peer();
  const uint64_t first = join(peer);
  other.kill();
  other.reap();
  const uint64_t second = join(peer);
  EXPECT_NE(second, first);
  EXPECT_EQ(released[first], 1);
}

TEST_P(LockOwnersTest, processes_with_one_descriptor_table_are_one_owner_until_the_last_ends) {
  const uint64_t mine = join(self());
  Idler sharer(CLONE_FILES);
  Idler copy;
  EXPECT_EQ(join(sharer.peer()), mine);
  EXPECT_NE(join(copy.peer()), mine);
  sharer.kill();
  owners.take_deaths();
  EXPECT_EQ(released.count(mine), 0u);
}

INSTANTIATE_TEST_SUITE_P(Watches, LockOwnersTest,
                         testing::Values(LockOwners::Watch::descriptor, LockOwners::Watch::proc),
                         [](const auto& i) { return i.param == LockOwners::Watch::proc ? "proc" : "pidfd"; });

TEST(LockOwners, the_end_of_a_process_is_an_event) {
  LockOwners owners([](uint64_t) {});
  Idler other;
  auto owner = owners.join(other.peer(), Idler::no_socket, 1);
  EXPECT_FALSE(owners.must_look());
  pollfd event{owners.event_fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&event, 1, 0), 0);
  ::kill(other.pid, SIGKILL);
  EXPECT_EQ(::poll(&event, 1, -1), 1);
  owners.take_deaths();
  EXPECT_EQ(::poll(&event, 1, 0), 0);
}

// Both rings of one process lock as one; the end of one ring is nothing to its locks.
TEST(LockOwners, a_ring_that_ends_keeps_the_locks_of_its_process) {
  HostRig rig;
  rig.go();
  auto keeper = rig.client();
  RingClient::Opened file = keeper->open("file", 2);
  ASSERT_EQ(file.result, 0);
  const auto lock = [&](RingClient& client, abi::CallNumber number) {
    const abi::Lock range{0, 9, 1, 0};
    std::string data(reinterpret_cast<const char*>(&range), sizeof range);
    return client.call({.number = number, .file = file.token, .data = data, .arg = {0}});
  };
  ASSERT_EQ(lock(*rig.client(), abi::CallNumber::setlk), 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    // The parent's ring is this one's memory too, but a call through it would be the parent's.
    RingClient own(rig.door());
    const int64_t result = lock(own, abi::CallNumber::setlk);
    ::_exit(result == -EAGAIN ? 0 : 1);
  }
  int status = -1;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0) << "another process got the lock";
}

}  // namespace
}  // namespace fusewire::test
