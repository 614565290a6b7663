// The ring's client against a scripted host: a thread that answers as call.h says.
#include "gate/dispatch/client.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "abi/leader_protocol.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/process.h"
#include "support/temporary_directory.h"

namespace fusewire::gate {
namespace {

using abi::CallNumber;
using abi::CallState;
using abi::Slot;

constexpr uint32_t connection = 3;

void send_with(int socket, const void* data, size_t bytes, std::vector<int> fds) {
  iovec io{const_cast<void*>(data), bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr m{};
  m.msg_iov = &io, m.msg_iovlen = 1, m.msg_control = control, m.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(c), fds.data(), fds.size() * sizeof(int));
  ASSERT_EQ(::sendmsg(socket, &m, MSG_NOSIGNAL), static_cast<ssize_t>(bytes));
}

// One client's connection: its ring, and what the script makes of its calls.
struct FakeClient {
  int socket = -1, doorbell = -1;
  void* ring = nullptr;
  uint64_t waiting = 0;  // slots taken up and not answered yet

  Slot& slot(uint32_t i) { return abi::ring_slot(ring, i); }
  char* data(uint32_t i) { return abi::ring_data(ring, i); }
  void finish(uint32_t i, int64_t result) {
    slot(i).result = result;
    slot(i).state.store(static_cast<uint32_t>(CallState::done), std::memory_order_release);
    ::syscall(SYS_futex, &slot(i).state, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
  }
  void send_file(uint32_t i, int fd) {
    const abi::FileMessage message{slot(i).token, i, 0};
    send_with(socket, &message, sizeof message, {fd});
  }
};

// Gets each submitted slot, and again at each ring of the doorbell while it says `later`.
enum class Answer { given, later, end_of_host };
using Script = std::function<Answer(FakeClient&, uint32_t slot)>;

class FakeHost {
 public:
  // watching: as a host that looks for calls by itself, so that nobody need ring.
  explicit FakeHost(Script script, bool watching = false) : script_(std::move(script)), watching_(watching) {
    int line[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line), 0);
    line_ = line[0];
    programs_line_ = keep_own(process(), line[1], true);
    process().inherited[static_cast<size_t>(Inherited::line)] = programs_line_;
    stop_ = ::eventfd(0, EFD_CLOEXEC);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeHost() {
    const uint64_t one = 1;
    EXPECT_EQ(::write(stop_, &one, sizeof one), static_cast<ssize_t>(sizeof one));
    thread_.join();
    ::close(stop_);
    process().inherited[static_cast<size_t>(Inherited::line)] = -1;
    forget_own(process(), programs_line_);
  }
  int clients() const { return count_; }

