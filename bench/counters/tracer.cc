#include "tracer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace fusewire::counters {
namespace {

using Clock = std::chrono::steady_clock;
// How long a thread may neither stop nor sleep before the others go on beside it: who waits in user mode for another.
constexpr auto busy_for = std::chrono::seconds(2);
// Nobody does anything, and the measured program has not ended: something hangs.
constexpr auto silent_for = std::chrono::seconds(20);
constexpr int options_of_all = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                               PTRACE_O_TRACEEXEC | PTRACE_O_TRACEVFORKDONE | PTRACE_O_EXITKILL;
constexpr int syscall_stop = SIGTRAP | 0x80;
constexpr int sys_seccomp = 1, sys_user_dispatch = 2;  // si_code

[[noreturn]] void fail(std::string what, int error) {
  throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(error)));
}

// Everybody on one CPU: there nobody looks for the other side's move before sleeping (abi/spin.h).
void stay_on_one_cpu() {
  cpu_set_t allowed, one;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) fail("sched_getaffinity", errno);
  CPU_ZERO(&one);
  for (int cpu = CPU_SETSIZE - 1; cpu >= 0; --cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    CPU_SET(cpu, &one);
    break;
  }
  if (sched_setaffinity(0, sizeof one, &one) != 0) fail("sched_setaffinity", errno);
}

// What a call that returned `result` copied, by its number; 0 for calls that carry no data.
uint64_t bytes_copied(uint64_t nr, int64_t result) {
  switch (nr) {
    case SYS_read:
    case SYS_write:
    case SYS_pread64:
    case SYS_pwrite64:
    case SYS_readv:
    case SYS_writev:
    case SYS_preadv:
    case SYS_pwritev:
    case SYS_preadv2:
    case SYS_pwritev2:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_getdents64:
    case SYS_sendfile:
    case SYS_splice:
    case SYS_copy_file_range:
    case SYS_process_vm_readv:
    case SYS_process_vm_writev:
      return result > 0 ? static_cast<uint64_t>(result) : 0;
    default:
      return 0;
  }
}

pid_t process_of(pid_t tid) {
  std::ifstream status(fmt::format("/proc/{}/status", tid));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Tgid:")) return std::stoi(line.substr(5));
  }
  return tid;
}

}  // namespace

Tracer::Tracer(TracerOptions options) : options_(options) {}

Tracer::~Tracer() {
  for (auto& [tid, thread] : threads_) kill(tid, SIGKILL);
  for (auto& [tid, thread] : threads_) {
    if (thread.stat >= 0) close(thread.stat);
  }
  while (waitpid(-1, nullptr, __WALL) > 0 || errno == EINTR) {
  }
}

