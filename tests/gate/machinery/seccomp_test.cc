// Seccomp filters that a program gives itself hold for it as they do on Linux, and not for the gate.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/ucontext.h>

#include <cstddef>
#include <cstring>
#include <thread>
#include <vector>

#include "subject.h"

namespace {

using Filter = std::vector<sock_filter>;

constexpr sock_filter load_number = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
sock_filter ret(unsigned verdict) { return BPF_STMT(BPF_RET | BPF_K, verdict); }
void on(Filter& filter, long number, unsigned verdict) {
  filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1));
  filter.push_back(ret(verdict));
}

long install(const Filter& filter, unsigned flags = 0) {
  const sock_fprog program{static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}
// The one call gets the verdict, all others pass.
Filter only(long number, unsigned verdict) {
  Filter filter{load_number};
  on(filter, number, verdict);
  filter.push_back(ret(SECCOMP_RET_ALLOW));
  return filter;
}
Filter allow_list(std::initializer_list<long> numbers) {
  Filter filter{load_number};
  for (const long n : numbers) on(filter, n, SECCOMP_RET_ALLOW);
  filter.push_back(ret(SECCOMP_RET_KILL_PROCESS));
  return filter;
}

// A directory's names are calls that the dispatcher looks at; getppid is one that nobody looks at.
long mkdir_somewhere() { return syscall(SYS_mkdir, "/nonexistent/x", 0700); }

}  // namespace

TEST(Seccomp, a_program_that_allows_itself_read_write_and_exit_goes_on) {
  const int status = in_child([] {
    const int zero = open("/dev/zero", O_RDONLY);
    char byte = 1;
    if (install(allow_list({SYS_read, SYS_write, SYS_exit_group, SYS_close})) != 0) return 1;
    for (int i = 0; i < 300; i++) {  // until the site is rewritten, and after
      byte = 1;
      if (syscall(SYS_read, zero, &byte, 1) != 1 || byte != 0) return 2;
    }
    return syscall(SYS_close, zero) == 0 ? 42 : 3;
  });
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(42, WEXITSTATUS(status));
}

TEST(Seccomp, a_refused_call_has_the_filters_errno_whoever_serves_it) {
  EXPECT_EQ(0, in_child([] {
              if (install(only(SYS_mkdir, SECCOMP_RET_ERRNO | EXDEV)) != 0) return 1;
              if (install(only(SYS_getppid, SECCOMP_RET_ERRNO | EDOM)) != 0) return 2;
              if (install(only(SYS_rt_sigaction, SECCOMP_RET_ERRNO | EBADE)) != 0) return 3;
              if (mkdir_somewhere() != -1 || errno != EXDEV) return 4;
              if (syscall(SYS_getppid) != -1 || errno != EDOM) return 5;
              if (signal(SIGUSR1, SIG_IGN) != SIG_ERR || errno != EBADE) return 6;
              return 0;
            }));
}

TEST(Seccomp, of_several_filters_the_strictest_counts_and_of_equals_the_newest) {
  EXPECT_EQ(0, in_child([] {
              install(only(SYS_mkdir, SECCOMP_RET_ERRNO | 1));
              install(only(SYS_mkdir, SECCOMP_RET_ERRNO | 2));
              install(only(SYS_mkdir, SECCOMP_RET_ALLOW));
              return mkdir_somewhere() == -1 && errno == 2 ? 0 : errno;
            }));
}

TEST(Seccomp, a_killing_filter_kills_by_SIGSYS_whoever_serves_the_call) {
  for (const long number : {long{SYS_mkdir}, long{SYS_getppid}, long{SYS_fork}}) {
    const int status = in_child([=] {
      install(only(number, SECCOMP_RET_KILL_PROCESS));
      syscall(number, "/nonexistent/x", 0700);
      return 0;
    });
    EXPECT_TRUE(WIFSIGNALED(status)) << number;
    EXPECT_EQ(SIGSYS, WTERMSIG(status)) << number;
  }
}

