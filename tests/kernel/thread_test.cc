// Many threads on one connection: callers, daemon threads on clones, signals, and the end in the middle. What counts is
// that every call ends with an answer that is possible, that nothing is left, and that tsan sees no race.
#include <atomic>
#include <semaphore>
#include <thread>
#include <vector>

#include "support/kernel_fixture.h"

namespace fusewire::test {
namespace {

using kernel::Errno;
using wire::Opcode;

// A daemon thread: sleeps until its device has something, answers it, ends with the connection.
class DaemonThread final : public kernel::DeviceListener {
 public:
  explicit DaemonThread(kernel::Device& device) : device_(device), thread_([this] { run(); }) {
    device_.set_listener(this);
  }
  // Only after the connection has ended.
  void join() { thread_.join(); }
  void close() {
    join();
    device_.close();
  }
  void readable() override { wake_.release(); }
  void ended() override { wake_.release(); }

 private:
  void run() {
    Bytes buffer(1 << 18);
    for (;;) {
      const auto length = device_.read(buffer);
      if (length) {
        answer({buffer.data(), *length});
      } else if (length.error() == Errno::eagain) {
        wake_.acquire();
      } else {
        return;
      }
    }
  }
  void answer(std::span<const std::byte> message) {
    wire::InHeader header;
    std::memcpy(&header, message.data(), sizeof(header));
    Bytes payload;
    switch (static_cast<Opcode>(header.opcode)) {
      case Opcode::init:
        payload = bytes_of(ScriptedDaemon::default_init());
        break;
      case Opcode::lookup:
        payload = bytes_of(wire::EntryOut{});
        break;
      case Opcode::read:
        payload.assign(65536, static_cast<std::byte>(header.nodeid));
        break;
      case Opcode::fsync:
        break;
      default:
        return;
    }
    const wire::OutHeader out{static_cast<uint32_t>(sizeof(wire::OutHeader) + payload.size()), 0, header.unique};
    // Refused only when the connection ended meanwhile.
    (void)device_.write(bytes_of(out, payload));
  }

  kernel::Device& device_;
  std::counting_semaphore<> wake_{0};
  std::thread thread_;
};

class ThreadTest : public KernelTest {
 protected:
  static constexpr int threads_of_each_kind = 4;
  static constexpr int rounds = 150;

  void SetUp() override {
    KernelTest::SetUp();
    mount();
    std::vector<kernel::Device*> devices{&connection->device()};
    while (devices.size() < threads_of_each_kind) devices.push_back(*connection->device().clone());
    for (kernel::Device* device : devices) daemons.push_back(std::make_unique<DaemonThread>(*device));
  }
  void TearDown() override {
    unmount();
    for (auto& thread : daemons) thread->close();
    connection = nullptr;
    KernelTest::TearDown();
  }
  // Waits for a call that another thread will finish, without a clock: yields between looks.
  static void wait_for(RawCall& call) {
    while (!call.done()) std::this_thread::yield();
  }
  // Calls until the rounds are over or the connection is; how many were answered.
  int call_repeatedly(uint64_t nodeid) {
    int answered = 0;
    for (int round = 0; round < rounds; ++round) {
      auto call = round % 2 ? RawCall::lookup(*connection, "name") : RawCall::read(*connection, 65536);
      call->args.nodeid = nodeid;
      call->start();
      if (round % 5 == 0) call->interrupt();
      wait_for(*call);
      if (call->error() != 0) return answered;
      ++answered;
      if (round % 2) continue;
      EXPECT_EQ(call->size(), 65536u);
      EXPECT_EQ(call->out.front(), static_cast<std::byte>(nodeid));
      EXPECT_EQ(call->out.back(), static_cast<std::byte>(nodeid)) << "the reply of another request";
      forget_one(nodeid);
    }
    return answered;
  }
  void forget_one(uint64_t nodeid) {
    kernel::Connection::Entry entry(*connection);
    connection->queue_forget(nodeid, 1);
  }

  std::vector<std::unique_ptr<DaemonThread>> daemons;
};

TEST_F(ThreadTest, every_call_gets_its_own_answer) {
  std::atomic<int> answered{0};
  std::vector<std::jthread> callers;
  for (int t = 0; t < threads_of_each_kind; ++t)
    callers.emplace_back([this, t, &answered] { answered += call_repeatedly(static_cast<uint64_t>(t) + 2); });
  callers.clear();
  EXPECT_EQ(answered, threads_of_each_kind * rounds);
  EXPECT_EQ(connection->counters().waiting, 0u);
}

TEST_F(ThreadTest, abort_in_the_middle_ends_every_call) {
  std::atomic<int> started{0};
  std::vector<std::jthread> callers;
  for (int t = 0; t < threads_of_each_kind; ++t) {
    callers.emplace_back([this, t, &started] {
      for (int i = 0; i < 1000; ++i) {
        auto call = RawCall::read(*connection, 65536);
        call->args.nodeid = static_cast<uint64_t>(t) + 2;
        call->start();
        ++started;
        if (i % 3 == 0) call->kill();
        wait_for(*call);
        const int error = call->error();
        if (error == 0 || error == as_int(Errno::eintr)) continue;
        EXPECT_TRUE(error == as_int(Errno::econnaborted) || error == as_int(Errno::enotconn)) << error;
        return;
      }
    });
  }
  while (started < 50) std::this_thread::yield();
  abort_connection();
  callers.clear();
  EXPECT_EQ(connection->counters().waiting, 0u);
}

TEST_F(ThreadTest, background_requests_of_several_threads_all_end) {
  struct End final : kernel::RequestEnd {
    std::atomic<int> count{0};
    void ended(kernel::Request&, kernel::Result<size_t> result) override { count += result.has_value(); }
  } end;
  std::vector<std::jthread> senders;
  for (int t = 0; t < threads_of_each_kind; ++t) {
    senders.emplace_back([this, &end] {
      const wire::FsyncIn in{};
      kernel::Args args;
      args.opcode = Opcode::fsync;
      args.force = true;
      args.add_in(in);
      for (int i = 0; i < rounds; ++i) {
        kernel::Connection::Entry entry(*connection);
        EXPECT_TRUE(connection->send_background(args, &end).has_value());
      }
    });
  }
  senders.clear();
  while (end.count < threads_of_each_kind * rounds) std::this_thread::yield();
  // The last end was told from within the daemon's write: wait for that to be over.
  kernel::Connection::Entry entry(*connection);
  EXPECT_EQ(connection->counters().waiting, 0u);
}

}  // namespace
}  // namespace fusewire::test
