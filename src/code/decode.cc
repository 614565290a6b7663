#include "code/decode.h"

namespace fusewire::code {

namespace {

// An instruction of one of the plain forms: [REX] opcode ModRM [SIB] [displacement] [immediate].
struct Form {
  bool known = false;
  bool has_modrm = false;
  uint8_t immediate = 0;
};

// Moves and arithmetic between registers and memory, push and pop; what compilers put behind a system call.
Form form_of(uint8_t opcode) {
  switch (opcode) {
    case 0x01:
    case 0x03:
    case 0x09:
    case 0x0b:
    case 0x21:
    case 0x23:
    case 0x29:
    case 0x2b:
    case 0x31:
    case 0x33:
    case 0x38:
    case 0x39:
    case 0x3a:
    case 0x3b:
    case 0x63:
    case 0x84:
    case 0x85:
    case 0x88:
    case 0x89:
    case 0x8a:
    case 0x8b:
      return {true, true, 0};
    case 0x80:
    case 0x83:
    case 0xc6:
      return {true, true, 1};
    case 0x81:
    case 0xc7:
      return {true, true, 4};
    case 0x3d:
    case 0xa9:
    case 0xb8:
    case 0xb9:
    case 0xba:
    case 0xbb:
    case 0xbc:
    case 0xbd:
    case 0xbe:
    case 0xbf:
      return {true, false, 4};
    case 0x90:
    case 0x50:
    case 0x51:
    case 0x52:
    case 0x53:
    case 0x54:
    case 0x55:
    case 0x56:
    case 0x57:
    case 0x58:
    case 0x59:
    case 0x5a:
    case 0x5b:
    case 0x5c:
    case 0x5d:
    case 0x5e:
    case 0x5f:
      return {true, false, 0};
    default:
      return {};
  }
}

// The bytes of ModRM, SIB and displacement; 0 for an operand relative to the instruction's own address.
size_t operand_bytes(const uint8_t* p) {
  const uint8_t mod = p[0] >> 6, rm = p[0] & 7;
  if (mod == 3) return 1;
  if (mod == 0 && rm == 5) return 0;
  size_t n = 1;
  if (rm == 4) {
    n++;
    if (mod == 0 && (p[1] & 7) == 5) n += 4;
  }
  return n + (mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

size_t instruction_bytes(const uint8_t* p) {
  size_t n = 0;
  const bool rex = (p[0] & 0xf0) == 0x40;
  const bool wide = rex && (p[0] & 8) != 0;
  if (rex) n++;
  const uint8_t opcode = p[n++];
  const Form form = form_of(opcode);
  if (!form.known) return 0;
  if (opcode >= 0xb8 && opcode <= 0xbf && wide) return n + 8;
  if (form.has_modrm) {
    const size_t operand = operand_bytes(p + n);
    if (operand == 0) return 0;
    n += operand;
  }
  return n + form.immediate;
}

bool lands_inside(uint64_t target, uint64_t site) { return target > site && target < site + jump_bytes; }

int32_t read_distance(const uint8_t* p) {
  int32_t distance;
  __builtin_memcpy(&distance, p, sizeof distance);
  return distance;
}

}  // namespace

bool is_short_jump(uint8_t opcode) { return opcode == 0xeb || (opcode & 0xf0) == 0x70 || (opcode & 0xfc) == 0xe0; }

bool has_near_opcode(const uint8_t* p) {
  return p[-1] == 0xe8 || p[-1] == 0xe9 || (p[-2] == 0x0f && (p[-1] & 0xf0) == 0x80);
}

size_t error_check_bytes(const uint8_t* p) {
  const bool of_rax = p[0] == 0x48 && p[1] == 0x3d;
  const size_t immediate = of_rax ? 2 : 1;
  if (!of_rax && p[0] != 0x3d) return 0;
  const bool is_limit = p[immediate + 1] == 0xf0 && p[immediate + 2] == 0xff && p[immediate + 3] == 0xff;
  return is_limit ? immediate + 4 : 0;
}

void do_error_check(const uint8_t* p, uint64_t rax, uint64_t& flags) {
  const bool of_rax = p[0] == 0x48;
  const int64_t limit = read_distance(p + (of_rax ? 2 : 1));
  uint64_t after;
  if (of_rax) {
    asm("cmp %2, %1; pushfq; pop %0" : "=r"(after) : "r"(rax), "r"(limit) : "cc", "memory");
  } else {
    asm("cmp %2, %1; pushfq; pop %0"
        : "=r"(after)
        : "r"(static_cast<uint32_t>(rax)), "r"(static_cast<uint32_t>(limit))
        : "cc", "memory");
  }
  constexpr uint64_t arithmetic = 0x8d5;  // CF PF AF ZF SF OF
  flags = (flags & ~arithmetic) | (after & arithmetic);
}

size_t movable_bytes(const uint8_t* p, size_t wanted) {
  size_t n = 0;
  while (n < wanted) {
    const size_t length = instruction_bytes(p + n);
    if (length == 0) return 0;
    n += length;
  }
  return n;
}

bool is_jumped_into(uint64_t site, uint64_t low, uint64_t high) {
  constexpr uint64_t short_reach = 132, opcode_bytes = 2, distance_bytes = 4;
  if (high - low < opcode_bytes + distance_bytes) return false;
  for (uint64_t a = low + opcode_bytes; a <= high - distance_bytes; a++) {
    const auto* p = reinterpret_cast<const uint8_t*>(a);
    const uint64_t near_target = a + distance_bytes + static_cast<uint64_t>(int64_t{read_distance(p)});
    if (lands_inside(near_target, site) && has_near_opcode(p)) return true;
    if (a + short_reach < site || a > site + short_reach) continue;
    const uint64_t short_target = a + 1 + static_cast<uint64_t>(int64_t{static_cast<int8_t>(p[0])});
    if (lands_inside(short_target, site) && is_short_jump(p[-1])) return true;
  }
  return false;
}

}  // namespace fusewire::code
