// One call through a call ring (abi/ring.h). Thread rule: a RingCall belongs to the thread that began it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "abi/ring.h"
#include "gate/dispatch/descriptors.h"
#include "gate/dispatch/rings.h"

namespace fusewire::gate {

// One call: begin, fill, run, read the result's data; gives the slot back when it goes.
class RingCall {
 public:
  // nr: the Linux system call behind it, for traces. error(): 0, or -ENOTCONN when no host answers, -EACCES
  // when this user may not ask it, -EMFILE when no descriptor is left to do so.
  RingCall(uint32_t connection, abi::CallNumber number, long nr);
  ~RingCall();
  RingCall(const RingCall&) = delete;
  RingCall& operator=(const RingCall&) = delete;

  long error() const { return error_; }
  uint32_t connection() const { return ring_->connection; }

  // In this order: paths, then data. What does not fit the slot makes run() answer -ENAMETOOLONG.
  void set_file(uint64_t token) { slot().file = token; }
  void set_file2(uint64_t token) { slot().file2 = token; }
  // Where a path starts: an open file, or the root of a mount.
  void set_start(VirtualFile start) { slot().file = start.token, slot().mount = start.mount; }
  void set_start2(VirtualFile start) { slot().file2 = start.token, slot().mount2 = start.mount; }
  void set_arg(unsigned i, int64_t value) { slot().arg[i] = value; }
  void set_path1(std::string_view path);
  void set_path2(std::string_view path);
  std::span<char> data_area();  // where the call's data goes; then set_data_length
  // Of an open: a shadow that this process keeps, by the token in its name; 0: none.
  void offer_shadow(uint64_t name) { slot().shadow = name; }
  void set_data_length(size_t bytes) { slot().data_length = static_cast<uint32_t>(bytes); }

  // For a call that transfers more than io_bytes_max: makes sure of an area, and says how many of `bytes` it has room
  // for; io_bytes_max or less when there can be none: those go through the slot. Before the call's fields are set.
  size_t make_transfer_room(size_t bytes);
  // Where the data of a transfer of so many bytes stands, as far as there is room.
  std::span<char> transfer_data(size_t bytes);

  // Sends the socket that the call is about, before run(). 0 or -errno.
  long send_socket(int fd) const;
  // Sleeps until the host has answered: the result, 0.. or -errno. A signal asks the host to interrupt the request;
  // the host's answer still decides, as in FUSE. SIGXFSZ is sent when the call ran into RLIMIT_FSIZE.
  long run();

  // Whether the program may open one more file: 0, -EMFILE or -ENFILE.
  long check_room_for_descriptor() const;

  // After run(): the result's data, at most `bytes` of it.
  std::span<const char> result_data(size_t bytes) const;
  uint64_t opened_token() const { return opened_; }
  // After run(): the kept shadow that stands for what was opened, or that may be kept; 0: none.
  uint64_t shadow() const { return shadow_; }
  // After run(): the inode's row in the view (view_layout.h), of what was opened or asked.
  uint64_t inode_row() const { return inode_; }
  // Of what was opened: Slot::position, and the ring's serial above it; 0: it has none.
  uint64_t position() const { return position_; }
  uint32_t begun() const { return begun_; }  // as look_begins() had it
  // The descriptor of the file opened, its close-on-exec flag as asked; -errno when the host sent none.
  int take_descriptor(bool close_on_exec);

  // What it left to, and the mount that it left or goes on in.
  abi::LeaveTo leave_to() const { return abi::LeaveTo{slot().leave_to}; }
  uint32_t leave_mount() const { return slot().leave_mount; }
  unsigned leave_which() const { return slot().leave_which; }
  uint32_t leave_links() const { return slot().leave_links; }
  std::string_view leave_rest() const;

 private:
  void begin(abi::CallNumber number, long nr);
  bool ask_for_area(size_t bytes);
  void tidy_area();
  Area& area() const { return ring_->area[index_]; }
  abi::Slot& slot() const { return abi::ring_slot(ring_->memory, index_); }
  char* data() const { return abi::ring_data(ring_->memory, index_); }
  long wait_for_answer(bool interruptible);
  bool host_is_gone() const;
  void ring_doorbell() const;
  int wait_descriptor();

  Ring* ring_ = nullptr;
  const uint32_t tid_;
  const uint32_t begun_;
  uint32_t index_ = 0;
  long error_ = 0;
  bool too_long_ = false;
  size_t area_used_ = 0;  // bytes of the area that this call may have filled
  uint64_t opened_ = 0;
  uint64_t shadow_ = 0;
  uint64_t inode_ = 0;
  uint64_t position_ = 0;
};

}  // namespace fusewire::gate
