// Catching calls: Syscall User Dispatch sends SIGSYS for every `syscall` outside the stub section; where the kernel
// does not have it, a seccomp filter on the instruction pointer does the same (inherited for ever, by exec too: the
// gate is linked to a fixed address so that the filter fits the next image).
#include <asm/unistd.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "gate/machinery/base.h"
#include "gate/machinery/machinery.h"

namespace fusewire::gate {

extern "C" {
extern const char stub_begin[], stub_end[], common_entry[];
bool user_dispatch_on = false;
}

namespace {

constexpr long pr_set_no_new_privs = 38;
constexpr long pr_set_syscall_user_dispatch = 59;
constexpr uint64_t syscall_bytes = 2;
bool trap = false;

bool is_in_stub(uint64_t pc) { return pc >= address_of(stub_begin) && pc <= address_of(stub_end); }

long user_dispatch() {
  return raw_syscall(__NR_prctl, pr_set_syscall_user_dispatch, 1, argument(stub_begin), stub_end - stub_begin, 0);
}

long install_trap() {
  const auto low = static_cast<uint32_t>(address_of(stub_begin));
  const auto high = static_cast<uint32_t>(address_of(stub_begin) >> 32);
  const auto end = static_cast<uint32_t>(address_of(stub_end));
  constexpr uint32_t pointer = offsetof(seccomp_data, instruction_pointer);
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, pointer + 4), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, pointer),     BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, low, 0, 2),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, end, 1, 0),  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP)};
  const sock_fprog program{sizeof filter / sizeof filter[0], filter};
  if (const long r = raw_syscall(__NR_prctl, pr_set_no_new_privs, 1, 0, 0, 0); r < 0) return r;
  return raw_syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, argument(&program));
}

}  // namespace

void catch_calls(bool trap_inherited) {
  trap = trap_inherited;
  if (trap) return;
  user_dispatch_on = user_dispatch() == 0;
  if (user_dispatch_on) return;
  if (install_trap() < 0) {
    die("cannot catch system calls: neither Syscall User Dispatch (Linux 5.11) nor a seccomp filter is allowed here");
  }
  trap = true;
  log_line("Syscall User Dispatch is refused here; using a seccomp filter, programs cannot gain privileges by exec");
}

void catch_calls_again() {
  if (user_dispatch_on) user_dispatch();
}

bool trap_mode() { return trap; }

bool redirect_call(const SignalInfo& info, Registers& r) {
  if (info.code == code_seccomp_trap && is_in_stub(r.rip)) return false;  // a filter of the program's, or from outside
  if (info.code != code_user_dispatch && !(trap && info.code == code_seccomp_trap)) return false;
  if (info.architecture != AUDIT_ARCH_X86_64) {
    // int $0x80 speaks the numbers of another architecture.
    constexpr long not_implemented = -38;  // ENOSYS
    r.rax = static_cast<uint64_t>(not_implemented);
    return true;
  }
  // seccomp has put the number into rax for a restart; user dispatch leaves it there.
  r.rax = static_cast<uint64_t>(static_cast<long>(info.call_number));
  r.rcx = r.rip;
  r.r11 = resume_address(r.rip - syscall_bytes, info.call_number);
  r.rip = address_of(common_entry);
  return true;
}

}  // namespace fusewire::gate
