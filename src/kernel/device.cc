// The daemon's side of a Connection (Linux dev.c: fuse_dev_do_read, fuse_dev_do_write, fuse_dev_release).
#include "kernel/device.h"

#include "kernel/device_impl.h"
#include "kernel/module.h"

namespace fusewire::kernel {

namespace {

namespace poll_bit {
constexpr uint32_t in = 1, out = 4, error = 8;
}
// A shorter copy costs less than letting the lock go and taking it again.
constexpr size_t copied_under_lock = 4096;
// Replies carry -errno above this (Linux: ERESTARTSYS and beyond stay inside the kernel).
constexpr int32_t error_floor = -512;

// A reply as its request takes it: malformed, or its result.
struct Verdict {
  bool well_formed = true;
  Result<size_t> result = 0;
};

// Copies payload over the out arguments; only the last one may come short, and only when it is variable.
Verdict copy_out(Args& args, std::span<const std::byte> payload) {
  size_t room = 0;
  for (size_t i = 0; i < args.out_count; ++i) room += args.out[i].size();
  if (payload.size() > room || (payload.size() < room && !args.out_variable)) return {.well_formed = false};
  const size_t missing = room - payload.size();
  const size_t last = args.out_count ? args.out[args.out_count - 1].size() : 0;
  if (missing > last) return {.well_formed = false};
  for (size_t i = 0; i < args.out_count; ++i) {
    const size_t bytes = args.out[i].size() < payload.size() ? args.out[i].size() : payload.size();
    if (bytes) __builtin_memcpy(args.out[i].data(), payload.data(), bytes);
    payload = payload.subspan(bytes);
  }
  return {.result = last - missing};
}

Verdict judge(Args& args, const wire::OutHeader& header, std::span<const std::byte> payload) {
  if (header.error == 0) return copy_out(args, payload);
  if (!payload.empty()) return {.well_formed = false};
  return {.result = error(static_cast<Errno>(-header.error))};
}

void copy_in(const Request& request, std::span<std::byte> buffer) {
  __builtin_memcpy(buffer.data(), &request.in, sizeof(request.in));
  std::byte* to = buffer.data() + sizeof(request.in);
  for (size_t i = 0; i < request.args->in_count; ++i) {
    const auto& argument = request.args->in[i];
    if (argument.empty()) continue;
    __builtin_memcpy(to, argument.data(), argument.size());
    to += argument.size();
  }
}

// A header and one struct behind it.
template <typename Body>
size_t put_message(std::span<std::byte> buffer, wire::InHeader& header, const Body& body) {
  header.len = sizeof(header) + sizeof(body);
  __builtin_memcpy(buffer.data(), &header, sizeof(header));
  __builtin_memcpy(buffer.data() + sizeof(header), &body, sizeof(body));
  return header.len;
}

}  // namespace

class DeviceImpl::Unlocked {
 public:
  Unlocked(Connection& connection, size_t bytes) : connection_(connection), long_(bytes > copied_under_lock) {
    if (long_) connection_.lock_.unlock(connection_.host());
  }
  ~Unlocked() {
    if (long_) connection_.lock_.lock(connection_.host());
  }
  Unlocked(const Unlocked&) = delete;

