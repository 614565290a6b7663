// ScriptedDaemon: a FUSE daemon inside a test, on the other side of a Device. Two ways to use it:
// - by hand: next() takes one request, reply() and reply_error() answer it;
// - by handlers: on(opcode, function) and serve(), which answers everything that waits until it is quiet.
// A request that nobody expected fails the test (and is answered EIO). FORGETs and INTERRUPTs are recorded, not asked
// for. The Device belongs to its connection; whoever ends the test calls close().
// Thread rule: one thread. Do not call it while holding a Connection::Entry: the Device takes the lock itself.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kernel/device.h"
#include "wire/protocol.h"

namespace fusewire::test {

using Bytes = std::vector<std::byte>;

inline void append_bytes(Bytes& bytes, const void* data, size_t size) {
  const auto* first = static_cast<const std::byte*>(data);
  bytes.insert(bytes.end(), first, first + size);
}
inline void append_bytes(Bytes& bytes, std::string_view text) { append_bytes(bytes, text.data(), text.size()); }
inline void append_bytes(Bytes& bytes, const Bytes& more) { append_bytes(bytes, more.data(), more.size()); }
template <typename T>
requires std::is_trivially_copyable_v<T> &&
    (!std::is_convertible_v<T, std::string_view>)void append_bytes(Bytes& bytes, const T& value) {
  append_bytes(bytes, &value, sizeof(value));
}
// The bytes of several structs, strings (without NUL) and byte vectors, one behind the other.
template <typename... T>
Bytes bytes_of(const T&... parts) {
  Bytes bytes;
  (append_bytes(bytes, parts), ...);
  return bytes;
}

// A request as the daemon read it.
struct DaemonRequest {
  wire::InHeader header{};
  wire::Opcode opcode{};
  Bytes body;  // all behind the header

  // A struct at offset of the body; zeros where the body is too short (and the test fails).
  template <typename T>
  T as(size_t offset = 0) const {
    T value{};
    EXPECT_LE(offset + sizeof(T), body.size()) << "body of opcode " << header.opcode << " is too short";
    if (offset + sizeof(T) <= body.size()) std::memcpy(&value, body.data() + offset, sizeof(T));
    return value;
  }
  // The NUL-terminated string at offset of the body.
  std::string name(size_t offset = 0) const {
    std::string text;
    for (size_t i = offset; i < body.size() && body[i] != std::byte{0}; ++i) text += static_cast<char>(body[i]);
    return text;
  }
  // The bytes from offset to the end.
  std::string data(size_t offset) const {
    if (offset >= body.size()) return {};
    return {reinterpret_cast<const char*>(body.data()) + offset, body.size() - offset};
  }
};

// What a handler answers: an error (positive errno), bytes, or nothing yet (the test replies later by hand).
struct DaemonReply {
  int32_t error = 0;
  Bytes bytes;
  bool later = false;

  static DaemonReply failed(kernel::Errno errno_value) { return {static_cast<int32_t>(errno_value), {}, false}; }
  static DaemonReply none_yet() { return {0, {}, true}; }
  template <typename... T>
  static DaemonReply ok(const T&... parts) {
    return {0, bytes_of(parts...), false};
  }
};

class ScriptedDaemon {
 public:
  using Handler = std::function<DaemonReply(const DaemonRequest&)>;
  static constexpr size_t default_buffer = 1 << 20 | 1 << 16;

  explicit ScriptedDaemon(kernel::Device& device, size_t buffer_bytes = default_buffer)
      : device_(&device), buffer_(buffer_bytes) {}

  kernel::Device& device() { return *device_; }

  // One read(2): the request, or the errno (EAGAIN: nothing waits).
  kernel::Result<DaemonRequest> read() {
    if (!device_) return kernel::error(kernel::Errno::enodev);
    auto length = device_->read(buffer_);
    if (!length) return kernel::error(length.error());
    DaemonRequest request;
    EXPECT_GE(*length, sizeof(request.header));
    std::memcpy(&request.header, buffer_.data(), sizeof(request.header));
    EXPECT_EQ(request.header.len, *length) << "the header's len is the length of the read";
    request.opcode = static_cast<wire::Opcode>(request.header.opcode);
    request.body.assign(buffer_.begin() + sizeof(request.header), buffer_.begin() + static_cast<ptrdiff_t>(*length));
    return request;
  }
  // The next request; fails the test when none waits.
  DaemonRequest next() {
    auto request = read();
    if (request) return *request;
    ADD_FAILURE() << "no request waits: errno " << static_cast<int>(request.error());
    return {};
  }
  // The next request, which must be of this opcode.
  DaemonRequest next(wire::Opcode opcode) {
    DaemonRequest request = next();
    EXPECT_EQ(static_cast<uint32_t>(request.opcode), static_cast<uint32_t>(opcode));
    return request;
  }
  bool quiet() { return !device_ || (device_->poll() & 1) == 0; }

  // One write(2) of whatever bytes: for malformed messages.
  kernel::Result<size_t> write(const Bytes& message) { return device_->write(message); }
  kernel::Result<size_t> try_reply(uint64_t unique, const Bytes& payload = {}, int32_t negative_error = 0) {
    const wire::OutHeader header{static_cast<uint32_t>(sizeof(wire::OutHeader) + payload.size()), negative_error,
                                 unique};
    return write(bytes_of(header, payload));
  }
  void reply(uint64_t unique, const Bytes& payload = {}) { expect_accepted(try_reply(unique, payload), unique); }
  template <typename T>
  requires std::is_trivially_copyable_v<T>
  void reply(uint64_t unique, const T& payload) { reply(unique, bytes_of(payload)); }
  void reply_error(uint64_t unique, kernel::Errno errno_value) {
    expect_accepted(try_reply(unique, {}, -static_cast<int32_t>(errno_value)), unique);
  }
  // A notification; the errno is the kernel's answer to it.
  kernel::Result<size_t> notify(wire::NotifyCode code, const Bytes& payload = {}) {
    return try_reply(0, payload, static_cast<int32_t>(code));
  }

