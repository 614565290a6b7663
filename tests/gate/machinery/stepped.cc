// The program that stepping_test.cc steps through: rounds of one thing between two breakpoints, and then a report.
// usage: stepped THING        (of stepped_things below)
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>

// Calls `site` with all registers set, and puts down what they are afterwards: the twelve that a call keeps beside
// rsp, two vector registers. The result is rax.
extern "C" long call_with_registers(const void* site, long nr, uint64_t* found);
extern "C" const char text_site[];
asm(R"(
  .text
call_with_registers:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  push %rdx
  push %rdi
  mov %rsi, %rax
  mov $13, %ebx
  movq %rbx, %xmm3
  mov $14, %ebx
  movq %rbx, %xmm15
  mov $1, %edi
  mov $2, %esi
  mov $3, %edx
  mov $4, %r10d
  mov $5, %r8d
  mov $6, %r9d
  mov $7, %ebx
  mov $8, %ebp
  mov $9, %r12d
  mov $10, %r13d
  mov $11, %r14d
  mov $12, %r15d
  call *(%rsp)
  mov 8(%rsp), %rcx
  mov %rdi, (%rcx)
  mov %rsi, 8(%rcx)
  mov %rdx, 16(%rcx)
  mov %r10, 24(%rcx)
  mov %r8, 32(%rcx)
  mov %r9, 40(%rcx)
  mov %rbx, 48(%rcx)
  mov %rbp, 56(%rcx)
  mov %r12, 64(%rcx)
  mov %r13, 72(%rcx)
  mov %r14, 80(%rcx)
  mov %r15, 88(%rcx)
  movq %xmm3, 96(%rcx)
  movq %xmm15, 104(%rcx)
  add $16, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
text_site:
  syscall
  cmp $-4095, %rax
  jae 1f
  ret
1:
  ret
)");

namespace {

volatile sig_atomic_t handled = 0, handled_other = 0, broken = 0;
pid_t parent;
const void* anonymous_site;

void expect(bool holds) {
  if (!holds) broken = 1;
}

void count(int) {
  expect(getppid() == parent);
  handled = handled + 1;
}
void count_other(int) { handled_other = handled_other + 1; }
void call_out(int) { expect(access("/", F_OK) == 0); }

void keep_registers(const void* site) {
  std::array<uint64_t, 14> found{};
  expect(call_with_registers(site, SYS_getppid, found.data()) == parent);
  for (uint64_t i = 0; i < found.size(); i++) expect(found[i] == i + 1);
}

void make_child(bool shares_memory) {
  const pid_t child = shares_memory ? vfork() : fork();
  if (child == 0) _exit(7);
  int status = 0;
  pid_t ended;
  while ((ended = waitpid(child, &status, 0)) < 0 && errno == EINTR) continue;
  expect(ended == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

int end_of_thread(void*) { return 0; }

void make_thread() {
  alignas(16) static char stack[65536];
  static pid_t gone;
  gone = 1;
  const int flags =
      CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
  expect(clone(end_of_thread, stack + sizeof stack, flags, nullptr, nullptr, nullptr, &gone) > 0);
  while (__atomic_load_n(&gone, __ATOMIC_ACQUIRE) != 0) sched_yield();
}

void set_handler(int signal, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  expect(sigaction(signal, &action, nullptr) == 0);
}

struct Thing {
  std::string_view name;
  void (*once)();
};
const Thing things[] = {
    {"a_call_from_a_rewritten_site", [] { keep_registers(text_site); }},
    {"a_call_that_is_always_caught_by_a_signal", [] { keep_registers(anonymous_site); }},
    {"a_call_of_a_library", [] { expect(getppid() == parent); }},
    {"a_call_that_is_looked_at_and_made", [] { expect(access("/", F_OK) == 0); }},
    {"a_call_that_fails", [] { expect(access("/nonexistent", F_OK) < 0 && errno == ENOENT); }},
    {"a_call_that_is_judged", [] { expect(close(-1) < 0 && errno == EBADF); }},
    {"a_call_made_inside",
     [] {
       const int fd = dup(0);
       expect(fd > 2 && close(fd) == 0);
     }},
    {"a_call_on_a_descriptor",
     [] {
       constexpr int native = 3, where_a_mounts_file_is_expected = 200;
       for (const int fd : {native, where_a_mounts_file_is_expected}) {
         expect(dup2(0, fd) == fd);
         char byte;
         expect(pread(fd, &byte, 1, 0) <= 1);
       }
     }},
    {"a_change_of_the_mask",
     [] {
       sigset_t some, old;
       sigemptyset(&some);
       sigaddset(&some, SIGUSR2);
       expect(sigprocmask(SIG_BLOCK, &some, &old) == 0 && sigismember(&old, SIGUSR2) == 0);
       expect(sigprocmask(SIG_SETMASK, &old, nullptr) == 0);
     }},
    {"a_change_of_a_disposition",
     [] {
       set_handler(SIGUSR2, SIG_IGN, 0);
       set_handler(SIGUSR2, count_other, 0);
     }},
    {"a_handler_and_its_return",
     [] {
       const int before = handled_other;
       expect(raise(SIGUSR2) == 0 && handled_other == before + 1);
     }},
    {"a_call_on_the_alternate_stack", [] { expect(raise(SIGWINCH) == 0); }},
    {"a_fork", [] { make_child(false); }},
    {"a_vfork", [] { make_child(true); }},
    {"a_new_thread", make_thread},
};

const void* make_anonymous_site() {
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  std::memcpy(page, "\x0f\x05\xc3", 3);
  return page;
}

// The tracer reads the registers: what was broken, how often the handler ran.
[[gnu::noinline]] void report(long was_broken, long runs) { asm volatile("int3" ::"D"(was_broken), "S"(runs)); }

[[noreturn]] void go_round(const Thing& thing) {
  for (;;) {
    handled = 0;
    sigset_t before, after;
    sigprocmask(SIG_SETMASK, nullptr, &before);
    asm volatile("int3" ::: "memory");
    thing.once();
    asm volatile("int3" ::: "memory");
    sigprocmask(SIG_SETMASK, nullptr, &after);
    for (int signal = 1; signal < 32; signal++) expect(sigismember(&before, signal) == sigismember(&after, signal));
    report(broken, handled);
  }
}

}  // namespace

int main(int argc, char** argv) {
  parent = getppid();
  anonymous_site = make_anonymous_site();
  static char alternate[65536];
  const stack_t stack{alternate, 0, sizeof alternate};
  sigaltstack(&stack, nullptr);
  set_handler(SIGUSR1, count, SA_RESTART);
  set_handler(SIGUSR2, count_other, 0);
  set_handler(SIGWINCH, call_out, SA_ONSTACK);
  for (const Thing& thing : things) {
    if (argc != 2 || thing.name != argv[1]) continue;
    for (int i = 0; i < 4; i++) thing.once();  // its sites are rewritten by now
    go_round(thing);
  }
  std::fprintf(stderr, "usage: stepped THING\n");
  return 2;
}
