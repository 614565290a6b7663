// Who answers a caught call: the machinery, the dispatcher, or the kernel.
#include "gate/machinery/base.h"
#include "gate/machinery/machinery.h"
#include "gate/machinery/seccomp.h"

namespace fusewire::gate {

extern "C" {
uint8_t entry_table[512] = {};
}

namespace {

constexpr long bad_address = -14;  // EFAULT
constexpr long invalid = -22;      // EINVAL
constexpr long pr_set_syscall_user_dispatch = 59;

bool belongs_to_machinery(long nr) {
  switch (nr) {
    case __NR_clone:
    case __NR_clone3:
    case __NR_fork:
    case __NR_vfork:
    case __NR_execve:
    case __NR_execveat:
    case __NR_rt_sigaction:
    case __NR_sigaltstack:
    case __NR_prctl:
    case __NR_ptrace:
    case __NR_seccomp:
      return true;
    default:
      return is_mask_call(nr);
  }
}

long sigaction_call(const CallFrame& call) {
  KernelSigaction action, old;
  auto* given = reinterpret_cast<void*>(call.arg[1]);
  auto* wanted = reinterpret_cast<void*>(call.arg[2]);
  if (given != nullptr && copy_from_program(&action, given, sizeof action) != 0) return bad_address;
  const long r = program_sigaction(static_cast<int>(call.arg[0]), given == nullptr ? nullptr : &action,
                                   wanted == nullptr ? nullptr : &old, static_cast<size_t>(call.arg[3]));
  if (r < 0 || wanted == nullptr) return r;
  return copy_to_program(wanted, &old, sizeof old);
}

void dispatch(StackRecord& record, const CallFrame& call) {
  if (call.nr < 0 || call.nr >= 512 || dispatch_table[call.nr] == 0) return pass(record, call);
  const long r = dispatch_call(call);
  if (r == pass_on) return pass(record, call);
  record.result = r;
}

// A parent that waits for its vfork child's exec cannot also answer the stops that a traced child makes before that:
// our SIGSYS is one, and both would sleep for ever. So the child is traced from its exec on.
void ptrace_call(StackRecord& record, const CallFrame& call) {
  constexpr long trace_me = 0;
  if (call.arg[0] != trace_me) note_ptrace(call);
  if (call.arg[0] != trace_me || !is_guest()) return dispatch(record, call);
  trace_from_exec();
}

// A clone that a signal has called off, so that its handler could run before it, may have left its guest behind.
void begin(StackRecord& record) {
  if (record.guest != nullptr) end_guest(record);
  record.owner.store(dispatch_process(), std::memory_order_relaxed);
  record.left_memory = nullptr;
  stacks_grow(record.index);
}

void answer(StackRecord& record, const CallFrame& call) {
  switch (call.nr) {
    case __NR_clone:
    case __NR_clone3:
    case __NR_fork:
    case __NR_vfork:
      return clone_call_prepare(record, call);
    case __NR_execve:
    case __NR_execveat:
      record.result = program_exec(record, call);
      return;
    case __NR_rt_sigaction:
      record.result = sigaction_call(call);
      return;
    case __NR_sigaltstack: {
      AlternateStack stack;
      const auto* given = reinterpret_cast<const void*>(call.arg[0]);
      if (given != nullptr && copy_from_program(&stack, given, sizeof stack) == 0) note_alternate_stack(stack);
      return pass(record, call);
    }
    case __NR_ptrace:
      return ptrace_call(record, call);
    case __NR_wait4:
      return is_tracer() ? wait_for_traced(record, call) : dispatch(record, call);
    case __NR_seccomp:
      return seccomp_call(record, call);
    case __NR_prctl:
      if (is_seccomp_call(call)) return seccomp_call(record, call);
      if (call.arg[0] == pr_set_syscall_user_dispatch) {
        record.result = invalid;
        return;
      }
      return dispatch(record, call);
    default:
      if (!is_mask_call(call.nr)) return dispatch(record, call);
      if (dispatch_table[call.nr] == 0) return mask_call(record, call);
      record.result = dispatch_call(call);
      if (record.result == pass_on) mask_call(record, call);
      return;
  }
}

// Whether the call was made already, and its result, judged, is the answer.
bool was_judged(StackRecord& record, const CallFrame& call) {
  const uint64_t judgements = record.program->judge / JUDGED_ONCE;
  if (judgements == 0) return false;
  record.result = judge_call(call, record.program->result, judgements);
  if (record.result != pass_on) return true;
  record.result = 0;
  return false;
}

}  // namespace

void pass(StackRecord& record, const CallFrame& call) {
  record.call = call;
  record.outcome = OUTCOME_PASS;
  uint64_t& judge = record.program->judge;
  judge = (judge & ~uint64_t{JUDGED_ONCE - 1}) | judged_results(record.program->call);
}

// entry.S calls this on a gate stack.
extern "C" void gate_call(StackRecord& record) {
  const CallFrame call = record.program->call;
  record.outcome = OUTCOME_FINISH;
  record.result = 0;
  const bool on_pool = record.index < GATE_STACKS;
  if (on_pool) begin(record);
  record.filters = filters_of_this_thread();
  const bool done = was_judged(record, call) || (record.filters != nullptr && refused_by_filters(record, call));
  if (!done) answer(record, call);
  if (on_pool) record.owner.store(nullptr, std::memory_order_relaxed);
}

void* process_of_call() {
  const char here = 0;
  return on_gate_stack(address_of(&here)) ? record_of_stack(address_of(&here)).owner.load(std::memory_order_relaxed)
                                          : nullptr;
}

bool holds_signals_back() {
  const char here = 0;
  return on_gate_stack(address_of(&here));
}

void catch_number(long nr) { entry_table[nr] = KIND_CALL; }

void catch_every_call() {
  for (uint8_t& kind : entry_table) {
    if (kind == KIND_PASS || kind == KIND_DESCRIPTOR) kind = KIND_CALL;
  }
}

void build_entry_table() {
  for (long nr = 0; nr < 512; nr++) {
    entry_table[nr] = dispatch_table[nr] != 0 || belongs_to_machinery(nr) ? KIND_CALL : KIND_PASS;
    if (dispatch_table[nr] == dispatched_by_descriptor) entry_table[nr] = KIND_DESCRIPTOR;
  }
  entry_table[__NR_rt_sigreturn] = KIND_SIGRETURN;
}

}  // namespace fusewire::gate
