#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <fstream>
#include <optional>
#include <utility>

#include "cli/child.h"
#include "cli/commands.h"
#include "cli/control_daemon.h"
#include "cli/ladder.h"
#include "cli/message.h"
#include "cli/mounts.h"
#include "cli/trace_events.h"
#include "gate/image/image.h"
#include "leader/leader_client.h"
#include "leader/run.h"

namespace fusewire::cli {

namespace {

// An empty private file, gone at the end of its scope.
class TemporaryFile {
 public:
  static std::expected<TemporaryFile, std::string> make(const std::string& directory) {
    std::string path = directory + "/fusewire-trace.XXXXXX";
    const int fd = ::mkostemp(path.data(), O_CLOEXEC);
    if (fd < 0) return std::unexpected(fmt::format("cannot make a trace file {}: {}", path, std::strerror(errno)));
    ::close(fd);
    return TemporaryFile(path);
  }
  TemporaryFile(TemporaryFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }

  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

struct Shown {
  std::optional<uint32_t> connection;  // nothing: all
  LadderNames names;
};

void print_lines(const std::string& path, const Shown& shown) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const auto event = parse_event(line);
    if (event && (!shown.connection || event->connection == *shown.connection)) fmt::print("{}\n", line);
  }
}

// A FORGET gets its unique when it is read: what is known of it before belongs to the ladder of that read.
bool waits_for_its_read(const Run& run) {
  return !run.call && !run.requests.empty() && run.requests.front().steps.front().unique == 0 &&
         run.requests.front().find(kernel::TraceStep::read) == nullptr;
}

void print_ladders(const std::string& path, const Shown& shown, const std::string& call) {
  std::ifstream file(path);
  std::vector<Event> events;
  for (std::string line; std::getline(file, line);) {
    auto event = parse_event(line);
    if (event && (!shown.connection || event->connection == *shown.connection)) events.push_back(*std::move(event));
  }
  size_t drawn = 0;
  for (const Run& run : group_runs(std::move(events))) {
    if ((!call.empty() && !run.is_about(call)) || waits_for_its_read(run)) continue;
    fmt::print("\n{}", draw_ladder(run, shown.names));
    ++drawn;
  }
  if (drawn == 0)
    fmt::print("\nnothing to draw: {}\n", call.empty() ? "no traced call was made" : "no call of this name");
}

void print_trace(const std::string& path, const Shown& shown, const TraceArguments& arguments) {
  if (arguments.json) {
    print_lines(path, shown);
  } else {
    print_ladders(path, shown, arguments.call);
  }
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// "fuse.sshfs" is served by sshfs.
std::string daemon_name(const leader::MountInfo& mount) {
  const size_t dot = mount.type.find('.');
  return dot != std::string::npos ? mount.type.substr(dot + 1) : base_name(mount.source);
}

// Traces the namespace into a file as long as it lives.
class Tracing {
 public:
  static std::expected<Tracing, std::string> start(const std::string& directory, const std::string& file) {
    auto table = leader::MountTableFile::open(directory + "/" + abi::mount_table_name);
    if (!table) return std::unexpected(table.error());
    if (table->table().tracing.load() != 0) {
      return std::unexpected("this namespace is being traced already; wait for the end of the other trace");
    }
    Tracing tracing(directory);
    if (auto started = tracing.set(true, file); !started) return std::unexpected(started.error());
    return tracing;
  }
  Tracing(Tracing&& other) noexcept : directory_(std::exchange(other.directory_, {})) {}
  Tracing& operator=(Tracing&&) = delete;
  ~Tracing() { (void)stop(); }

  std::expected<void, std::string> stop() {
    if (directory_.empty()) return {};
    auto stopped = set(false, {});
    directory_.clear();
    return stopped;
  }

 private:
  explicit Tracing(std::string directory) : directory_(std::move(directory)) {}

  std::expected<void, std::string> set(bool on, const std::string& file) {
    abi::LeaderRequest request{};
    request.operation = static_cast<uint32_t>(abi::LeaderOperation::set_tracing);
    request.value[0] = on ? 1 : 0;
    if (file.size() >= sizeof(request.options)) return std::unexpected("the trace file's path is too long: " + file);
    std::memcpy(request.options, file.data(), file.size());
    const auto reply = leader::ask_leader(directory_, request);
    if (!reply) return std::unexpected(reply.error());
    if (reply->error == 0) return {};
    return std::unexpected(fmt::format("cannot switch tracing {} in the namespace at {}: {}", on ? "on" : "off",
                                       directory_, std::strerror(-reply->error)));
  }

  std::string directory_;
};

int trace_in_new_namespace(const TraceArguments& arguments) {
  const char* configured = std::getenv("TMPDIR");
  const auto file = TemporaryFile::make(configured != nullptr && configured[0] == '/' ? configured : "/tmp");
  if (!file) return complain(exit_failed, file.error());
  leader::RunOptions options;
  options.command = arguments.command;
  options.gate_image = gate::image();
  options.gate = arguments.gate;
  options.trace_file = file->path();
  options.control_daemon = serve_control;
  const auto status = leader::run(options);
  if (!status) return complain(exit_failed, status.error());
  print_trace(file->path(), {.connection = {}, .names = {}}, arguments);
  return *status;
}

int trace_on_mount(const TraceArguments& arguments) {
  const char* inside = std::getenv("FUSEWIRE_NAMESPACE");
  if (inside == nullptr || inside[0] == '\0') {
    return complain(exit_usage, "trace --on: only inside a namespace (fusewire run) can its mounts be traced");
  }
  const auto namespaces = leader::list_namespaces();
  if (!namespaces) return complain(exit_failed, namespaces.error());
  const auto found = find_mount_of(*namespaces, canonical_path(arguments.on));
  if (!found) return complain(exit_usage, "trace --on: " + found.error());

  // Hosts run outside and open the file by its path: it must be a real one, and the namespace's directory is.
  const auto file = TemporaryFile::make(found->directory);
  if (!file) return complain(exit_failed, file.error());
  auto tracing = Tracing::start(found->directory, file->path());
  if (!tracing) return complain(exit_failed, tracing.error());
  const int status = run_child(arguments.command);
  if (const auto stopped = tracing->stop(); !stopped) complain(exit_failed, stopped.error());

  const Shown shown{.connection = found->mount.connection,
                    .names = {.user = base_name(arguments.command.front()), .daemon = daemon_name(found->mount)}};
  print_trace(file->path(), shown, arguments);
  return status;
}

}  // namespace

int trace_command(const TraceArguments& arguments) {
  if (arguments.command.empty()) return complain(exit_usage, "trace: no command to run; see fusewire trace --help");
  return arguments.on.empty() ? trace_in_new_namespace(arguments) : trace_on_mount(arguments);
}

}  // namespace fusewire::cli