TEST(Seccomp, arguments_are_judged) {
  EXPECT_EQ(0, in_child([] {
              Filter filter{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),
                            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0123, 0, 4), load_number};
              on(filter, SYS_mkdir, SECCOMP_RET_ERRNO | EXDEV);
              filter.push_back(ret(SECCOMP_RET_ALLOW));
              filter.push_back(ret(SECCOMP_RET_ALLOW));
              if (install(filter) != 0) return 1;
              if (mkdir_somewhere() != -1 || errno != ENOENT) return 2;
              return syscall(SYS_mkdir, "/nonexistent/x", 0123) == -1 && errno == EXDEV ? 0 : 3;
            }));
}

namespace {
siginfo_t trapped;
// Emulates: the result goes into the register.
void on_trap(int, siginfo_t* info, void* context) {
  trapped = *info;
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = 4711;
}
}  // namespace

TEST(Seccomp, a_trap_reaches_the_programs_handler_which_may_give_the_result) {
  EXPECT_EQ(0, in_child([] {
              Handler handler(SIGSYS, on_trap, 0);
              install(only(SYS_mkdir, SECCOMP_RET_TRAP | 77));
              install(only(SYS_getppid, SECCOMP_RET_TRAP | 78));
              for (int i = 0; i < 200; i++) {
                if (mkdir_somewhere() != 4711) return 1;
                if (trapped.si_signo != SIGSYS || trapped.si_code != 1 /* SYS_SECCOMP */ || trapped.si_errno != 77)
                  return 2;
                if (trapped.si_syscall != SYS_mkdir || trapped.si_arch != AUDIT_ARCH_X86_64) return 3;

                if (syscall(SYS_getppid) != 4711 || trapped.si_errno != 78 || trapped.si_syscall != SYS_getppid)
                  return 4;
              }
              return 0;
            }));
}

TEST(Seccomp, a_trap_without_a_handler_kills) {
  const int status = in_child([] {
    install(only(SYS_mkdir, SECCOMP_RET_TRAP));
    mkdir_somewhere();
    return 0;
  });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) << status;
}

TEST(Seccomp, strict_mode_leaves_read_write_and_exit_and_kills_by_SIGKILL) {
  const auto in_strict_mode = [](long number) {
    return in_child([=] {
      Pipe pipe;
      char byte = 0;
      if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return 1;
      if (syscall(SYS_write, pipe.end[1], "x", 1) != 1 || syscall(SYS_read, pipe.end[0], &byte, 1) != 1) return 2;
      syscall(number, 7, 0, 0);
      return 3;
    });
  };
  const int status = in_strict_mode(SYS_exit);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7) << status;
  for (const long number : {long{SYS_mkdir}, long{SYS_getppid}, long{SYS_exit_group}}) {
    const int killed = in_strict_mode(number);
    EXPECT_TRUE(WIFSIGNALED(killed) && WTERMSIG(killed) == SIGKILL) << number << ": " << killed;
  }
}

TEST(Seccomp, what_the_kernel_does_not_take_is_its_error) {
  EXPECT_EQ(0, in_child([] {
              const auto error_of = [](long r) { return r == 0 ? 0 : errno; };
              if (error_of(install({})) != EINVAL) return 1;
              if (error_of(install({load_number})) != EINVAL) return 2;  // does not end with a return
              if (error_of(install({BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0), ret(SECCOMP_RET_ALLOW)})) != EINVAL) return 3;
              if (error_of(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, nullptr)) != EFAULT) return 4;
              if (error_of(install({ret(SECCOMP_RET_ALLOW)}, 1u << 20)) != EINVAL) return 5;
              if (error_of(syscall(SYS_seccomp, 99, 0, nullptr)) != EINVAL) return 6;
              return prctl(PR_GET_SECCOMP) == 0 ? 0 : 7;
            }));
}

