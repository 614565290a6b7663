// The queues between callers and the daemon (Linux struct fuse_iqueue and the background half of fuse_conn). They know
// order and limits, nothing of devices or replies.
// Thread rule: under the connection lock.
#pragma once

#include <cstdint>

#include "kernel/intrusive.h"
#include "kernel/request.h"

namespace fusewire::kernel {

// nlookup references on nodeid that go back to the daemon. From the slab `fuse_forget`.
struct Forget : boost::intrusive::list_base_hook<> {
  uint64_t nodeid;
  uint64_t nlookup;
  Forget(uint64_t node, uint64_t references) : nodeid(node), nlookup(references) {}
};
using ForgetList = boost::intrusive::list<Forget>;

// What a read of the device may find.
struct InputQueue {
  // Which of the three is to be read next (K007): interrupts first; then forgets and requests take turns, 16 forgets
  // and 8 requests, when both wait.
  enum class Next : uint8_t { nothing, interrupt, forget, request };
  Next choose_next();

  bool empty() const { return interrupts.empty() && forgets.empty() && pending.empty(); }
  uint64_t take_unique() { return last_unique += wire::unique_step; }

  RequestList pending;
  InterruptList interrupts;
  ForgetList forgets;
  int32_t forget_turn = 0;  // above 0: forgets' turn; below: requests' (Linux forget_batch)
  uint64_t last_unique = 0;
};

// Background requests (K035): at most max_background of them are on their way to the daemon, the rest waits here.
struct BackgroundQueue {
  RequestList waiting;
  uint32_t count = 0;   // all background requests that have not ended
  uint32_t active = 0;  // those given to the input queue
};

}  // namespace fusewire::kernel
