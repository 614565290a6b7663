#include "leader/run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "abi/leader_protocol.h"
#include "leader/end_processes.h"
#include "leader/gate_file.h"
#include "leader/leader.h"
#include "leader/namespace_directory.h"
#include "leader/needed_calls.h"
#include "leader/signal_setting.h"
#include "leader/view.h"

namespace fusewire::leader {
namespace {

constexpr int not_found = 127, not_executable = 126;
constexpr char namespace_variable[] = "FUSEWIRE_NAMESPACE";
constexpr char default_path[] = "/usr/local/bin:/usr/bin:/bin";

bool is_program(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

// As a shell searches: the path, or the exit status that says why there is none.
std::expected<std::string, int> find_program(const std::string& name) {
  bool denied = false;
  const auto is_it = [&](const std::string& path) {
    if (::access(path.c_str(), F_OK) != 0) return false;
    if (is_program(path) && ::access(path.c_str(), X_OK) == 0) return true;
    denied = true;
    return false;
  };
  if (name.find('/') != std::string::npos) {
    if (is_it(name)) return name;
  } else if (!name.empty()) {
    const char* variable = std::getenv("PATH");
    std::string_view path = variable ? variable : default_path;
    for (;;) {
      const size_t end = std::min(path.find(':'), path.size());
      const std::string directory(end == 0 ? "." : path.substr(0, end));
      if (std::string candidate = directory + "/" + name; is_it(candidate)) return candidate;
      if (end == path.size()) break;
      path.remove_prefix(end + 1);
    }
  }
  return std::unexpected(denied ? not_executable : not_found);
}

std::expected<void, std::string> check_gate(const RunOptions& options) {
  const std::string& path = options.gate;
  if (path.empty()) return {};
  if (is_program(path) && ::access(path.c_str(), X_OK) == 0) return {};
  return std::unexpected(fmt::format("cannot use the gate {}: it is not an executable file", path));
}

// What the leader changes of the process it runs in, and puts back.
class LeaderSetting {
 public:
  LeaderSetting() {
    umask_ = ::umask(077);
    ::prctl(PR_GET_CHILD_SUBREAPER, &subreaper_);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    terminal_ = ::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal_ >= 0 && ::tcgetpgrp(terminal_) == ::getpgrp()) foreground_ = true;
  }
  ~LeaderSetting() {
    // A shell that was killed has left the terminal with a process group that is no more.
    if (foreground_ && ::tcgetpgrp(terminal_) != ::getpgrp()) take_terminal_back();
    if (terminal_ >= 0) ::close(terminal_);
    ::prctl(PR_SET_CHILD_SUBREAPER, subreaper_);
    ::umask(umask_);
  }
  LeaderSetting(const LeaderSetting&) = delete;

  // What the command starts with is what run itself got.
  void restore() const {
    signals_.restore();
    ::umask(umask_);
  }

 private:
  void take_terminal_back() const {
    sigset_t output;
    sigemptyset(&output);
    sigaddset(&output, SIGTTOU);
    ::sigprocmask(SIG_BLOCK, &output, nullptr);
    ::tcsetpgrp(terminal_, ::getpgrp());
  }

  const SignalSetting signals_;
  mode_t umask_ = 0;
  int subreaper_ = 0;
  int terminal_ = -1;
  bool foreground_ = false;
};

// The program itself and the fusermount helpers, where the command finds them: shells look for a file before they
// start it, and a container may have none of these. A command that is started without them still works by their paths.
void put_programs_on_path(const std::string& directory) {
  const std::string programs = directory + "/bin";
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error || ::mkdir(programs.c_str(), 0755) != 0) return;
  for (const char* name : {"fusewire", "fusermount", "fusermount3", "mergerfs-fusermount"})
    std::filesystem::create_symlink(self, programs + "/" + name, error);
  const char* path = std::getenv("PATH");
  ::setenv("PATH", (programs + ":" + (path ? path : default_path)).c_str(), 1);
}

// Puts a descriptor where the gate keeps its own, open across exec.
int hand_over(int fd) {
  int kept = -1;
  for (const int from : {abi::own_descriptors_from, 200, 20}) {
    if (kept < 0) kept = ::fcntl(fd, F_DUPFD, from);
  }
  return kept;
}

// Executes the gate. Returns with the reason, for a person.
std::string become_gate(Leader& leader, const RunOptions& options, const std::string& directory,
                        std::vector<const char*> arguments, std::string own) {
  constexpr size_t own_index = 4;
  if (!options.gate.empty()) {
    const GateFile file{UniqueFd(::open(options.gate.c_str(), O_RDONLY | O_CLOEXEC)), options.gate, {}};
    leader.note_gate_file(file);
    own += fmt::format(" {}{}", abi::gate_word, hand_over(file.fd.get()));
    arguments[own_index] = own.c_str();
    ::execv(options.gate.c_str(), const_cast<char* const*>(arguments.data()));
    return fmt::format("{}: {}", options.gate, std::strerror(errno));
  }
  GateFiles files(options.gate_image, directory, prepare(usual_libraries(), entry_of_gate(options.gate_image)));
  for (GateFile file; files.next(file);) {
    leader.note_gate_file(file);
    const UniqueFd kept(hand_over(file.fd.get()));
    const std::string words = fmt::format("{} {}{}", own, abi::gate_word, kept.get());
    arguments[own_index] = words.c_str();
    files.failed(file.name, execute(file, arguments));
  }
  return files.failures();
}

[[noreturn]] void become_command(const LeaderSetting& setting, Leader& leader, const RunOptions& options,
                                 const std::string& directory, const std::string& program) {
  ::setenv(namespace_variable, directory.c_str(), 1);
  put_programs_on_path(directory);
  setting.restore();
  const UniqueFd table(::open((directory + "/" + abi::mount_table_name).c_str(), O_RDONLY | O_CLOEXEC));
  // Not there in every container.
  const UniqueFd proc(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  std::string own = fmt::format("{} {}{} {}{}", abi::first_word, abi::line_word, hand_over(leader.line_for_programs()),
                                abi::table_word, hand_over(table.get()));
  if (proc.get() >= 0) own += fmt::format(" {}{}", abi::proc_word, hand_over(proc.get()));
  if (options.native_setid) own += fmt::format(" {}", abi::native_setid_word);
  std::vector<const char*> arguments{"fusewire-gate", "--namespace", directory.c_str(), "--own", "", program.c_str()};
  for (const std::string& argument : options.command) arguments.push_back(argument.c_str());
  arguments.push_back(nullptr);
  const std::string why = become_gate(leader, options, directory, std::move(arguments), std::move(own));
  fmt::print(stderr, "fusewire: cannot execute the gate, under which programs run: {}\n", why);
  ::_exit(not_executable);
}

int exit_status(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

std::expected<std::string, std::string> make_trace_file(const std::string& path) {
  if (path.empty()) return std::string();
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) return std::unexpected(fmt::format("cannot open the trace file {}: {}", path, std::strerror(errno)));
  ::close(fd);
  return std::filesystem::absolute(path).string();
}

std::expected<int, std::string> run_in(NamespaceDirectory& directory, const LeaderSetting& setting,
                                       const RunOptions& options, const std::string& program) {
  auto leader = Leader::create(directory.path(), options);
  if (!leader) return std::unexpected(leader.error());
  if (options.control_daemon) (*leader)->start_control(options.control_daemon);
  // What stands in stdio's buffers must not be written by the children too.
  std::fflush(nullptr);
  const pid_t command = ::fork();
  if (command == 0) become_command(setting, **leader, options, directory.path(), program);
  const int fork_error = errno;
  if (command > 0) (*leader)->serve(command);
  (*leader)->end();
  if (options.report) fmt::print(stderr, "fusewire: what was refused:\n{}", (*leader)->report().text());
  if (command < 0) return std::unexpected(fmt::format("cannot start a process: {}", std::strerror(fork_error)));
  return exit_status((*leader)->command_status());
}

// The command of a run that is inside a namespace, and what is left of it at its end. The namespace's leader does the
// mounts.
class InnerCommand {
 public:
  InnerCommand() {
    sigset_t taken;
    sigemptyset(&taken);
    for (const int signal : {SIGCHLD, SIGTERM, SIGHUP})
      if (!is_ignored(signal)) sigaddset(&taken, signal);
    ::sigprocmask(SIG_BLOCK, &taken, nullptr);
    signals_.reset(::signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  // Until it has ended, or a signal ends the run.
  void serve(pid_t command) {
    command_ = command;
    while (!ended_ && ending_signal_ == 0) turn(-1);
  }
  void end(const std::set<pid_t>& daemons) {
    (void)end_processes_below_us({.signal = ending_signal_ ? ending_signal_ : SIGTERM,
                                  .spared = [] { return std::set<pid_t>(); },
                                  .daemons = [&] { return with_descendants(daemons); },
                                  .wait = [this](int milliseconds) { turn(milliseconds); }});
  }
  int status() const { return status_; }

 private:
  void turn(int milliseconds) {
    pollfd ready{signals_.get(), POLLIN, 0};
    ::poll(&ready, 1, milliseconds);
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
      const int signal = static_cast<int>(info.ssi_signo);
      if (signal == SIGCHLD || ending_signal_ != 0) continue;
      ending_signal_ = signal;
      // Unless the command still says otherwise.
      if (!ended_) status_ = signal;
    }
    int status;
    for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid != command_) continue;
      ended_ = true;
      status_ = status;
    }
  }

  UniqueFd signals_;
  pid_t command_ = -1;
  int status_ = 0;
  int ending_signal_ = 0;
  bool ended_ = false;
};

[[noreturn]] void become_inner_command(const LeaderSetting& setting, const View& view, const RunOptions& options,
                                       const std::string& program) {
  setting.restore();
  if (const int error = view.enter(options); error != 0) {
    fmt::print(stderr, "fusewire: cannot enter the inner namespace: {}{}\n", std::strerror(error),
               error == ENOSPC ? " (too many are in one another)" : "");
    ::_exit(not_executable);
  }
  std::vector<const char*> arguments;
  for (const std::string& argument : options.command) arguments.push_back(argument.c_str());
  arguments.push_back(nullptr);
  ::execv(program.c_str(), const_cast<char* const*>(arguments.data()));
  fmt::print(stderr, "fusewire: cannot run {}: {}\n", program, std::strerror(errno));
  ::_exit(not_executable);
}

std::expected<int, std::string> run_in_view(View& view, const LeaderSetting& setting, const RunOptions& options,
                                            const std::string& program) {
  InnerCommand inner;
  std::fflush(nullptr);
  const pid_t command = ::fork();
  if (command == 0) become_inner_command(setting, view, options, program);
  const int fork_error = errno;
  if (command > 0) inner.serve(command);
  std::string report;
  inner.end(view.end(report));
  if (options.report) fmt::print(stderr, "fusewire: what was refused:\n{}", report);
  if (command < 0) return std::unexpected(fmt::format("cannot start a process: {}", std::strerror(fork_error)));
  return exit_status(inner.status());
}

}  // namespace

