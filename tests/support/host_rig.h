// HostRig: a host process's loop in a thread of the test, with what stands around it: the leader's end of the control
// socket, a scripted daemon on the other end of the device socket, and clients that speak the call ring.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "abi/leader_protocol.h"
#include "abi/ring.h"
#include "abi/types.h"
#include "host/host_process.h"
#include "host/packet_socket.h"
#include "wire/protocol.h"

namespace fusewire::test {

using Payload = std::vector<std::byte>;

template <typename... T>
Payload payload_of(const T&... parts) {
  Payload bytes;
  (bytes.insert(bytes.end(), reinterpret_cast<const std::byte*>(&parts),
                reinterpret_cast<const std::byte*>(&parts) + sizeof parts),
   ...);
  return bytes;
}
inline Payload text_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return Payload(bytes.begin(), bytes.end());
}

inline constexpr uint64_t file_node = 2;

// A daemon of one directory with one file "file" (node 2), in a thread. Handlers replace its answers.
class SocketDaemon {
 public:
  struct Request {
    wire::InHeader header{};
    Payload body;
    wire::Opcode opcode() const { return wire::Opcode{header.opcode}; }
    template <typename T>
    T as() const {
      T value{};
      std::memcpy(&value, body.data(), std::min(sizeof value, body.size()));
      return value;
    }
  };
  struct Reply {
    int32_t error = 0;  // -errno
    Payload payload{};
    bool later = false;  // the test answers itself
  };
  using Handler = std::function<Reply(const Request&)>;

  explicit SocketDaemon(int fd) : fd_(fd) {}
  ~SocketDaemon() { stop(); }

  // Before start.
  void on(wire::Opcode opcode, Handler handler) { handlers_[opcode] = std::move(handler); }
  std::string content = "content";
  uint32_t max_write = 131072;
  uint64_t init_flags = wire::init_flag::init_ext | wire::init_flag::big_writes | wire::init_flag::max_pages;