TEST(Seccomp, the_mode_is_told) {
  EXPECT_EQ(0, in_child([] {
              install({ret(SECCOMP_RET_ALLOW)});
              return prctl(PR_GET_SECCOMP) == SECCOMP_MODE_FILTER ? 0 : 1;
            }));
}

TEST(Seccomp, children_inherit_the_filters) {
  EXPECT_EQ(0, in_child([] {
              install(only(SYS_mkdir, SECCOMP_RET_ERRNO | EXDEV));
              return WEXITSTATUS(in_child([] { return mkdir_somewhere() == -1 && errno == EXDEV ? 0 : 1; }));
            }));
}

TEST(Seccomp, a_thread_and_those_it_starts_have_filters_of_their_own) {
  EXPECT_EQ(0, in_child([] {
              const auto refused = [] { return mkdir_somewhere() == -1 && errno == EXDEV; };
              bool own = false, child = false, other = true;
              std::thread([&] {
                install(only(SYS_mkdir, SECCOMP_RET_ERRNO | EXDEV));
                own = refused();
                std::thread([&] { child = refused(); }).join();
              }).join();
              std::thread([&] { other = refused(); }).join();
              return own && child && !other && !refused() ? 0 : 1;
            }));
}

TEST(Seccomp, TSYNC_gives_the_filter_to_all_threads) {
  EXPECT_EQ(0, in_child([] {
              std::atomic<int> step{0};
              bool refused = false;
              std::thread thread([&] {
                step = 1;
                while (step != 2) sched_yield();
                refused = mkdir_somewhere() == -1 && errno == EXDEV;
              });
              while (step != 1) sched_yield();
              const long r = install(only(SYS_mkdir, SECCOMP_RET_ERRNO | EXDEV), SECCOMP_FILTER_FLAG_TSYNC);
              step = 2;
              thread.join();
              return r == 0 && refused ? 0 : 1;
            }));
}

TEST(Seccomp, an_exec_keeps_the_filters) {
  const int status = in_child([] {
    if (install(only(SYS_chdir, SECCOMP_RET_ERRNO | EXDEV)) != 0) return 1;
    if (install(only(SYS_getppid, SECCOMP_RET_ERRNO | EXDEV)) != 0) return 1;
    // Its shell sees the error of cd, and so does a program that it starts.
    execl("/bin/sh", "sh", "-c", "cd / 2> /dev/null && exit 2; /bin/sh -c 'cd / 2> /dev/null && exit 3; exit 42'",
          nullptr);
    return 4;
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(42, WEXITSTATUS(status));
}

TEST(Seccomp, handlers_run_and_return_where_only_rt_sigreturn_is_allowed) {
  EXPECT_EQ(0, in_child([] {
              static volatile sig_atomic_t handled;
              Handler handler(
                  SIGALRM, [](int) { handled = 1; }, SA_RESTART);
              const itimerval soon{{0, 0}, {0, 20'000}};
              setitimer(ITIMER_REAL, &soon, nullptr);
              install(allow_list({SYS_getppid, SYS_rt_sigreturn, SYS_exit_group, SYS_rt_sigaction}));
              while (handled == 0) syscall(SYS_getppid);
              return 0;
            }));
}

TEST(Seccomp, a_supervisor_answers_for_a_call) {
  EXPECT_EQ(0, in_child([] {
              const long listener =
                  install(only(SYS_getppid, SECCOMP_RET_USER_NOTIF), SECCOMP_FILTER_FLAG_NEW_LISTENER);
              if (listener < 0) return 1;
              std::thread supervisor([=] {
                seccomp_notif asked{};
                if (ioctl(static_cast<int>(listener), SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) return;
                seccomp_notif_resp answer{};
                answer.id = asked.id;
                answer.val = asked.data.nr == SYS_getppid ? 4711 : 0;
                ioctl(static_cast<int>(listener), SECCOMP_IOCTL_NOTIF_SEND, &answer);
              });
              const long answered = syscall(SYS_getppid);
              supervisor.join();
              return answered == 4711 ? 0 : 2;
            }));
}
