// Processes, threads and their memory under the gate are what they are without it.
#include <linux/sched.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

#include <cstring>
#include <thread>
#include <vector>

#include "subject.h"

extern char** environ;

TEST(Processes, a_vfork_child_execs_while_the_parent_waits) {
  for (int i = 0; i < 50; i++) {
    const pid_t child = vfork();
    if (child == 0) {
      execl("/bin/true", "true", nullptr);
      _exit(1);
    }
    int status;
    ASSERT_EQ(child, waitpid(child, &status, 0));
    ASSERT_EQ(0, status);
  }
}

TEST(Processes, a_vfork_child_runs_in_its_parents_memory) {
  volatile int failed = 0;
  static volatile int elsewhere;
  elsewhere = 0;
  for (int i = 1; i <= 50; i++) {
    const pid_t child = vfork();
    if (child == 0) {
      failed = i;
      elsewhere = getpid();
      execl("/nonexistent", "x", nullptr);
      _exit(3);
    }
    ASSERT_GT(child, 0);
    EXPECT_EQ(i, failed);
    EXPECT_EQ(child, elsewhere);
    int status;
    ASSERT_EQ(child, waitpid(child, &status, 0));
    EXPECT_EQ(3, WEXITSTATUS(status));
  }
}

// Writes over the stack below its caller.
__attribute__((noinline)) static int use_stack(int depth) {
  volatile char bytes[512];
  for (volatile char& b : bytes) b = static_cast<char>(depth);
  return depth == 0 ? bytes[7] : use_stack(depth - 1) + bytes[9];
}

TEST(Processes, a_vfork_child_may_use_the_stack_below_its_parents_frame) {
  for (int i = 0; i < 20; i++) {
    const pid_t child = vfork();
    if (child == 0) {
      struct stat st;
      stat("/etc/passwd", &st);
      close(open("/dev/null", O_RDONLY));
      _exit(use_stack(20) == 210 ? 4 : 5);
    }
    int status;
    ASSERT_EQ(child, waitpid(child, &status, 0));
    EXPECT_EQ(4, WEXITSTATUS(status));
  }
}

// All registers that a call preserves are the parent's after the child has gone; the call is made inline.
static long vfork_inline(long (&registers)[5]) {
  long result;
  asm volatile(
      "mov $11, %%rdi; mov $12, %%rsi; mov $13, %%rdx; mov $14, %%r8; mov $15, %%r9\n\t"
      "syscall\n\t"
      "test %%rax, %%rax; jnz 1f\n\t"
      "xor %%edi, %%edi; xor %%esi, %%esi; xor %%edx, %%edx; xor %%r8d, %%r8d; xor %%r9d, %%r9d\n\t"
      "lea -4096(%%rsp), %%rsp; push %%rax; push %%rax; mov $7, %%edi; mov $231, %%eax; syscall\n\t"
      "1: mov %%rdi, (%1); mov %%rsi, 8(%1); mov %%rdx, 16(%1); mov %%r8, 24(%1); mov %%r9, 32(%1)"
      : "=a"(result)
      : "r"(registers), "0"(SYS_vfork)
      : "rdi", "rsi", "rdx", "r8", "r9", "r10", "rcx", "r11", "memory");
  return result;
}

TEST(Processes, the_registers_of_a_vfork_are_its_parents_afterwards) {
  for (int i = 0; i < 10; i++) {
    long registers[5] = {};
    const long child = vfork_inline(registers);
    int status;
    ASSERT_EQ(child, waitpid(static_cast<pid_t>(child), &status, 0));
    EXPECT_EQ(7, WEXITSTATUS(status));
    for (int k = 0; k < 5; k++) EXPECT_EQ(11 + k, registers[k]);
  }
}

TEST(Processes, vforks_nest) {
  volatile int written = 0;
  const pid_t child = vfork();
  if (child == 0) {
    const pid_t inner = vfork();
    if (inner == 0) {
      written = 1;
      execl("/bin/true", "true", nullptr);
      _exit(1);
    }
    int status = -1;
    waitpid(inner, &status, 0);
    _exit(inner > 0 && status == 0 ? 6 : 7);
  }
  int status;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_EQ(6, WEXITSTATUS(status));
  EXPECT_EQ(1, written);
}

// Whether a child that executes the program, if one is given, and ends, was there in the meantime.
__attribute__((noinline)) static bool vforks_well(const char* program) {
  volatile int written = 0;
  const pid_t child = vfork();
  if (child == 0) {
    written = 1;
    if (program != nullptr) execl(program, program, nullptr);
    _exit(0);
  }
  int status = -1;
  return waitpid(child, &status, 0) == child && status == 0 && written == 1;
}

