#include "host/socket_door.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "wire/opcode_table.h"

namespace fusewire::host {
namespace {

constexpr size_t page_bytes = 4096;
// A daemon that floods must not keep its clients and the leader waiting: they are served between.
constexpr int messages_per_turn = 64;
// libfuse's own buffer: no daemon reads less, none answers more before it has negotiated.
constexpr size_t message_min = 1024 * 1024 + page_bytes;
// libfuse splices replies of two pages and more.
constexpr uint32_t splice_min = 2 * page_bytes;

template <typename T>
T head_of(std::span<const std::byte> message) {
  T head{};
  std::memcpy(&head, message.data(), std::min(sizeof head, message.size()));
  return head;
}

uint64_t unique_of(std::span<const std::byte> message) { return head_of<wire::OutHeader>(message).unique; }

// What a READ-like request may be answered with, in bytes; 0 for others.
uint32_t bytes_asked(std::span<const std::byte> request) {
  const auto header = head_of<wire::InHeader>(request);
  const auto opcode = wire::Opcode{header.opcode};
  const bool reads =
      opcode == wire::Opcode::read || opcode == wire::Opcode::readdir || opcode == wire::Opcode::readdirplus;
  if (!reads || request.size() < sizeof header + sizeof(wire::ReadIn)) return 0;
  return head_of<wire::ReadIn>(request.subspan(sizeof header)).size;
}

bool is_gone(int error) { return error == EPIPE || error == ECONNRESET || error == ENOTCONN; }

}  // namespace

SocketDoor::SocketDoor(kernel::Device& device, UniqueFd socket, uint32_t buffer)
    : device_(device), socket_(std::move(socket)) {
  const size_t message_max = std::max<size_t>(message_min, max_write(buffer) + page_bytes);
  request_.resize(message_max);
  reply_.resize(message_max);
  learn_sender(false);
  device_.set_listener(this);
}

SocketDoor::~SocketDoor() { device_.set_listener(nullptr); }

uint32_t SocketDoor::max_write(uint32_t buffer) { return std::max<uint32_t>(buffer / 2, 3 * page_bytes) - page_bytes; }

void SocketDoor::learn_sender(bool known) {
  const int on = known ? 0 : 1;
  asks_sender_ = !known;
  (void)::setsockopt(socket_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
}

void SocketDoor::pump() {
  blocked_ = false;
  while (!gone_ && (held_ > 0 || read_request())) {
    if (must_wait_for_read()) return;
    const std::span<const std::byte> message(request_.data(), held_);
    if (::send(socket_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
      note_sent(head_of<wire::InHeader>(message));
      held_ = 0;
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      blocked_ = true;
      return;
    }
    if (is_gone(errno))
      gone_ = true;
    else
      fail_held_request();
  }
}

bool SocketDoor::read_request() {
  if (!readable_) return false;
  readable_ = false;
  const kernel::Result<size_t> size = device_.read(request_);
  if (!size) {
    if (size.error() == kernel::Errno::enodev || size.error() == kernel::Errno::econnaborted) ended_ = true;
    return false;
  }
  readable_ = true;
  held_ = *size;
  return true;
}

void SocketDoor::note_sent(const wire::InHeader& header) {
  const wire::OpcodeInfo* info = wire::find_opcode(header.opcode);
  if (!info || !info->has_reply() || wire::Opcode{header.opcode} == wire::Opcode::interrupt) return;
  ++unanswered_;
  if (bytes_asked({request_.data(), held_}) >= splice_min) large_reads_.insert(header.unique);
}

bool SocketDoor::must_wait_for_read() const {
  return splices_ && !large_reads_.empty() && bytes_asked({request_.data(), held_}) >= splice_min;
}

// The socket refuses the packet (too large for it, or no memory): the sender of the request must not wait for ever.
void SocketDoor::fail_held_request() {
  fail_request(head_of<wire::InHeader>({request_.data(), held_}).unique);
  held_ = 0;
}

void SocketDoor::fail_request(uint64_t unique) {
  const wire::OutHeader header{sizeof header, -static_cast<int32_t>(kernel::Errno::eio), unique};
  (void)device_.write(std::as_bytes(std::span(&header, 1)));
}

bool SocketDoor::receive() {
  bool any = false;
  int taken = 0;
  do {
    const ssize_t size = receive_one();
    if (size < 0) {
      if (is_gone(static_cast<int>(-size))) gone_ = true;
      break;
    }
    if (size == 0 && at_end()) {
      gone_ = true;
      break;
    }
    any = true;
    deliver({reply_.data(), std::min(static_cast<size_t>(size), reply_.size())});
  } while (unanswered_ > 0 && ++taken < messages_per_turn);
  return any;
}

ssize_t SocketDoor::receive_one() {
  iovec vector{reply_.data(), reply_.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int) * 8)];
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  // Descriptors that a daemon attaches find no room and are dropped by the kernel.
  message.msg_control = asks_sender_ ? control : nullptr;
  message.msg_controllen = asks_sender_ ? CMSG_SPACE(sizeof(ucred)) : 0;
  ssize_t size;
  do {
    size = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return -errno;
  const cmsghdr* header = asks_sender_ ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS) {
    ucred sender;
    std::memcpy(&sender, CMSG_DATA(header), sizeof sender);
    daemon_pid_ = static_cast<uint32_t>(sender.pid);
    if (daemon_pid_ != 0) learn_sender(true);
  }
  return size;
}

// An empty packet and the end of the connection look alike to recv.
bool SocketDoor::at_end() const {
  pollfd poll_fd{socket_.get(), POLLRDHUP, 0};
  return ::poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & (POLLHUP | POLLRDHUP)) != 0;
}

