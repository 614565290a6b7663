#include "kernel/trace.h"

#include "kernel/connection.h"
#include "wire/opcode_table.h"

namespace fusewire::kernel {

namespace {

// The directory entry's name in the request, or "". It is a C string: add_in_name counts its NUL.
const char* file_name(const Args& args) {
  const wire::OpcodeInfo* info = wire::find_opcode(args.opcode);
  if (!info || info->names[0] != wire::NameKind::entry) return "";
  const size_t at = info->fixed.size == 0 ? 0 : 1;
  return at < args.in_count ? reinterpret_cast<const char*>(args.in[at].data()) : "";
}

}  // namespace

TraceEvent Connection::make_event(TraceStep step) const {
  TraceEvent event{};
  event.step = step;
  event.name = "";
  event.pending = static_cast<uint32_t>(input_.pending.size());
  event.background = static_cast<uint32_t>(background_.waiting.size());
  for (const DeviceQueues& device : devices_) event.processing += static_cast<uint32_t>(device.sent().size());
  return event;
}

void Connection::trace(TraceStep step, const Request& request, int32_t error, uint32_t bytes) {
  TraceEvent event = make_event(step);
  event.time = host().now();
  event.opcode = request.in.opcode;
  event.unique = request.in.unique;
  event.nodeid = request.in.nodeid;
  event.pid = request.caller ? request.caller->pid : 0;
  event.error = error;
  event.bytes = bytes;
  if (step == TraceStep::queued) event.name = file_name(*request.args);
  host().trace(event);
}

void Connection::trace_call(TraceStep step, const char* name, const Caller& caller, int32_t error) {
  if (!tracing_) return;
  TraceEvent event = make_event(step);
  event.time = host().now();
  event.pid = caller.pid;
  event.error = error;
  event.name = name;
  host().trace(event);
}

void Connection::trace_header(TraceStep step, const wire::InHeader& header) {
  if (!tracing_) return;
  TraceEvent event = make_event(step);
  event.time = host().now();
  event.opcode = header.opcode;
  event.unique = header.unique;
  event.nodeid = header.nodeid;
  event.bytes = header.len;
  host().trace(event);
}

void Connection::trace_connection(TraceStep step, uint32_t code, uint32_t bytes, const char* name) {
  TraceEvent event = make_event(step);
  event.time = host().now();
  event.opcode = code;
  event.bytes = bytes;
  event.name = name;
  host().trace(event);
}

}  // namespace fusewire::kernel
