// The machinery's parts to each other; nothing here concerns the dispatcher.
#pragma once

#include <cstddef>
#include <cstdint>

#include "code/trampoline.h"
#include "gate/machinery/frames.h"
#include "gate/machinery/kernel_abi.h"

namespace fusewire::gate {

// ---- entry.S
extern "C" {
extern uint8_t entry_table[512];
extern bool user_dispatch_on;  // else seccomp sends SIGSYS
}

// ---- stacks.cc
void stacks_start();
// At each call on a pool stack, `claimed` its index: makes more before the last one is taken.
void stacks_grow(uint64_t claimed);
void stacks_after_fork(const StackRecord& own);
// Whether address lies on one of the pool's stacks.
bool on_gate_stack(uint64_t address);
StackRecord& record_of_stack(uint64_t address);
void release_stack(uint64_t index);
// The program's sigaltstack: the entry must know where alternate stacks may be.
void note_alternate_stack(const AlternateStack& stack);

// ---- sud.cc
// Catches the calling thread's system calls from now on. trap_inherited: a seccomp filter of an earlier image does it.
void catch_calls(bool trap_inherited);
// In a new thread or process.
void catch_calls_again();
// A SIGSYS that carries a call of the program: sends it to the common entry. false: some other SIGSYS.
bool redirect_call(const SignalInfo& info, Registers& r);

// ---- patch.cc
// Where the program goes on after a caught call at site (the address of its `syscall`) with number nr. Counts the hit,
// and rewrites the site when it has become hot. Call it with signals blocked.
uint64_t resume_address(uint64_t site, long nr);
// Brings an interrupted context that stands in a trampoline back to an address of the program, where it can.
void leave_trampoline(Registers& r);
void patch_after_fork();
// As map_prepared_for_loader, whoever asks.
bool map_prepared(const abi::PreparedCode& code, uint64_t at, uint64_t bytes, uint64_t offset);
// Whether pc stands in a trampoline of prepared code: that trampoline, else nullptr.
code::Trampoline* prepared_trampoline_at(uint64_t pc);
// A private mapping of a file that is code and cannot be written.
void note_code(uint64_t low, uint64_t high);
// From now on other processors may run this program's code: a clone shares its memory.
void code_runs_at_once();
// The range of code whose sites are rewritten only for the one pattern that was verified for it (Go reads its own
// text).
void set_cautious_range(uint64_t low, uint64_t high);

// ---- signals.cc
void signals_start(bool ignored_segv, bool ignored_bus, bool ignored_sys);
void signals_after_fork();
// Whether the program has it ignored: execve keeps that, and the kernel's own disposition says otherwise.
bool program_ignores(int signal);
bool kernel_ignores(int signal);  // as this process does, the gate or not
// Handlers that a guest has set in place of those of the process that owns this memory are put back.
void signals_after_guest();
// rt_sigaction for the program.
long program_sigaction(int signal, const KernelSigaction* action, KernelSigaction* old, size_t mask_bytes);

// ---- masks.cc: the calls that take signal masks, with the unblockable signals taken out
void mask_call(StackRecord& record, const CallFrame& call);
bool is_mask_call(long nr);

// ---- clone.cc
void clone_call_prepare(StackRecord& record, const CallFrame& call);
// Whether the calling process is another than the one that owns this memory.
bool is_guest();

// Ends the record's guest: it was never made, or has left.
void end_guest(StackRecord& record);

// ---- exec.cc
// The calling guest asks to be traced from its exec on.
void trace_from_exec();
long program_exec(StackRecord& record, const CallFrame& call);
// The first start: PROGRAM as given, argv and environment of the gate itself. Returns only with -errno.
long first_exec(const char* program, char** argv, char** environment);

// ---- tracing.cc
// A process makes a ptrace call of a tracer.
void note_ptrace(const CallFrame& call);
bool is_tracer();
// wait4 of a tracer.
void wait_for_traced(StackRecord& record, const CallFrame& call);
// The program stands in this memory: says so to a tracer that waits for it.
void stop_when_loaded();

// ---- start.cc
const char* start_namespace();  // the --namespace directory
bool trap_mode();

// ---- calls.cc
// Makes the outcome "make this call, with these arguments".
void pass(StackRecord& record, const CallFrame& call);
void build_entry_table();
// From now on calls of this number are looked at.
void catch_number(long nr);
// From now on no call goes past gate_call, whatever its number.
void catch_every_call();

}  // namespace fusewire::gate
