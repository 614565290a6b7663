// The rules: net/core/filter.c (bpf_convert_filter), kernel/seccomp.c (seccomp_check_filter, seccomp_run_filters).
#include "gate/machinery/bpf.h"

namespace fusewire::gate {

namespace {

struct Machine {
  uint32_t a = 0, x = 0;
  uint32_t memory[BPF_MEMWORDS] = {};
};

// false: a division by zero, which ends the filter with 0.
bool compute(Machine& m, uint16_t operation, uint32_t operand) {
  constexpr uint32_t shift_bits = 31;
  switch (operation) {
    case BPF_ADD:
      m.a += operand;
      return true;
    case BPF_SUB:
      m.a -= operand;
      return true;
    case BPF_MUL:
      m.a *= operand;
      return true;
    case BPF_DIV:
      if (operand == 0) return false;
      m.a /= operand;
      return true;
    case BPF_AND:
      m.a &= operand;
      return true;
    case BPF_OR:
      m.a |= operand;
      return true;
    case BPF_XOR:
      m.a ^= operand;
      return true;
    case BPF_LSH:
      m.a <<= operand & shift_bits;
      return true;
    case BPF_RSH:
      m.a >>= operand & shift_bits;
      return true;
    default:  // BPF_NEG
      m.a = 0u - m.a;
      return true;
  }
}

bool holds(uint16_t comparison, uint32_t a, uint32_t operand) {
  switch (comparison) {
    case BPF_JEQ:
      return a == operand;
    case BPF_JGT:
      return a > operand;
    case BPF_JGE:
      return a >= operand;
    default:  // BPF_JSET
      return (a & operand) != 0;
  }
}

bool load(const sock_filter& i, const Machine& m, const seccomp_data& data, uint32_t& to) {
  switch (BPF_MODE(i.code)) {
    case BPF_IMM:
      to = i.k;
      return true;
    case BPF_LEN:
      to = sizeof data;
      return true;
    case BPF_ABS:
      if (i.k > sizeof data - sizeof to || i.k % sizeof to != 0) return false;
      __builtin_memcpy(&to, reinterpret_cast<const char*>(&data) + i.k, sizeof to);
      return true;
    case BPF_MEM:
      if (i.k >= BPF_MEMWORDS) return false;
      to = m.memory[i.k];
      return true;
    default:
      return false;
  }
}

}  // namespace

uint32_t run_filter(std::span<const sock_filter> program, const seccomp_data& data) {
  Machine m;
  // Jumps go forward only, so this ends.
  for (size_t at = 0; at < program.size(); at++) {
    const sock_filter& i = program[at];
    const uint32_t operand = BPF_SRC(i.code) == BPF_X ? m.x : i.k;
    switch (BPF_CLASS(i.code)) {
      case BPF_LD:
        if (!load(i, m, data, m.a)) return SECCOMP_RET_KILL_PROCESS;
        break;
      case BPF_LDX:
        if (!load(i, m, data, m.x)) return SECCOMP_RET_KILL_PROCESS;
        break;
      case BPF_ST:
      case BPF_STX:
        if (i.k >= BPF_MEMWORDS) return SECCOMP_RET_KILL_PROCESS;
        m.memory[i.k] = BPF_CLASS(i.code) == BPF_ST ? m.a : m.x;
        break;
      case BPF_ALU:
        if (!compute(m, BPF_OP(i.code), operand)) return 0;
        break;
      case BPF_JMP:
        at += BPF_OP(i.code) == BPF_JA ? i.k : holds(BPF_OP(i.code), m.a, operand) ? i.jt : i.jf;
        break;
      case BPF_RET:
        return BPF_RVAL(i.code) == BPF_A ? m.a : i.k;
      default:  // BPF_MISC
        if (BPF_MISCOP(i.code) == BPF_TAX) {
          m.x = m.a;
        } else {
          m.a = m.x;
        }
        break;
    }
  }
  return SECCOMP_RET_KILL_PROCESS;
}

uint32_t stricter(uint32_t newer, uint32_t older) {
  const auto rank = [](uint32_t verdict) { return static_cast<int32_t>(verdict & SECCOMP_RET_ACTION_FULL); };
  return rank(older) < rank(newer) ? older : newer;
}

}  // namespace fusewire::gate
