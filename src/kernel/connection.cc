#include "kernel/connection.h"

#include "kernel/module.h"
#include "wire/opcode_table.h"

namespace fusewire::kernel {

namespace {

constexpr uint32_t page_bytes = 4096;

}  // namespace

Connection::Entry::Entry(Connection& connection) : connection_(connection) {
  connection_.lock_.lock(connection_.host());
}

Connection::Entry::~Entry() {
  Connection& connection = connection_;
  connection.ready_.run();
  if (connection.publisher_) connection.publisher_->publish();
  // Decided under the lock, so that only one Entry finds itself the last.
  const bool last = connection.over() && !connection.freeing_;
  if (last) connection.freeing_ = true;
  Module& module = connection.module_;
  connection.lock_.unlock(module.host());
  if (last) module.free_connection(connection);
}

Connection::Connection(Module& module, uint32_t id) : module_(module), id_(id) {}

Host& Connection::host() { return module_.host(); }
Kmalloc& Connection::kmalloc() { return module_.kmalloc(); }

Result<void> Connection::mount(const MountOptions& options) {
  if (ended_) return error(Errno::enotconn);
  if (mounted_) return error(Errno::ebusy);
  if (!is_file_type(options.rootmode)) return error(Errno::einval);
  options_ = options;
  if (options_.max_read < page_bytes) options_.max_read = page_bytes;
  connected_ = true;
  auto queued = queue_init();
  if (!queued) {
    connected_ = false;
    return queued;
  }
  mounted_ = true;
  return {};
}

void Connection::unmount() {
  if (!mounted_) return;
  mounted_ = false;
  notify_ = nullptr;
  end();
}

void Connection::abort() {
  if (!connected_) return;
  aborted_ = negotiated_.has(wire::init_flag::abort_error);
  end();
}

Result<void> Connection::queue_init() {
  const wire::InitIn in = init_request();
  Args args;
  args.opcode = wire::Opcode::init;
  args.force = true;
  args.nocreds = true;
  args.add_in(in);
  args.add_out_bytes(std::as_writable_bytes(std::span(&init_end_.reply, 1)), true);
  return send_background(args, &init_end_);
}

void Connection::InitEnd::ended(Request&, Result<size_t> result) { connection.finish_init(result, reply); }

void Connection::finish_init(Result<size_t> result, const wire::InitOut& reply) {
  if (!connected_) return;
  Result<Negotiated> agreed = result ? negotiate(reply, options_) : error(Errno::econnrefused);
  if (agreed) {
    negotiated_ = *agreed;
    limits_ = negotiate_limits(reply, options_);
  } else {
    conn_error_ = true;
  }
  initialized_ = true;
  open_gate();
}

void Connection::open_gate() {
  while (!gated_.empty()) {
    Request& request = gated_.front();
    gated_.pop_front();
    request.waitq.wake_all();
  }
}

// Linux fuse_abort_conn. Requests that are being copied are ended by their copiers, once the copy is done.
void Connection::end() {
  if (!connected_) {
    ended_ = true;
    return;
  }
  connected_ = false;
  ended_ = true;
  initialized_ = true;
  RequestList orphans;
  for (DeviceQueues& device : devices_) {
    for (Request& request : device.copying) request.aborted = true;
    device.move_sent_to(orphans);
  }
  orphans.splice(orphans.end(), input_.pending);
  orphans.splice(orphans.end(), background_.waiting);
  finish_all(orphans);
  input_.interrupts.clear();
  while (!input_.forgets.empty()) {
    Forget& forget = input_.forgets.front();
    input_.forgets.pop_front();
    drop(forget);
  }
  open_gate();
  if (tracing_) trace_connection(TraceStep::aborted, 0, 0, "");
  for (DeviceQueues& device : devices_) {
    if (device.listener) device.listener->ended();
  }
}

void Connection::finish_all(RequestList& requests) {
  while (!requests.empty()) {
    Request& request = requests.front();
    requests.pop_front();
    finish(request, error(Errno::econnaborted));
  }
}

void Connection::set_max_background(uint32_t limit) {
  limits_.max_background = limit;
  start_background();
}

// K215, K055: everything sent goes back in front of pending, in the order in which it was sent.
void Connection::resend() {
  RequestList again;
  for (DeviceQueues& device : devices_) device.move_sent_to(again);
  if (again.empty()) return;
  for (Request& request : again) {
    if (request.interrupt_hook.is_linked()) input_.interrupts.erase(input_.interrupts.iterator_to(request));
    request.in.unique |= wire::unique_resend;
    request.state = RequestState::pending;
  }
  input_.pending.splice(input_.pending.begin(), again);
  wake_readers();
}

Result<void> Connection::dispatch_notify(int32_t code, std::span<const std::byte> payload) {
  const wire::NotifyInfo* info = wire::find_notify(code);
  if (!info) return error(Errno::einval);
  const auto bytes = static_cast<uint32_t>(sizeof(wire::OutHeader) + payload.size());
  if (tracing_) trace_connection(TraceStep::notify, static_cast<uint32_t>(code), bytes, info->name.data());
  const bool exact = !info->has_name && info->trailer == wire::Trailer::none;
  if (payload.size() < info->fixed || (exact && payload.size() != info->fixed)) return error(Errno::einval);
  switch (info->code) {
    case wire::NotifyCode::resend:
      resend();
      return {};
    case wire::NotifyCode::inc_epoch:
      ++epoch_;
      return {};
    default:
      break;
  }
  if (!notify_) return error(Errno::enoent);
  return notify_->notify(info->code, payload);
}

}  // namespace fusewire::kernel
