// The only `syscall` instructions of the gate, and the way of a caught call through it.
//
// They stand in two groups of pages: those that make a call for the program, as it came or changed, and those that the
// gate makes for itself. A seccomp filter tells the two apart by the instruction pointer (seccomp.cc).
//
// Syscall User Dispatch lets calls pass that are made from this section, and no others. A caught call comes here from
// a patched site's trampoline or from the SIGSYS handler, in the same state: rax the number, rcx the address after the
// program's `syscall`, r11 where to go on. (The instruction itself destroys rcx and r11, so both are free to use.)
//
// Rule for every change: signals.cc (settle) knows, for each instruction between common_entry and the return, what an
// interrupted call looks like, and turns it back into "not begun" or on into "done". The labels below are its map.
// All registers but rax, rcx and r11 are the program's; vector registers are never touched.
#include "gate/machinery/arch/x86_64/entry_layout.h"

#define SYS_rt_sigprocmask 14
#define SYS_rt_sigreturn 15
#define SYS_sigaltstack 131
#define SYS_prctl 157
#define SIG_BLOCK 0
#define SIG_SETMASK 2
#define SS_ONSTACK 1
#define X32_BIT 30
#define EINTR 4
#define EBADF 9
#define ENOSYS 38
#define EFAULT 14

.macro label name
  .globl \name
  .hidden \name
\name:
.endm

// Where code that is rewritten in advance enters (leader/prepared_code.h): a note, "fusewire", type 1.
  .section .note.fusewire, "a", @note
  .balign 4
  .long 9, 8, 1
  .asciz "fusewire"
  .balign 4
  .quad common_entry

  .section .stub, "ax", @progbits
  .balign 4096
label stub_begin

// ---- the page of the program's calls: a seccomp filter of the program's holds for what is called from here. The way
// out of the gate comes here for the instruction alone: the registers are the call's before it and after it.
label changed_out
  syscall
label changed_back
  jmp changed_done
label fork_out
  syscall
label fork_back
  jmp fork_done
label clone_out
  syscall
label clone_back
  jmp clone_done
label vfork_out
  syscall
label vfork_back
  jmp vfork_done

// ---- the common entry
  .balign 64
label common_entry
  lea -ENTRY_GAP(%rsp), %rsp
label entry_moved
  mov %rcx, F_RETURN(%rsp)
  mov %r11, F_RESUME(%rsp)
label entry_saved
  mov %rax, F_NR(%rsp)
  cmp $512, %rax
  jb 1f
  bt $X32_BIT, %rax
  jnc pass_call
  mov $-ENOSYS, %rax
  jmp pass_done
1:
  lea entry_table(%rip), %r11
  movzbl (%r11, %rax), %r11d
  test %r11d, %r11d
  jnz 2f
label pass_call
  syscall
label pass_made
  cmp $-EBADF, %rax
  je judge_passed
label pass_done
  mov F_RETURN(%rsp), %rcx
  mov F_RESUME(%rsp), %r11
  lea ENTRY_GAP(%rsp), %rsp
label pass_leave
  jmp *%r11

label not_passed
2:
  cmp $KIND_DESCRIPTOR, %r11d
  jne 20f
  cmp descriptors_at_entry(%rip), %edi
  jae 3f
  lea expected_virtual(%rip), %rcx
  mov %edi, %r11d
  cmpb $0, (%rcx, %r11)
  je pass_call
  jmp 3f
20:
  cmp $KIND_SIGRETURN, %r11d
  jne 3f
  lea ENTRY_GAP(%rsp), %rsp
label sigreturn_moved
  andq $WITHOUT_UNBLOCKABLE_SIGNALS, UC_SIGMASK(%rsp)
  syscall
// It does not return, but where a seccomp filter refuses it.
label sigreturn_refused
  lea -ENTRY_GAP(%rsp), %rsp
label refused_moved
  jmp pass_done

// ---- the pages of the gate's own calls, which no filter of the program's may forbid
  .balign 4096
label own_calls_begin
// EBADF may be the word of a shadow, which the number did not name when the call was passed on: gate_call judges.
label judge_passed
  mov F_NR(%rsp), %rax
label judge_begun
  movq $-EBADF, F_RESULT(%rsp)
  movq $JUDGED_ONCE, F_JUDGE(%rsp)
  jmp save_arguments

label save_registers
3:
  movq $0, F_JUDGE(%rsp)