void Tracer::start(const std::vector<std::string>& command) {
  int go[2];
  if (pipe2(go, O_CLOEXEC) != 0) fail("pipe2", errno);
  stay_on_one_cpu();
  root_ = fork();
  if (root_ < 0) fail("fork", errno);
  if (root_ == 0) {
    char byte;
    if (read(go[0], &byte, 1) != 1) _exit(125);
    close_range(3, ~0U, 0);  // whoever forks looks at what it has open
    std::vector<char*> arguments;
    for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  close(go[0]);
  Thread& thread = thread_of(root_);
  thread.process = std::make_shared<Process>(Process{root_, options_.has_leader ? Party::leader : Party::daemon, 1});
  thread.state = State::running;
  if (ptrace(PTRACE_SEIZE, root_, nullptr, options_of_all) != 0) {
    throw NotAllowed(fmt::format("a child may not be traced here: {}", std::strerror(errno)));
  }
  if (ptrace(PTRACE_INTERRUPT, root_, nullptr, nullptr) != 0) fail("PTRACE_INTERRUPT", errno);
  if (write(go[1], "g", 1) != 1) fail("write", errno);
  close(go[1]);
}

int Tracer::run(const std::vector<std::string>& command) {
  start(command);
  while (!client_ended_ && !threads_.empty()) turn();
  if (!client_ended_) throw std::runtime_error("the measured program did not start");
  return client_status_;
}

void Tracer::finish() {
  while (!threads_.empty()) turn();
}

// The next thread runs until it stops or sleeps; the one that ran last is the next, unless it sleeps or stands at a
// mark.
void Tracer::turn() {
  const auto next = std::ranges::find_if(ready_, [this](pid_t tid) { return !thread_of(tid).marked; });
  if (next != ready_.end()) {
    const pid_t tid = *next;
    ready_.erase(next);
    return let_run(thread_of(tid));
  }
  if (!ready_.empty()) {
    settle();
    if (std::ranges::any_of(ready_, [this](pid_t tid) { return !thread_of(tid).marked; })) return;
    const pid_t tid = ready_.front();
    ready_.pop_front();
    Thread& thread = thread_of(tid);
    thread.marked = false;
    take_mark(thread);
    return let_run(thread);
  }
  pid_t tid;
  int status;
  if (next_event(tid, status, true)) note(tid, status);
}

void Tracer::let_run(Thread& thread) {
  const pid_t tid = thread.tid;
  running_ = thread.process;
  running_thread_ = tid;
  thread.state = State::running;
  if (ptrace(PTRACE_SYSCALL, tid, nullptr, thread.signal) != 0 && errno != ESRCH) fail("PTRACE_SYSCALL", errno);
  thread.signal = 0;
  const auto deadline = Clock::now() + busy_for;
  do {
    pid_t other;
    int status;
    if (next_event(other, status, false)) {
      note(other, status);
      const auto now = threads_.find(tid);
      if (now != threads_.end() && now->second.state == State::running) continue;
      if (now == threads_.end() || !now->second.in_call) settle();
      return;
    }
    if (is_asleep(thread)) {
      note_sleep(thread);
      thread.state = State::asleep;
      return settle();
    }
    sched_yield();
  } while (Clock::now() < deadline);
}

bool Tracer::next_event(pid_t& tid, int& status, bool wait) {
  const auto deadline = Clock::now() + silent_for;
  for (;;) {
    tid = waitpid(-1, &status, __WALL | WNOHANG);
    if (tid > 0) return true;
    if (tid < 0 && errno != EINTR) fail("waitpid", errno);
    if (!wait) return false;
    if (Clock::now() > deadline) throw std::runtime_error("everybody sleeps: " + who_is_where());
    usleep(200);
  }
}

// Asleep in a call. Who is only about to sleep counts as asleep too: since nobody else runs, nothing can keep it awake.
bool Tracer::is_asleep(const Thread& thread) {
  char text[512];
  const ssize_t length = thread.in_call ? pread(thread.stat, text, sizeof text - 1, 0) : 0;
  if (length <= 0) return false;
  text[length] = 0;
  const char* state = std::strrchr(text, ')');
  return state != nullptr && (state[2] == 'S' || (state[2] == 'D' && thread.in_vfork));
}

// Whoever was woken comes to a stop, or sleeps again.
void Tracer::settle() {
  std::vector<pid_t> sleepers;
  for (auto& [tid, thread] : threads_) {
    if (thread.state == State::asleep) sleepers.push_back(tid);
  }
  for (const pid_t tid : sleepers) {
    const auto at = threads_.find(tid);
    if (at == threads_.end() || at->second.state != State::asleep || is_asleep(at->second)) continue;
    note_wake(at->second);
    at->second.state = State::running;
    const auto deadline = Clock::now() + busy_for;
    while (Clock::now() < deadline) {
      pid_t other;
      int status;
      if (next_event(other, status, false)) {
        note(other, status);
        const auto now = threads_.find(tid);
        if (now == threads_.end() || now->second.state != State::running) break;
      } else if (is_asleep(at->second)) {
        at->second.state = State::asleep;
        break;
      } else {
        sched_yield();
      }
    }
  }
}

void Tracer::note_sleep(Thread& thread) {
  if (thread.slept) return;
  thread.slept = true;
  counts_of(thread).sleeps++;
  if (Step* step = last_step(thread.tid)) step->slept = true;
}

// By the call that the running one is in.
void Tracer::note_wake(const Thread& sleeper) {
  if (running_ == nullptr || has_handed_over_ || sleeper.process == running_) return;
  has_handed_over_ = true;
  if (Step* step = last_step(running_thread_)) step->handed_over = true;
  now_[static_cast<int>(running_->party)].hand_overs++;
}

void Tracer::note(pid_t tid, int status) {
  if (WIFSTOPPED(status)) return note_stop(thread_of(tid), status);
  const auto found = threads_.find(tid);
  if (found != threads_.end()) note_end(found->second, status);
}

void Tracer::note_stop(Thread& thread, int status) {
  const bool is_first = thread.state == State::born;
  if (thread.state == State::asleep) note_wake(thread);
  thread.state = State::stopped;
  const int signal = WSTOPSIG(status), event = status >> 16;
  if (signal == syscall_stop) {
    note_call(thread);
  } else if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
    thread.in_vfork = event == PTRACE_EVENT_VFORK;
    note_new(thread);
  } else if (event == PTRACE_EVENT_VFORK_DONE) {
    thread.in_vfork = false;
  } else if (event == PTRACE_EVENT_EXEC) {
    note_exec(thread);
  } else if (event == 0) {
    thread.signal = signal;
    siginfo_t info{};
    if (signal == SIGSYS && ptrace(PTRACE_GETSIGINFO, thread.tid, nullptr, &info) == 0 &&
        (info.si_code == sys_user_dispatch || info.si_code == sys_seccomp)) {
      counts_of(thread).sigsys++;
      steps_.push_back({.party = thread.process->party,
                        .tid = thread.tid,
                        .caught = true,
                        .nr = static_cast<uint64_t>(info.si_syscall),
                        .result = {}});
    }
  }
  // A thread whose parent has not told of it waits until it does.
  if (thread.process == nullptr && is_first) return;
  if (thread.tid == running_thread_) return ready_.push_front(thread.tid);  // it goes on until it sleeps
  ready_.push_back(thread.tid);
}

