#include "cli/ladder.h"

#include <fmt/format.h>

#include <cstring>
#include <iterator>
#include <optional>

namespace fusewire::cli {

namespace {

using kernel::TraceStep;

constexpr size_t user_width = 24, kernel_width = 46;

// Columns of UTF-8 text, a column a code point: the lanes hold no wide characters of ours, and names stand last.
size_t columns(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80 ? 1 : 0;
  return count;
}

std::string padded(std::string text, size_t width) {
  const size_t used = columns(text);
  if (used < width) text.append(width - used, ' ');
  return text;
}

void append_line(std::string& text, size_t until) {
  for (size_t used = columns(text); used < until; ++used) text += "─";
}

// text ─────▶ up to the next lane.
std::string to_right(std::string text, size_t width) {
  text += ' ';
  append_line(text, width - 2);
  return text + "▶";
}

// text ◀───── from the next lane.
std::string from_right(std::string text, size_t width) {
  text += " ◀";
  append_line(text, width - 1);
  return text;
}

std::string error_text(int32_t error) {
  if (error == 0) return "success";
  const char* name = strerrorname_np(-error);
  return name != nullptr ? name : fmt::format("error {}", error);
}

std::string result_text(int32_t error) { return "result " + (error == 0 ? std::string("0") : error_text(error)); }

std::string microseconds(uint64_t from, uint64_t to) {
  const double difference = to >= from ? static_cast<double>(to - from) : -static_cast<double>(from - to);
  return fmt::format("{:.1f}", difference / 1000);
}

class Drawing {
 public:
  Drawing(const Run& run, const LadderNames& names) : run_(run), names_(names), start_(run.start()) {}

  std::string draw() {
    if (!run_.connection_events.empty()) return connection_lines();
    if (run_.requests.empty()) return call_without_request();
    heading();
    row({}, 0, "user process", "kernel's half", "daemon", "µs");
    daemon_row(run_.requests.front());
    if (run_.call) call_row();
    for (const RequestRun& request : run_.requests) {
      if (&request != &run_.requests.front()) daemon_row(request);
      request_rows(request);
    }
    if (run_.returned) return_row();
    footer();
    return out_;
  }

 private:
  // number: the step of docs/architecture.md, 0: none.
  void row(std::optional<uint64_t> time, int number, const std::string& user, const std::string& kernel,
           const std::string& daemon, std::string_view unit = "") {
    const std::string when = time ? microseconds(start_, *time) : std::string(unit);
    const std::string step = number != 0 ? fmt::format("({})", number) : "";
    // {:>9} pads by columns; "µs" is two of them.
    std::string line = fmt::format("{:>9}  {:<3} ", when, step);
    line += padded(user, user_width) + padded(kernel, kernel_width) + daemon;
    line.erase(line.find_last_not_of(' ') + 1);
    out_ += line + '\n';
  }

  // What the call was about: the names in its requests.
  std::string quoted_names() const {
    std::string text;
    std::string last;
    for (const RequestRun& request : run_.requests) {
      const Event* queued = request.find(TraceStep::queued);
      if (queued == nullptr || queued->name.empty() || queued->name == last) continue;
      last = queued->name;
      text += fmt::format(" \"{}\"", printable(last));
    }
    return text;
  }

  std::string party(std::string_view name, std::string_view word, uint32_t pid) const {
    const std::string shown = printable(name);
    return shown.empty() ? fmt::format("{} {}", word, pid) : fmt::format("{} ({} {})", shown, word, pid);
  }

  void heading() {
    const Event& first = run_.requests.front().steps.front();
    const std::string daemon =
        "daemon " + (names_.daemon.empty() ? fmt::to_string(first.daemon_pid)
                                           : fmt::format("{} ({})", printable(names_.daemon), first.daemon_pid));
    if (run_.call) {
      out_ += fmt::format("{}{}  by {}, {}, connection {}\n", printable(run_.call->call_name()), quoted_names(),
                          party(names_.user, "thread", run_.call->pid), daemon, run_.connection);
    } else {
      out_ += fmt::format("{}{}  in the background: nobody waits, {}, connection {}\n", printable(first.opcode),
                          quoted_names(), daemon, run_.connection);
    }
  }

  void call_row() {
    const Event& call = *run_.call;
    const std::string name = to_right(printable(call.call_name()), user_width);
    if (call.entered == 0) {
      row(call.time, 0, name, "enters the half", "");
      return;
    }
    row(start_, 0, name, "caught by the gate", "");
    row(call.time, 0, "", fmt::format("enters the half: sys_{}", printable(call.name)), "");
  }

  // FORGET and its kin are finished by the read itself (K008).
  static bool has_reply(const RequestRun& request) {
    const std::string& opcode = request.steps.front().opcode;
    return opcode != "FORGET" && opcode != "BATCH_FORGET" && opcode != "INTERRUPT" && opcode != "NOTIFY_REPLY";
  }

