// KernelTest: a whole half without file system: host, module, one connection, a scripted daemon on its first device.
// TearDown unmounts, closes, and proves by Module::exit that every slab is empty. RawCall: one request's sender.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kernel/caller.h"
#include "kernel/connection.h"
#include "kernel/module.h"
#include "kernel/task.h"
#include "scripted_daemon.h"
#include "test_host.h"

namespace fusewire::test {

inline Bytes name_bytes(std::string_view name) { return bytes_of(name, '\0'); }

// Sends one request and waits for its end, as a system call would. Stays where it is made.
class RawCall {
 public:
  RawCall(kernel::Connection& connection, wire::Opcode opcode, Bytes in, size_t out_bytes, bool variable = false)
      : in(std::move(in)), out(out_bytes), connection_(connection) {
    args.opcode = opcode;
    args.nodeid = wire::root_id;
    if (!this->in.empty()) args.add_in_bytes(this->in);
    if (out_bytes || variable) args.add_out_bytes(out, variable);
    caller.uid = 1000;
    caller.gid = 100;
    caller.pid = 4711;
  }
  RawCall(const RawCall&) = delete;
  ~RawCall() {
    if (!task_ || task_->done()) return;
    ADD_FAILURE() << "a call is still waiting at the end of the test";
    kernel::Connection::Entry entry(connection_);
    connection_.abort();
  }

  static std::unique_ptr<RawCall> lookup(kernel::Connection& connection, std::string_view name) {
    return std::make_unique<RawCall>(connection, wire::Opcode::lookup, name_bytes(name), sizeof(wire::EntryOut));
  }
  // GETATTR's sizes; good as any request with a fixed reply.
  static std::unique_ptr<RawCall> getattr(kernel::Connection& connection) {
    return std::make_unique<RawCall>(connection, wire::Opcode::getattr, bytes_of(wire::GetattrIn{}),
                                     sizeof(wire::AttrOut));
  }
  static std::unique_ptr<RawCall> read(kernel::Connection& connection, size_t bytes) {
    return std::make_unique<RawCall>(connection, wire::Opcode::read, bytes_of(wire::ReadIn{}), bytes, true);
  }
  static std::unique_ptr<RawCall> flush(kernel::Connection& connection) {
    auto call = std::make_unique<RawCall>(connection, wire::Opcode::flush, bytes_of(wire::FlushIn{}), 0);
    call->args.force = true;
    return call;
  }

  RawCall& start() {
    kernel::Connection::Entry entry(connection_);
    task_.emplace(connection_.send(args, caller));
    task_->start();
    return *this;
  }
  void interrupt() {
    kernel::Connection::Entry entry(connection_);
    connection_.interrupt(caller);
  }
  void kill() {
    kernel::Connection::Entry entry(connection_);
    connection_.kill(caller);
  }
  bool done() {
    kernel::Connection::Entry entry(connection_);
    return done_locked();
  }
  // For threads that must not take the lock only to look.
  bool done_locked() const { return task_ && task_->done(); }

  // The errno, 0 for success; -1 and a failure when the call still waits.
  int error() {
    settle();
    if (!result_) return -1;
    return *result_ ? 0 : static_cast<int>(result_->error());
  }
  // Size of the last out argument; SIZE_MAX after an error.
  size_t size() {
    settle();
    return result_ && *result_ ? **result_ : SIZE_MAX;
  }
  std::string text() {
    const size_t bytes = size();
    return bytes == SIZE_MAX ? std::string() : std::string(reinterpret_cast<const char*>(out.data()), bytes);
  }

  kernel::Args args;
  kernel::Caller caller;
  Bytes in;
  Bytes out;

 private:
  void settle() {
    if (result_) return;
    if (!done_locked()) {
      ADD_FAILURE() << "the call still waits";
      return;
    }
    result_ = task_->take();
  }

  kernel::Connection& connection_;
  std::optional<kernel::Task<kernel::Result<size_t>>> task_;
  std::optional<kernel::Result<size_t>> result_;
};

class KernelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(module.init().has_value());
    auto opened = module.open_connection();
    ASSERT_TRUE(opened.has_value());
    connection = *opened;
    daemon.emplace(connection->device());
  }
  void TearDown() override {
    end_everything();
    module.exit();
    EXPECT_EQ(host.bytes_out(), 0u);
  }

  // Knobs, to be set before mount().
  kernel::MountOptions options;
  wire::InitOut init = ScriptedDaemon::default_init(wire::init_flag::init_ext | wire::init_flag::max_pages);

  kernel::Result<void> try_mount() {
    kernel::Connection::Entry entry(*connection);
    return connection->mount(options);
  }
  void mount() { ASSERT_TRUE(try_mount().has_value()); }
  void mount_and_init() {
    mount();
    daemon->answer_init(init);
  }
  void unmount() {
    kernel::Connection::Entry entry(*connection);
    connection->unmount();
  }
  void abort_connection() {
    kernel::Connection::Entry entry(*connection);
    connection->abort();
  }
  void forget(uint64_t nodeid, uint64_t nlookup) {
    kernel::Connection::Entry entry(*connection);
    connection->queue_forget(nodeid, nlookup);
  }
  // Unmounts and closes what is left; the connection is freed by that.
  void end_everything() {
    if (!connection) return;
    unmount();
    daemon->close();
    connection = nullptr;
  }
  int errno_of(const kernel::Result<size_t>& result) const { return result ? 0 : static_cast<int>(result.error()); }

  TestHost host;
  kernel::Module module{host};
  kernel::Connection* connection = nullptr;
  std::optional<ScriptedDaemon> daemon;
};

// Short for comparisons with RawCall::error and errno_of.
constexpr int as_int(kernel::Errno errno_value) { return static_cast<int>(errno_value); }

}  // namespace fusewire::test
