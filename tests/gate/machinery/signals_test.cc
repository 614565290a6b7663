// Signals under the gate are what they are without it.
#include <immintrin.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <ucontext.h>

#include <cstring>
#include <thread>
#include <vector>

#include "subject.h"

namespace {

std::atomic<int> ticks;
std::atomic<int> seen;
sigjmp_buf back;

void tick(int) {
  const int saved = errno;
  struct stat st;
  stat("/", &st);
  getppid();
  ticks++;
  errno = saved;
}
void count(int) { seen++; }
void jump_back(int) { siglongjmp(back, 1); }

// The address goes through a variable that the compiler may not look into: it would warn of the fault that is meant.
void write_to_nowhere() {
  static volatile uintptr_t nowhere = 8;
  *reinterpret_cast<volatile int*>(nowhere) = 1;
}

class Signals : public testing::Test {
 protected:
  void SetUp() override { seen = ticks = 0; }
};

// A thread that interrupts another as soon as that sleeps.
class Interrupter {
 public:
  Interrupter(
      int signal, std::function<void()> afterwards = [] {})
      : thread_([target = pthread_self(), tid = thread_id(), signal, afterwards] {
          wait_until_sleeping(tid);
          pthread_kill(target, signal);
          afterwards();
        }) {}
  ~Interrupter() { thread_.join(); }

 private:
  std::thread thread_;
};

}  // namespace

__attribute__((target("avx"))) static bool vectors_survive(const std::function<void()>& calls) {
  __m256d v = _mm256_set_pd(1, 2, 3, 4);
  asm volatile("" : "+x"(v));
  calls();
  asm volatile("" : "+x"(v));
  double out[4];
  _mm256_storeu_pd(out, v);
  return out[0] == 4 && out[3] == 1;
}

TEST_F(Signals, a_storm_of_signals_harms_no_call_and_no_register) {
  const Handler handler(SIGALRM, tick, SA_RESTART);
  const itimerval fast{{0, 100}, {0, 100}}, off{};
  setitimer(ITIMER_REAL, &fast, nullptr);
  char byte;
  while (ticks < 3000) {
    struct stat st;
    ASSERT_EQ(0, stat("/etc/passwd", &st));
    const int fd = open("/etc/passwd", O_RDONLY);
    ASSERT_GE(fd, 0);
    // A sleep in the dispatcher always ends with EINTR, of a file that never sleeps too.
    ssize_t n;
    do n = read(fd, &byte, 1);
    while (n < 0 && errno == EINTR && getenv("READS_SLEEP_INSIDE") != nullptr);
    ASSERT_EQ(1, n);
    ASSERT_EQ(0, close(fd));
    sigset_t none, old;
    sigemptyset(&none);
    ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &none, &old));
    ASSERT_FALSE(sigismember(&old, SIGALRM));
  }
  setitimer(ITIMER_REAL, &off, nullptr);
}

TEST_F(Signals, vector_registers_survive_caught_calls) {
  if (!__builtin_cpu_supports("avx")) GTEST_SKIP();
  for (int i = 0; i < 100; i++) {
    struct stat st;
    ASSERT_TRUE(vectors_survive([&] { syscall(SYS_stat, "/", &st); }));
  }
}

TEST_F(Signals, a_blocked_read_ends_with_EINTR_without_SA_RESTART) {
  const Handler handler(SIGUSR1, count);
  const Pipe p;
  for (int i = 1; i <= 20; i++) {
    const Interrupter interrupter(SIGUSR1);
    char byte;
    ASSERT_EQ(-1, read(p.end[0], &byte, 1));
    ASSERT_EQ(EINTR, errno);
    ASSERT_EQ(i, seen);
  }
}

