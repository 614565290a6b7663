// Request: one message to the daemon and the wait for its reply (Linux struct fuse_req). From the slab `fuse_req`.
// States: WAITING -> (background queue) -> PENDING -> LOCKED while copied -> SENT (on processing) -> FINISHED (K030).
// Owner: the connection, from its making to the end; the sender holds it while it waits.
// Thread rule: under the connection lock. While a request is LOCKED its header and arguments belong to the copier.
#pragma once

#include "kernel/args.h"
#include "kernel/errno.h"
#include "kernel/intrusive.h"
#include "kernel/waitq.h"
#include "wire/protocol.h"

namespace fusewire::kernel {

struct Caller;
struct Request;

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
  HashHook hash_hook;            // in a device's processing table
  RequestState state = RequestState::waiting;
  bool background = false;
  bool interrupted = false;
  bool aborted = false;  // the connection ended while it was LOCKED: its copier ends it
  wire::InHeader in{};
  wire::OutHeader out{};
  Args* args = nullptr;  // the sender's; for background requests `own_args`
  Args own_args{};
  void* own_bytes = nullptr;  // background requests: the copy of the in arguments, from kmalloc
  size_t own_byte_count = 0;
  Caller* caller = nullptr;  // who waits; nullptr for background requests
  RequestEnd* end = nullptr;
  Result<size_t> result = 0;  // size of the last out argument, or the errno
  Waitq waitq;
  uint64_t queued_at = 0, read_at = 0, replied_at = 0;  // Host::now() at the step; only while tracing

  explicit Request(ReadyList& ready) : waitq(ready) {}
};

using RequestList =
    boost::intrusive::list<Request, boost::intrusive::member_hook<Request, Request::QueueHook, &Request::queue_hook>>;
using InterruptList =
    boost::intrusive::list<Request,
                           boost::intrusive::member_hook<Request, Request::InterruptHook, &Request::interrupt_hook>>;

}  // namespace fusewire::kernel
