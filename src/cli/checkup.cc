#include "cli/checkup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>

#include "abi/unique_fd.h"
#include "gate/image/image.h"
#include "leader/gate_file.h"
#include "leader/needed_calls.h"

namespace fusewire::cli {

namespace {

std::string reason(int error) { return std::strerror(error); }

bool inside_namespace() {
  const char* directory = std::getenv("FUSEWIRE_NAMESPACE");
  return directory != nullptr && directory[0] != '\0';
}

// Runs attempt in a child, so that what it switches on ends with it. 0, or the errno it returned.
template <typename Attempt>
int try_in_child(Attempt attempt) {
  const pid_t child = ::fork();
  if (child < 0) return errno;
  if (child == 0) ::_exit(attempt());
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return errno;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : EFAULT;
}

long read_number(const char* path) {
  long number = -1;
  std::ifstream(path) >> number;
  return number;
}

Finding check_architecture(const utsname& machine) {
  const bool known = machine.machine == std::string_view("x86_64");
  return {"architecture", known ? Verdict::ok : Verdict::no, machine.machine,
          known ? "the gate is built for it" : "the gate knows x86_64 only", true};
}

Finding check_kernel(const utsname& machine) {
  constexpr int oldest_major = 5, oldest_minor = 11;
  int major = 0, minor = 0;
  const bool parsed = std::sscanf(machine.release, "%d.%d", &major, &minor) == 2;
  const bool recent = parsed && (major > oldest_major || (major == oldest_major && minor >= oldest_minor));
  return {"kernel", recent ? Verdict::ok : Verdict::limited, machine.release,
          recent ? "new enough" : "5.11 is the first with Syscall User Dispatch", false};
}

Finding check_dispatch() {
  const std::string name = "Syscall User Dispatch";
  if (inside_namespace())
    return {name, Verdict::ok, "in use", "this program runs in a namespace, by means of it", true};
  constexpr int pr_set_syscall_user_dispatch = 59, pr_sys_dispatch_on = 1;
  const int error = try_in_child([] {
    static char selector = 0;  // SYSCALL_DISPATCH_FILTER_ALLOW
    return ::prctl(pr_set_syscall_user_dispatch, pr_sys_dispatch_on, 0, 0, &selector) == 0 ? 0 : errno;
  });
  if (error == 0) return {name, Verdict::ok, "usable", "the gate catches system calls with it", true};
  return {name, Verdict::limited, reason(error),
          "the gate catches system calls with a seccomp filter instead: slower, and "
          "set-user-ID programs cannot be started",
          false};
}

Finding check_seccomp(bool only_net) {
  const int error = try_in_child([] {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
    sock_filter allow_all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const sock_fprog program{1, &allow_all};
    return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : errno;
  });
  const std::string name = "seccomp filters";
  if (error == 0)
    return {name, Verdict::ok, "usable",
            only_net ? "the gate catches system calls with them" : "not needed while Syscall User Dispatch works",
            false};
  if (!only_net) return {name, Verdict::limited, reason(error), "none while Syscall User Dispatch works", false};
  return {name, Verdict::no, reason(error), "the gate cannot catch system calls: programs cannot run in a namespace",
          true};
}

Finding check_memfd() {
  const UniqueFd memory(::memfd_create("fusewire-doctor", MFD_CLOEXEC));
  if (memory) return {"memfd_create", Verdict::ok, "usable", "descriptors of virtual files stand on it", true};
  return {"memfd_create", Verdict::no, reason(errno), "virtual files cannot have descriptors", true};
}

// The last close of a memfd that was opened again through /proc must be seen.
Finding check_inotify() {
  const std::string name = "inotify on a memfd";
  constexpr int patience_milliseconds = 2000;
  const std::string lost = "the end of a killed program's open files is seen only when the program's connection ends";
  const UniqueFd memory(::memfd_create("fusewire-doctor", MFD_CLOEXEC));
  const UniqueFd watcher(::inotify_init1(IN_CLOEXEC));
  if (!memory || !watcher) return {name, Verdict::limited, reason(errno), lost, false};
  const std::string path = fmt::format("/proc/self/fd/{}", memory.get());
  if (::inotify_add_watch(watcher.get(), path.c_str(), IN_CLOSE) < 0) {
    return {name, Verdict::limited, reason(errno), lost, false};
  }
  UniqueFd(::open(path.c_str(), O_RDWR | O_CLOEXEC)).reset();
  pollfd ready{watcher.get(), POLLIN, 0};
  if (::poll(&ready, 1, patience_milliseconds) != 1) return {name, Verdict::limited, "no event came", lost, false};
  return {name, Verdict::ok, "the last close is seen", "files are released even after kill -9", false};
}

Finding check_inotify_limits() {
  constexpr long few_instances = 16, few_watches = 4096;
  const long instances = read_number("/proc/sys/fs/inotify/max_user_instances");
  const long watches = read_number("/proc/sys/fs/inotify/max_user_watches");
  const bool enough = instances >= few_instances && watches >= few_watches;
  return {"inotify limits", enough ? Verdict::ok : Verdict::limited,
          fmt::format("{} instances, {} watches a user", instances, watches),
          "one instance a connection, one watch an open file", false};
}

Finding check_descriptors() {
  constexpr rlim_t few = 1024;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const auto shown = [](rlim_t value) { return value == RLIM_INFINITY ? "unlimited" : fmt::to_string(value); };
  return {"open files", limit.rlim_max > few ? Verdict::ok : Verdict::limited,
          fmt::format("{}, at most {}", shown(limit.rlim_cur), shown(limit.rlim_max)),
          "a mount can have that many open files", false};
}

// One message is one packet: the buffer bounds the size of a read or write.
Finding check_socket() {
  const std::string name = "packet sockets";
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return {name, Verdict::no, reason(errno), "daemons and programs cannot reach the kernel's half", true};
  }
  const UniqueFd one(ends[0]), other(ends[1]);
  constexpr int wanted = 2 << 20, enough = 256 << 10;
  int size = wanted;
  socklen_t length = sizeof(size);
  ::setsockopt(one.get(), SOL_SOCKET, SO_SNDBUF, &size, length);
  ::getsockopt(one.get(), SOL_SOCKET, SO_SNDBUF, &size, &length);
  return {name, size >= enough ? Verdict::ok : Verdict::limited,
          fmt::format("messages up to {} KiB (net.core.wmem_max {})", size >> 10,
                      read_number("/proc/sys/net/core/wmem_max")),
          size >= enough ? "reads and writes of 128 KiB fit" : "reads and writes are cut to smaller pieces: slower",
          true};
}

Finding check_proc() {
  struct statfs status {};
  const bool mounted = ::statfs("/proc", &status) == 0 && status.f_type == PROC_SUPER_MAGIC;
  return {"/proc", mounted ? Verdict::ok : Verdict::no, mounted ? "mounted" : "not mounted",
          mounted ? "descriptors can be named" : "the gate cannot name descriptors: mount proc", true};
}

Finding check_runtime_directory() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  const std::string directory = runtime != nullptr && runtime[0] == '/' ? runtime : "/tmp";
  const bool writable = ::access(directory.c_str(), W_OK | X_OK) == 0;
  return {"place for namespaces", writable ? Verdict::ok : Verdict::no,
          directory + (writable ? "" : ": " + reason(errno)),
          writable ? "sockets and mount tables stand there" : "set XDG_RUNTIME_DIR to a directory of yours", true};
}