 private:
  Connection& connection_;
  const bool long_;
};

DeviceImpl::DeviceImpl(Connection& connection) : connection_(connection) {}

Errno DeviceImpl::end_error() const { return connection_.aborted_ ? Errno::econnaborted : Errno::enodev; }

Result<size_t> DeviceImpl::read(std::span<std::byte> buffer) {
  Connection::Entry entry(connection_);
  return read_locked(buffer);
}

Result<size_t> DeviceImpl::read_locked(std::span<std::byte> buffer) {
  if (!connection_.connected_ && !connection_.ended_) return error(Errno::eperm);
  const size_t needed = sizeof(wire::InHeader) + sizeof(wire::WriteIn) + connection_.negotiated_.max_write;
  if (buffer.size() < wire::min_read_buffer || buffer.size() < needed) return error(Errno::einval);
  while (connection_.connected_) {
    switch (connection_.input_.choose_next()) {
      case InputQueue::Next::nothing:
        return error(Errno::eagain);
      case InputQueue::Next::interrupt:
        return read_interrupt(buffer);
      case InputQueue::Next::forget:
        return read_forget(buffer);
      case InputQueue::Next::request:
        break;
    }
    Request& request = connection_.input_.pending.front();
    connection_.input_.pending.pop_front();
    if (request.in.len <= buffer.size()) return read_request(request, buffer);
    // K006: the requester's fault, not the reader's, who goes on with the next one.
    const bool setxattr = request.args->opcode == wire::Opcode::setxattr;
    connection_.finish(request, error(setxattr ? Errno::e2big : Errno::eio));
  }
  return error(end_error());
}

size_t DeviceImpl::read_interrupt(std::span<std::byte> buffer) {
  Request& request = connection_.input_.interrupts.front();
  connection_.input_.interrupts.pop_front();
  wire::InHeader header{};
  header.opcode = static_cast<uint32_t>(wire::Opcode::interrupt);
  header.unique = request.in.unique | wire::interrupt_bit;
  const size_t bytes = put_message(buffer, header, wire::InterruptIn{request.in.unique});
  connection_.trace_header(TraceStep::read, header);
  return bytes;
}

size_t DeviceImpl::read_forget(std::span<std::byte> buffer) {
  const bool single = connection_.negotiated_.minor < 16 || connection_.input_.forgets.size() == 1;
  return single ? read_one_forget(buffer) : read_forget_batch(buffer);
}

size_t DeviceImpl::read_one_forget(std::span<std::byte> buffer) {
  Forget& forget = connection_.input_.forgets.front();
  connection_.input_.forgets.pop_front();
  wire::InHeader header{};
  header.opcode = static_cast<uint32_t>(wire::Opcode::forget);
  header.unique = connection_.input_.take_unique();
  header.nodeid = forget.nodeid;
  const size_t bytes = put_message(buffer, header, wire::ForgetIn{forget.nlookup});
  connection_.drop(forget);
  connection_.trace_header(TraceStep::read, header);
  return bytes;
}

size_t DeviceImpl::read_forget_batch(std::span<std::byte> buffer) {
  ForgetList& forgets = connection_.input_.forgets;
  const size_t front = sizeof(wire::InHeader) + sizeof(wire::BatchForgetIn);
  const size_t room = (buffer.size() - front) / sizeof(wire::ForgetOne);
  const size_t count = forgets.size() < room ? forgets.size() : room;
  std::byte* to = buffer.data() + front;
  for (size_t i = 0; i < count; ++i) {
    Forget& forget = forgets.front();
    forgets.pop_front();
    const wire::ForgetOne one{forget.nodeid, forget.nlookup};
    __builtin_memcpy(to + i * sizeof(one), &one, sizeof(one));
    connection_.drop(forget);
  }
  wire::InHeader header{};
  header.opcode = static_cast<uint32_t>(wire::Opcode::batch_forget);
  header.unique = connection_.input_.take_unique();
  header.len = static_cast<uint32_t>(front + count * sizeof(wire::ForgetOne));
  const wire::BatchForgetIn batch{static_cast<uint32_t>(count), 0};
  __builtin_memcpy(buffer.data(), &header, sizeof(header));
  __builtin_memcpy(buffer.data() + sizeof(header), &batch, sizeof(batch));
  connection_.trace_header(TraceStep::read, header);
  return header.len;
}

// Off pending; copied out while LOCKED; then SENT, or over when it wants no reply (K008).
Result<size_t> DeviceImpl::read_request(Request& request, std::span<std::byte> buffer) {
  const size_t bytes = request.in.len;
  request.state = RequestState::locked;
  copying.push_back(request);
  {
    Unlocked unlocked(connection_, bytes);
    copy_in(request, buffer);
  }
  copying.erase(copying.iterator_to(request));
  if (request.aborted) {
    connection_.finish(request, error(Errno::econnaborted));
    return error(end_error());
  }
  if (connection_.tracing_) {
    request.read_at = connection_.host().now();
    connection_.trace(TraceStep::read, request, 0, request.in.len);
  }
  if (request.args->noreply) {
    connection_.finish(request, 0);
  } else {
    mark_sent(request);
  }
  return bytes;
}

void DeviceImpl::mark_sent(Request& request) {
  add_sent(request);
  if (request.interrupted && !connection_.learned_enosys_.interrupt) connection_.queue_interrupt(request);
}

Result<size_t> DeviceImpl::write(std::span<const std::byte> message) {
  Connection::Entry entry(connection_);
  if (!connection_.connected_ && !connection_.ended_) return error(Errno::eperm);
  auto written = write_locked(message);
  if (!written && written.error() == Errno::einval)
    connection_.counters_.rejected.fetch_add(1, std::memory_order_relaxed);
  return written;
}

Result<size_t> DeviceImpl::write_locked(std::span<const std::byte> message) {
  wire::OutHeader header;
  if (message.size() < sizeof(header)) return error(Errno::einval);
  __builtin_memcpy(&header, message.data(), sizeof(header));
  if (header.len != message.size()) return error(Errno::einval);
  const auto payload = message.subspan(sizeof(header));
  if (header.unique == 0) {
    TRY_VOID(connection_.dispatch_notify(header.error, payload));
  } else {
    TRY_VOID(take_reply(header, payload));
  }
  return message.size();
}

Result<void> DeviceImpl::take_reply(const wire::OutHeader& header, std::span<const std::byte> payload) {
  if (header.error <= error_floor || header.error > 0) return error(Errno::einval);
  Request* request = find_sent(header.unique & ~wire::interrupt_bit);
  if (!request) return error(Errno::enoent);
  if (header.unique & wire::interrupt_bit) return take_interrupt_reply(*request, header, payload.empty());
  return complete(*request, header, payload);
}

Result<void> DeviceImpl::take_interrupt_reply(Request& request, const wire::OutHeader& header, bool bare) {
  if (!bare) return error(Errno::einval);
  if (header.error == -static_cast<int32_t>(Errno::enosys)) connection_.learned_enosys_.interrupt = true;
  if (header.error == -static_cast<int32_t>(Errno::eagain)) {
    // Linux queue_interrupt: a daemon that answers INTERRUPTs it was never sent.
    if (!request.interrupted) return error(Errno::einval);
    connection_.queue_interrupt(request);
  }
  return {};
}

Result<void> DeviceImpl::complete(Request& request, const wire::OutHeader& header, std::span<const std::byte> payload) {
  unlink_sent(request);
  request.state = RequestState::locked;
  request.out = header;
  copying.push_back(request);
  Verdict verdict;
  {
    Unlocked unlocked(connection_, payload.size());
    verdict = judge(*request.args, header, payload);
  }
  copying.erase(copying.iterator_to(request));
  connection_.counters_.replies.fetch_add(1, std::memory_order_relaxed);
  if (connection_.tracing_) {
    request.replied_at = connection_.host().now();
    connection_.trace(TraceStep::replied, request, header.error, header.len);
  }
  if (request.aborted) {
    connection_.finish(request, error(Errno::econnaborted));
    return error(Errno::enoent);
  }
  if (!verdict.well_formed) {
    connection_.finish(request, error(Errno::eio));
    return error(Errno::einval);
  }
  connection_.finish(request, verdict.result);
  return {};
}

uint32_t DeviceImpl::poll() {
  Connection::Entry entry(connection_);
  if (!connection_.connected_) return poll_bit::error;
  return connection_.input_.empty() ? poll_bit::out : poll_bit::out | poll_bit::in;
}

Result<Device*> DeviceImpl::clone() {
  Connection::Entry entry(connection_);
  if (!connection_.connected_ && !connection_.ended_) return error(Errno::einval);
  TRY(device, connection_.module_.make_device(connection_));
  return device;
}

void DeviceImpl::set_listener(DeviceListener* told) {
  Connection::Entry entry(connection_);
  listener = told;
  if (!listener) return;
  if (connection_.ended_) return listener->ended();
  if (!connection_.input_.empty()) listener->readable();
}

void DeviceImpl::close() {
  Connection& connection = connection_;
  Connection::Entry entry(connection);
  listener = nullptr;
  RequestList orphans;
  move_sent_to(orphans);
  connection.finish_all(orphans);
  connection.devices_.erase(connection.devices_.iterator_to(*this));
  if (connection.first_device_ == this) connection.first_device_ = nullptr;
  if (connection.devices_.empty()) connection.end();
  connection.module_.free_device(*this);
}

}  // namespace fusewire::kernel