  void request_rows(const RequestRun& request) {
    for (const Event& step : request.steps) {
      switch (step.step) {
        case TraceStep::queued:
          queued_rows(step);
          break;
        case TraceStep::sleeping:
          row(step.time, numbered(2), "sleeps", "caller sleeps on the request's waitq", "");
          break;
        case TraceStep::read:
          row(step.time, numbered(3), "",
              from_right(has_reply(request) ? "`pending` → `processing`" : "off the queue, done: it has no reply",
                         kernel_width),
              fmt::format("read: {} of {} bytes", step.opcode, step.bytes));
          break;
        case TraceStep::replied:
          row(step.time, numbered(4), "", from_right("reply: off `processing`", kernel_width),
              fmt::format("write: {} bytes, {}", step.bytes, error_text(step.error)));
          break;
        case TraceStep::ended:
          ended_row(request, step);
          break;
        default:
          break;
      }
    }
    if (request.find(TraceStep::ended) == nullptr && has_reply(request)) {
      row({}, 0, "", "… the trace ends before the request does", "");
    }
  }

  // Where the daemon stands when the request comes is known from the queues: it sleeps when it has nothing to do.
  void daemon_row(const RequestRun& request) {
    const Event* queued = request.find(TraceStep::queued);
    if (queued == nullptr) return;
    const uint32_t others = queued->pending > 0 ? queued->pending - 1 : 0;
    const std::string state = others == 0 && queued->processing == 0
                                  ? "sleeps in read: nothing is pending"
                                  : fmt::format("at work: {} processing, {} pending", queued->processing, others);
    row({}, numbered(1), "", "", state);
  }

  void queued_rows(const Event& step) {
    const std::string queued =
        fmt::format("{} unique={} on `pending` ({} there)", step.opcode, step.unique, step.pending);
    row(step.time, 0, "", queued, "");
    row({}, 0, "", to_right("wakes the connection's waitq", kernel_width), "woken");
  }

  void ended_row(const RequestRun& request, const Event& step) {
    const bool replied = request.find(TraceStep::replied) != nullptr;
    const std::string kernel = replied ? "request ended: caches updated, waiter woken"
                                       : fmt::format("request ended without reply: {}", error_text(step.error));
    if (run_.call) {
      row(step.time, replied ? 0 : numbered(4), from_right("woken", user_width), kernel, "");
    } else {
      row(step.time, 0, "", replied ? "request ended: nobody waits" : kernel, "");
    }
  }

  void return_row() {
    const int32_t error = run_.returned->error;
    const std::string result = error == 0 ? "returns 0" : fmt::format("fails: {}", error_text(error));
    row(run_.returned->time, numbered(5), from_right(result, user_width), "result", "");
  }

  // Steps have numbers only where somebody waits: without a caller there are no five.
  int numbered(int step) const { return run_.call ? step : 0; }

  void footer() {
    if (run_.returned) {
      out_ += fmt::format("total {} µs until the half returns, {}\n", microseconds(start_, run_.returned->time),
                          result_text(run_.returned->error));
    } else {
      out_ += run_.call ? "the call has not returned in this trace\n" : "";
    }
    for (const RequestRun& request : run_.requests) footer_times(request);
  }

  void footer_times(const RequestRun& request) {
    const Event* queued = request.find(TraceStep::queued);
    const Event* read = request.find(TraceStep::read);
    const Event* replied = request.find(TraceStep::replied);
    if (queued == nullptr || read == nullptr || replied == nullptr) return;
    out_ += fmt::format("  {}: {} µs until the daemon had it, {} µs in the daemon\n", queued->opcode,
                        microseconds(queued->time, read->time), microseconds(read->time, replied->time));
  }

  std::string call_without_request() {
    if (!run_.call || !run_.returned) {
      const Event& only = run_.call ? *run_.call : *run_.returned;
      return fmt::format("{}  by {}, connection {}: only a part of it is in this trace\n", printable(only.call_name()),
                         party(names_.user, "thread", only.pid), run_.connection);
    }
    return fmt::format("{}  by {}, connection {}: {} µs, result {}, no request was needed\n",
                       printable(run_.call->name), party(names_.user, "thread", run_.call->pid), run_.connection,
                       microseconds(start_, run_.returned->time), result_text(run_.returned->error));
  }

  std::string connection_lines() {
    std::string lines;
    for (const Event& event : run_.connection_events) {
      const std::string_view what =
          event.step == TraceStep::notify ? "the daemon sent a notification" : "the connection was aborted";
      lines += fmt::format("connection {}: {}{}{}\n", run_.connection, what, event.name.empty() ? "" : " ",
                           printable(event.name));
    }
    return lines;
  }

  const Run& run_;
  const LadderNames& names_;
  const uint64_t start_;
  std::string out_;
};

}  // namespace

std::string printable(std::string_view text) {
  std::string shown;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool c1_control = byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (byte < 0x20 || byte == 0x7f || c1_control) {
      fmt::format_to(std::back_inserter(shown), "\\x{:02x}", byte);
      if (c1_control) fmt::format_to(std::back_inserter(shown), "\\x{:02x}", static_cast<unsigned char>(text[++i]));
      continue;
    }
    shown += text[i];
  }
  return shown;
}

std::string draw_ladder(const Run& run, const LadderNames& names) { return Drawing(run, names).draw(); }

}  // namespace fusewire::cli
