// Request: one message to the daemon and the wait for its reply (Linux struct fuse_req). From the slab `fuse_req`.
// States: WAITING -> (background queue) -> PENDING -> LOCKED while copied -> SENT (on processing) -> FINISHED (K030).
// Owner: the connection, from get_request to the end; the sender holds it while it waits.
// Thread rule: under the connection lock.
#pragma once

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/unordered_set.hpp>

#include "kernel/args.h"
#include "kernel/errno.h"
#include "kernel/waitq.h"
#include "wire/protocol.h"

namespace fusewire::kernel {

struct Caller;
class Device;

enum class RequestState : uint8_t { waiting, pending, locked, sent, finished };

// What a background request tells its issuer at its end (K039); may run in the daemon's write.
struct RequestEnd {
  virtual void ended(Request& request, Result<size_t> result) = 0;

 protected:
  ~RequestEnd() = default;
};

struct Request {
  using QueueHook = boost::intrusive::list_member_hook<>;
  using InterruptHook = boost::intrusive::list_member_hook<>;
  using HashHook = boost::intrusive::unordered_set_member_hook<>;

  QueueHook queue_hook;          // pending, background or processing order
  InterruptHook interrupt_hook;  // on the interrupt queue
  RequestState state = RequestState::waiting;
  bool background = false;
  bool interrupted = false;
  bool aborted = false;
  wire::InHeader in{};
  wire::OutHeader out{};
  Args* args = nullptr;       // the sender's; for background requests `own_args`
  Args own_args{};
  Caller* caller = nullptr;   // who waits; nullptr for background and orphaned requests
  Device* device = nullptr;   // whose processing table it is on
  RequestEnd* end = nullptr;
  Result<size_t> result = 0;  // size of the last out argument, or the errno
  Waitq waitq;
  uint64_t queued_at = 0, read_at = 0, replied_at = 0;  // for tracing, Host::now()

  explicit Request(ReadyList& ready) : waitq(ready) {}
};

}  // namespace fusewire::kernel