  void start() {
    thread_ = std::thread([this] { loop(); });
  }
  // Closes the daemon's end, as its death does.
  void stop() {
    if (thread_.joinable()) {
      ::shutdown(fd_, SHUT_RDWR);
      thread_.join();
    }
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  // Returns when the host has closed its end.
  void join() { thread_.join(); }

  // The n-th request (from 1) of this opcode, once it has come.
  Request wait_for(wire::Opcode opcode, size_t n = 1) {
    std::unique_lock lock(mutex_);
    const Request* found = nullptr;
    changed_.wait(lock, [&] {
      size_t count = 0;
      for (const Request& request : seen_)
        if (request.opcode() == opcode && ++count == n) return found = &request, true;
      return false;
    });
    return *found;
  }
  size_t count(wire::Opcode opcode) {
    std::unique_lock lock(mutex_);
    size_t count = 0;
    for (const Request& request : seen_) count += request.opcode() == opcode;
    return count;
  }
  void send(std::span<const std::byte> message) { (void)!::send(fd_, message.data(), message.size(), MSG_NOSIGNAL); }
  void reply(uint64_t unique, const Payload& payload, int32_t error = 0) { send(message(unique, payload, error)); }
  static Payload message(uint64_t unique, const Payload& payload, int32_t error = 0) {
    Payload bytes =
        payload_of(wire::OutHeader{static_cast<uint32_t>(sizeof(wire::OutHeader) + payload.size()), error, unique});
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    return bytes;
  }

  wire::Attr attributes(uint64_t node) const {
    wire::Attr attr{};
    attr.ino = node;
    attr.mode = node == wire::root_id ? 0040755 : 0100644;
    attr.nlink = 1;
    attr.size = node == wire::root_id ? 0 : content.size();
    attr.uid = ::getuid(), attr.gid = ::getgid();
    attr.blksize = 4096;
    return attr;
  }

 private:
  void loop() {
    Payload buffer(size_t{5} << 20);
    for (;;) {
      const ssize_t size = ::recv(fd_, buffer.data(), buffer.size(), 0);
      if (size <= 0) return;
      Request request;
      std::memcpy(&request.header, buffer.data(), sizeof request.header);
      request.body.assign(buffer.begin() + sizeof request.header, buffer.begin() + size);
      answer(request);
    }
  }
  void answer(const Request& request) {
    auto handler = handlers_.find(request.opcode());
    const Reply reply_to_send = handler != handlers_.end() ? handler->second(request) : by_default(request);
    const bool silent = request.opcode() == wire::Opcode::forget || request.opcode() == wire::Opcode::batch_forget ||
                        request.opcode() == wire::Opcode::interrupt;
    // Answered and seen in one: who waits for the request finds the reply sent, and who has the reply finds it counted.
    std::lock_guard lock(mutex_);
    if (!silent && !reply_to_send.later) reply(request.header.unique, reply_to_send.payload, reply_to_send.error);
    seen_.push_back(request);
    changed_.notify_all();
  }
  Reply by_default(const Request& request) {
    switch (request.opcode()) {
      case wire::Opcode::init:
        return {0, payload_of(init())};
      case wire::Opcode::getattr:
        return {0, payload_of(wire::AttrOut{0, 0, 0, attributes(request.header.nodeid)})};
      case wire::Opcode::lookup:
        return lookup(request);
      case wire::Opcode::open:
      case wire::Opcode::opendir:
        return {0, payload_of(wire::OpenOut{7, wire::fopen_flag::direct_io, 0})};
      case wire::Opcode::read:
        return read(request.as<wire::ReadIn>());
      case wire::Opcode::write:
        return {0, payload_of(wire::WriteOut{request.as<wire::WriteIn>().size, 0})};
      case wire::Opcode::unlink:
      case wire::Opcode::release:
      case wire::Opcode::releasedir:
      case wire::Opcode::flush:
        return {};
      default:
        return {-ENOSYS, {}};
    }
  }
  wire::InitOut init() const {
    wire::InitOut out{};
    out.major = wire::major_version, out.minor = wire::minor_version;
    out.max_write = max_write;
    out.max_pages = static_cast<uint16_t>((max_write - 1) / 4096 + 1);
    out.time_gran = 1;
    out.flags = static_cast<uint32_t>(init_flags), out.flags2 = static_cast<uint32_t>(init_flags >> 32);
    return out;
  }
  Reply lookup(const Request& request) {
    const std::string name(reinterpret_cast<const char*>(request.body.data()));
    if (name != "file") return {-ENOENT, {}};
    wire::EntryOut entry{};
    entry.nodeid = file_node, entry.attr = attributes(file_node);
    return {0, payload_of(entry)};
  }
  Reply read(const wire::ReadIn& in) {
    if (in.offset >= content.size()) return {};
    return {0, text_of(std::string_view(content).substr(in.offset, in.size))};
  }

  int fd_;
  std::map<wire::Opcode, Handler> handlers_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Request> seen_;
};

// A program's side of the call ring.
class RingClient {
 public:
  struct Call {
    abi::CallNumber number = abi::CallNumber::nop;
    uint64_t file = 0, file2 = 0;
    std::string path1{}, path2{}, data{};
    std::vector<int64_t> arg{};
    uint64_t shadow = 0;
  };

  // door: where the host takes clients' sockets, as the leader hands them on.
  explicit RingClient(int door) {
    const UniqueFd theirs = make_pair();
    const int fds[] = {theirs.get()};
    EXPECT_EQ(host::send_message(door, std::byte{}, fds), 1);
    take_welcome();
  }
  // By the leader of the namespace.
  RingClient(const std::string& directory, uint32_t connection) {
    const UniqueFd leader(host::connect_to(directory + "/" + abi::leader_socket_name));
    abi::LeaderRequest request{};
    request.operation = static_cast<uint32_t>(abi::LeaderOperation::reach_host);
    request.connection = connection;
    const UniqueFd theirs = make_pair();
    const int fds[] = {theirs.get()};
    EXPECT_GT(host::send_message(leader.get(), request, fds), 0);
    take_welcome();
  }
  ~RingClient() {
    if (ring_) ::munmap(ring_, abi::ring_bytes);
  }
  bool welcome() const { return ring_ != nullptr; }
  void* ring() { return ring_; }
  abi::Slot& slot(uint32_t i) { return abi::ring_slot(ring_, i); }
  char* data(uint32_t i) { return abi::ring_data(ring_, i); }