// The dispatcher of this test raises SIGUSR1 in the middle of a read of so many bytes.
TEST_F(Signals, a_signal_that_comes_before_the_sleep_ends_it_all_the_same) {
  if (getenv("READS_SLEEP_INSIDE") == nullptr) GTEST_SKIP() << "only a dispatcher can be interrupted at will";
  const Handler handler(SIGUSR1, count);
  const Pipe p;
  char buffer[4242];
  ASSERT_EQ(-1, read(p.end[0], buffer, sizeof buffer));
  ASSERT_EQ(EINTR, errno);
  ASSERT_EQ(1, seen);
}

TEST_F(Signals, a_blocked_read_goes_on_with_SA_RESTART) {
  if (getenv("READS_SLEEP_INSIDE") != nullptr) GTEST_SKIP() << "a sleep in the dispatcher always ends with EINTR";
  const Handler handler(SIGUSR1, count, SA_RESTART);
  const Pipe p;
  for (int i = 1; i <= 20; i++) {
    const Interrupter interrupter(SIGUSR1, [&] {
      while (seen < i) sched_yield();
      ASSERT_EQ(1, write(p.end[1], "x", 1));
    });
    char byte = 0;
    ASSERT_EQ(1, read(p.end[0], &byte, 1));
    ASSERT_EQ('x', byte);
    ASSERT_EQ(i, seen);
  }
}

TEST_F(Signals, a_handler_may_jump_out_of_a_blocked_read) {
  const Handler handler(SIGUSR1, jump_back);
  const Pipe p;
  static int i;
  for (i = 0; i < 600; i++) {  // more often than there are gate stacks
    const Interrupter interrupter(SIGUSR1);
    if (sigsetjmp(back, 1) == 0) {
      char byte;
      (void)!read(p.end[0], &byte, 1);
      FAIL() << "read came back";
    }
  }
}

TEST_F(Signals, a_handler_may_jump_out_of_a_fault) {
  const Handler handler(SIGSEGV, jump_back);
  static int i;
  for (i = 0; i < 100; i++) {
    if (sigsetjmp(back, 1) == 0) write_to_nowhere();
  }
}

TEST_F(Signals, a_stack_overflow_is_handled_on_the_alternate_stack) {
  const int status = in_child([] {
    static char memory[64 << 10];
    const stack_t stack{memory, 0, sizeof memory};
    sigaltstack(&stack, nullptr);
    const Handler handler(
        SIGSEGV, [](int) { _exit(getppid() > 0 ? 7 : 8); }, SA_ONSTACK);
    std::function<int(int)> deeper = [&](int n) {
      volatile char room[4096];
      room[0] = static_cast<char>(n);
      return deeper(n + 1) + room[0];
    };
    return deeper(0);
  });
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(7, WEXITSTATUS(status));
}

TEST_F(Signals, calls_of_a_handler_on_the_alternate_stack_may_be_interrupted) {
  static char memory[64 << 10];
  const stack_t stack{memory, 0, sizeof memory};
  stack_t before;
  ASSERT_EQ(0, sigaltstack(&stack, &before));
  static std::atomic<int> broken;
  broken = 0;
  {
    // The inner signals would overwrite the outer handler's frame if the kernel took the alternate stack for unused.
    const Handler inner(
        SIGALRM, [](int) { ticks++; }, SA_ONSTACK);
    const Handler outer(
        SIGUSR1,
        [](int) {
          volatile unsigned char frame[2048];
          memset(const_cast<unsigned char*>(frame), 0x5a, sizeof frame);
          const itimerval fast{{0, 50}, {0, 50}}, off{};
          setitimer(ITIMER_REAL, &fast, nullptr);
          struct stat st;
          while (ticks < 1000) stat("/", &st);
          setitimer(ITIMER_REAL, &off, nullptr);
          for (const unsigned char byte : const_cast<const unsigned char(&)[2048]>(frame)) {
            if (byte != 0x5a) broken++;
          }
          seen++;
        },
        SA_ONSTACK);
    ASSERT_EQ(0, raise(SIGUSR1));
  }
  EXPECT_EQ(1, seen);
  EXPECT_EQ(0, broken);
  sigaltstack(&before, nullptr);
}

