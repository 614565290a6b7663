// The two records a caught call leaves: one on the program's stack, one on the gate stack it runs on. entry.S fills and
// empties them; signals.cc reads them to find out how far an interrupted call has come.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gate/gate.h"
#include "gate/machinery/arch/x86_64/entry_layout.h"

namespace fusewire::gate {

// Below the red zone of the program's stack. resume is where the program goes on: the instruction after its `syscall`
// (return_address), or a trampoline's copy of the instructions that the site's patch displaced.
struct ProgramFrame {
  uint64_t resume;
  uint64_t return_address;
  CallFrame call;
  uint64_t scratch[3];  // in a new thread's frame, [0]: see filters_for_child
  long result;
  // Before gate_call: whether the entry has blocked all signals, and the mask before then in `mask`. On the way out
  // with signals to be unblocked: the outcome.
  uint64_t state;
  uint64_t mask;
  // JUDGE_*, and JUDGED_ONCE for each time that a result came back; then `result` is the one to be judged.
  uint64_t judge;
};

struct ProgramFilter;

// At the top of a gate stack, one owner at a time: the thread whose call runs there.
struct StackRecord {
  ProgramFrame* program;
  uint64_t index;  // GATE_STACKS: no pool stack, this one lies on the program's own
  // SIGNAL_HELD, SIGNALS_BLOCKED or 0. Not 0: mask is the mask to be put back at the end.
  std::atomic<uint64_t> deferred;
  uint64_t mask;
  uint64_t outcome;
  long result;
  CallFrame call;                // with outcome pass, fork, clone: the call to make
  uint64_t new_stack;            // with outcome fork: the top of the stack the child continues on, 0: the one it has
  const ProgramFilter* filters;  // the thread's seccomp filters when the call began
  unsigned char clone_arguments[128];
  // While gate_call runs: the dispatcher's record of its process. A guest may die there and leave the stack claimed.
  std::atomic<void*> owner;
  void* process;      // with outcome fork, vfork: the record of the process that forks
  int* guest;         // with outcome clone, vfork: the record of the process to be made, if it is one
  void* left_memory;  // what a guest leaves in this memory when its execve succeeds
  size_t left_bytes;
  ProgramFrame parents_frame;  // with outcome vfork: the child runs over the one on the program's stack
  int held_signal;             // with SIGNAL_HELD
};

static_assert(offsetof(ProgramFrame, resume) == F_RESUME && offsetof(ProgramFrame, return_address) == F_RETURN);
static_assert(offsetof(ProgramFrame, call.nr) == F_NR && offsetof(ProgramFrame, call.arg) == F_ARG0);
static_assert(offsetof(ProgramFrame, scratch) == F_SCRATCH && offsetof(ProgramFrame, result) == F_RESULT);
static_assert(offsetof(ProgramFrame, state) == F_STATE && offsetof(ProgramFrame, mask) == F_MASK &&
              offsetof(ProgramFrame, judge) == F_JUDGE && sizeof(ProgramFrame) == F_SIZE);
static_assert(judge_errors == JUDGE_ERRORS && judge_success == JUDGE_SUCCESS);
static_assert(offsetof(StackRecord, program) == R_PROGRAM_SP && offsetof(StackRecord, index) == R_INDEX);
static_assert(offsetof(StackRecord, deferred) == R_DEFERRED && offsetof(StackRecord, mask) == R_MASK);
static_assert(offsetof(StackRecord, outcome) == R_OUTCOME && offsetof(StackRecord, result) == R_RESULT);
static_assert(offsetof(StackRecord, call.nr) == R_NR && offsetof(StackRecord, call.arg) == R_ARG0);
static_assert(sizeof(StackRecord) <= R_SIZE && R_SIZE % 16 == 0);

}  // namespace fusewire::gate
