#include "gate/decode.h"

#include "gate/base.h"
#include "gate/maps.h"

namespace fusewire::gate {

namespace {

// An instruction of one of the plain forms: [REX] opcode ModRM [SIB] [displacement] [immediate].
struct Form {
  bool known = false;
  bool has_modrm = false;
  uint8_t immediate = 0;
};

// Moves and arithmetic between registers and memory; what compilers put behind a system call.
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

constexpr uint64_t jump_bytes = 5;

bool lands_inside(uint64_t target, uint64_t site) { return target > site && target < site + jump_bytes; }

int32_t read_distance(const uint8_t* p) {
  int32_t distance;
  __builtin_memcpy(&distance, p, sizeof distance);
  return distance;
}

bool short_jump_inside(const uint8_t* p, uint64_t site) {
  const bool is_short = p[0] == 0xeb || (p[0] & 0xf0) == 0x70 || (p[0] & 0xfc) == 0xe0;
  return is_short && lands_inside(address_of(p) + 2 + static_cast<uint64_t>(static_cast<int8_t>(p[1])), site);
}

bool near_jump_inside(const uint8_t* p, uint64_t site) {
  const bool one_byte = p[0] == 0xe8 || p[0] == 0xe9;
  const bool two_bytes = p[0] == 0x0f && (p[1] & 0xf0) == 0x80;
  if (!one_byte && !two_bytes) return false;
  const uint64_t opcode = one_byte ? 1 : 2;
  const auto distance = static_cast<int64_t>(read_distance(p + opcode));
  return lands_inside(address_of(p) + opcode + 4 + static_cast<uint64_t>(distance), site);
}

}  // namespace

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

bool may_be_jumped_into(uint64_t site) {
  constexpr uint64_t neighbourhood = 32 << 10, short_reach = 132, longest_jump = 6;
  Mapping m;
  if (!find_mapping(site, m)) return true;
  const uint64_t low = site - m.low < neighbourhood ? m.low : site - neighbourhood;
  const uint64_t high = (m.high - site < neighbourhood ? m.high : site + neighbourhood) - longest_jump;
  for (uint64_t a = low; a < high; a++) {
    const auto* p = reinterpret_cast<const uint8_t*>(a);
    if (near_jump_inside(p, site)) return true;
    if (a + short_reach > site && a < site + short_reach && short_jump_inside(p, site)) return true;
  }
  return false;
}

}  // namespace fusewire::gate
