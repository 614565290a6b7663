// New threads and processes. A new stack of execution has no place on our gate stack, so it gets a copy of the
// caller's frame at the top of its own stack, and starts from that.
//
// A process that would run on its parent's stack in its parent's memory (vfork) cannot: its frames and the parent's
// would be the same. It gets a copy of the memory instead; CLONE_VFORK stays, so the parent still waits for its exec or
// exit, which is all that POSIX lets a vfork child do.
#include <linux/sched.h>

#include "gate/machinery/base.h"
#include "gate/machinery/machinery.h"

namespace fusewire::gate {

namespace {

constexpr long bad_address = -14;       // EFAULT
constexpr long exit_signal_child = 17;  // SIGCHLD

bool vfork_child = false;

bool parent_waits(const CallFrame& made) {
  if (made.nr == __NR_clone) return (made.arg[0] & CLONE_VFORK) != 0;
  return (reinterpret_cast<const clone_args*>(made.arg[0])->flags & CLONE_VFORK) != 0;
}

bool put_frame_below(uint64_t stack_top, const StackRecord& record) {
  ProgramFrame frame = *record.program;
  frame.state = record.deferred.load() == SIGNALS_BLOCKED ? 1 : 0;
  frame.mask = record.mask;
  return copy_to_program(reinterpret_cast<void*>(stack_top - ENTRY_GAP), &frame, sizeof frame) == 0;
}

// A new process that shares no memory starts on its copy of our gate stack like a fork, and leaves to the stack that
// it was given.
void fork_onto(StackRecord& record, uint64_t stack_top) {
  record.new_stack = stack_top;
  record.outcome = OUTCOME_FORK;
}

void old_clone(StackRecord& record, const CallFrame& call) {
  record.call = call;
  const auto stack_top = static_cast<uint64_t>(call.arg[1]);
  const bool shares_memory = (call.arg[0] & CLONE_VM) != 0;
  if (stack_top == 0 || !shares_memory) {
    record.call.arg[0] &= ~static_cast<long>(CLONE_VM);
    record.call.arg[1] = 0;
    if (stack_top != 0 && !put_frame_below(stack_top, record)) {
      record.result = bad_address;
      return;
    }
    fork_onto(record, stack_top);
    return;
  }
  record.outcome = OUTCOME_CLONE;
  if (!put_frame_below(stack_top, record)) {
    record.outcome = OUTCOME_FINISH;
    record.result = bad_address;
  }
}

void new_clone(StackRecord& record, const CallFrame& call) {
  const auto given = static_cast<size_t>(call.arg[1]);
  // Sizes the kernel refuses, or newer and larger than we know: its answer, its rules (E2BIG, EINVAL) for the former;
  // the latter must not pass unseen.
  if (given < CLONE_ARGS_SIZE_VER0) return pass(record, call);
  if (given > sizeof record.clone_arguments) {
    record.result = -7;  // E2BIG, as a kernel that does not know them says
    return;
  }
  if (copy_from_program(record.clone_arguments, reinterpret_cast<void*>(call.arg[0]), given) != 0) {
    record.result = bad_address;
    return;
  }
  auto& args = *reinterpret_cast<clone_args*>(record.clone_arguments);
  // It would take our own handlers away. Callers know kernels without it (before 5.5) and reset signals themselves.
  if ((args.flags & CLONE_CLEAR_SIGHAND) != 0) {
    record.result = -22;  // EINVAL
    return;
  }
  const uint64_t stack_top = args.stack == 0 ? 0 : args.stack + args.stack_size;
  record.call = call;
  record.call.arg[0] = argument(record.clone_arguments);
  if (stack_top != 0 && !put_frame_below(stack_top, record)) {
    record.result = bad_address;
    return;
  }
  if (stack_top == 0 || (args.flags & CLONE_VM) == 0) {
    args.flags &= ~static_cast<uint64_t>(CLONE_VM);
    args.stack = args.stack_size = 0;
    return fork_onto(record, stack_top);
  }
  record.outcome = OUTCOME_CLONE;
}

void plain_fork(StackRecord& record, long flags) {
  record.call = {__NR_clone, {flags | exit_signal_child, 0, 0, 0, 0, 0}};
  fork_onto(record, 0);
}

}  // namespace

void clone_call_prepare(StackRecord& record, const CallFrame& call) {
  switch (call.nr) {
    case __NR_clone:
      return old_clone(record, call);
    case __NR_clone3:
      return new_clone(record, call);
    case __NR_vfork:
      return plain_fork(record, CLONE_VFORK);
    default:
      return plain_fork(record, 0);
  }
}

bool is_vfork_child() { return vfork_child; }

// entry.S calls this in the child of OUTCOME_FORK, on its copy of the gate stack.
extern "C" void after_fork(StackRecord& record) {
  catch_calls_again();
  stacks_after_fork(record);
  signals_after_fork();
  patch_after_fork();
  vfork_child = parent_waits(record.call);
  if (record.new_stack != 0) record.program = reinterpret_cast<ProgramFrame*>(record.new_stack - ENTRY_GAP);
  dispatch_after_fork();
}

}  // namespace fusewire::gate
