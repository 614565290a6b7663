// Processes, threads and programs under the gate are what they are without it.
#include <elf.h>
#include <link.h>
#include <linux/sched.h>
#include <sched.h>
#include <spawn.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

#include <cstring>
#include <thread>
#include <vector>

#include "subject.h"

extern char** environ;

namespace {

std::string read_file(const std::string& path) {
  std::string text;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  char part[4096];
  for (ssize_t n; fd >= 0 && (n = read(fd, part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(n));
  if (fd >= 0) close(fd);
  return text;
}

class Directory {
 public:
  Directory() {
    char name[] = "/tmp/machinery-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Directory() { EXPECT_EQ(0, system(("rm -rf " + path_).c_str())); }
  Directory(const Directory&) = delete;
  std::string file(const std::string& name, const std::string& content, mode_t mode = 0755) const {
    const std::string path = path_ + "/" + name;
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    EXPECT_EQ(static_cast<ssize_t>(content.size()), write(fd, content.data(), content.size()));
    close(fd);
    return path;
  }

 private:
  std::string path_;
};

// What a child prints that execs; empty when it cannot.
std::string output_of(const std::function<void()>& exec) {
  int end[2];
  if (pipe2(end, O_CLOEXEC) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    dup2(end[1], 1);
    exec();
    _exit(errno);
  }
  close(end[1]);
  std::string text;
  char part[4096];
  for (ssize_t n; (n = read(end[0], part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(n));
  close(end[0]);
  waitpid(child, nullptr, 0);
  return text;
}

// The errno of an execve that fails.
int exec_error(const char* path, char* const* argv, char* const* envp = environ) {
  const int status = in_child([&] {
    execve(path, argv, envp);
    return errno;
  });
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The same program with another interpreter, whose name must not be longer.
std::string with_interpreter(std::string program, const std::string& name) {
  const std::string usual = "/lib64/ld-linux-x86-64.so.2";
  const size_t at = program.find(usual);
  EXPECT_NE(std::string::npos, at);
  EXPECT_LE(name.size(), usual.size());
  return program.replace(at, usual.size(), name + std::string(usual.size() - name.size(), '\0'));
}

char arg0[] = "name";
char* const one_argument[] = {arg0, nullptr};

}  // namespace

// ---- fork, vfork, clone

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

// ---- memory

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

// Code with a call site at every place of a cache line, mapped from a file as a library's is.
class Sites {
 public:
  static constexpr int count = 512, room = 64 + 7;
  // These two make their own call and go on behind that of site 0 and of site 1, as compilers share what is alike.
  static constexpr int joins_checked = 4, joins_moved = count - 1;
  Sites() : file_(directory_.file("code", code())) {
    const int fd = open(file_.c_str(), O_RDONLY | O_CLOEXEC);
    memory_ = static_cast<char*>(mmap(nullptr, bytes(), PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0));
    close(fd);
  }
  ~Sites() { munmap(memory_, bytes()); }
  Sites(const Sites&) = delete;
  // The parent's process id, or 1000 more than its negative on an error.
  long call(int i) const { return reinterpret_cast<long (*)()>(memory_ + i * room)(); }

 private:
  static size_t bytes() { return static_cast<size_t>(count) * room; }
  static void put_joining(std::string& text, int site, int other) {
    // mov $getppid, %eax; syscall; jmp behind the other's syscall
    unsigned char joining[] = {0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xe9, 0, 0, 0, 0};
    const int32_t distance = other * room + 7 - (site * room + static_cast<int>(sizeof joining));
    memcpy(joining + 8, &distance, sizeof distance);
    memcpy(&text[static_cast<size_t>(site * room)], joining, sizeof joining);
  }
  static std::string code() {
    // mov $getppid, %eax; syscall; cmp $-4096, %rax; ja +1; ret; hlt   and, every other one, without the comparison
    static const unsigned char checked[] = {0xb8, SYS_getppid, 0,    0,    0,    0x0f, 0x05, 0x48, 0x3d,
                                            0x00, 0xf0,        0xff, 0xff, 0x77, 0x01, 0xc3, 0xf4};
    static const unsigned char moved[] = {0xb8, SYS_getppid, 0,    0,    0,    0x0f, 0x05, 0x48,
                                          0x89, 0xc1,        0x31, 0xc0, 0x48, 0x89, 0xc8, 0xc3};
    std::string text(bytes(), '\xf4');
    for (int i = 0; i < count; i++) {
      if (i % 2 == 0) memcpy(&text[static_cast<size_t>(i * room)], checked, sizeof checked);
      if (i % 2 != 0) memcpy(&text[static_cast<size_t>(i * room)], moved, sizeof moved);
    }
    put_joining(text, joins_checked, 0);
    put_joining(text, joins_moved, 1);
    return text;
  }
  Directory directory_;
  std::string file_;
  char* memory_;
};

TEST(Processes, call_sites_can_become_hot_under_many_threads) {
  for (int round = 0; round < 5; round++) {
    const Sites sites;
    const pid_t parent = getppid();
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; t++) {
      threads.emplace_back([&] {
        for (int i = 0; i < Sites::count; i++) {
          for (int k = 0; k < 20; k++) wrong += sites.call(i) != parent;
        }
      });
    }
    for (std::thread& t : threads) t.join();
    ASSERT_EQ(0, wrong);
  }
}

TEST(Processes, code_that_is_shared_behind_a_hot_call_stays_whole) {
  const pid_t parent = getppid();
  const Sites sites;
  for (int i = 0; i < 1500; i++) {
    ASSERT_EQ(parent, sites.call(0));
    ASSERT_EQ(parent, sites.call(1));
  }
  EXPECT_EQ(parent, sites.call(Sites::joins_checked));
  EXPECT_EQ(parent, sites.call(Sites::joins_moved));
}

TEST(Processes, system_works_after_many_spawns) {
  for (int i = 0; i < 300; i++) ASSERT_EQ(7, WEXITSTATUS(system("exit 7")));
}

TEST(Processes, a_call_that_sleeps_while_its_site_becomes_hot_returns) {
  const Pipe p;
  std::atomic<pid_t> tid{0};
  std::thread sleeper([&] {
    tid = thread_id();
    char byte = 0;
    EXPECT_EQ(1, read(p.end[0], &byte, 1));
  });
  while (tid == 0) sched_yield();
  wait_until_sleeping(tid);
  const Pipe other;
  for (int i = 0; i < 100; i++) {
    char byte;
    ASSERT_EQ(1, write(other.end[1], "x", 1));
    ASSERT_EQ(1, read(other.end[0], &byte, 1));
  }
  ASSERT_EQ(1, write(p.end[1], "x", 1));
  sleeper.join();
}

TEST(Processes, code_mapped_where_other_code_was_is_not_confused) {
  // Two files of sites, mapped in turn at one address.
  const pid_t parent = getppid();
  for (int i = 0; i < 8; i++) {
    const Sites sites;
    for (int k = 0; k < 2 + i % 3; k++) ASSERT_EQ(parent, sites.call(1));
    for (int k = 0; k < 2 + i % 3; k++) ASSERT_EQ(parent, sites.call(2));
  }
}

// ---- exec

TEST(Exec, arguments_and_environment_arrive_exactly) {
  char a[] = "one argument", b[] = "", variable[] = "NAME=value with = and\nnewline";
  char* const arguments[] = {arg0, a, b, nullptr};
  char* const environment[] = {variable, nullptr};
  const std::string environment_seen = output_of([&] { execve("/usr/bin/env", one_argument, environment); });
  EXPECT_EQ(std::string(variable) + "\n", environment_seen);
  const std::string command_line = output_of([&] {
    char cat[] = "cat", file[] = "/proc/self/cmdline";
    char* const show[] = {cat, file, nullptr};
    execve("/bin/cat", show, environment);
  });
  EXPECT_EQ(std::string("cat\0/proc/self/cmdline\0", 23), command_line);
  const std::string three = output_of([&] {
    char sh[] = "sh", c[] = "-c", script[] = "echo $#:$0:$1:$2:";
    char* const run[] = {sh, c, script, arguments[0], arguments[1], arguments[2], nullptr};
    execve("/bin/sh", run, environment);
  });
  EXPECT_EQ("2:name:one argument::\n", three);
}

TEST(Exec, nothing_of_the_gate_shows_in_the_environment) {
  char* const nothing[] = {nullptr};
  EXPECT_EQ("", output_of([&] { execve("/usr/bin/env", one_argument, nothing); }));
  EXPECT_EQ(std::string::npos, read_file("/proc/self/environ").find("FUSEWIRE_GATE"));
}

TEST(Exec, the_auxiliary_vector_describes_the_program) {
  const auto* const headers = reinterpret_cast<const ElfW(Phdr)*>(getauxval(AT_PHDR));
  ASSERT_NE(nullptr, headers);
  bool found = false;
  uintptr_t bias = 0;
  for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++) {
    if (headers[i].p_type == PT_PHDR) bias = reinterpret_cast<uintptr_t>(headers) - headers[i].p_vaddr, found = true;
  }
  ASSERT_TRUE(found);
  const auto* const head = reinterpret_cast<const ElfW(Ehdr)*>(bias);
  EXPECT_EQ(0, memcmp(head->e_ident, ELFMAG, SELFMAG));
  EXPECT_EQ(getauxval(AT_ENTRY), bias + head->e_entry);
  EXPECT_NE(0u, getauxval(AT_BASE));
  EXPECT_NE(0u, getauxval(AT_SYSINFO_EHDR));
}

TEST(Exec, the_command_name_is_the_files) {
  const Directory directory;
  EXPECT_EQ("cat\n", output_of([] { execl("/bin/cat", "other name", "/proc/self/comm", nullptr); }));
  const std::string script = directory.file("a-script", "#!/bin/sh\nread name < /proc/$$/comm; echo $name\n");
  EXPECT_EQ("a-script\n", output_of([&] { execl(script.c_str(), "x", nullptr); }));
}

TEST(Exec, the_own_program_can_be_executed_again) {
  const std::string tests = output_of([] { execl("/proc/self/exe", "me", "--gtest_list_tests", nullptr); });
  EXPECT_NE(std::string::npos, tests.find("the_own_program_can_be_executed_again"));
  char link[4096];
  const ssize_t n = readlink("/proc/self/exe", link, sizeof link);
  ASSERT_GT(n, 0);
  EXPECT_NE(std::string::npos, std::string(link, static_cast<size_t>(n)).find("gate_machinery_tests"));
}

TEST(Exec, a_script_gets_its_interpreter_one_argument_and_its_path) {
  const Directory directory;
  const std::string show = directory.file("show", "#!/bin/sh\necho \"$0|$1|$2|$3|$#\"\n");
  const std::string plain = directory.file("plain", "#! " + show + "\n");
  EXPECT_EQ(show + "|" + plain + "|a||2\n", output_of([&] { execl(plain.c_str(), "ignored", "a", nullptr); }));
  const std::string with = directory.file("with", "#!" + show + " one  and the same\t \n");
  EXPECT_EQ(show + "|one  and the same|" + with + "|a|3\n",
            output_of([&] { execl(with.c_str(), "ignored", "a", nullptr); }));
  const std::string outer = directory.file("outer", "#!" + with + " outer");
  EXPECT_EQ(show + "|one  and the same|" + with + "|outer|5\n",
            output_of([&] { execl(outer.c_str(), "ignored", "a", nullptr); }));
}

TEST(Exec, scripts_nest_as_deep_as_linux_lets_them) {
  const Directory directory;
  std::string path = directory.file("0", "#!/bin/echo");
  for (int depth = 1; depth <= 3; depth++) path = directory.file(std::to_string(depth), "#!" + path);
  EXPECT_NE("", output_of([&] { execl(path.c_str(), "x", nullptr); }));
  for (int depth = 4; depth <= 6; depth++) path = directory.file(std::to_string(depth), "#!" + path);
  EXPECT_EQ(ELOOP, exec_error(path.c_str(), one_argument));
}

TEST(Exec, what_cannot_be_executed_says_why_and_harms_nothing) {
  const Directory directory;
  EXPECT_EQ(ENOENT, exec_error("/nonexistent", one_argument));
  EXPECT_EQ(ENOENT, exec_error("", one_argument));
  EXPECT_EQ(ENOTDIR, exec_error("/etc/passwd/x", one_argument));
  EXPECT_EQ(EACCES, exec_error("/etc", one_argument));
  EXPECT_EQ(EACCES, exec_error(directory.file("not-executable", "#!/bin/sh\n", 0644).c_str(), one_argument));
  EXPECT_EQ(ENOEXEC, exec_error(directory.file("text", "echo hello\n").c_str(), one_argument));
  EXPECT_EQ(ENOEXEC, exec_error(directory.file("empty", "").c_str(), one_argument));
  EXPECT_EQ(ENOEXEC, exec_error(directory.file("blank", "#!  \n").c_str(), one_argument));
  EXPECT_EQ(ENOEXEC, exec_error(directory.file("cut", "#!/" + std::string(300, 'x')).c_str(), one_argument));
  EXPECT_EQ(ENOENT, exec_error(directory.file("lost", "#!/nonexistent\n").c_str(), one_argument));
  EXPECT_EQ(ENOEXEC, exec_error(directory.file("elf", std::string("\x7f") + "ELF").c_str(), one_argument));
  const std::string program = read_file("/bin/true");
  EXPECT_EQ(ENOEXEC, exec_error(directory.file("cut-program", program.substr(0, 100)).c_str(), one_argument));
  EXPECT_EQ(ENOENT,
            exec_error(directory.file("no-loader", with_interpreter(program, "/nonexistent")).c_str(), one_argument));
  const std::string damaged = directory.file("l", std::string(200, 'x'));
  EXPECT_EQ(ELIBBAD,
            exec_error(directory.file("bad-loader", with_interpreter(program, damaged)).c_str(), one_argument));
  EXPECT_EQ(ENAMETOOLONG, exec_error(("/" + std::string(5000, 'x')).c_str(), one_argument));
  std::vector<char> huge(200 << 10, 'x');
  huge.back() = 0;
  char* const too_long[] = {arg0, huge.data(), nullptr};
  EXPECT_EQ(E2BIG, exec_error("/bin/true", too_long));
  std::vector<char*> many(200, huge.data() + (100 << 10));
  many.push_back(nullptr);
  EXPECT_EQ(E2BIG, exec_error("/bin/true", many.data()));
}

TEST(Exec, a_descriptor_can_be_executed) {
  const int fd = open("/bin/echo", O_RDONLY);
  EXPECT_EQ("by descriptor\n", output_of([&] {
              char text[] = "by descriptor";
              char* const arguments[] = {arg0, text, nullptr};
              syscall(SYS_execveat, fd, "", arguments, environ, AT_EMPTY_PATH);
            }));
  close(fd);
  const int bin = open("/bin", O_PATH | O_DIRECTORY);
  EXPECT_EQ("relative\n", output_of([&] {
              char text[] = "relative";
              char* const arguments[] = {arg0, text, nullptr};
              syscall(SYS_execveat, bin, "echo", arguments, environ, 0);
            }));
  close(bin);
  EXPECT_EQ(-1, syscall(SYS_execveat, AT_FDCWD, "/bin/true", one_argument, environ, 0x40000000));
  EXPECT_EQ(EINVAL, errno);
}

TEST(Exec, a_script_in_a_descriptor_that_closes_is_lost) {
  const Directory directory;
  const std::string path = directory.file("s", "#!/bin/cat\n");
  for (const int flag : {0, O_CLOEXEC}) {
    const int fd = open(path.c_str(), O_RDONLY | flag);
    const std::string text = output_of([&] { syscall(SYS_execveat, fd, "", one_argument, environ, AT_EMPTY_PATH); });
    EXPECT_EQ(flag == 0 ? "#!/bin/cat\n" : "", text);
    close(fd);
  }
}

TEST(Exec, no_descriptor_of_the_gate_is_left_open) {
  const std::string list = output_of([] {
    for (int fd = 3; fd < 1024; fd++) close(fd);
    execl("/bin/ls", "ls", "/proc/self/fd", nullptr);
  });
  EXPECT_EQ("0\n1\n2\n3\n", list);
}

TEST(Exec, ignored_signals_stay_ignored_and_handled_ones_do_not) {
  for (const int signal : {SIGUSR1, SIGSEGV, SIGBUS, SIGSYS}) {
    const std::string status = output_of([&] {
      ::signal(signal, SIG_IGN);
      ::signal(SIGUSR2, [](int) {});
      execl("/bin/sh", "sh", "-c", ("kill -" + std::to_string(signal) + " $$; echo alive").c_str(), nullptr);
    });
    EXPECT_EQ("alive\n", status) << signal;
  }
}

TEST(Exec, a_setuid_program_gets_its_rights) {
  if (geteuid() != 0) GTEST_SKIP() << "making one takes root";
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) GTEST_SKIP() << "no privileges can be gained here";
  const Directory directory;
  const std::string id = directory.file("id", read_file("/usr/bin/id"));
  ASSERT_EQ(0, chown(id.c_str(), 65534, 65534));
  ASSERT_EQ(0, chmod(id.c_str(), 04755));
  EXPECT_EQ("65534\n", output_of([&] { execl(id.c_str(), "id", "-u", nullptr); }));
}

TEST(Exec, threads_end_when_one_execs) {
  const std::string text = output_of([] {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) threads.emplace_back([] { pause(); });
    std::thread([] { execl("/bin/echo", "echo", "alone", nullptr); }).join();
  });
  EXPECT_EQ("alone\n", text);
}
