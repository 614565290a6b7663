// Debuggers in the namespace: to a tracer, what it traces is as without the gate. wait4 tells nothing of the SIGSYS of
// caught calls, and an exec is told when the program stands in its memory, not the gate alone: a debugger looks then
// where the program was loaded to. Tracers that follow system calls (strace) are told of an exec as it happens.
#include <errno.h>
#include <linux/ptrace.h>

#include "gate/machinery/base.h"
#include "gate/machinery/machinery.h"

namespace fusewire::gate {

extern "C" const char _start[];

namespace {

constexpr int sig_trap = 5, sig_window = 28;
constexpr int code_queue = -1;  // SI_QUEUE
// The value that the signal of a loaded program carries, and where: si_value.
constexpr int program_is_loaded = 0x46574c44;
constexpr size_t value_offset = 24;

// Written by the tracer's gate into the new image's memory.
std::atomic<long> tracer_waits{0};

bool tracing = false;

// What is traced by this process: how it was resumed last, and the status of an exec that is to be told. Only the
// thread that traces it makes and ends its record. Those beyond max_traced at once are resumed by PTRACE_CONT.
constexpr int never_used = 0, free_again = -1;
struct Traced {
  std::atomic<int> thread{never_used};
  std::atomic<int> request{PTRACE_CONT};
  std::atomic<int> exec_status{0};
};
constexpr size_t max_traced = 512;
Traced all_traced[max_traced];

// Looks from where its number says, up to what never was in use. free: what could be its record, if it has none.
Traced* find_traced(int thread, Traced*& free) {
  free = nullptr;
  for (size_t i = 0; i < max_traced; i++) {
    Traced& t = all_traced[(static_cast<size_t>(thread) + i) % max_traced];
    const int seen = t.thread;
    if (seen == thread) return &t;
    if (seen > 0) continue;
    if (free == nullptr) free = &t;
    if (seen == never_used) break;
  }
  return nullptr;
}

Traced* find_traced(int thread) {
  Traced* free = nullptr;
  return find_traced(thread, free);
}

Traced* find_or_make_traced(int thread) {
  for (;;) {
    Traced* free = nullptr;
    if (Traced* t = find_traced(thread, free); t != nullptr || free == nullptr) return t != nullptr ? t : free;
    int seen = free->thread;
    if (seen > 0 || !free->thread.compare_exchange_strong(seen, thread)) continue;
    return free;
  }
}

void end_traced(int thread) {
  Traced* t = find_traced(thread);
  if (t == nullptr) return;
  t->exec_status = 0;
  t->request = PTRACE_CONT;
  t->thread = free_again;
}

long ptrace(long request, int thread, long address = 0, long data = 0) {
  return raw_syscall(__NR_ptrace, request, thread, address, data);
}

int last_request(int thread) {
  const Traced* t = find_traced(thread);
  return t == nullptr ? PTRACE_CONT : t->request.load();
}

void resume(int thread, int signal) { ptrace(last_request(thread), thread, 0, signal); }

bool read_info(int thread, SignalInfo& info) { return ptrace(PTRACE_GETSIGINFO, thread, 0, argument(&info)) == 0; }

// Of a call that its gate catches.
bool is_caught_call(int thread) {
  SignalInfo info;
  if (!read_info(thread, info)) return false;
  return info.code == code_user_dispatch || (trap_mode() && info.code == code_seccomp_trap);
}

// A new image of ours at its first instruction.
bool is_fresh_gate(int thread) {
  constexpr long instruction_pointer = 16 * 8;  // user_regs_struct::rip
  uint64_t pc = 0;
  return ptrace(PTRACE_PEEKUSR, thread, instruction_pointer, argument(&pc)) == 0 && pc == address_of(_start);
}

// Lets it load its program. false: it cannot be had.
bool put_off_exec(int thread, int status) {
  Traced* t = find_or_make_traced(thread);
  if (t == nullptr || ptrace(PTRACE_POKEDATA, thread, argument(&tracer_waits), 1) != 0) return false;
  t->exec_status = status;
  return ptrace(PTRACE_CONT, thread) == 0;
}

bool is_loaded(int thread) {
  SignalInfo info;
  int value = 0;
  if (!read_info(thread, info) || info.code != code_queue) return false;
  __builtin_memcpy(&value, reinterpret_cast<const char*>(&info) + value_offset, sizeof value);
  return value == program_is_loaded;
}

// Whether the tracer is not to know of this stop; status is what it shall see otherwise.
bool is_hidden(int thread, int& status) {
  constexpr int stopped = 0x7f, continued = 0xffff;
  if (status == continued) return false;
  if ((status & 0xff) != stopped) {
    end_traced(thread);
    return false;
  }
  const int signal = status >> 8 & 0xff, event = status >> 16;
  if (signal == sig_sys && event == 0 && is_caught_call(thread)) {
    resume(thread, sig_sys);
    return true;
  }
  const bool may_be_exec = signal == sig_trap && (event == 0 || event == PTRACE_EVENT_EXEC);
  if (may_be_exec && last_request(thread) == PTRACE_CONT && is_fresh_gate(thread)) return put_off_exec(thread, status);
  Traced* t = signal == sig_window ? find_traced(thread) : nullptr;
  if (t != nullptr && t->exec_status != 0 && is_loaded(thread)) status = t->exec_status.exchange(0);
  return false;
}

}  // namespace

void note_ptrace(const CallFrame& call) {
  tracing = true;
  catch_number(__NR_wait4);
  const int thread = static_cast<int>(call.arg[1]);
  switch (call.arg[0]) {
    case PTRACE_CONT:
    case PTRACE_SINGLESTEP:
    case PTRACE_SYSCALL:
    case PTRACE_SYSEMU:
    case PTRACE_SYSEMU_SINGLESTEP:
      if (Traced* t = find_or_make_traced(thread); t != nullptr) t->request = static_cast<int>(call.arg[0]);
      break;
    case PTRACE_DETACH:
      end_traced(thread);
      break;
    default:
      break;
  }
}

bool is_tracer() { return tracing; }

void wait_for_traced(StackRecord& record, const CallFrame& call) {
  for (;;) {
    int status = 0;
    record.result = raw_sleep(__NR_wait4, call.arg[0], argument(&status), call.arg[2], call.arg[3]);
    if (record.result == -EINTR && interrupted_sleep() == pass_on) record.outcome = OUTCOME_AGAIN;
    if (record.result <= 0) return;
    if (is_hidden(static_cast<int>(record.result), status)) continue;
    if (call.arg[1] != 0 && copy_to_program(reinterpret_cast<void*>(call.arg[1]), &status, sizeof status) != 0)
      record.result = -EFAULT;
    return;
  }
}

void stop_when_loaded() {
  if (tracer_waits == 0) return;
  SignalInfo info{};
  info.signal = sig_window;
  info.code = code_queue;
  __builtin_memcpy(reinterpret_cast<char*>(&info) + value_offset, &program_is_loaded, sizeof program_is_loaded);
  const long pid = raw_syscall(__NR_getpid);
  raw_syscall(__NR_rt_tgsigqueueinfo, pid, raw_syscall(__NR_gettid), sig_window, argument(&info));
}

}  // namespace fusewire::gate
