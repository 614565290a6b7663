// The descriptors that the gate holds in the program's table: sockets and doorbells of rings, the virtual working
// directory, the mount table. The program cannot take, close or use them. They stand above its soft RLIMIT_NOFILE,
// where no call of its own reaches, while that limit is small; elsewhere they move away when the program wants their
// number.
//
// Who uses a number holds it by InUse, so that the number does not become the program's in between. One table belongs
// to one descriptor table of the kernel: processes that share that one (CLONE_FILES) share it, in shared memory where
// they have no other.
#pragma once

#include <errno.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace fusewire::gate {

struct Process;

inline constexpr size_t own_room = 64;

struct OwnDescriptors {
  std::atomic<uint32_t> users{0};       // calls that hold a number; the top bit: numbers are about to change
  std::atomic<int> number[own_room]{};  // + 1; 0: none
};

// No descriptor of the gate's lies below, unless there was no room.
inline constexpr int lowest_internal = 20;

// Moves fd out of the program's way. Its place in the table, or -EMFILE, and fd is closed then.
int keep_own(Process& p, int fd, bool close_on_exec);
// Closes what stands at the place.
void forget_own(Process& p, int place);
// The same by number; what is not the gate's is left alone.
int keep_internal(Process& p, int fd, bool close_on_exec);
// Protects fd where it is. Its place, or -EMFILE.
int adopt_internal(Process& p, int fd);
// The number that stands at a place; -1: none.
int number_at(const Process& p, int place);
void forget_internal(Process& p, int fd);
bool is_internal(const Process& p, int fd);
// The smallest descriptor of the gate's in [first, last], or -1.
int first_internal(const Process& p, long first, long last);
// Gives the number fd back to the program: what the gate holds there moves elsewhere, and fd is free.
void make_room_at(Process& p, int fd);
// The program's limit is `soft` from now on: what lies below moves above it, where that is not too far.
void move_above(Process& p, uint64_t soft);

// Before the clone of a process that shares the descriptors and not the memory.
void share_own_descriptors(Process& p);
// In a process with a descriptor table of its own.
void own_descriptors_of_a_copy(Process& p);

// While it lives, the number at the place stays what it is.
class InUse {
 public:
  InUse(Process& p, int place);
  ~InUse() { table_->users.fetch_sub(1); }
  InUse(const InUse&) = delete;
  int fd() const { return place_ < 0 ? -1 : table_->number[place_].load() - 1; }

 private:
  OwnDescriptors* table_;
  const int place_;
};

// ---- the limit

// So many numbers below the hard limit are the gate's: the program is shown a lower one.
inline constexpr uint64_t reserved_numbers = own_room;
struct NumberLimit {
  uint64_t soft, hard;
};
// RLIMIT_NOFILE as the program shall see it, and as it sets it: 0 or -errno.
NumberLimit shown_limit();
long set_shown_limit(const NumberLimit& wanted);
// In the first program of a namespace.
void reserve_numbers();
struct RaisedState {
  std::atomic<bool> busy{false};
  int raised = 0;     // by so many at once
  uint64_t soft = 0;  // the program's, while it is raised
};

// The soft limit, raised into the reserve for a moment; of several at once the last one puts it back.
class RaisedLimit {
 public:
  explicit RaisedLimit(Process& p);
  ~RaisedLimit();
  RaisedLimit(const RaisedLimit&) = delete;

 private:
  Process& process_;
};

// A descriptor of the gate's own is made where the program's table is full too: make() gives a number or -errno.
template <class Make>
long with_room(Process& p, Make make) {
  const long r = make();
  if (r != -EMFILE) return r;
  const RaisedLimit raised(p);
  return make();
}

}  // namespace fusewire::gate
