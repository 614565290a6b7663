// Client: one process's connection to a host process: its socket, its ring, who it is, and its calls in flight.
// Kept by shared_ptr: a call in flight holds it, so that the ring stays mapped until the half is done with its memory,
// also when the process has died.
// Thread rule: one thread. The ring's bytes change at any time under our feet.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <span>

#include "abi/ring.h"
#include "abi/unique_fd.h"
#include "host/credentials.h"
#include "host/lock_owners.h"

namespace fusewire::host {

struct Call;

// A copy of what a slot asks.
struct CallFields {
  abi::CallNumber number;
  uint32_t tid, umask, path1_length, path2_length, data_length;
  uint64_t file, file2, root;
  int64_t arg[6];
  uint64_t entered;
  uint32_t nr;
  uint64_t file_size_limit;
  uint32_t mount, mount2;
  uint64_t shadow;
};

class Client {
 public:
  // Makes ring and doorbell for the process at the other end of socket, which is `peer`, and sends them. nullptr when
  // they cannot be had, which it is told (a LeaderReply), or it is gone already.
  static std::shared_ptr<Client> welcome(UniqueFd socket, Credentials peer, uint32_t connection);
  ~Client();
  Client(const Client&) = delete;

  int socket() const { return socket_.get(); }
  int doorbell() const { return doorbell_.get(); }
  const Credentials& credentials() const { return credentials_; }
  // The thread that a call says it comes from, as far as it is one of the process's. All calls of a ring are made with
  // the credentials that its first one had.
  uint32_t confirm_thread(uint32_t tid);

  bool has_submitted() const;
  // Whether the host looks for submitted slots by itself (RingHeader).
  void set_watching(bool watching) const;
  // The slots submitted since the last time, a bit each.
  uint64_t take_submitted();
  bool is_submitted(uint32_t slot) const;
  CallFields copy_fields(uint32_t slot) const;
  bool interrupt_asked(uint32_t slot) const;
  // The whole data area of a slot.
  std::span<std::byte> data(uint32_t slot) const;
  // The slot's area for long transfers, empty when it has none. Its calls must have ended when it changes.
  std::span<std::byte> area(uint32_t slot) const { return areas_[slot]; }
  // A fresh memfd of at least `bytes`, mapped as the slot's area in place of the last one: for the client. Sparse, its
  // size sealed. -errno: ENOMEM when this client has had as much as one may have.
  std::expected<UniqueFd, int> make_area(uint32_t slot, uint64_t bytes);
  void drop_area(uint32_t slot);
  abi::Slot& slot(uint32_t i) const { return abi::ring_slot(ring_, i); }
  // The result is in the slot: wakes the thread that waits for it.
  void finish(uint32_t slot) const;
  // Hands the descriptor of an opened file over. 0 or -errno.
  int send_file(uint64_t token, uint32_t slot, int fd) const;

  // A position (abi::RingPosition) for a file, which is_open tells by its token; 0: all are in use. Slot::position.
  template <typename IsOpen>
  uint32_t take_position(uint64_t file_token, IsOpen is_open) {
    for (uint32_t looked = 0; looked < positions_looked_at; ++looked) {
      const uint32_t i = next_position_++ % abi::ring_positions;
      if (position_of_[i] != 0 && is_open(position_of_[i])) continue;
      position_of_[i] = file_token;
      turn_[i] = static_cast<uint16_t>(turn_[i] + 1);
      return (uint32_t{turn_[i]} << abi::position_number_bits | i) + 1;
    }
    return 0;
  }
  // What stands there is the client's to change.
  void lend_position(uint32_t position, uint64_t offset) const;
  // It comes back: its offset, or `otherwise` where it was away, or is no offset.
  uint64_t take_back_position(uint32_t position, uint64_t otherwise) const;
  // The files that have one.
  const std::array<uint64_t, abi::ring_positions>& files_with_positions() const { return position_of_; }

  // The socket that came for the call in this slot; none when none came.
  UniqueFd take_socket(uint32_t slot);

  uint64_t key = 0;                                // of the server; no other client ever has it
  bool gone = false;                               // the process hung up
  std::array<Call*, abi::slot_count> in_flight{};  // by slot
  uint32_t calls = 0;                              // of them not null
  std::shared_ptr<LockOwner> lock_owner;

 private:
  Client() = default;

  UniqueFd socket_, doorbell_;
  std::array<std::span<std::byte>, abi::slot_count> areas_{};
  uint64_t area_bytes_ = 0;  // of all areas
  void* ring_ = nullptr;
  Credentials credentials_;
  Threads threads_;
  std::map<uint32_t, UniqueFd> sockets_;  // received, by slot
  bool called_ = false;
  static constexpr uint32_t positions_looked_at = 8;
  std::array<uint64_t, abi::ring_positions> position_of_{};  // tokens of files
  std::array<uint16_t, abi::ring_positions> turn_{};
  uint32_t next_position_ = 0;
};

}  // namespace fusewire::host
