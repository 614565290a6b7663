#include "code/trampoline.h"

namespace fusewire::code {

namespace {

constexpr uint64_t landing_bytes = 4;

void put_distance(uint8_t* at, uint64_t from, uint64_t to) {
  const auto distance = static_cast<int32_t>(static_cast<int64_t>(to - from));
  __builtin_memcpy(at, &distance, sizeof distance);
}

void finish(Trampoline& t, uint64_t at, uint64_t site, uint64_t displaced, uint64_t entry) {
  t.entry = entry;
  t.displaced = static_cast<uint32_t>(displaced);
  t.to_site = static_cast<int32_t>(static_cast<int64_t>(site - at));
}

}  // namespace

void build_trampoline(Trampoline& t, uint64_t at, uint64_t site, const uint8_t* behind, uint64_t displaced,
                      uint64_t entry) {
  constexpr uint64_t resume_offset = Trampoline::resume_offset;
  const uint64_t after = site + syscall_bytes;
  static constexpr uint8_t head[] = {0x48, 0x8d, 0x0d, 0, 0,    0,    0, 0x4c, 0x8d, 0x1d,
                                     0,    0,    0,    0, 0xff, 0x25, 0, 0,    0,    0};
  static_assert(sizeof head == resume_offset);
  __builtin_memcpy(t.code, head, sizeof head);
  put_distance(t.code + 3, at + 7, after);
  put_distance(t.code + 10, at + 14, at + resume_offset);
  put_distance(t.code + 16, at + 20, at + offsetof(Trampoline, entry));
  __builtin_memcpy(t.code + resume_offset, behind, displaced);
  uint8_t* back = t.code + resume_offset + displaced;
  back[0] = 0xe9;
  put_distance(back + 1, at + resume_offset + displaced + jump_bytes, after + displaced);
  finish(t, at, site, displaced, entry);
}

void build_number_trampoline(Trampoline& t, uint64_t at, uint64_t site, const uint8_t* number, uint64_t entry) {
  static constexpr uint8_t tail[] = {0x48, 0x8d, 0x0d, 0, 0, 0, 0, 0x49, 0x89, 0xcb, 0xff, 0x25, 0, 0, 0, 0};
  __builtin_memcpy(t.code, number, number_bytes);
  __builtin_memcpy(t.code + number_bytes, tail, sizeof tail);
  put_distance(t.code + 8, at + 12, site + syscall_bytes);
  put_distance(t.code + 17, at + 21, at + offsetof(Trampoline, entry));
  finish(t, at, site, 0, entry);
}

bool follows_landing(const uint8_t* p) {
  return __builtin_memcmp(p - landing_bytes, "\xf3\x0f\x1e\xfa", landing_bytes) == 0;
}

bool is_number_stub(const uint8_t* start, uint64_t address, int32_t& nr) {
  constexpr uint64_t function_alignment = 16;
  const uint64_t place = address % function_alignment;
  if ((place != 0 && place != landing_bytes) || start[0] != 0xb8) return false;
  if (place == landing_bytes && !follows_landing(start)) return false;
  __builtin_memcpy(&nr, start + 1, sizeof nr);
  return true;
}

uint64_t displaceable_bytes(const uint8_t* behind) {
  const uint64_t n = movable_bytes(behind, jump_bytes - syscall_bytes);
  return n <= Trampoline::max_displaced ? n : 0;
}

}  // namespace fusewire::code
