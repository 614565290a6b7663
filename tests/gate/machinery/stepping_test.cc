// A signal at every instruction: a program under the gate (stepped.cc) is stepped through one thing that it does, and
// for each of its instructions once more up to there, where a signal comes. Whatever the gate is at, the program's
// handler runs once, and the thing is done as if nothing had happened.
//
// The environment names what runs: GATED, the command before the program (words), STEPPED, the program.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

namespace {

constexpr uint64_t trap_flag = 0x100;

class Stepped {
 public:
  explicit Stepped(const std::string& thing) {
    std::istringstream words(std::getenv("GATED"));
    std::vector<std::string> command;
    for (std::string word; words >> word;) command.push_back(word);
    command.insert(command.end(), {std::getenv("STEPPED"), thing});
    std::vector<char*> arguments;
    for (std::string& word : command) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      ::raise(SIGSTOP);
      ::execv(arguments[0], arguments.data());
      ::_exit(127);
    }
    int status;
    ::waitpid(pid_, &status, 0);
    ::ptrace(PTRACE_SETOPTIONS, pid_, nullptr, PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
  }
  ~Stepped() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Stepped(const Stepped&) = delete;

  // To the next breakpoint. false: the program has ended.
  bool go_on() {
    for (;;) {
      if (::ptrace(PTRACE_CONT, pid_, nullptr, signal_to_pass_on()) != 0 || !wait()) return false;
      if (stopped_by_ != SIGTRAP) continue;
      if (is_breakpoint()) return true;
      forget_the_trap_flag();
    }
  }

  // One instruction. false: the program has ended.
  bool step() { return ::ptrace(PTRACE_SINGLESTEP, pid_, nullptr, signal_to_pass_on()) == 0 && wait(); }

  void interrupt() const { ::syscall(SYS_tgkill, pid_, pid_, SIGUSR1); }
  uint64_t instruction() const { return registers().rip; }
  user_regs_struct registers() const {
    user_regs_struct r{};
    ::ptrace(PTRACE_GETREGS, pid_, nullptr, &r);
    return r;
  }
  std::string end() const {
    if (WIFSIGNALED(status_)) return "died of signal " + std::to_string(WTERMSIG(status_));
    return "ended with status " + std::to_string(WEXITSTATUS(status_));
  }

 private:
  int signal_to_pass_on() const { return stopped_by_ == SIGTRAP || stopped_by_ == SIGSTOP ? 0 : stopped_by_; }

  bool wait() {
    if (::waitpid(pid_, &status_, 0) != pid_ || !WIFSTOPPED(status_)) return false;
    stopped_by_ = WSTOPSIG(status_);
    return true;
  }

  bool is_breakpoint() const {
    siginfo_t info{};
    ::ptrace(PTRACE_GETSIGINFO, pid_, nullptr, &info);
    return info.si_code == SI_KERNEL;
  }

  // What pushed the flags while it was stepped has put the tracer's into memory, and loads them again.
  void forget_the_trap_flag() const {
    user_regs_struct r = registers();
    r.eflags &= ~trap_flag;
    ::ptrace(PTRACE_SETREGS, pid_, nullptr, &r);
  }

  pid_t pid_;
  int status_ = 0, stopped_by_ = 0;
};

struct Report {
  long broken, handled;
};

Report report_of(const Stepped& program) {
  const user_regs_struct r = program.registers();
  return {static_cast<long>(r.rdi), static_cast<long>(r.rsi)};
}

// Steps up to `steps` instructions; how many there were before the thing was done.
long step_until(Stepped& program, long steps, uint64_t end) {
  for (long n = 0; n < steps; n++) {
    if (!program.step()) return -1;
    if (program.instruction() == end) return n;
  }
  return steps;
}

class Stepping : public testing::TestWithParam<const char*> {};

TEST_P(Stepping, a_signal_at_any_instruction_changes_nothing) {
  if (std::getenv("GATED") == nullptr) GTEST_SKIP() << "GATED and STEPPED name what to run";
  Stepped program(GetParam());
  ASSERT_TRUE(program.go_on()) << "the program " << program.end();
  ASSERT_TRUE(program.go_on()) << "the program " << program.end();
  const uint64_t end = program.instruction();
  ASSERT_TRUE(program.go_on()) << "the program " << program.end();
  ASSERT_EQ(0, report_of(program).broken) << "broken without any signal";
  const char* every = std::getenv("EVERY");
  const long stride = every == nullptr ? 1 : std::atol(every);
  long step = 0;
  for (;; step += stride) {
    ASSERT_TRUE(program.go_on()) << "the program " << program.end() << " before instruction " << step;
    const long made = step_until(program, step, end);
    ASSERT_GE(made, 0) << "the program " << program.end() << " while it was stepped";
    const bool done = made < step;
    const uint64_t where = program.instruction();
    if (!done) {
      program.interrupt();
      ASSERT_TRUE(program.go_on()) << "the program " << program.end() << " after a signal at " << std::hex << where;
    }
    ASSERT_TRUE(program.go_on()) << "the program " << program.end() << " after a signal at " << std::hex << where;
    const Report report = report_of(program);
    ASSERT_EQ(0, report.broken) << "after a signal at " << std::hex << where << ", instruction " << std::dec << step;
    ASSERT_EQ(done ? 0 : 1, report.handled) << "after a signal at " << std::hex << where;
    if (done) break;
  }
  std::printf("%ld instructions\n", step);
}

INSTANTIATE_TEST_SUITE_P(Things, Stepping,
                         testing::Values("a_call_from_a_rewritten_site", "a_call_that_is_always_caught_by_a_signal",
                                         "a_call_of_a_library", "a_call_that_is_looked_at_and_made",
                                         "a_call_that_fails", "a_call_that_is_judged", "a_call_made_inside",
                                         "a_change_of_the_mask", "a_change_of_a_disposition",
                                         "a_handler_and_its_return", "a_call_on_the_alternate_stack", "a_fork",
                                         "a_vfork", "a_call_on_a_descriptor", "a_new_thread"),
                         [](const auto& thing) { return thing.param; });

}  // namespace