save_arguments:
  mov %rdi, F_ARG0(%rsp)
  mov %rsi, F_ARG1(%rsp)
  mov %rdx, F_ARG2(%rsp)
  mov %r10, F_ARG3(%rsp)
  mov %r8, F_ARG4(%rsp)
  mov %r9, F_ARG5(%rsp)
  movq $0, F_STATE(%rsp)
label registers_saved
// A handler that runs on the alternate stack must not be interrupted while its calls run on a gate stack: the kernel
// would take the alternate stack for unused and overwrite it. Its calls run with all signals blocked.
  cmp altstacks_low(%rip), %rsp
  jb claim_stack
  cmp altstacks_high(%rip), %rsp
  jae claim_stack
  xor %edi, %edi
  lea F_SCRATCH(%rsp), %rsi
  mov $SYS_sigaltstack, %eax
  syscall
  testl $SS_ONSTACK, F_SCRATCH + 8(%rsp)
  jz claim_stack
  mov $SIG_BLOCK, %edi
  lea blockable_signals(%rip), %rsi
  lea F_MASK(%rsp), %rdx
  mov $8, %r10d
  mov $SYS_rt_sigprocmask, %eax
  syscall
label signals_blocked
  movq $1, F_STATE(%rsp)

claim_stack:
  lea free_stacks(%rip), %rdx
  xor %ecx, %ecx
4:
  mov (%rdx, %rcx, 8), %rax
  bsf %rax, %r11
  jz 5f
  lock btr %r11, (%rdx, %rcx, 8)
label stack_claim_test
  jc stack_claimed
  jmp 4b
5:
  inc %ecx
  cmp $(GATE_STACKS / 64), %ecx
  jb 4b
// None is free: go on below the program's frame. The index is that of a bit that is nobody's.
  lea -R_SIZE(%rsp), %rdi
  and $-16, %rdi
  mov $GATE_STACKS, %eax
  jmp 6f
label stack_claimed
  mov %rcx, %rax
  shl $6, %rax
  add %r11, %rax
  lea 1(%rax), %rdi
  shl $GATE_STACK_SHIFT, %rdi
  add gate_stacks(%rip), %rdi
  sub $R_SIZE, %rdi
6:
  mov %rax, R_INDEX(%rdi)
  mov %rsp, R_PROGRAM_SP(%rdi)
  mov %rdi, %rsp
label stack_switched
  cmpl $GATE_STACKS, %eax
  jne 7f
  movq $0, R_DEFERRED(%rsp)
7:
  mov R_PROGRAM_SP(%rsp), %rdi
  cmpq $0, F_STATE(%rdi)
  je 8f
  mov F_MASK(%rdi), %rax
  mov %rax, R_MASK(%rsp)
  movq $SIGNALS_BLOCKED, R_DEFERRED(%rsp)
8:
  cld
  mov %rsp, %rdi
  call gate_call

// ---- the way out. Until the switch back, a held-back signal starts this over from exit_check.
.macro load_call base, nr, arg0, arg1, arg2, arg3, arg4, arg5
  mov \nr(\base), %rax
  load_arguments \base, \arg0, \arg1, \arg2, \arg3, \arg4, \arg5
.endm
.macro load_arguments base, arg0, arg1, arg2, arg3, arg4, arg5
  mov \arg0(\base), %rdi
  mov \arg1(\base), %rsi
  mov \arg2(\base), %rdx
  mov \arg3(\base), %r10
  mov \arg4(\base), %r8
  mov \arg5(\base), %r9
.endm

label exit_check
  mov R_OUTCOME(%rsp), %eax
  mov R_DEFERRED(%rsp), %rcx
  cmp $OUTCOME_FORK, %eax
  je exit_fork
  cmp $OUTCOME_CLONE, %eax
  je exit_clone
  cmp $OUTCOME_VFORK, %eax
  je exit_vfork
  test %rcx, %rcx
  jnz exit_deferred
  cmp $OUTCOME_PASS, %eax
  je exit_changed
  mov R_RESULT(%rsp), %rax
  mov R_INDEX(%rsp), %rcx
  mov R_PROGRAM_SP(%rsp), %rsp
label exit_switched
  lock bts %rcx, free_stacks(%rip)
label restore_registers
  load_arguments %rsp, F_ARG0, F_ARG1, F_ARG2, F_ARG3, F_ARG4, F_ARG5
  jmp pass_done

label exit_changed
  load_call %rsp, R_NR, R_ARG0, R_ARG1, R_ARG2, R_ARG3, R_ARG4, R_ARG5
  mov R_INDEX(%rsp), %rcx
  mov R_PROGRAM_SP(%rsp), %rsp
label changed_switched
  lock bts %rcx, free_stacks(%rip)