  void submit(uint32_t i, const Call& call) {
    abi::Slot& s = slot(i);
    s.interrupt.store(0);
    s.number = static_cast<uint32_t>(call.number);
    s.tid = static_cast<uint32_t>(::gettid());
    s.umask = 022;
    s.file = call.file, s.file2 = call.file2, s.shadow = call.shadow;
    for (size_t a = 0; a < 6; ++a) s.arg[a] = a < call.arg.size() ? call.arg[a] : 0;
    s.path1_length = static_cast<uint32_t>(call.path1.size());
    s.path2_length = static_cast<uint32_t>(call.path2.size());
    s.data_length = static_cast<uint32_t>(call.data.size());
    std::memcpy(data(i), call.path1.c_str(), call.path1.size() + 1);
    std::memcpy(data(i) + call.path1.size() + 1, call.path2.c_str(), call.path2.size() + 1);
    std::memcpy(data(i) + abi::call_data_offset(s.path1_length, s.path2_length), call.data.data(), call.data.size());
    s.entered = 0;
    s.state.store(static_cast<uint32_t>(abi::CallState::submitted), std::memory_order_release);
    submit_filled(uint64_t{1} << i);
  }
  // As a client does: without the doorbell while the host watches.
  void submit_filled(uint64_t slots) {
    auto* header = static_cast<abi::RingHeader*>(ring_);
    header->submitted.fetch_or(slots);
    if (header->watching.load() == 0) ring_bell(0);
  }
  void ring_bell(uint64_t slots) {
    static_cast<abi::RingHeader*>(ring_)->submitted.fetch_or(slots, std::memory_order_acq_rel);
    (void)!::eventfd_write(doorbell_.get(), 1);
  }
  int64_t wait(uint32_t i) {
    std::atomic<uint32_t>& state = slot(i).state;
    const auto submitted = static_cast<uint32_t>(abi::CallState::submitted);
    while (state.load(std::memory_order_acquire) == submitted)
      ::syscall(SYS_futex, &state, FUTEX_WAIT, submitted, nullptr, nullptr, 0);
    return slot(i).result;
  }
  int64_t call(const Call& call, uint32_t i = 0) {
    submit(i, call);
    return wait(i);
  }
  // The descriptor and token of an opened file.
  struct Opened {
    int64_t result = 0;
    uint64_t token = 0;
    UniqueFd fd;
  };
  Opened open(const std::string& path, int64_t flags = 0) {
    Opened opened;
    opened.result = call({.number = abi::CallNumber::openat, .path1 = path, .arg = {flags, 0}});
    if (opened.result < 0) return opened;
    abi::FileMessage message{};
    host::Packet packet = host::receive_packet(socket_.get(), std::as_writable_bytes(std::span(&message, 1)));
    EXPECT_EQ(packet.size, static_cast<ssize_t>(sizeof message));
    EXPECT_EQ(packet.fds.size(), 1u);
    opened.token = message.token;
    EXPECT_EQ(opened.token, slot(0).token);
    if (!packet.fds.empty()) opened.fd = std::move(packet.fds[0]);
    return opened;
  }
  int socket() const { return socket_.get(); }

  UniqueFd ring_fd;