  // 7.45, 128 KiB writes, and no flags but those given.
  static wire::InitOut default_init(uint64_t flags = wire::init_flag::init_ext) {
    wire::InitOut out{};
    out.major = wire::major_version;
    out.minor = wire::minor_version;
    out.max_readahead = 131072;
    out.max_write = 131072;
    out.time_gran = 1;
    out.flags = static_cast<uint32_t>(flags);
    out.flags2 = static_cast<uint32_t>(flags >> 32);
    return out;
  }
  // Takes INIT, which must be the next request, and answers it.
  wire::InitIn answer_init(const wire::InitOut& options = default_init()) {
    const DaemonRequest request = next(wire::Opcode::init);
    reply(request.header.unique, options);
    return request.as<wire::InitIn>();
  }

  // From now on requests of opcode are answered by handler; a later on() replaces an earlier one.
  void on(wire::Opcode opcode, Handler handler) { handlers_[opcode] = std::move(handler); }
  void on_error(wire::Opcode opcode, kernel::Errno errno_value) {
    on(opcode, [errno_value](const DaemonRequest&) { return DaemonReply::failed(errno_value); });
  }
  template <typename... T>
  void on_ok(wire::Opcode opcode, const T&... parts) {
    Bytes bytes = bytes_of(parts...);
    on(opcode, [bytes](const DaemonRequest&) { return DaemonReply::ok(bytes); });
  }
  void forbid(wire::Opcode opcode) { handlers_.erase(opcode); }
  void ignore_the_rest_with(kernel::Errno errno_value) { unexpected_ = errno_value; }

  // Answers everything that waits until nothing does; how many requests that were (FORGETs and INTERRUPTs too).
  size_t serve() {
    size_t served = 0;
    for (;;) {
      auto request = read();
      if (!request) break;
      ++served;
      answer(*request);
    }
    return served;
  }

  // What serve() saw, in order, FORGETs and INTERRUPTs included.
  const std::vector<DaemonRequest>& seen() const { return seen_; }
  void clear_seen() { seen_.clear(); }
  size_t count(wire::Opcode opcode) const {
    size_t n = 0;
    for (const auto& request : seen_) n += request.opcode == opcode;
    return n;
  }
  // nodeid -> nlookup given back so far (single and batch).
  const std::map<uint64_t, uint64_t>& forgotten() const { return forgotten_; }
  const std::vector<uint64_t>& interrupted() const { return interrupted_; }

  void close() {
    if (device_) device_->close();
    device_ = nullptr;
  }

 private:
  void expect_accepted(const kernel::Result<size_t>& result, uint64_t unique) {
    EXPECT_TRUE(result.has_value()) << "the reply to " << unique << " was refused: errno "
                                    << (result ? 0 : static_cast<int>(result.error()));
  }
  void answer(const DaemonRequest& request) {
    seen_.push_back(request);
    const auto handler = handlers_.find(request.opcode);
    if (handler != handlers_.end()) return send(request, handler->second(request));
    switch (request.opcode) {
      case wire::Opcode::init:
        return reply(request.header.unique, default_init());
      case wire::Opcode::forget:
        return forget({request.header.nodeid, request.as<wire::ForgetIn>().nlookup});
      case wire::Opcode::batch_forget:
        return forget_all(request);
      case wire::Opcode::interrupt:
        return interrupted_.push_back(request.as<wire::InterruptIn>().unique);
      case wire::Opcode::notify_reply:
        return;
      default:
        break;
    }
    if (unexpected_) return reply_error(request.header.unique, *unexpected_);
    ADD_FAILURE() << "nobody expected opcode " << request.header.opcode << " for node " << request.header.nodeid << " '"
                  << request.name() << "'";
    reply_error(request.header.unique, kernel::Errno::eio);
  }
  void send(const DaemonRequest& request, const DaemonReply& answer) {
    const bool wants_no_reply =
        request.opcode == wire::Opcode::forget || request.opcode == wire::Opcode::batch_forget ||
        request.opcode == wire::Opcode::interrupt || request.opcode == wire::Opcode::notify_reply;
    if (answer.later || wants_no_reply) return;
    if (answer.error) return reply_error(request.header.unique, static_cast<kernel::Errno>(answer.error));
    reply(request.header.unique, answer.bytes);
  }
  void forget(wire::ForgetOne one) { forgotten_[one.nodeid] += one.nlookup; }
  void forget_all(const DaemonRequest& request) {
    const auto batch = request.as<wire::BatchForgetIn>();
    for (uint32_t i = 0; i < batch.count; ++i)
      forget(request.as<wire::ForgetOne>(sizeof(batch) + i * sizeof(wire::ForgetOne)));
  }

  kernel::Device* device_;
  Bytes buffer_;
  std::map<wire::Opcode, Handler> handlers_;
  std::optional<kernel::Errno> unexpected_;
  std::vector<DaemonRequest> seen_;
  std::map<uint64_t, uint64_t> forgotten_;
  std::vector<uint64_t> interrupted_;
};

}  // namespace fusewire::test
