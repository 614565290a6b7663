// The client's side of the call ring (abi/ring.h): rings per process and connection, and one call through them.
//
// No lock is held over a call: a ring is connected by whoever needs it first and then published. When all slots of a
// ring are taken, another ring is connected. Thread rule: a RingCall belongs to the thread that began it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "abi/ring.h"
#include "abi/spin.h"
#include "gate/dispatch/descriptors.h"
#include "gate/dispatch/identity.h"

namespace fusewire::gate {

enum class RingState : uint32_t {
  free = 0,
  filling = 1,
  live = 2,
  retired = 3,  // takes no new call; freed when its last slot is given back
};

// A slot's memory for long transfers (CallNumber::memory), shared with the host. Belongs to who has the slot.
struct Area {
  char* memory = nullptr;
  size_t bytes = 0;
};

struct Ring {
  std::atomic<RingState> state{RingState::free};
  uint32_t connection = 0;
  bool of_identity = false;  // made for the threads with the credentials `identity`; else for all of the process
  Identity identity;
  int socket = -1, doorbell = -1;  // places in the process's own descriptors
  abi::Spin spin;                  // for answers
  void* memory = nullptr;
  std::atomic<uint64_t> taken{0};  // a bit a slot
  // What came for the slot: the token's low half in the high one, and a descriptor's number + 1, or -EMFILE when the
  // process had no room for it. 0: nothing.
  std::atomic<uint64_t> received[abi::slot_count];
  Area area[abi::slot_count];
};

inline constexpr size_t ring_pool = 24;

struct Rings {
  std::atomic<uint32_t> connecting{0};  // 1: a thread is making a ring
  std::atomic<uint32_t> next_to_go{0};  // of the idle rings, by its place
  // Threads have changed credentials, each its own: a call goes through a ring that was made with the same ones.
  std::atomic<bool> per_identity{false};
  ThreadIdentities threads;
  Ring ring[ring_pool];
};

struct Process;

// The process's credentials changed: hosts must see new ones, so no further call uses these connections.
void retire_rings(Process& p);
// The calling thread is about to change its credentials, and others live: rings of the whole process are used no more.
void keep_rings_by_identity(Process& p);
// The calling thread has changed its credentials. When it cannot go back, rings of other ones are given up.
void identity_changed(Process& p);
// The calling thread ends.
void forget_thread(Process& p);
// In the child of fork: the parent's rings are not ours (their memory is not even mapped here). close: nor are copies
// of their descriptors of use to anybody.
void forget_rings(Process& p, bool close);
// Of a process that has left this memory: what is left of them goes. close: it has left its descriptors as well.
void drop_rings(Process& p, bool close);

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
  // The descriptor of the file opened, its close-on-exec flag as asked; -errno when the host sent none.
  int take_descriptor(bool close_on_exec);

  // What it left to, and the mount that it left or goes on in.
  abi::LeaveTo leave_to() const { return abi::LeaveTo{slot().leave_to}; }
  uint32_t leave_mount() const { return slot().leave_mount; }
  unsigned leave_which() const { return slot().leave_which; }
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
  uint32_t index_ = 0;
  long error_ = 0;
  bool too_long_ = false;
  size_t area_used_ = 0;  // bytes of the area that this call may have filled
  uint64_t opened_ = 0;
};

}  // namespace fusewire::gate
