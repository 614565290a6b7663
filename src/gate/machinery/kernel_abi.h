// The kernel's own structures for signals, as x86-64 Linux lays them out (glibc's differ).
#pragma once

#include <cstddef>
#include <cstdint>

#include "gate/machinery/arch/x86_64/entry_layout.h"

namespace fusewire::gate {

inline constexpr int signal_count = 64;
inline constexpr int sig_kill = 9, sig_bus = 7, sig_segv = 11, sig_stop = 19, sig_sys = 31;
inline constexpr int sig_setmask = 2;

constexpr uint64_t signal_bit(int signal) { return 1ull << (signal - 1); }
inline constexpr uint64_t unblockable_signals = UNBLOCKABLE_SIGNALS;
static_assert(unblockable_signals == (signal_bit(sig_bus) | signal_bit(sig_segv) | signal_bit(sig_sys)));

inline constexpr uint64_t sa_nocldstop = 1, sa_nocldwait = 2, sa_siginfo = 4, sa_restorer = 0x04000000,
                          sa_onstack = 0x08000000, sa_restart = 0x10000000, sa_nodefer = 0x40000000,
                          sa_resethand = 0x80000000;

struct KernelSigaction {
  uint64_t handler;
  uint64_t flags;
  uint64_t restorer;
  uint64_t mask;
};
inline constexpr uint64_t handler_default = 0, handler_ignore = 1;

struct SignalInfo {
  int signal;
  int error;
  int code;
  int pad;
  // of SIGSYS
  void* call_address;
  int call_number;
  uint32_t architecture;
  unsigned char rest[128 - 32];
};
static_assert(sizeof(SignalInfo) == 128);
inline constexpr int code_seccomp_trap = 1, code_user_dispatch = 2;

struct AlternateStack {
  uint64_t low;
  int flags;
  int pad;
  uint64_t size;
};
inline constexpr int alternate_stack_disabled = 2;

struct Registers {
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, flags;
  uint64_t other[14];
};
struct SignalContext {
  uint64_t flags;
  uint64_t link;
  AlternateStack stack;
  Registers r;
  uint64_t mask;
};
static_assert(offsetof(SignalContext, mask) == UC_SIGMASK);

}  // namespace fusewire::gate