TEST_F(Signals, forks_and_threads_can_be_made_by_a_handler_on_the_alternate_stack) {
  static char memory[64 << 10];
  const stack_t stack{memory, 0, sizeof memory};
  stack_t before;
  ASSERT_EQ(0, sigaltstack(&stack, &before));
  {
    const Handler handler(
        SIGUSR1,
        [](int) {
          std::thread([] { seen++; }).join();
          if (WEXITSTATUS(in_child([] { return 3; })) == 3) seen++;
        },
        SA_ONSTACK);
    raise(SIGUSR1);
  }
  EXPECT_EQ(2, seen);
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  EXPECT_FALSE(sigismember(&now, SIGTERM));
  sigaltstack(&before, nullptr);
}

TEST_F(Signals, sigaction_reports_what_was_set) {
  for (const int signal : {SIGUSR1, SIGSEGV, SIGBUS, SIGSYS}) {
    struct sigaction before, wanted{}, got{};
    ASSERT_EQ(0, sigaction(signal, nullptr, &before));
    EXPECT_EQ(SIG_DFL, before.sa_handler) << signal;
    wanted.sa_handler = count;
    wanted.sa_flags = SA_RESTART | SA_NODEFER;
    sigaddset(&wanted.sa_mask, SIGTERM);
    ASSERT_EQ(0, sigaction(signal, &wanted, nullptr));
    ASSERT_EQ(0, sigaction(signal, nullptr, &got));
    EXPECT_EQ(count, got.sa_handler) << signal;
    EXPECT_EQ(wanted.sa_flags, got.sa_flags & ~0x04000000) << signal;
    EXPECT_TRUE(sigismember(&got.sa_mask, SIGTERM));
    EXPECT_FALSE(sigismember(&got.sa_mask, SIGINT));
    ASSERT_EQ(0, sigaction(signal, &before, &got));
    EXPECT_EQ(count, got.sa_handler) << signal;
    ASSERT_EQ(0, sigaction(signal, nullptr, &got));
    EXPECT_EQ(SIG_DFL, got.sa_handler) << signal;
  }
  struct sigaction none {};
  EXPECT_EQ(-1, sigaction(SIGKILL, &none, nullptr));
  EXPECT_EQ(EINVAL, errno);
}