 private:
  void serve() {
    for (bool go_on = true; go_on;) {
      std::vector<pollfd> fds{{stop_, POLLIN, 0}, {line_, POLLIN, 0}};
      for (FakeClient& c : clients_) fds.push_back({c.doorbell, POLLIN, 0});
      ::poll(fds.data(), fds.size(), watching_ ? 0 : -1);
      if (fds[0].revents != 0) break;
      if (fds[1].revents != 0) welcome();
      for (size_t i = 2; i < fds.size(); i++) {
        EXPECT_FALSE(watching_ && fds[i].revents != 0) << "a needless ring";
        if (fds[i].revents != 0 || watching_) go_on = go_on && answer(clients_[i - 2]);
      }
    }
    for (FakeClient& c : clients_) ::close(c.socket), ::close(c.doorbell);
    ::close(line_);
  }
  // The end of a pair that came with a request to reach this host.
  int receive_asker() {
    abi::LeaderRequest request{};
    iovec io{&request, sizeof request};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr m{};
    m.msg_iov = &io, m.msg_iovlen = 1, m.msg_control = control, m.msg_controllen = sizeof control;
    EXPECT_EQ(::recvmsg(line_, &m, MSG_CMSG_CLOEXEC), static_cast<ssize_t>(sizeof request));
    EXPECT_EQ(request.operation, static_cast<uint32_t>(abi::LeaderOperation::reach_host));
    EXPECT_EQ(request.connection, connection);
    int fd = -1;
    if (const cmsghdr* c = CMSG_FIRSTHDR(&m)) std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
  }
  void welcome() {
    FakeClient c;
    c.socket = receive_asker();
    if (c.socket < 0) return;
    const int memory = ::memfd_create("ring", MFD_CLOEXEC);
    ASSERT_EQ(::ftruncate(memory, abi::ring_bytes), 0);
    c.ring = ::mmap(nullptr, abi::ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    auto* header = ::new (c.ring) abi::RingHeader;
    header->magic = abi::call_magic, header->version = abi::call_version;
    header->watching = watching_ ? 1 : 0;
    header->slots = abi::slot_count, header->data_bytes = abi::slot_data_bytes;
    c.doorbell = ::eventfd(0, EFD_CLOEXEC);
    const abi::Welcome w{abi::call_magic, abi::call_version, connection, 0};
    send_with(c.socket, &w, sizeof w, {memory, c.doorbell});
    ::close(memory);
    clients_.push_back(c);
    count_++;
  }
  bool answer(FakeClient& c) {
    uint64_t rings = 0;
    if (!watching_) {
      EXPECT_EQ(::read(c.doorbell, &rings, sizeof rings), static_cast<ssize_t>(sizeof rings));
    }
    auto* header = static_cast<abi::RingHeader*>(c.ring);
    for (uint64_t bits = header->submitted.exchange(0); bits != 0; bits &= bits - 1) c.waiting |= bits & -bits;
    bool go_on = true;
    for (uint32_t i = 0; i < abi::slot_count; i++) {
      if ((c.waiting >> i & 1) == 0) continue;
      // Once answered, the slot may be submitted anew at any moment.
      const Answer answer = script_(c, i);
      if (answer == Answer::given) c.waiting &= ~(uint64_t{1} << i);
      go_on = go_on && answer != Answer::end_of_host;
    }
    return go_on;
  }

  Script script_;
  const bool watching_;
  int line_ = -1, programs_line_ = -1, stop_ = -1;
  std::vector<FakeClient> clients_;
  std::atomic<int> count_{0};
  std::thread thread_;
};

class Client : public testing::Test {
 protected:
  void SetUp() override {
    set_namespace_directory(directory_.path().c_str());
    table_ = std::make_unique<abi::MountTable>();
    std::memset(static_cast<void*>(table_.get()), 0, sizeof *table_);
    table_->mounted = 1;
    table_->entry[0].state = static_cast<uint32_t>(abi::MountState::mounted);
    table_->entry[0].connection = connection;
    table_->entry[0].id = 1;
    table_->entry[0].path_length = 4;
    std::strcpy(table_->path[0], "/mnt");
    table_->connection[0].in_use = 1;
    table_->connection[0].id = connection;
    table_->connection[0].host_pid = 1;
    use_mounts(table_.get());
    process_start();
  }
  void TearDown() override {
    retire_rings(process());
    use_mounts(nullptr);
  }

