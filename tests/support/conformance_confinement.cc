// Rules of programs that confine themselves: a seccomp filter holds for the files of any file system, and what it
// allows goes on.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <sys/wait.h>

#include <csignal>
#include <cstddef>
#include <initializer_list>

#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

struct Verdict {
  long number;
  unsigned verdict;
};

// For the calling process: what is not listed gets the last argument. false: no filter can be set.
bool confine(std::initializer_list<Verdict> verdicts, unsigned otherwise) {
  std::vector<sock_filter> filter{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const Verdict& v : verdicts) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(v.number), 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, v.verdict));
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, otherwise));
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// The wait status of a child that runs it.
int in_child(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    const int result = body();
    syscall(SYS_exit_group, result);
  }
  int status = -1;
  must(waitpid(child, &status, 0), "waitpid");
  return status;
}

void expect_exit(int status, const std::string& what) {
  expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, what + ": wait status " + std::to_string(status));
}

void a_program_confined_to_read_and_write_goes_on(const Place& p) {
  p.write_file("f", "hello\n");
  Fd fd(p.open("f", O_RDWR));
  const int status = in_child([&] {
    char text[6];
    if (!confine({{SYS_read, SECCOMP_RET_ALLOW}, {SYS_write, SECCOMP_RET_ALLOW}, {SYS_exit_group, SECCOMP_RET_ALLOW}},
                 SECCOMP_RET_KILL_PROCESS))
      return 1;
    if (syscall(SYS_read, int{fd}, text, sizeof text) != 6 || std::memcmp(text, "hello\n", 6) != 0) return 2;
    return syscall(SYS_write, int{fd}, "world\n", 6) == 6 ? 0 : 3;
  });
  expect_exit(status, "the confined program");
  expect_equal(p.read_file("f"), std::string("hello\nworld\n"), "content");
}

void what_a_program_forbids_itself_is_not_done(const Place& p) {
  p.write_file("f", "x");
  Fd fd(p.open("f", O_RDWR));
  const std::string path = p.path("f");
  const int status = in_child([&] {
    char byte;
    if (!confine({{SYS_unlink, SECCOMP_RET_ERRNO | EXDEV},
                  {SYS_truncate, SECCOMP_RET_ERRNO | EDOM},
                  {SYS_read, SECCOMP_RET_ERRNO | ENOANO}},
                 SECCOMP_RET_ALLOW))
      return 1;
    if (syscall(SYS_unlink, path.c_str()) != -1 || errno != EXDEV) return 2;
    if (syscall(SYS_truncate, path.c_str(), 0) != -1 || errno != EDOM) return 3;
    return syscall(SYS_read, int{fd}, &byte, 1) == -1 && errno == ENOANO ? 0 : 4;
  });
  expect_exit(status, "the confined program");
  expect_equal(p.read_file("f"), std::string("x"), "content");
}

void a_call_that_kills_is_not_done(const Place& p) {
  p.write_file("f", "x");
  const std::string path = p.path("f");
  const int status = in_child([&] {
    confine({{SYS_unlink, SECCOMP_RET_KILL_PROCESS}}, SECCOMP_RET_ALLOW);
    syscall(SYS_unlink, path.c_str());
    return 0;
  });
  expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "died by SIGSYS: wait status " + std::to_string(status));
  expect(p.exists("f"), "the file is there");
}

int trapped_number;
void emulate(int, siginfo_t* info, void* context) {
  trapped_number = info->si_syscall;
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] = 4711;
}

void a_trapped_call_is_the_handlers(const Place& p) {
  p.write_file("f", "x");
  const std::string path = p.path("f");
  const int status = in_child([&] {
    struct sigaction action {};
    action.sa_sigaction = emulate;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSYS, &action, nullptr);
    if (!confine({{SYS_unlink, SECCOMP_RET_TRAP}}, SECCOMP_RET_ALLOW)) return 1;
    return syscall(SYS_unlink, path.c_str()) == 4711 && trapped_number == SYS_unlink ? 0 : 2;
  });
  expect_exit(status, "the confined program");
  expect(p.exists("f"), "the file is there");
}

void a_program_started_under_a_filter_is_confined_too(const Place& p) {
  p.write_file("f", "x");
  const std::string path = p.path("f");
  const int status = in_child([&] {
    if (!confine({{SYS_unlink, SECCOMP_RET_ERRNO | EPERM}, {SYS_unlinkat, SECCOMP_RET_ERRNO | EPERM}},
                 SECCOMP_RET_ALLOW))
      return 1;
    execl("/bin/sh", "sh", "-c", "rm -f \"$0\" 2> /dev/null; test $? != 0 && test \"$(cat \"$0\")\" = x", path.c_str(),
          nullptr);
    return 2;
  });
  expect_exit(status, "the confined program");
}

}  // namespace

#define RULE(name) \
  Rule { #name, name }
std::vector<Rule> confinement_rules() {
  return {RULE(a_program_confined_to_read_and_write_goes_on), RULE(what_a_program_forbids_itself_is_not_done),
          RULE(a_call_that_kills_is_not_done), RULE(a_trapped_call_is_the_handlers),
          RULE(a_program_started_under_a_filter_is_confined_too)};
}

}  // namespace fusewire::conformance