TEST(Processes, threads_vfork_at_once) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; t++) {
    threads.emplace_back([&] {
      for (int i = 0; i < 40; i++) wrong += !vforks_well(i % 2 == 0 ? "/bin/true" : nullptr);
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(0, wrong);
}

TEST(Processes, a_vfork_child_that_is_killed_leaves_nothing_behind) {
  for (int i = 0; i < 600; i++) {  // more often than there are gate stacks
    const pid_t child = vfork();
    if (child == 0) {
      const pid_t self = getpid();
      std::atomic_signal_fence(std::memory_order_seq_cst);
      kill(self, SIGKILL);
      for (;;) close(open("/dev/null", O_RDONLY));
    }
    int status;
    ASSERT_EQ(child, waitpid(child, &status, 0));
    ASSERT_EQ(SIGKILL, WTERMSIG(status));
  }
}

TEST(Processes, a_vfork_childs_handlers_are_not_its_parents) {
  static std::atomic<int> seen;
  seen = 0;
  const Handler handler(SIGUSR1, [](int) { seen += 1; });
  const pid_t child = vfork();
  if (child == 0) {
    signal(SIGUSR1, [](int) { seen += 10; });
    signal(SIGUSR2, SIG_IGN);
    kill(getpid(), SIGUSR1);
    _exit(0);
  }
  int status;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_EQ(0, status);
  raise(SIGUSR1);
  EXPECT_EQ(11, seen);
}

// A signal that comes while the parent waits is handled when it goes on.
TEST(Processes, a_parent_waits_for_its_vfork_child_through_signals) {
  static std::atomic<int> seen;
  seen = 0;
  const Handler handler(SIGUSR1, [](int) { seen++; });
  for (int i = 1; i <= 20; i++) {
    const pid_t child = vfork();
    if (child == 0) {
      kill(getppid(), SIGUSR1);
      use_stack(4);
      _exit(0);
    }
    int status;
    ASSERT_EQ(child, waitpid(child, &status, 0));
    ASSERT_EQ(0, status);
    ASSERT_EQ(i, seen);
  }
}

// As gdb starts programs. A stop of the child before its exec would leave the parent asleep for ever: either the child
// is not traced, or no such stop may come.
TEST(Processes, a_vfork_child_that_asks_to_be_traced_does_not_sleep_for_ever) {
  alarm(60);
  const pid_t child = vfork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    long parent;
    asm volatile("syscall" : "=a"(parent) : "0"(SYS_getppid) : "rcx", "r11", "memory");
    execl("/bin/true", "true", nullptr);
    _exit(1);
  }
  int status;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  while (WIFSTOPPED(status)) {
    const int signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
    ASSERT_EQ(0, ptrace(PTRACE_CONT, child, nullptr, signal));
    ASSERT_EQ(child, waitpid(child, &status, 0));
  }
  alarm(0);
  EXPECT_EQ(0, status);
}

TEST(Processes, a_fork_in_a_thread_leaves_one_thread) {
  std::thread other([] {
    const int status = in_child([] {
      struct stat st;
      return stat("/proc/self/task", &st) == 0 && st.st_nlink == 3 ? 5 : 6;
    });
    EXPECT_EQ(5, WEXITSTATUS(status));
  });
  other.join();
}

TEST(Processes, a_fork_among_busy_threads_gives_a_working_child) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++) {
    threads.emplace_back([&] {
      while (!stop) {
        struct stat st;
        stat("/", &st);
        close(open("/dev/null", O_RDONLY));
      }
    });
  }
  for (int i = 0; i < 200; i++) {
    const int status = in_child([] {
      int good = 0;
      for (int k = 0; k < 20; k++) good += close(open("/dev/null", O_RDONLY)) == 0;
      return good;
    });
    ASSERT_EQ(20, WEXITSTATUS(status));
  }
  stop = true;
  for (std::thread& t : threads) t.join();
}

TEST(Processes, clone_onto_a_new_stack_copies_memory) {
  static int variable;
  variable = 1;
  std::vector<char> stack(256 << 10);
  const int child = clone(
      [](void* argument) {
        variable = 2;
        return argument == &variable && getppid() > 0 ? 9 : 8;
      },
      stack.data() + stack.size(), SIGCHLD, &variable);
  ASSERT_GT(child, 0);
  int status;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_EQ(9, WEXITSTATUS(status));
  EXPECT_EQ(1, variable);
}

TEST(Processes, clone_onto_a_new_stack_can_share_memory) {
  static std::atomic<int> variable;
  variable = 1;
  std::vector<char> stack(256 << 10);
  const int child = clone(
      [](void*) {
        variable = getpid();
        return 0;
      },
      stack.data() + stack.size(), CLONE_VM | CLONE_VFORK | SIGCHLD, nullptr);
  ASSERT_GT(child, 0);
  EXPECT_EQ(child, variable);
  int status;
  ASSERT_EQ(child, waitpid(child, &status, 0));
}