std::expected<int, std::string> run(const RunOptions& options) {
  if (options.command.empty()) return std::unexpected("no command to run");
  if (const RefusedCall refused = first_refused(); refused.call != nullptr) {
    return std::unexpected(refusal_text(refused));
  }
  if (const auto gate = check_gate(options); !gate) return std::unexpected(gate.error());
  RunOptions complete = options;
  const auto trace_file = make_trace_file(options.trace_file);
  if (!trace_file) return std::unexpected(trace_file.error());
  complete.trace_file = *trace_file;
  const auto program = find_program(options.command[0]);
  if (!program) {
    fmt::print(stderr, "fusewire: cannot run {}: {}\n", options.command[0],
               program.error() == not_found ? "no such program" : "it is not an executable file");
    return program.error();
  }
  // A gate of one's own is for a namespace of one's own.
  auto view = options.gate.empty() ? View::open(complete) : std::expected<std::optional<View>, std::string>();
  if (!view) return std::unexpected(view.error());
  const LeaderSetting setting;
  if (*view) return run_in_view(**view, setting, complete, *program);
  auto directory = NamespaceDirectory::create();
  if (!directory) return std::unexpected(directory.error());
  const auto status = run_in(*directory, setting, complete, *program);
  directory->remove();
  return status;
}

}  // namespace fusewire::leader