void SocketDoor::deliver(std::span<const std::byte> message) {
  if (joined_length_ > 0) return deliver_piece(message);
  if (!starts_cut_reply(message)) return hand_in(message);
  splices_ = true;
  joined_length_ = head_of<wire::OutHeader>(message).len;
  joined_.assign(message.begin(), message.end());
}

bool SocketDoor::starts_cut_reply(std::span<const std::byte> message) const {
  if (message.size() < sizeof(wire::OutHeader)) return false;
  const auto header = head_of<wire::OutHeader>(message);
  return header.len > message.size() && header.len <= reply_.size() && header.error == 0 &&
         large_reads_.contains(header.unique);
}

void SocketDoor::deliver_piece(std::span<const std::byte> message) {
  const auto header = head_of<wire::OutHeader>(message);
  const bool whole = message.size() >= sizeof header && header.len == message.size();
  if (whole && (header.unique == 0 || header.unique != unique_of(joined_))) {
    // A reply of its own between the pieces, unless the half knows nothing of it.
    const kernel::Result<size_t> taken = device_.write(message);
    if (taken || taken.error() != kernel::Errno::enoent) {
      large_reads_.erase(header.unique);
      return;
    }
  }
  if (starts_cut_reply(message) || joined_.size() + message.size() > joined_length_) {
    // Pieces of two replies: which belong to which nobody can say.
    for (const uint64_t unique : {unique_of(joined_), starts_cut_reply(message) ? header.unique : 0}) {
      if (unique != 0) fail_request(unique);
      large_reads_.erase(unique);
    }
    joined_length_ = 0;
    return;
  }
  joined_.insert(joined_.end(), message.begin(), message.end());
  if (joined_.size() < joined_length_) return;
  joined_length_ = 0;
  hand_in(joined_);
}

void SocketDoor::hand_in(std::span<const std::byte> message) {
  if (message.size() >= sizeof(wire::OutHeader) && unique_of(message) != 0) {
    if (unanswered_ > 0) --unanswered_;
    large_reads_.erase(unique_of(message));
  }
  (void)device_.write(message);
}

}  // namespace fusewire::host