TEST(Processes, clone3_forks) {
  clone_args args{};
  args.exit_signal = SIGCHLD;
  const long child = syscall(SYS_clone3, &args, sizeof args);
  if (child == 0) _exit(getppid() > 0 ? 4 : 5);
  ASSERT_GT(child, 0);
  int status;
  ASSERT_EQ(child, waitpid(static_cast<pid_t>(child), &status, 0));
  EXPECT_EQ(4, WEXITSTATUS(status));
  EXPECT_EQ(-1, syscall(SYS_clone3, &args, 8));
  EXPECT_EQ(-1, syscall(SYS_clone3, 8, sizeof args));
  EXPECT_EQ(EFAULT, errno);
}

TEST(Processes, posix_spawn_tells_why_it_failed) {
  pid_t child;
  EXPECT_EQ(ENOENT, posix_spawn(&child, "/nonexistent/program", nullptr, nullptr, one_argument, environ));
  EXPECT_EQ(EACCES, posix_spawn(&child, "/etc", nullptr, nullptr, one_argument, environ));
}

TEST(Processes, the_parents_handlers_outlive_a_spawn_that_resets_them) {
  static std::atomic<int> seen;
  seen = 0;
  const Handler handler(SIGUSR1, [](int) { seen++; });
  const Handler fault(SIGSEGV, [](int) { seen++; });
  for (int i = 0; i < 600; i++) {  // more often than there are gate stacks
    pid_t child;
    ASSERT_EQ(0, posix_spawn(&child, "/bin/true", nullptr, nullptr, one_argument, environ));
    int status;
    ASSERT_EQ(child, waitpid(child, &status, 0));
    ASSERT_EQ(0, status);
  }
  raise(SIGUSR1);
  raise(SIGSEGV);
  EXPECT_EQ(2, seen);
}

TEST(Processes, sixteen_threads_open_write_and_close) {
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; i++) {
    threads.emplace_back([&] {
      for (int k = 0; k < 500; k++) {
        const int fd = open("/dev/null", O_RDWR);
        if (fd >= 0 && write(fd, "a", 1) == 1 && close(fd) == 0) done++;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(8000, done);
}

TEST(Processes, more_threads_than_there_are_gate_stacks_may_sleep_in_calls) {
  constexpr int count = 600;
  static std::atomic<int> interrupted;
  interrupted = 0;
  const Handler handler(
      SIGUSR1, [](int) { interrupted++; }, SA_RESTART);
  const Pipe p;
  std::atomic<int> came_back{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < count; i++) {
    threads.emplace_back([&] {
      char byte;
      while (read(p.end[0], &byte, 1) != 1) continue;
      came_back++;
    });
  }
  for (std::thread& t : threads) pthread_kill(t.native_handle(), SIGUSR1);
  while (interrupted < count) sched_yield();
  const std::string bytes(count, 'x');
  ASSERT_EQ(count, write(p.end[1], bytes.data(), bytes.size()));
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(count, came_back);
}

TEST(Processes, a_bad_pointer_gives_EFAULT) {
  struct stat st;
  for (char* const bad : {reinterpret_cast<char*>(8), reinterpret_cast<char*>(1ul << 63)}) {
    errno = 0;
    EXPECT_EQ(-1, stat(bad, &st));
    EXPECT_EQ(EFAULT, errno);
    EXPECT_EQ(-1, open(bad, O_RDONLY));
    EXPECT_EQ(EFAULT, errno);
    EXPECT_EQ(-1, execve(bad, one_argument, environ));
    EXPECT_EQ(EFAULT, errno);
    EXPECT_EQ(-1, execve("/bin/true", reinterpret_cast<char**>(bad), environ));
    EXPECT_EQ(EFAULT, errno);
    EXPECT_EQ(-1, execve("/bin/true", one_argument, reinterpret_cast<char**>(bad)));
    EXPECT_EQ(EFAULT, errno);
    EXPECT_EQ(-1, syscall(SYS_rt_sigaction, SIGUSR1, bad, nullptr, 8));
    EXPECT_EQ(EFAULT, errno);
    EXPECT_EQ(-1, syscall(SYS_rt_sigprocmask, SIG_BLOCK, bad, nullptr, 8));
    EXPECT_EQ(EFAULT, errno);
  }
}

TEST(Processes, the_heap_grows_and_shrinks) {
  auto* const before = static_cast<char*>(sbrk(0));
  ASSERT_EQ(before, sbrk(1 << 20));
  memset(before, 7, 1 << 20);
  EXPECT_EQ(before + (1 << 20), sbrk(-(1 << 20)));
  EXPECT_EQ(before, sbrk(0));
}

TEST(Processes, system_works_after_many_spawns) {
  for (int i = 0; i < 300; i++) ASSERT_EQ(7, WEXITSTATUS(system("exit 7")));
}