label changed_call
  jmp changed_out
label changed_done
  cmp $-EBADF, %rax
  je judge_changed
  testb $(JUDGE_ERRORS | JUDGE_SUCCESS), F_JUDGE(%rsp)
  jz restore_registers
label judge_changed
  mov %rax, F_RESULT(%rsp)
label judge_noted
  addq $JUDGED_ONCE, F_JUDGE(%rsp)
  movq $0, F_STATE(%rsp)
  jmp registers_saved

label exit_fork
  load_call %rsp, R_NR, R_ARG0, R_ARG1, R_ARG2, R_ARG3, R_ARG4, R_ARG5
label fork_call
  jmp fork_out
label fork_done
  test %rax, %rax
  jnz 9f
  mov %rsp, %rdi
  call after_fork
  xor %eax, %eax
9:
  mov %rax, R_RESULT(%rsp)
  movq $OUTCOME_FINISH, R_OUTCOME(%rsp)
  jmp exit_check

// A thread inherits the mask: a signal held back now must come before it is made.
label exit_clone
  cmp $SIGNAL_HELD, %rcx
  je exit_deferred
  load_call %rsp, R_NR, R_ARG0, R_ARG1, R_ARG2, R_ARG3, R_ARG4, R_ARG5
label clone_call
  jmp clone_out
label clone_done
  test %rax, %rax
  jz child_begin
  mov %rax, R_RESULT(%rsp)
  movq $OUTCOME_FINISH, R_OUTCOME(%rsp)
  mov %rsp, %rdi
  call clone_returned
  jmp exit_check

// All signals are blocked but the unblockable ones, so the child leaves this stack to its parent before any can be
// handled in it. It takes the program's frame; the parent gets it back when the child has gone.
label exit_vfork
  cmp $SIGNAL_HELD, %rcx
  je exit_deferred
  load_call %rsp, R_NR, R_ARG0, R_ARG1, R_ARG2, R_ARG3, R_ARG4, R_ARG5
label vfork_call
  jmp vfork_out
label vfork_done
  test %rax, %rax
  jz vfork_child
  mov %rax, R_RESULT(%rsp)
  movq $OUTCOME_FINISH, R_OUTCOME(%rsp)
  mov %rsp, %rdi
  call vfork_returned
  jmp exit_check
vfork_child:
  mov R_PROGRAM_SP(%rsp), %rsp
  jmp child_framed

// The child, on its own stack: clone.cc has put a copy of the frame below its top.
label child_begin
  lea -ENTRY_GAP(%rsp), %rsp
label child_framed
  cmpb $0, user_dispatch_on(%rip)
  je 10f
  mov $59, %edi
  mov $1, %esi
  lea stub_begin(%rip), %rdx
  mov $(stub_end - stub_begin), %r10d
  xor %r8d, %r8d
  mov $SYS_prctl, %eax
  syscall
10:
  cmpq $0, F_SCRATCH(%rsp)
  je 19f
  mov %rsp, %rdi
  lea -16(%rsp), %rsp
  and $-16, %rsp
  mov %rdi, (%rsp)
  cld
  call child_has_filters
  mov (%rsp), %rsp
19:
  cmpq $0, F_STATE(%rsp)
  je 11f
  mov $SIG_SETMASK, %edi
  lea F_MASK(%rsp), %rsi
  xor %edx, %edx
  mov $8, %r10d
  mov $SYS_rt_sigprocmask, %eax
  syscall
11:
  xor %eax, %eax
  jmp restore_registers

// All signals are blocked. Off the gate stack with what is left to do, then unblock: the signals that waited come now.
// The call still to be made lies below the frame, where a signal's frame leaves the red zone alone.
label exit_deferred
  movq $0, R_DEFERRED(%rsp)
  mov R_PROGRAM_SP(%rsp), %rdi
  mov R_MASK(%rsp), %rax
  mov %rax, F_MASK(%rdi)
  mov R_RESULT(%rsp), %rax
  mov %rax, F_RESULT(%rdi)
  mov R_OUTCOME(%rsp), %rax
  mov %rax, F_STATE(%rdi)
  .irp word, 0, 8, 16, 24, 32, 40, 48
  mov (R_NR + \word)(%rsp), %rax
  mov %rax, (\word - 64)(%rdi)
  .endr
  mov R_INDEX(%rsp), %rcx
  mov %rdi, %rsp
  lock bts %rcx, free_stacks(%rip)
  mov $SIG_SETMASK, %edi
  lea F_MASK(%rsp), %rsi
  xor %edx, %edx
  mov $8, %r10d
  mov $SYS_rt_sigprocmask, %eax
  syscall
