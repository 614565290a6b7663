#include "cli/trace_events.h"

#include <strings.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

namespace fusewire::cli {

namespace {

using kernel::TraceStep;

constexpr std::array<std::pair<std::string_view, TraceStep>, 9> step_names{{
    {"call", TraceStep::call},
    {"queued", TraceStep::queued},
    {"sleeping", TraceStep::sleeping},
    {"read", TraceStep::read},
    {"replied", TraceStep::replied},
    {"ended", TraceStep::ended},
    {"returned", TraceStep::returned},
    {"notify", TraceStep::notify},
    {"aborted", TraceStep::aborted},
}};

// Where the program's name of a call differs from the half's (x86_64).
constexpr std::array<std::pair<uint32_t, std::string_view>, 27> older_names{{
    {2, "open"},         {4, "stat"},         {5, "fstat"},      {6, "lstat"},       {21, "access"},
    {40, "sendfile"},    {82, "rename"},      {83, "mkdir"},     {84, "rmdir"},      {85, "creat"},
    {86, "link"},        {87, "unlink"},      {88, "symlink"},   {89, "readlink"},   {90, "chmod"},
    {92, "chown"},       {94, "lchown"},      {132, "utime"},    {133, "mknod"},     {235, "utimes"},
    {261, "futimesat"},  {262, "newfstatat"}, {264, "renameat"}, {269, "faccessat"}, {437, "openat2"},
    {439, "faccessat2"}, {452, "fchmodat2"},
}};

std::optional<TraceStep> step_of(std::string_view name) {
  for (const auto& [text, step] : step_names) {
    if (text == name) return step;
  }
  return std::nullopt;
}

template <typename T>
T number(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<T>() : T{};
}

std::string text(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool same_word(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// Sorts events into runs as they come.
class Grouping {
 public:
  void add(Event event) {
    switch (event.step) {
      case TraceStep::call:
        return begin_call(std::move(event));
      case TraceStep::returned:
        return end_call(std::move(event));
      case TraceStep::notify:
      case TraceStep::aborted:
        return add_connection_event(std::move(event));
      default:
        return add_request_step(std::move(event));
    }
  }

  std::vector<Run> take() && { return std::move(runs_); }

 private:
  using Key = std::pair<uint32_t, uint64_t>;  // connection, and thread or unique

  Run& new_run(uint32_t connection) {
    runs_.push_back({.connection = connection, .call = {}, .returned = {}, .requests = {}, .connection_events = {}});
    return runs_.back();
  }

  void begin_call(Event event) {
    calls_[{event.connection, event.pid}] = runs_.size();
    new_run(event.connection).call = std::move(event);
  }

  void end_call(Event event) {
    const auto open = calls_.find({event.connection, event.pid});
    if (open == calls_.end()) {
      new_run(event.connection).returned = std::move(event);
      return;
    }
    runs_[open->second].returned = std::move(event);
    calls_.erase(open);
  }

  void add_connection_event(Event event) { new_run(event.connection).connection_events.push_back(std::move(event)); }

  void add_request_step(Event event) {
    const Key key{event.connection, event.unique};
    auto known = requests_.find(key);
    if (known == requests_.end()) known = requests_.emplace(key, begin_request(event)).first;
    const auto [run, request] = known->second;
    runs_[run].requests[request].steps.push_back(std::move(event));
  }

  // Where the steps of a request go: into the open call of the thread that waits, else into a run of their own.
  std::pair<size_t, size_t> begin_request(const Event& event) {
    const auto open = event.pid == 0 ? calls_.end() : calls_.find({event.connection, event.pid});
    const size_t run = open == calls_.end() ? runs_.size() : open->second;
    if (open == calls_.end()) new_run(event.connection);
    runs_[run].requests.push_back({event.unique, {}});
    return {run, runs_[run].requests.size() - 1};
  }

  std::vector<Run> runs_;
  std::map<Key, size_t> calls_;
  std::map<Key, std::pair<size_t, size_t>> requests_;
};

}  // namespace

std::optional<Event> parse_event(std::string_view line) {
  const auto object = nlohmann::json::parse(line, nullptr, false);
  if (!object.is_object()) return std::nullopt;
  const auto step = step_of(text(object, "step"));
  if (!step) return std::nullopt;
  Event event;
  event.step = *step;
  event.time = number<uint64_t>(object, "time");
  event.opcode = text(object, "opcode");
  event.unique = number<uint64_t>(object, "unique");
  event.nodeid = number<uint64_t>(object, "nodeid");
  event.pid = number<uint32_t>(object, "pid");
  event.error = number<int32_t>(object, "error");
  event.bytes = number<uint32_t>(object, "bytes");
  event.pending = number<uint32_t>(object, "pending");
  event.processing = number<uint32_t>(object, "processing");
  event.background = number<uint32_t>(object, "background");
  event.name = text(object, "name");
  event.connection = number<uint32_t>(object, "connection");
  event.daemon_pid = number<uint32_t>(object, "daemon_pid");
  event.entered = number<uint64_t>(object, "entered");
  event.nr = number<uint32_t>(object, "nr");
  return event;
}

std::string Event::call_name() const {
  for (const auto& [number, text] : older_names) {
    if (number == nr) return std::string(text);
  }
  return name;
}

const Event* RequestRun::find(TraceStep step) const {
  const auto found = std::ranges::find(steps, step, &Event::step);
  return found == steps.end() ? nullptr : &*found;
}

uint64_t Run::start() const {
  if (call) return call->entered != 0 && call->entered <= call->time ? call->entered : call->time;
  if (!requests.empty() && !requests.front().steps.empty()) return requests.front().steps.front().time;
  if (!connection_events.empty()) return connection_events.front().time;
  return returned ? returned->time : 0;
}

bool Run::is_about(std::string_view word) const {
  if (call && (same_word(call->name, word) || same_word(call->call_name(), word))) return true;
  for (const RequestRun& request : requests) {
    if (!request.steps.empty() && same_word(request.steps.front().opcode, word)) return true;
  }
  return false;
}

std::vector<Run> group_runs(std::vector<Event> events) {
  std::ranges::stable_sort(events, {}, &Event::time);
  Grouping grouping;
  for (Event& event : events) grouping.add(std::move(event));
  auto runs = std::move(grouping).take();
  std::ranges::stable_sort(runs, {}, &Run::start);
  return runs;
}

}  // namespace fusewire::cli
