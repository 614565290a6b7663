// A session of the daemon's half on one end of a socket pair; the test plays the kernel's half on the other.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "daemon/device_transport.h"
#include "daemon/session.h"
#include "wire/check.h"
#include "wire/encode.h"

namespace fusewire::test {

struct Answer {
  wire::OutHeader header{};
  std::vector<std::byte> body;

  int error() const { return -header.error; }
  template <typename T>
  T get(size_t offset = 0) const {
    return wire::load<T>(body, offset);
  }
  std::string text() const { return {reinterpret_cast<const char*>(body.data()), body.size()}; }
};

class DaemonPair {
 public:
  explicit DaemonPair(daemon::FileSystem& file_system, daemon::SessionOptions options = {}) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
    int bytes = 4 << 20;
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    timeval patience{20, 0};
    setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    kernel_ = UniqueFd(ends[0]);
    transport_ = std::make_unique<daemon::DeviceTransport>(UniqueFd(ends[1]));
    session_ = std::make_unique<daemon::Session>(*transport_, file_system, options);
    thread_ = std::thread([this] { result_ = session_->run([this] { ready_ = true; }); });
  }
  ~DaemonPair() {
    if (thread_.joinable()) end();
  }

  daemon::Session& session() { return *session_; }
  bool ready() const { return ready_; }

  // Ends the connection as an unmount does; what run() returned.
  daemon::Result<void> end() {
    shutdown(kernel_.get(), SHUT_RDWR);
    thread_.join();
    return result_;
  }

  // Sends raw bytes as one message.
  void send(wire::Bytes message) {
    ASSERT_EQ(::send(kernel_.get(), message.data(), message.size(), 0), static_cast<ssize_t>(message.size()));
  }

  // The next message of the daemon.
  Answer receive() {
    std::vector<std::byte> buffer(2 << 20);
    ssize_t n = recv(kernel_.get(), buffer.data(), buffer.size(), 0);
    Answer answer;
    if (n < static_cast<ssize_t>(sizeof answer.header)) {
      ADD_FAILURE() << "no answer";
      return answer;
    }
    std::memcpy(&answer.header, buffer.data(), sizeof answer.header);
    answer.body.assign(buffer.begin() + sizeof answer.header, buffer.begin() + n);
    EXPECT_EQ(answer.header.len, static_cast<uint32_t>(n));
    return answer;
  }

  // Builds, sends; add appends the request's parts.
  template <typename Add>
  uint64_t post(wire::Opcode opcode, uint64_t node, Add add) {
    std::vector<std::byte> buffer(2 << 20);
    uint64_t unique = next_unique_ += 2;
    wire::RequestBuilder request(buffer, opcode, unique, node);
    request.caller(uid, gid, 4711);
    add(request);
    send(request.finish());
    return unique;
  }
  // And waits for its answer.
  template <typename Add>
  Answer ask(wire::Opcode opcode, uint64_t node, Add add) {
    uint64_t unique = post(opcode, node, add);
    Answer answer = receive();
    EXPECT_EQ(answer.header.unique, unique);
    return answer;
  }
  Answer ask(wire::Opcode opcode, uint64_t node) {
    return ask(opcode, node, [](auto&) {});
  }
  template <typename T>
  Answer ask_struct(wire::Opcode opcode, uint64_t node, const T& in, std::string_view name = {}) {
    return ask(opcode, node, [&](auto& request) {
      request.add(in);
      if (!name.empty()) request.name(name);
    });
  }

  Answer init(uint64_t flags = UINT64_MAX & ~wire::init_flag::init_reserved, uint32_t minor = wire::minor_version,
              uint32_t major = wire::major_version) {
    wire::InitIn in{};
    in.major = major;
    in.minor = minor;
    in.max_readahead = 131072;
    in.flags = static_cast<uint32_t>(flags);
    in.flags2 = static_cast<uint32_t>(flags >> 32);
    return ask(wire::Opcode::init, 0, [&](auto& request) { request.add(in, minor < 36 ? 16 : sizeof in); });
  }

  uint32_t uid = 0, gid = 0;

 private:
  UniqueFd kernel_;
  std::unique_ptr<daemon::DeviceTransport> transport_;
  std::unique_ptr<daemon::Session> session_;
  std::thread thread_;
  daemon::Result<void> result_;
  std::atomic<bool> ready_{false};
  uint64_t next_unique_ = 0;
};

}  // namespace fusewire::test