  const TemporaryDirectory directory_;
  std::unique_ptr<abi::MountTable> table_;
};

TEST_F(Client, a_call_carries_its_fields_and_brings_its_result_and_data) {
  FakeHost host([](FakeClient& c, uint32_t i) {
    Slot& s = c.slot(i);
    EXPECT_EQ(s.number, static_cast<uint32_t>(CallNumber::setxattr));
    EXPECT_EQ(s.file, 9u);
    EXPECT_EQ(s.arg[1], -5);
    EXPECT_EQ(s.nr, 188u);
    EXPECT_STREQ(c.data(i), "a/b");
    EXPECT_STREQ(c.data(i) + s.path1_length + 1, "user.x");
    EXPECT_STREQ(c.data(i) + abi::call_data_offset(s.path1_length, s.path2_length), "value");
    std::strcpy(c.data(i), "answer");
    c.finish(i, 6);
    return Answer::given;
  });
  RingCall call(connection, CallNumber::setxattr, 188);
  ASSERT_EQ(call.error(), 0);
  call.set_file(9);
  call.set_arg(1, -5);
  call.set_path1("a/b");
  call.set_path2("user.x");
  std::strcpy(call.data_area().data(), "value");
  call.set_data_length(5);
  EXPECT_EQ(call.run(), 6);
  EXPECT_EQ(std::string(call.result_data(6).data(), 6), "answer");
}

TEST_F(Client, one_ring_serves_call_after_call) {
  FakeHost host([](FakeClient& c, uint32_t i) { return c.finish(i, 1), Answer::given; });
  for (int i = 0; i < 200; i++) {
    RingCall call(connection, CallNumber::nop, 0);
    ASSERT_EQ(call.run(), 1);
  }
  EXPECT_EQ(host.clients(), 1);
}

TEST_F(Client, no_host_is_enotconn) {
  RingCall call(connection, CallNumber::nop, 0);
  EXPECT_EQ(call.error(), -ENOTCONN);
}

TEST_F(Client, the_end_of_the_host_ends_a_call_with_enotconn_and_the_next_host_is_found) {
  {
    FakeHost host([](FakeClient&, uint32_t) { return Answer::end_of_host; });
    RingCall call(connection, CallNumber::nop, 0);
    ASSERT_EQ(call.error(), 0);
    EXPECT_EQ(call.run(), -ENOTCONN);
  }
  FakeHost host([](FakeClient& c, uint32_t i) { return c.finish(i, 2), Answer::given; });
  RingCall call(connection, CallNumber::nop, 0);
  ASSERT_EQ(call.error(), 0);
  EXPECT_EQ(call.run(), 2);
}

// The first field behind the name in stat(5).
bool is_sleeping(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return text.substr(text.rfind(')'), 3) == ") S";
}

TEST_F(Client, a_signal_asks_for_an_interrupt_and_the_host_decides) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "thread sanitizer holds signals back while a thread sleeps in a raw system call";
#endif
  struct sigaction action {};
  action.sa_handler = [](int) {};
  ::sigaction(SIGUSR1, &action, nullptr);
  const pthread_t caller = ::pthread_self();
  const pid_t thread = ::gettid();
  FakeHost host([caller, thread](FakeClient& c, uint32_t i) {
    if (c.slot(i).interrupt.load() == 0) {
      while (!is_sleeping(thread)) ::sched_yield();
      return ::pthread_kill(caller, SIGUSR1), Answer::later;
    }
    c.finish(i, -EINTR);
    return Answer::given;
  });
  RingCall call(connection, CallNumber::nop, 0);
  EXPECT_EQ(call.run(), -EINTR);
}

TEST_F(Client, a_host_that_watches_is_not_rung) {
  FakeHost host([](FakeClient& c, uint32_t i) { return c.finish(i, 7), Answer::given; }, true);
  for (int i = 0; i < 100; i++) {
    RingCall call(connection, CallNumber::nop, 0);
    ASSERT_EQ(call.run(), 7);
  }
}

TEST_F(Client, each_thread_gets_the_descriptor_of_its_own_open) {
  FakeHost host([](FakeClient& c, uint32_t i) {
    const int fd = ::memfd_create("file", MFD_CLOEXEC);
    const int64_t mark = c.slot(i).arg[0];
    EXPECT_EQ(::pwrite(fd, &mark, sizeof mark, 0), static_cast<ssize_t>(sizeof mark));
    c.slot(i).token = static_cast<uint64_t>(mark);
    c.send_file(i, fd);
    ::close(fd);
    c.finish(i, 0);
    return Answer::given;
  });
  std::vector<std::thread> threads;
  for (int64_t t = 0; t < 16; t++) {
    threads.emplace_back([t] {
      for (int64_t n = 0; n < 50; n++) {
        RingCall call(connection, CallNumber::openat, 257);
        ASSERT_EQ(call.error(), 0);
        call.set_arg(0, t * 1000 + n);
        ASSERT_EQ(call.run(), 0);
        const int fd = call.take_descriptor(false);
        ASSERT_GE(fd, 0);
        int64_t mark = -1;
        ::pread(fd, &mark, sizeof mark, 0);
        EXPECT_EQ(mark, t * 1000 + n);
        EXPECT_EQ(call.opened_token(), static_cast<uint64_t>(mark));
        EXPECT_EQ(::fcntl(fd, F_GETFD), 0);
        ::close(fd);
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(host.clients(), 1) << "threads that begin at once share one ring";
}

// A call that was given up leaves its descriptor on the way: it is not the next one's.
TEST_F(Client, a_late_descriptor_of_another_call_is_closed) {
  int late[2];
  ASSERT_EQ(::pipe2(late, O_CLOEXEC), 0);
  FakeHost host([&](FakeClient& c, uint32_t i) {
    const int fd = ::memfd_create("file", MFD_CLOEXEC);
    const abi::FileMessage message{7, i, 0};
    send_with(c.socket, &message, sizeof message, {late[1]});
    ::close(late[1]);
    c.slot(i).token = 8;
    c.send_file(i, fd);
    ::close(fd);
    c.finish(i, 0);
    return Answer::given;
  });
  RingCall call(connection, CallNumber::openat, 257);
  ASSERT_EQ(call.run(), 0);
  const int fd = call.take_descriptor(false);
  struct stat status {};
  ASSERT_EQ(::fstat(fd, &status), 0);
  EXPECT_TRUE(S_ISREG(status.st_mode)) << "the pipe belongs to another call";
  ::close(fd);
  pollfd end{late[0], 0, 0};
  EXPECT_EQ(::poll(&end, 1, 0), 1) << "the late descriptor stays open";
  ::close(late[0]);
}

TEST_F(Client, more_calls_than_slots_connect_another_ring) {
  FakeHost host([](FakeClient& c, uint32_t i) { return c.finish(i, 0), Answer::given; });
  std::vector<std::unique_ptr<RingCall>> calls;
  for (uint32_t i = 0; i < abi::slot_count + 1; i++) {
    calls.push_back(std::make_unique<RingCall>(connection, CallNumber::nop, 0));
    ASSERT_EQ(calls.back()->error(), 0);
  }
  EXPECT_EQ(calls.back()->run(), 0);
  EXPECT_EQ(host.clients(), 2);
}

TEST_F(Client, new_credentials_mean_a_new_connection) {
  FakeHost host([](FakeClient& c, uint32_t i) { return c.finish(i, 0), Answer::given; });
  for (int i = 0; i < 2; i++) {
    RingCall call(connection, CallNumber::nop, 0);
    ASSERT_EQ(call.run(), 0);
    retire_rings(process());
  }
  RingCall call(connection, CallNumber::nop, 0);
  ASSERT_EQ(call.run(), 0);
  EXPECT_EQ(host.clients(), 3);
}

TEST_F(Client, descriptors_of_the_gate_stay_above_those_of_programs) {
  FakeHost host([](FakeClient& c, uint32_t i) { return c.finish(i, 0), Answer::given; });
  RingCall call(connection, CallNumber::nop, 0);
  ASSERT_EQ(call.run(), 0);
  const int first = first_internal(process(), 0, 1 << 30);
  EXPECT_GE(first, lowest_internal);
  EXPECT_FALSE(is_internal(process(), 3));
  make_room_at(process(), first);
  EXPECT_FALSE(is_internal(process(), first));
  EXPECT_EQ(::fcntl(first, F_GETFD), -1);
  RingCall next(connection, CallNumber::nop, 0);
  EXPECT_EQ(next.run(), 0);
}

TEST_F(Client, a_path_too_long_for_the_slot_is_enametoolong) {
  FakeHost host([](FakeClient& c, uint32_t i) { return c.finish(i, 0), Answer::given; });
  RingCall call(connection, CallNumber::statx, 0);
  call.set_path1(std::string(4096, 'a'));
  EXPECT_EQ(call.run(), -ENAMETOOLONG);
}

}  // namespace
}  // namespace fusewire::gate