TEST_F(Signals, a_one_shot_handler_runs_once) {
  const int status = in_child([] {
    const Handler handler(SIGUSR1, count, static_cast<int>(SA_RESETHAND));
    raise(SIGUSR1);
    if (seen != 1) return 1;
    raise(SIGUSR1);
    return 2;
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(SIGUSR1, WTERMSIG(status));
}

TEST_F(Signals, a_queued_value_arrives) {
  static std::atomic<int> value, sender, code;
  const Handler handler(SIGRTMIN + 2, [](int, siginfo_t* info, void*) {
    value = info->si_value.sival_int;
    sender = info->si_pid;
    code = info->si_code;
  });
  sigval v;
  v.sival_int = 4711;
  ASSERT_EQ(0, sigqueue(getpid(), SIGRTMIN + 2, v));
  EXPECT_EQ(4711, value);
  EXPECT_EQ(getpid(), sender);
  EXPECT_EQ(SI_QUEUE, code);
}

TEST_F(Signals, a_value_queued_to_a_thread_that_sleeps_in_a_call_arrives) {
  static std::atomic<int> value;
  value = 0;
  const Handler handler(SIGRTMIN + 2, [](int, siginfo_t* info, void*) { value = info->si_value.sival_int; });
  const Pipe p;
  std::thread other([target = pthread_self(), tid = thread_id()] {
    wait_until_sleeping(tid);
    sigval v;
    v.sival_int = 815;
    pthread_sigqueue(target, SIGRTMIN + 2, v);
  });
  char byte;
  EXPECT_EQ(-1, read(p.end[0], &byte, 1));
  EXPECT_EQ(EINTR, errno);
  EXPECT_EQ(815, value);
  other.join();
}

TEST_F(Signals, the_handlers_mask_holds_while_it_runs) {
  static std::atomic<bool> early;
  early = false;
  struct sigaction action {};
  action.sa_handler = [](int) {
    raise(SIGUSR2);
    early = seen > 0;
  };
  sigaddset(&action.sa_mask, SIGUSR2);
  struct sigaction before;
  sigaction(SIGUSR1, &action, &before);
  const Handler second(SIGUSR2, count);
  raise(SIGUSR1);
  EXPECT_FALSE(early);
  EXPECT_EQ(1, seen);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(Signals, a_handler_may_block_everything_in_the_context_it_returns_to) {
  const Handler handler(
      SIGUSR1, [](int, siginfo_t*, void* context) { sigfillset(&static_cast<ucontext_t*>(context)->uc_sigmask); });
  sigset_t before;
  sigprocmask(SIG_BLOCK, nullptr, &before);
  raise(SIGUSR1);
  EXPECT_GT(syscall(SYS_getppid), 0);
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

TEST_F(Signals, calls_work_with_all_signals_blocked) {
  sigset_t all, old;
  sigfillset(&all);
  ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &all, &old));
  long parent;
  asm volatile("syscall" : "=a"(parent) : "0"(SYS_getppid) : "rcx", "r11", "memory");
  struct stat st;
  errno = 0;
  const int bad = stat(reinterpret_cast<char*>(8), &st);
  const int error = errno;
  sigprocmask(SIG_SETMASK, &old, nullptr);
  EXPECT_EQ(getppid(), parent);
  EXPECT_EQ(-1, bad);
  EXPECT_EQ(EFAULT, error);
}

TEST_F(Signals, waits_with_a_mask_let_the_signal_in) {
  const Handler handler(SIGUSR1, count);
  sigset_t blocked, old, open_for_usr1;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigprocmask(SIG_BLOCK, &blocked, &old);
  sigfillset(&open_for_usr1);
  sigdelset(&open_for_usr1, SIGUSR1);
  raise(SIGUSR1);
  EXPECT_EQ(0, seen);
  EXPECT_EQ(-1, sigsuspend(&open_for_usr1));
  EXPECT_EQ(1, seen);
  raise(SIGUSR1);
  EXPECT_EQ(-1, ppoll(nullptr, 0, nullptr, &open_for_usr1));
  EXPECT_EQ(EINTR, errno);
  EXPECT_EQ(2, seen);
  raise(SIGUSR1);
  EXPECT_EQ(-1, pselect(0, nullptr, nullptr, nullptr, nullptr, &open_for_usr1));
  EXPECT_EQ(EINTR, errno);
  EXPECT_EQ(3, seen);
  raise(SIGUSR1);
  EXPECT_EQ(SIGUSR1, sigwaitinfo(&blocked, nullptr));
  EXPECT_EQ(3, seen);
  const int fd = signalfd(-1, &blocked, SFD_CLOEXEC);
  raise(SIGUSR1);
  signalfd_siginfo info;
  EXPECT_EQ(static_cast<ssize_t>(sizeof info), read(fd, &info, sizeof info));
  EXPECT_EQ(static_cast<uint32_t>(SIGUSR1), info.ssi_signo);
  close(fd);
  sigprocmask(SIG_SETMASK, &old, nullptr);
}

TEST_F(Signals, a_wait_with_every_signal_blocked_ends_in_time) {
  sigset_t all;
  sigfillset(&all);
  const timespec soon{0, 1000000};
  EXPECT_EQ(0, ppoll(nullptr, 0, &soon, &all));
  EXPECT_EQ(0, pselect(0, nullptr, nullptr, nullptr, &soon, &all));
}

TEST_F(Signals, an_interrupted_sleep_tells_what_is_left) {
  const Handler handler(SIGUSR1, count);
  const Interrupter interrupter(SIGUSR1);
  const timespec long_time{100, 0};
  timespec left{};
  EXPECT_EQ(-1, nanosleep(&long_time, &left));
  EXPECT_EQ(EINTR, errno);
  EXPECT_GT(left.tv_sec, 50);
}

TEST_F(Signals, a_stopped_sleep_is_resumed) {
  const pid_t child = fork();
  if (child == 0) {
    const timespec time{0, 300000000};
    _exit(nanosleep(&time, nullptr) == 0 ? 0 : 1);
  }
  int status;
  kill(child, SIGSTOP);
  ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
  ASSERT_TRUE(WIFSTOPPED(status));
  kill(child, SIGCONT);
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_EQ(0, status);
}

TEST_F(Signals, faults_kill_by_default) {
  const rlimit no_core{0, 0};
  for (const int signal : {SIGSEGV, SIGBUS, SIGSYS}) {
    const int sent = in_child([&] {
      setrlimit(RLIMIT_CORE, &no_core);
      kill(getpid(), signal);
      return 0;
    });
    EXPECT_TRUE(WIFSIGNALED(sent));
    EXPECT_EQ(signal, WTERMSIG(sent));
  }
  const int fault = in_child([&] {
    setrlimit(RLIMIT_CORE, &no_core);
    write_to_nowhere();
    return 0;
  });
  EXPECT_TRUE(WIFSIGNALED(fault));
  EXPECT_EQ(SIGSEGV, WTERMSIG(fault));
}

TEST_F(Signals, an_ignored_fault_signal_is_ignored_when_sent) {
  const int status = in_child([] {
    signal(SIGSEGV, SIG_IGN);
    signal(SIGSYS, SIG_IGN);
    kill(getpid(), SIGSEGV);
    kill(getpid(), SIGSYS);
    return getppid() > 0 ? 5 : 6;
  });
  EXPECT_EQ(5, WEXITSTATUS(status));
}

TEST_F(Signals, the_programs_own_SIGSYS_handler_runs) {
  const Handler handler(SIGSYS, count);
  raise(SIGSYS);
  EXPECT_EQ(1, seen);
}

namespace {

struct Counted {
  std::atomic<int>& counter;
  ~Counted() { counter++; }
};

}  // namespace

TEST_F(Signals, cancelling_a_thread_in_a_call_runs_its_destructors) {
  static std::atomic<int> destroyed, cleaned;
  destroyed = cleaned = 0;
  constexpr int rounds = 50;
  static int blocked_end;
  const Pipe p;
  blocked_end = p.end[0];
  for (int i = 0; i < rounds; i++) {
    static std::atomic<pid_t> tid;
    tid = 0;
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
          const Counted counted{destroyed};
          pthread_cleanup_push([](void*) { cleaned++; }, nullptr);
          tid = thread_id();
          char byte;
          (void)!read(blocked_end, &byte, 1);
          pthread_cleanup_pop(0);
          return nullptr;
        },
        nullptr);
    while (tid == 0) sched_yield();
    wait_until_sleeping(tid);
    pthread_cancel(thread);
    void* result;
    pthread_join(thread, &result);
    ASSERT_EQ(PTHREAD_CANCELED, result);
  }
  EXPECT_EQ(rounds, destroyed);
  EXPECT_EQ(rounds, cleaned);
}

TEST_F(Signals, many_threads_take_signals_while_they_call) {
  const Handler handler(SIGUSR1, tick, SA_RESTART);
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; i++) {
    threads.emplace_back([&] {
      while (!stop) {
        const int fd = open("/dev/null", O_RDWR);
        if (fd < 0 || write(fd, "a", 1) != 1 || close(fd) != 0) wrong++;
      }
    });
  }
  while (ticks < 400) {
    for (std::thread& t : threads) pthread_kill(t.native_handle(), SIGUSR1);
  }
  stop = true;
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(0, wrong);
}