Finding check_real_device() {
  if (inside_namespace()) {
    return {"real /dev/fuse", Verdict::no, "hidden by this namespace", "the namespace serves /dev/fuse itself", false};
  }
  const UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  return {"real /dev/fuse", device ? Verdict::ok : Verdict::no, device ? "can be opened" : reason(errno),
          "Fusewire does not use it", false};
}

Finding check_user_namespaces() {
  const int error = try_in_child([] { return ::unshare(CLONE_NEWUSER) == 0 ? 0 : errno; });
  return {"user namespaces", error == 0 ? Verdict::ok : Verdict::no, error == 0 ? "usable" : reason(error),
          "Fusewire does not need them", false};
}

Finding check_gate(const std::string& configured) {
  const char* name = "the gate";
  if (!configured.empty()) {
    if (::access(configured.c_str(), X_OK) == 0) return {name, Verdict::ok, configured, "programs run under it", true};
    return {name, Verdict::no, fmt::format("{}: {}", configured, reason(errno)), "nothing can run in a namespace",
            true};
  }
  const auto way = leader::try_gate(gate::image());
  if (way) return {name, Verdict::ok, fmt::format("is executed as {}", *way), "programs run under it", true};
  return {name, Verdict::no, way.error(), "nothing can run in a namespace: no file of it can be executed", true};
}

