// The caller's side of a Connection: a request's way from its sender to the input queue, and its end.
#include "kernel/connection.h"
#include "kernel/local_wait.h"
#include "kernel/module.h"
#include "wire/opcode_table.h"

namespace fusewire::kernel {

namespace {

template <typename Argument>
size_t total_bytes(const std::array<std::span<Argument>, 3>& arguments, size_t count) {
  size_t bytes = 0;
  for (size_t i = 0; i < count; ++i) bytes += arguments[i].size();
  return bytes;
}

}  // namespace

Result<void> Connection::admission() const {
  if (!connected_) return error(Errno::enotconn);
  if (conn_error_) return error(Errno::econnrefused);
  return {};
}

// The protocol table is the contract with the daemon: a sender whose buffers differ from it would take a valid reply
// for a malformed one, or the other way round.
void Connection::check_contract(const Args& args) {
  const wire::OpcodeInfo* info = wire::find_opcode(args.opcode);
  if (!info) host().panic("a request with an opcode that the protocol table does not know");
  const wire::Dialect dialect{negotiated_.minor, negotiated_.has(wire::init_flag::setxattr_ext)};
  const size_t room = total_bytes(args.out, args.out_count);
  const bool fixed = info->reply == wire::ReplyKind::fixed && !args.noreply;
  if (fixed && (args.out_variable || room != info->reply_size(dialect)))
    host().panic("a request's out arguments differ from the protocol table");
  if (info->reply == wire::ReplyKind::empty && room != 0) host().panic("a request without reply has out arguments");
}

void Connection::fill_header(Request& request, const Caller* caller) {
  const Args& args = *request.args;
  request.in.len = static_cast<uint32_t>(sizeof(wire::InHeader) + total_bytes(args.in, args.in_count));
  request.in.opcode = static_cast<uint32_t>(args.opcode);
  request.in.nodeid = args.nodeid;
  request.in.total_extlen = args.total_extlen;
  if (!caller || args.nocreds) return;
  request.in.uid = caller->uid;
  request.in.gid = caller->gid;
  request.in.pid = caller->pid;
}

Task<Result<void>> Connection::wait_initialized(Caller& caller) {
  if (initialized_) co_return Result<void>{};
  Request* request = module_.requests().make<Request>(ready_);
  if (!request) co_return error(Errno::enomem);
  counters_.waiting.fetch_add(1, std::memory_order_relaxed);
  caller.waiting = request;
  // kill, INIT's answer and the end of the connection take it off the list and wake it.
  gated_.push_back(*request);
  co_await request->waitq.sleep();
  caller.waiting = nullptr;
  release(*request);
  if (caller.killed) co_return error(Errno::eintr);
  co_return Result<void>{};
}

Task<Result<size_t>> Connection::send(Args& args, Caller& caller) {
  if (!args.force && !initialized_) {
    auto ready = co_await wait_initialized(caller);
    if (!ready) co_return error(ready.error());
  }
  counters_.waiting.fetch_add(1, std::memory_order_relaxed);
  Request* request = module_.requests().make<Request>(ready_);
  if (!request) {
    counters_.waiting.fetch_sub(1, std::memory_order_relaxed);
    co_return error(Errno::enomem);
  }
  request->args = &args;
  request->caller = &caller;
  caller.waiting = request;
  Result<size_t> result = 0;
  if (!args.force) {
    const Result<void> admitted = admission();
    if (caller.killed) result = error(Errno::eintr);
    if (!admitted) result = error(admitted.error());
  } else if (!connected_) {
    result = error(Errno::enotconn);
  }
  if (result) {
    check_contract(args);
    fill_header(*request, &caller);
    request->interrupted = caller.interrupted || caller.killed;
    queue(*request);
    if (tracing_) trace(TraceStep::sleeping, *request, 0, 0);
    while (request->state != RequestState::finished) {
      co_await request->waitq.sleep();
    }
    result = request->result;
  }
  caller.waiting = nullptr;
  release(*request);
  co_return result;
}

Result<Request*> Connection::make_background(const Args& args, RequestEnd* end, const Caller* caller) {
  Request* request = module_.requests().make<Request>(ready_);
  if (!request) return error(Errno::enomem);
  counters_.waiting.fetch_add(1, std::memory_order_relaxed);
  request->background = true;
  request->end = end;
  request->own_args = args;
  request->args = &request->own_args;
  request->own_byte_count = total_bytes(args.in, args.in_count);
  fill_header(*request, caller);
  if (request->own_byte_count == 0) return request;
  auto* copy = static_cast<std::byte*>(kmalloc().alloc(request->own_byte_count));
  if (!copy) {
    release(*request);
    return error(Errno::enomem);
  }
  request->own_bytes = copy;
  for (size_t i = 0; i < args.in_count; ++i) {
    const size_t bytes = args.in[i].size();
    __builtin_memcpy(copy, args.in[i].data(), bytes);
    request->own_args.in[i] = {copy, bytes};
    copy += bytes;
  }
  return request;
}

Result<void> Connection::send_background(const Args& args, RequestEnd* end, const Caller* caller) {
  if (!args.force) {
    if (!initialized_) return error(Errno::eagain);
    TRY_VOID(admission());
    if (background_.count >= limits_.max_background) return error(Errno::eagain);
  }
  if (!connected_) return error(Errno::enotconn);
  check_contract(args);
  TRY(request, make_background(args, end, caller));
  ++background_.count;
  background_.waiting.push_back(*request);
  start_background();
  return {};
}

Result<void> Connection::send_notify_reply(const Args& args, uint64_t notify_unique) {
  if (!connected_) return error(Errno::enotconn);
  TRY(request, make_background(args, nullptr, nullptr));
  request->own_args.noreply = true;
  request->in.unique = notify_unique;
  queue(*request);
  return {};
}

void Connection::start_background() {
  while (background_.active < limits_.max_background && !background_.waiting.empty()) {
    Request& request = background_.waiting.front();
    background_.waiting.pop_front();
    ++background_.active;
    queue(request);
  }
}

void Connection::queue_forget(uint64_t nodeid, uint64_t nlookup) {
  if (!connected_ || nlookup == 0) return;
  Forget* forget = module_.forgets().make<Forget>(nodeid, nlookup);
  if (!forget) {
    counters_.lost_forgets.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  counters_.forgets.fetch_add(1, std::memory_order_relaxed);
  input_.forgets.push_back(*forget);
  wire::InHeader header{};
  header.opcode = static_cast<uint32_t>(wire::Opcode::forget);
  header.nodeid = nodeid;
  trace_header(TraceStep::queued, header);
  wake_readers();
}

void Connection::drop(Forget& forget) { module_.forgets().drop(&forget); }

void Connection::queue(Request& request) {
  if (request.args->opcode != wire::Opcode::notify_reply) request.in.unique = input_.take_unique();
  request.state = RequestState::pending;
  input_.pending.push_back(request);
  counters_.requests.fetch_add(1, std::memory_order_relaxed);
  if (tracing_) {
    request.queued_at = host().now();
    trace(TraceStep::queued, request, 0, request.in.len);
  }
  wake_readers();
}

void Connection::queue_interrupt(Request& request) {
  if (!connected_ || request.state != RequestState::sent || request.interrupt_hook.is_linked()) return;
  input_.interrupts.push_back(request);
  wake_readers();
}

// Every device is told, since any of their readers may be busy; who comes second finds EAGAIN.
void Connection::wake_readers() {
  for (DeviceQueues& device : devices_) {
    if (device.listener) device.listener->readable();
  }
}

void Connection::interrupt(Caller& caller) {
  caller.interrupted = true;
  if (caller.local_wait && (caller.local_wait->interruptible || caller.killed)) caller.local_wait->end();
  Request* request = caller.waiting;
  if (!request || learned_enosys_.interrupt) return;
  request->interrupted = true;
  queue_interrupt(*request);
}

void Connection::kill(Caller& caller) {
  caller.killed = true;
  if (caller.local_wait) caller.local_wait->end();
  Request* request = caller.waiting;
  if (!request) return interrupt(caller);
  if (request->state == RequestState::waiting && request->queue_hook.is_linked()) {
    gated_.erase(gated_.iterator_to(*request));
    request->waitq.wake_all();
    return;
  }
  if (request->state == RequestState::pending && !request->args->force) {
    input_.pending.erase(input_.pending.iterator_to(*request));
    finish(*request, error(Errno::eintr));
    return;
  }
  interrupt(caller);
}

void Connection::finish(Request& request, Result<size_t> result) {
  if (request.interrupt_hook.is_linked()) input_.interrupts.erase(input_.interrupts.iterator_to(request));
  const bool was_waiting = request.state == RequestState::waiting;
  request.state = RequestState::finished;
  request.result = result;
  if (tracing_) trace(TraceStep::ended, request, result ? 0 : -static_cast<int32_t>(result.error()), 0);
  if (request.background) return finish_background(request, was_waiting);
  request.waitq.wake_all();
}

void Connection::finish_background(Request& request, bool was_waiting) {
  // A NOTIFY_REPLY has nobody waiting either, but is not counted.
  if (request.args->opcode != wire::Opcode::notify_reply) {
    --background_.count;
    if (!was_waiting) --background_.active;
    if (connected_) start_background();
  }
  if (request.end) request.end->ended(request, request.result);
  release(request);
}

void Connection::release(Request& request) {
  if (request.own_bytes) kmalloc().free(request.own_bytes, request.own_byte_count);
  module_.requests().drop(&request);
  counters_.waiting.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace fusewire::kernel
