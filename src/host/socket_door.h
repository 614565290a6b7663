// SocketDoor: a daemon's way to the half over a SOCK_SEQPACKET socket: one message of the device, one packet.
//
// What a socket does otherwise than /dev/fuse, and what is done about it:
// - it can be full: the request is kept, and nothing more is read from the half, until there is room;
// - a packet has a greatest size: the connection's messages are bounded by max_write();
// - a reply that the daemon splices comes in pieces: they are joined by the length in their header, and from then on
//   only one large read is outstanding, since pieces of two replies cannot be told apart. Replies that did mix before
//   that was known end with EIO;
// - its end is end of file: gone().
// A reply that is malformed is the daemon's loss alone, as an error of write(2) would be: the half counts it.
// Owner: the host process; the Device outlives it. Thread rule: one thread, outside Connection::Entry.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_set>
#include <vector>

#include "abi/unique_fd.h"
#include "kernel/device.h"
#include "wire/protocol.h"

namespace fusewire::host {

class SocketDoor final : kernel::DeviceListener {
 public:
  // socket: the host's end, its buffers raised already; buffer: what the smaller of both ends' buffers got.
  SocketDoor(kernel::Device& device, UniqueFd socket, uint32_t buffer);
  ~SocketDoor();
  SocketDoor(const SocketDoor&) = delete;

  // What one message may carry beside its headers (MountOptions::transport_max_write).
  static uint32_t max_write(uint32_t buffer);

  int fd() const { return socket_.get(); }
  // Hands requests to the daemon, until there are none or the socket is full.
  void pump();
  // Takes some of what the daemon wrote; what is left keeps fd() readable. True when it was anything.
  bool receive();
  // A request waits for room: fd() is to be watched for writing, and pump called then.
  bool blocked() const { return blocked_; }
  // Nothing is left that the daemon should still be told.
  bool idle() const { return !readable_ && held_ == 0; }
  // The daemon closed its end.
  bool gone() const { return gone_; }
  // The half ended the connection.
  bool connection_ended() const { return ended_; }
  // The process that last answered, as far as known.
  uint32_t daemon_pid() const { return daemon_pid_; }

 private:
  void readable() override { readable_ = true; }
  void ended() override { ended_ = true; }

  bool read_request();
  void note_sent(const wire::InHeader& header);
  bool must_wait_for_read() const;
  void fail_held_request();
  void fail_request(uint64_t unique);
  ssize_t receive_one();
  void learn_sender(bool known);
  bool at_end() const;
  void deliver(std::span<const std::byte> message);
  void deliver_piece(std::span<const std::byte> message);
  bool starts_cut_reply(std::span<const std::byte> message) const;
  void hand_in(std::span<const std::byte> message);

  kernel::Device& device_;
  UniqueFd socket_;
  std::vector<std::byte> request_, reply_;
  size_t held_ = 0;       // bytes of request_ that are not sent yet
  bool readable_ = true;  // the half may have a request
  bool blocked_ = false;
  bool gone_ = false;
  bool ended_ = false;
  bool asks_sender_ = true;  // packets bring their sender's pid along
  uint32_t daemon_pid_ = 0;
  int64_t unanswered_ = 0;                    // requests sent less replies; a hint whether another reply may be there
  std::unordered_set<uint64_t> large_reads_;  // uniques of what may be answered in pieces
  bool splices_ = false;                      // the daemon answers in pieces
  std::vector<std::byte> joined_;             // pieces so far of one reply
  size_t joined_length_ = 0;                  // what it shall be; 0: none
};

}  // namespace fusewire::host
