// New threads and processes. A new stack of execution has no place on our gate stack, so it gets a copy of the
// caller's frame at the top of its own stack, and starts from that.
//
// A process in its parent's memory (vfork, posix_spawn) is a guest there: the dispatcher has a record of it, and what
// it leaves behind its parent clears away. The child of a vfork runs on its parent's stack, over the frame of the
// parent's call, which the parent has kept a copy of.
#include <linux/sched.h>

#include "gate/machinery/base.h"
#include "gate/machinery/machinery.h"
#include "gate/machinery/seccomp.h"

namespace fusewire::gate {

extern "C" const uint64_t blockable_signals;

namespace {

constexpr long bad_address = -14;       // EFAULT
constexpr long no_memory = -12;         // ENOMEM
constexpr long exit_signal_child = 17;  // SIGCHLD

long memory_owner = 0;  // the process that is no guest; 0: not known yet
std::atomic<int> guests{0};

uint64_t flags_of(const CallFrame& made) {
  if (made.nr == __NR_clone) return static_cast<uint64_t>(made.arg[0]);
  return reinterpret_cast<const clone_args*>(made.arg[0])->flags;
}

bool put_frame_below(uint64_t stack_top, const StackRecord& record) {
  ProgramFrame frame = *record.program;
  frame.state = record.deferred.load() == SIGNALS_BLOCKED ? 1 : 0;
  frame.mask = record.mask;
  frame.scratch[0] = filters_for_child(record);
  return copy_to_program(reinterpret_cast<void*>(stack_top - ENTRY_GAP), &frame, sizeof frame) == 0;
}

void refuse(StackRecord& record, long error) {
  record.outcome = OUTCOME_FINISH;
  record.result = error;
}

// A new process that shares no memory starts on its copy of our gate stack like a fork, and leaves to the stack that
// it was given.
void fork_onto(StackRecord& record, uint64_t stack_top, bool shares_descriptors) {
  if (shares_descriptors)
    dispatch_before_sharing_descriptors();
  else
    dispatch_before_copying_descriptors();
  record.process = dispatch_process();
  record.new_stack = stack_top;
  record.outcome = OUTCOME_FORK;
}

// taken: the flags that have the kernel write elsewhere what would be the guest's number. false: no memory.
bool prepare_guest(StackRecord& record, uint64_t flags, uint64_t taken) {
  if (memory_owner == 0) memory_owner = raw_syscall(__NR_getpid);
  record.guest = dispatch_prepare_guest({.shares_descriptors = (flags & CLONE_FILES) != 0,
                                         .is_awaited = (flags & CLONE_VFORK) != 0,
                                         .is_numbered = (flags & taken) == 0});
  if (record.guest != nullptr) guests++;
  return record.guest != nullptr;
}

bool is_new_process(uint64_t flags) { return (flags & CLONE_THREAD) == 0; }

// Blocks all signals, unless one has come already.
void block_signals(StackRecord& record) {
  uint64_t before = 0;
  raw_syscall(__NR_rt_sigprocmask, 0 /* SIG_BLOCK */, argument(&blockable_signals), argument(&before), sizeof before);
  if (record.deferred.load() != 0) return;
  record.mask = before;
  record.deferred = SIGNALS_BLOCKED;
}

// The call that is to be made is in the record.
void vfork_here(StackRecord& record) {
  block_signals(record);
  record.program->state = 1;
  record.program->mask = record.mask;
  record.program->scratch[0] = filters_for_child(record);
  record.parents_frame = *record.program;
  record.outcome = OUTCOME_VFORK;
}

// Without a gate stack of its own, the call's record would lie where the child runs.
bool can_vfork(const StackRecord& record, uint64_t flags) {
  return (flags & CLONE_VM) != 0 && (flags & CLONE_VFORK) != 0 && is_new_process(flags) && record.index < GATE_STACKS;
}

// A parent that waits for its vfork child runs no code meanwhile.
void note_sharing(uint64_t flags) {
  if ((flags & CLONE_VM) != 0 && (flags & CLONE_VFORK) == 0) code_runs_at_once();
}

void old_clone(StackRecord& record, const CallFrame& call) {
  note_sharing(static_cast<uint64_t>(call.arg[0]));
  record.call = call;
  const auto flags = static_cast<uint64_t>(call.arg[0]);
  const auto stack_top = static_cast<uint64_t>(call.arg[1]);
  const bool shares_memory = (flags & CLONE_VM) != 0;
  const bool here = stack_top == 0 && can_vfork(record, flags);
  if (!shares_memory || (stack_top == 0 && !here)) {
    record.call.arg[0] &= ~static_cast<long>(CLONE_VM);
    record.call.arg[1] = 0;
    if (stack_top != 0 && !put_frame_below(stack_top, record)) return refuse(record, bad_address);
    return fork_onto(record, stack_top, (flags & CLONE_FILES) != 0);
  }
  if (!here && !put_frame_below(stack_top, record)) return refuse(record, bad_address);
  record.outcome = OUTCOME_CLONE;
  if (is_new_process(flags)) {
    // The kernel tells its number; where the program wants that, or a file in its place, the guest finds out.
    constexpr uint64_t taken = CLONE_PARENT_SETTID | CLONE_PIDFD | CLONE_NEWPID;
    if (!prepare_guest(record, flags, taken)) return refuse(record, no_memory);
    if ((flags & taken) == 0) {
      record.call.arg[0] |= CLONE_PARENT_SETTID;
      record.call.arg[2] = argument(record.guest);
    }
  }
  if (here) vfork_here(record);
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
  note_sharing(args.flags);
  // It would take our own handlers away. Callers know kernels without it (before 5.5) and reset signals themselves.
  if ((args.flags & CLONE_CLEAR_SIGHAND) != 0) {
    record.result = -22;  // EINVAL
    return;
  }
  const uint64_t stack_top = args.stack == 0 ? 0 : args.stack + args.stack_size;
  record.call = call;
  record.call.arg[0] = argument(record.clone_arguments);
  const bool here = stack_top == 0 && can_vfork(record, args.flags);
  if (stack_top != 0 && !put_frame_below(stack_top, record)) return refuse(record, bad_address);
  if ((args.flags & CLONE_VM) == 0 || (stack_top == 0 && !here)) {
    args.flags &= ~static_cast<uint64_t>(CLONE_VM);
    args.stack = args.stack_size = 0;
    return fork_onto(record, stack_top, (args.flags & CLONE_FILES) != 0);
  }
  record.outcome = OUTCOME_CLONE;
  if (is_new_process(args.flags)) {
    constexpr uint64_t taken = CLONE_PARENT_SETTID | CLONE_NEWPID;
    if (!prepare_guest(record, args.flags, taken)) return refuse(record, no_memory);
    if ((args.flags & taken) == 0) {
      args.flags |= CLONE_PARENT_SETTID;
      args.parent_tid = address_of(record.guest);
    }
  }
  if (here) vfork_here(record);
}

}  // namespace

void clone_call_prepare(StackRecord& record, const CallFrame& call) {
  if (filters_for_child(record) != 0) block_signals(record);
  switch (call.nr) {
    case __NR_clone:
      return old_clone(record, call);
    case __NR_clone3:
      return new_clone(record, call);
    case __NR_vfork:
      return old_clone(record, {__NR_clone, {CLONE_VM | CLONE_VFORK | exit_signal_child, 0, 0, 0, 0, 0}});
    default:
      return old_clone(record, {__NR_clone, {exit_signal_child, 0, 0, 0, 0, 0}});
  }
}

bool is_guest() { return guests.load() != 0 && raw_syscall(__NR_getpid) != memory_owner; }

void end_guest(StackRecord& record) {
  dispatch_end_guest(record.guest);
  signals_after_guest();
  record.guest = nullptr;
  guests--;
}

// entry.S calls this in the parent when a clone onto another stack has returned.
extern "C" void clone_returned(StackRecord& record) {
  if (record.guest == nullptr) return;
  const bool has_left = record.result < 0 || (flags_of(record.call) & CLONE_VFORK) != 0;
  if (has_left) end_guest(record);
  record.guest = nullptr;
}

// And this when the child of a vfork has left, or was never made.
extern "C" void vfork_returned(StackRecord& record) {
  *record.program = record.parents_frame;
  clone_returned(record);
}

// entry.S calls this in the child of OUTCOME_FORK, on its copy of the gate stack.
extern "C" void after_fork(StackRecord& record) {
  catch_calls_again();
  guests = 0;
  memory_owner = raw_syscall(__NR_getpid);
  record.guest = nullptr;
  stacks_after_fork(record);
  signals_after_fork();
  filters_after_fork(record);
  patch_after_fork();
  if (record.new_stack != 0) record.program = reinterpret_cast<ProgramFrame*>(record.new_stack - ENTRY_GAP);
  dispatch_after_fork(record.process, (flags_of(record.call) & CLONE_FILES) != 0);
}

}  // namespace fusewire::gate
