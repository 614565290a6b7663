// Numbers that entry.S and the C++ parts share. Offsets are guarded by static_asserts in frames.h.
#pragma once

// What entry_table says of a system call number.
#define KIND_PASS 0
#define KIND_CALL 1       // gate_call decides
#define KIND_SIGRETURN 2  // needs the program's exact stack pointer
#define KIND_DESCRIPTOR 3  // passed on at once, unless a file of a mount is expected at its first argument

// ProgramFrame: lies below the red zone of the program's stack while a call is in the gate.
#define RED_ZONE 128
#define F_RESUME 0
#define F_RETURN 8
#define F_NR 16
#define F_ARG0 24
#define F_ARG1 32
#define F_ARG2 40
#define F_ARG3 48
#define F_ARG4 56
#define F_ARG5 64
#define F_SCRATCH 72
#define F_RESULT 96
#define F_STATE 104
#define F_MASK 112
#define F_JUDGE 120
#define F_SIZE 128
#define ENTRY_GAP (F_SIZE + RED_ZONE)

// StackRecord: lies at the top of each gate stack.
#define R_PROGRAM_SP 0
#define R_INDEX 8
#define R_DEFERRED 16
#define R_MASK 24
#define R_OUTCOME 32
#define R_RESULT 40
#define R_NR 48
#define R_ARG0 56
#define R_ARG1 64
#define R_ARG2 72
#define R_ARG3 80
#define R_ARG4 88
#define R_ARG5 96
#define R_SIZE 512

// R_DEFERRED
#define SIGNAL_HELD 1      // a signal came and was sent again, all are blocked since
#define SIGNALS_BLOCKED 2  // all have been blocked from the start

#define GATE_STACKS 512
#define GATE_STACK_SHIFT 17

// F_JUDGE. Which results of a call that the entry makes go back to gate_call to be judged, beside EBADF; the other bits
// count the judgements of this call.
#define JUDGE_ERRORS 1   // ENOENT and ENOTDIR may be the answer of a wrong directory
#define JUDGE_SUCCESS 2  // the call only looks: made once more, it does no harm
#define JUDGED_ONCE 256

// What gate_call wants the entry to do with the call.
#define OUTCOME_FINISH 0  // R_RESULT is the result
#define OUTCOME_PASS 1    // make the call with R_NR, R_ARG*, from the program's stack
#define OUTCOME_FORK 2    // a new process that continues here, on a copy of this memory
#define OUTCOME_CLONE 3   // a new thread of execution on a stack of its own, in this memory
#define OUTCOME_VFORK 4   // a new process on this stack, in this memory, while this thread waits
#define OUTCOME_AGAIN 5   // a signal came: the whole call anew when its handler has run

// The signals the program can never block: SIGBUS (7) and SIGSEGV (11), so that the copy routines can meet a bad
// pointer, and SIGSYS (31), which carries the calls.
#define UNBLOCKABLE_SIGNALS 0x40000440
// The same, cleared from a mask; fits a sign-extended 32-bit operand.
#define WITHOUT_UNBLOCKABLE_SIGNALS -0x40000441
// The offset of uc_sigmask in the kernel's ucontext.
#define UC_SIGMASK 296
