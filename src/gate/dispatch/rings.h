// The rings of a process (abi/ring.h): connecting them to hosts, slots, and giving them up.
//
// No lock is held over a call: a ring is connected by whoever needs it first and then published. When all slots of a
// ring are taken, another ring is connected. Thread rule: any thread; a slot belongs to who has taken it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "abi/ring.h"
#include "abi/spin.h"
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
  uint32_t serial = 0;       // no two rings of the process have had the same
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
  std::atomic<uint32_t> connected{0};
  ThreadIdentities threads;
  Ring ring[ring_pool];
};

struct Process;

struct TakenSlot {
  Ring* ring = nullptr;
  uint32_t index = 0;
  long error = -ENOTCONN;  // without a ring
};

// A slot of a ring to the connection's host that may carry calls of the calling thread, `tid`; connects one where there
// is none.
TakenSlot take_slot(Process& p, uint32_t connection, uint32_t tid);
void give_back_slot(Process& p, Ring& ring, uint32_t index);
// A slot of the ring with this serial, as long as calls go through it; none otherwise. To be given back.
TakenSlot take_slot_of_ring(Process& p, uint32_t connection, uint32_t serial);
// By who has the slot.
void unmap_area(Area& area);

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

}  // namespace fusewire::gate