label deferred_unblocked
  mov F_STATE(%rsp), %rax
  cmp $OUTCOME_FINISH, %rax
  jne 12f
  mov F_RESULT(%rsp), %rax
  jmp restore_registers
12:
  cmp $OUTCOME_PASS, %rax
  jne 13f
  load_call %rsp, -64, -56, -48, -40, -32, -24, -16
  jmp changed_call
13:
// A clone that was not made, so that its handlers could run before it: begin again.
  load_call %rsp, F_NR, F_ARG0, F_ARG1, F_ARG2, F_ARG3, F_ARG4, F_ARG5
  mov F_RETURN(%rsp), %rcx
  mov F_RESUME(%rsp), %r11
  lea ENTRY_GAP(%rsp), %rsp
label deferred_leave
  jmp common_entry

// ---- signals: the kernel calls this for every handled signal, with all others blocked
label signal_entry
  mov %rsp, %rbx
  mov %rdi, %r12
  mov %rsi, %r13
  mov %rdx, %r14
  lea -32(%rsp), %rsp
  and $-16, %rsp
  mov %rsp, %rcx
  cld
  call signal_arrived
  test %rax, %rax
  jz 14f
  mov %rax, %r15
  mov $SIG_SETMASK, %edi
  mov %rsp, %rsi
  xor %edx, %edx
  mov $8, %r10d
  mov $SYS_rt_sigprocmask, %eax
  syscall
label handler_unblocked
  mov %rbx, %rsp
  mov %r12, %rdi
  mov %r13, %rsi
  mov %r14, %rdx
  xor %eax, %eax
  jmp *%r15
label handler_entered
14:
  lea 8(%rbx), %rsp
  mov $SYS_rt_sigreturn, %eax
  syscall

// ---- into the program, once: rdi the stack pointer, rsi the entry point
label enter_program
  mov %rdi, %rsp
  mov %rsi, %rax
  xor %ebx, %ebx
  xor %ecx, %ecx
  xor %edx, %edx
  xor %ebp, %ebp
  xor %esi, %esi
  xor %edi, %edi
  xor %r8d, %r8d
  xor %r9d, %r9d
  xor %r10d, %r10d
  xor %r11d, %r11d
  xor %r12d, %r12d
  xor %r13d, %r13d
  xor %r14d, %r14d
  xor %r15d, %r15d
  jmp *%rax

label raw_syscall
  mov %rdi, %rax
  mov %rsi, %rdi
  mov %rdx, %rsi
  mov %rcx, %rdx
  mov %r8, %r10
  mov %r9, %r8
  mov 8(%rsp), %r9
label raw_call
  syscall
label raw_done
  ret

// sleep_unless_held(held, nr, six arguments): the call, or -EINTR without it when *held says SIGNAL_HELD. A signal
// that comes between that look and the call finds the thread within sleep_look..sleep_call, and ends it in the same way.
label sleep_unless_held
  mov %rdi, %r11
  mov %rsi, %rax
  mov %rdx, %rdi
  mov %rcx, %rsi
  mov %r8, %rdx
  mov %r9, %r10
  mov 8(%rsp), %r8
  mov 16(%rsp), %r9
label sleep_look
  cmpq $SIGNAL_HELD, (%r11)
  je 18f
label sleep_call
  syscall
label sleep_done
  ret
18:
  mov $-EINTR, %rax
  ret

// For a program that brings no restorer of its own.
label stub_restorer
  mov $SYS_rt_sigreturn, %eax
  syscall

  .balign 4096
label stub_end

  .text
  .globl _start
_start:
  xor %ebp, %ebp
  mov %rsp, %rdi
  and $-16, %rsp
  call gate_start
  hlt

// ---- copies that a fault ends with -EFAULT: signals.cc sends a fault within them to copy_fault
label copy_begin
label guarded_copy
  mov %rdx, %rcx
  rep movsb
  xor %eax, %eax
  ret
// guarded_copy_string(to, from, room): the length, or -1 when room bytes hold no NUL
label guarded_copy_string
  xor %eax, %eax
15:
  cmp %rdx, %rax
  jae 16f
  movzbl (%rsi, %rax), %ecx
  mov %cl, (%rdi, %rax)
  test %ecx, %ecx
  jz 17f
  inc %rax
  jmp 15b
16:
  mov $-1, %rax
17:
  ret
label copy_end
label copy_fault
  mov $-EFAULT, %rax
  ret

  .section .note.GNU-stack, "", @progbits