 private:
  // The other end.
  UniqueFd make_pair() {
    UniqueFd theirs;
    EXPECT_EQ(host::packet_pair(socket_, theirs), 0);
    return theirs;
  }
  void take_welcome() {
    abi::Welcome welcome{};
    host::wait_readable(socket_.get(), 10'000);
    host::Packet packet =
        host::receive_packet(socket_.get(), std::as_writable_bytes(std::span(&welcome, 1)), MSG_DONTWAIT);
    if (packet.size != sizeof welcome || packet.fds.size() != 2) return;
    ring_ = ::mmap(nullptr, abi::ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, packet.fds[0].get(), 0);
    ring_fd = std::move(packet.fds[0]);
    doorbell_ = std::move(packet.fds[1]);
  }

  UniqueFd socket_, doorbell_;
  void* ring_ = nullptr;
};

class HostRig {
 public:
  explicit HostRig(int wished_buffer = 0) {
    char name[] = "/tmp/fusewire-test-XXXXXX";
    directory_ = ::mkdtemp(name);
    host::HostStart start;
    start.connection = 5;
    start.owner_uid = ::geteuid();
    UniqueFd host_control, host_end, daemon_end;
    EXPECT_EQ(host::packet_pair(control_, host_control), 0);
    EXPECT_EQ(host::packet_pair(host_end, daemon_end), 0);
    for (const int fd : {host_end.get(), daemon_end.get()})
      if (wished_buffer) ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &wished_buffer, sizeof wished_buffer);
    start.device_buffer = wished_buffer
                              ? static_cast<uint32_t>(wished_buffer) * 2
                              : std::min(host::raise_buffers(host_end.get()), host::raise_buffers(daemon_end.get()));
    start.control = std::move(host_control);
    start.device = std::move(host_end);
    EXPECT_EQ(host::packet_pair(door_, start.clients), 0);
    start.objects.reset(::open(directory_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    start.statistics = &statistics;
    start.sockets_bound = &sockets_bound;
    daemon = std::make_unique<SocketDaemon>(daemon_end.release());
    host_ = std::make_unique<host::HostProcess>(std::move(start));
    EXPECT_EQ(host_->set_up(), 0);
    thread_ = std::thread([this] { host_->serve(); });
  }
  ~HostRig() {
    control_.reset();
    if (thread_.joinable()) thread_.join();
    daemon.reset();
    ::rmdir(directory_.c_str());
  }

  int door() const { return door_.get(); }
  std::string directory() const { return directory_; }

  // Messages that are no reply are kept for wait_for_event.
  host::HostMessage ask(host::HostRequest request) {
    EXPECT_EQ(host::send_message(control_.get(), request), static_cast<ssize_t>(sizeof request));
    for (;;) {
      const host::HostMessage message = receive();
      if (message.kind == host::HostMessageKind::reply || message.kind == host::HostMessageKind{}) return message;
      events_.push_back(message);
    }
  }
  host::HostMessage wait_for_event(host::HostMessageKind kind) {
    for (;;) {
      const host::HostMessage message = events_.empty() ? receive() : events_.front();
      if (!events_.empty()) events_.erase(events_.begin());
      if (message.kind == kind || message.kind == host::HostMessageKind{}) return message;
    }
  }
  int32_t mount(const std::string& more_options = "") {
    host::HostRequest request{.operation = host::HostOperation::mount, .dev = 77};
    const std::string options = "fd=3,rootmode=40000,user_id=" + std::to_string(::getuid()) +
                                ",group_id=" + std::to_string(::getgid()) + more_options;
    std::memcpy(request.text, options.c_str(), options.size());
    return ask(request).error;
  }
  int32_t umount(uint32_t flags = 0) { return ask({.operation = host::HostOperation::umount, .flags = flags}).error; }
  // Mounts with the daemon running.
  void go() {
    daemon->start();
    ASSERT_EQ(mount(), 0);
  }
  std::unique_ptr<RingClient> client() {
    auto client = std::make_unique<RingClient>(door());
    EXPECT_TRUE(client->welcome());
    return client;
  }
  // Returns when the host has ended by itself.
  void join() { thread_.join(); }
  std::thread& thread() { return thread_; }

  std::unique_ptr<SocketDaemon> daemon;
  abi::MountStatistics statistics{};
  std::atomic<uint32_t> sockets_bound{0};

 private:
  host::HostMessage receive() {
    host::HostMessage message{};
    const host::Packet packet = host::receive_packet(control_.get(), std::as_writable_bytes(std::span(&message, 1)));
    EXPECT_EQ(packet.size, static_cast<ssize_t>(sizeof message));
    return message;
  }

  std::string directory_;
  UniqueFd control_, door_;
  std::vector<host::HostMessage> events_;
  std::unique_ptr<host::HostProcess> host_;
  std::thread thread_;
};

}  // namespace fusewire::test