void Tracer::note_call(Thread& thread) {
  __ptrace_syscall_info info{};
  if (ptrace(PTRACE_GET_SYSCALL_INFO, thread.tid, sizeof info, &info) < 0) {
    if (errno == ESRCH) return;  // killed meanwhile
    fail("PTRACE_GET_SYSCALL_INFO", errno);
  }
  if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
    thread.nr = info.entry.nr;
    std::copy(std::begin(info.entry.args), std::end(info.entry.args), thread.arg);
    note_entry(thread);
  } else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
    note_exit(thread, info.exit.rval);
  }
}

void Tracer::note_entry(Thread& thread) {
  thread.in_call = true;
  thread.slept = false;
  if (thread.process == running_) has_handed_over_ = false;
  thread.marked = thread.nr == SYS_getppid && thread.arg[0] == mark_magic;
  if (thread.marked) return;
  counts_of(thread).calls++;
  steps_.push_back({.party = thread.process->party, .tid = thread.tid, .nr = thread.nr, .result = {}});
}

void Tracer::note_exit(Thread& thread, int64_t result) {
  thread.in_call = false;
  counts_of(thread).bytes += bytes_copied(thread.nr, result);
  if (Step* step = last_step(thread.tid); step != nullptr && step->nr == thread.nr) step->result = result;
}

void Tracer::note_new(Thread& parent) {
  unsigned long tid = 0;
  if (ptrace(PTRACE_GETEVENTMSG, parent.tid, nullptr, &tid) != 0) return;
  Thread& child = thread_of(static_cast<pid_t>(tid));
  if (child.process != nullptr) return;
  const pid_t pid = process_of(child.tid);
  if (pid == parent.process->pid) {
    child.process = parent.process;
  } else {
    // What the leader forks serves the namespace, unless it executes something.
    const Party party = parent.process->party == Party::leader ? Party::host : parent.process->party;
    child.process = std::make_shared<Process>(Process{pid, party, 0});
  }
  child.process->threads++;
  if (child.state == State::stopped) ready_.push_back(child.tid);
}

void Tracer::note_exec(Thread& thread) {
  unsigned long former = 0;
  if (ptrace(PTRACE_GETEVENTMSG, thread.tid, nullptr, &former) == 0 && static_cast<pid_t>(former) != thread.tid) {
    const auto gone = threads_.find(static_cast<pid_t>(former));
    if (gone != threads_.end()) {
      thread.process = gone->second.process;
      close(gone->second.stat);
      std::erase(ready_, gone->first);
      threads_.erase(gone);
    }
  }
  if (thread.process->party == Party::host) thread.process->party = Party::daemon;
}

void Tracer::note_end(Thread& thread, int status) {
  if (thread.tid == client_) {
    client_ended_ = true;
    client_status_ = status;
  }
  if (thread.stat >= 0) close(thread.stat);
  std::erase(ready_, thread.tid);
  threads_.erase(thread.tid);
}

void Tracer::take_mark(Thread& thread) {
  const auto mark = static_cast<Mark>(thread.arg[1]);
  if (mark == Mark::hello) {
    client_ = thread.process->pid;
    thread.process->party = Party::client;
    return;
  }
  if (mark == Mark::begin) samples_.push_back({thread.arg[2], {}, {}});
  if (mark == Mark::begin || mark == Mark::end) is_measuring_ = mark == Mark::begin;
  if (mark == Mark::start) {
    now_ = {};
    steps_.clear();
  }
  if (mark == Mark::stop && is_measuring_) {
    now_[static_cast<int>(Party::client)].faults = thread.arg[2];
    samples_.back().each.push_back(now_);
    samples_.back().last = steps_;
  }
}

Step* Tracer::last_step(pid_t tid) {
  const auto step = std::find_if(steps_.rbegin(), steps_.rend(), [tid](const Step& s) { return s.tid == tid; });
  return step != steps_.rend() ? &*step : nullptr;
}

Tracer::Thread& Tracer::thread_of(pid_t tid) {
  Thread& thread = threads_[tid];
  if (thread.tid == 0) {
    thread.tid = tid;
    thread.stat = open(fmt::format("/proc/{0}/task/{0}/stat", tid).c_str(), O_RDONLY | O_CLOEXEC);
  }
  return thread;
}

Counts& Tracer::counts_of(const Thread& thread) { return now_[static_cast<int>(thread.process->party)]; }

std::string Tracer::who_is_where() const {
  std::string text;
  for (const auto& [tid, thread] : threads_) {
    const char* party = thread.process ? party_names[static_cast<int>(thread.process->party)] : "nobody's";
    text += fmt::format(" {}({}) in call {},", party, tid, thread.in_call ? static_cast<long>(thread.nr) : -1);
  }
  return text;
}

}  // namespace fusewire::counters
