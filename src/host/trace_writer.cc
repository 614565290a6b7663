#include "host/trace_writer.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <iterator>
#include <string_view>

#include "wire/opcode_table.h"

namespace fusewire::host {
namespace {

constexpr size_t flush_at = 48 * 1024;

std::string_view step_name(kernel::TraceStep step) {
  using enum kernel::TraceStep;
  switch (step) {
    case call:
      return "call";
    case queued:
      return "queued";
    case sleeping:
      return "sleeping";
    case read:
      return "read";
    case replied:
      return "replied";
    case ended:
      return "ended";
    case returned:
      return "returned";
    case notify:
      return "notify";
    case aborted:
      return "aborted";
  }
  return "unknown";
}

// The length of the valid UTF-8 sequence at the front of text; 0 when there is none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  const bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool surrogate_or_beyond = (first == 0xed && byte(1) > 0x9f) || (first == 0xf4 && byte(1) > 0x8f);
  return overlong || surrogate_or_beyond ? 0 : length;
}

bool is_about_a_call(kernel::TraceStep step) {
  return step == kernel::TraceStep::call || step == kernel::TraceStep::returned;
}

}  // namespace

std::string json_escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const char c = text[0];
    if (length == 0) {
      out += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

int TraceWriter::start(const std::string& path) {
  flush();
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return -errno;
  file_.reset(fd);
  return 0;
}

void TraceWriter::stop() {
  flush();
  file_.reset();
}

void TraceWriter::write(const kernel::TraceEvent& event, const TracedCall& call) {
  if (!on()) return;
  auto out = std::back_inserter(lines_);
  fmt::format_to(out, R"({{"step":"{}","time":{},"connection":{},"pid":{},"name":"{}","error":{})",
                 step_name(event.step), event.time, connection_, event.pid, json_escaped(event.name ? event.name : ""),
                 event.error);
  if (is_about_a_call(event.step)) {
    fmt::format_to(out, R"(,"entered":{},"nr":{})", call.entered, call.nr);
  } else {
    fmt::format_to(out, R"(,"opcode":"{}","unique":{},"nodeid":{},"bytes":{},"daemon_pid":{})",
                   wire::opcode_name(event.opcode), event.unique, event.nodeid, event.bytes, daemon_pid_);
  }
  fmt::format_to(out, R"(,"pending":{},"processing":{},"background":{}}})", event.pending, event.processing,
                 event.background);
  lines_ += '\n';
  if (lines_.size() >= flush_at) flush();
}

void TraceWriter::flush() {
  if (file_ && !lines_.empty()) (void)!::write(file_.get(), lines_.data(), lines_.size());
  lines_.clear();
}

}  // namespace fusewire::host