// Tries the calls in children: a filter may kill instead of refusing.
constexpr int killed = -1;
std::vector<int> try_calls(std::span<const leader::NeededCall> calls) {
  struct Progress {
    std::atomic<size_t> at;
    int error[];
  };
  const size_t bytes = sizeof(Progress) + calls.size() * sizeof(int);
  void* shared = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return std::vector<int>(calls.size(), 0);
  auto& progress = *static_cast<Progress*>(shared);
  for (size_t next = 0; next < calls.size(); next = progress.at + 1) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (size_t i = next; i < calls.size(); i++) {
        progress.error[i] = killed;
        progress.at = i;
        progress.error[i] = leader::try_call(calls[i]);
      }
      ::_exit(0);
    }
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child) break;
  }
  const std::vector<int> errors(progress.error, progress.error + calls.size());
  ::munmap(shared, bytes);
  return errors;
}

// A line for each system call that is refused, or one that says that none is.
std::vector<Finding> check_calls() {
  const auto calls = leader::needed_calls();
  const std::vector<int> errors = try_calls(calls);
  std::vector<Finding> findings;
  for (size_t i = 0; i < calls.size(); i++) {
    if (errors[i] == 0) continue;
    const std::string what = errors[i] == killed ? "kills who makes it" : reason(errors[i]);
    findings.push_back(
        {fmt::format("system call {}", calls[i].name), calls[i].required ? Verdict::no : Verdict::limited,
         what + " (a container's filter, or an old kernel)",
         calls[i].required ? fmt::format("needed: {}", calls[i].use) : std::string(calls[i].use), calls[i].required});
  }
  if (findings.empty())
    findings.push_back({"system calls", Verdict::ok, fmt::format("all {} usable", calls.size()),
                        "nothing that Fusewire needs is refused here", true});
  return findings;
}

}  // namespace

std::string verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::ok:
      return "ok";
    case Verdict::limited:
      return "limited";
    case Verdict::no:
      return "no";
  }
  return "?";
}

std::vector<Finding> check_machine(const std::string& gate) {
  utsname machine{};
  ::uname(&machine);
  const Finding dispatch = check_dispatch();
  std::vector<Finding> findings{check_architecture(machine),
                                check_kernel(machine),
                                check_gate(gate),
                                dispatch,
                                check_seccomp(dispatch.verdict != Verdict::ok),
                                check_memfd(),
                                check_inotify(),
                                check_inotify_limits(),
                                check_descriptors(),
                                check_socket(),
                                check_proc(),
                                check_runtime_directory(),
                                check_real_device(),
                                check_user_namespaces()};
  std::ranges::move(check_calls(), std::back_inserter(findings));
  return findings;
}

bool can_run(const std::vector<Finding>& findings) {
  return std::ranges::none_of(findings, [](const Finding& f) { return f.required && f.verdict == Verdict::no; });
}

}  // namespace fusewire::cli
