// Code that takes the place of a `syscall`: a jump at the site leads to a trampoline, which enters the gate as the
// signal would and comes back to the instructions behind. Written by the gate as it meets sites, and by the leader in
// advance into the copies of code that the gate maps (abi/mount_table.h, PreparedCode). Freestanding.
//
//    0: lea  return_address(%rip), %rcx
//    7: lea  resume(%rip), %r11
//   14: jmp  *entry(%rip)
//   20: resume: the displaced instructions, then jmp back
// or, where it is the `mov $nr, %eax` in front that made room (displaced is 0; the `syscall` stays, for who jumps to
// it):
//    0: mov  $nr, %eax
//    5: lea  return_address(%rip), %rcx
//   12: mov  %rcx, %r11
//   15: jmp  *entry(%rip)
#pragma once

#include <cstddef>
#include <cstdint>

#include "code/decode.h"

namespace fusewire::code {

inline constexpr uint64_t number_bytes = 5;  // mov $nr, %eax

struct alignas(64) Trampoline {
  uint8_t code[48];
  uint64_t entry;      // of the gate; 0: there is no trampoline here
  uint32_t displaced;  // bytes
  int32_t to_site;     // from the trampoline

  static constexpr uint64_t resume_offset = 20;
  static constexpr uint64_t max_displaced = 48 - resume_offset - jump_bytes;
};
static_assert(sizeof(Trampoline) == 64);

// For a site of which `behind` are the instructions after its `syscall`, to run at the address `at`.
void build_trampoline(Trampoline& t, uint64_t at, uint64_t site, const uint8_t* behind, uint64_t displaced,
                      uint64_t entry);
// The other form; number: the `mov` in front of the site.
void build_number_trampoline(Trampoline& t, uint64_t at, uint64_t site, const uint8_t* number, uint64_t entry);

// Whether an endbr64, where a function begins that is called by its address, stands in front of p.
bool follows_landing(const uint8_t* p);
// Whether the instruction at `start`, in front of a `syscall`, is the `mov $nr, %eax` of a function that does nothing
// else: its address says that it begins one. The four bytes before must be readable. nr: what it loads.
bool is_number_stub(const uint8_t* start, uint64_t address, int32_t& nr);

// How many bytes behind a `syscall` may be displaced: whole instructions, at least three bytes, none of which cares
// where it stands. 0: none. Sixteen bytes must be readable.
uint64_t displaceable_bytes(const uint8_t* behind);

}  // namespace fusewire::code
