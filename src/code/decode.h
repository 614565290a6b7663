// Just enough of the x86-64 instruction set to move the instructions behind a `syscall`.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fusewire::code {

inline constexpr uint64_t syscall_bytes = 2;
// Of the jump that takes the place of a `syscall` and of what follows it.
inline constexpr uint64_t jump_bytes = 5;

// The C library's check for an error, `cmp $-4095|-4096, %rax` or the same of %eax, at p: its length, else 0.
size_t error_check_bytes(const uint8_t* p);
// What that instruction does: sets the arithmetic flags from rax.
void do_error_check(const uint8_t* p, uint64_t rax, uint64_t& flags);

// The length of the whole instructions at p that make up at least `wanted` bytes, when each is one that does the same
// wherever it stands (no jump, call or return, nothing relative to its own address); else 0.
size_t movable_bytes(const uint8_t* p, size_t wanted);

// Whether the four bytes at p, if they are a distance, belong to a jump or call. The two before must be readable.
bool has_near_opcode(const uint8_t* p);
// Whether the opcode in front of a distance of one byte is a jump's.
bool is_short_jump(uint8_t opcode);

// Whether any jump in the code from low to high may lead between the `syscall` at site and the end of the five bytes
// there. Errs to yes: every byte is taken for the beginning of a jump. All of it must be readable.
bool is_jumped_into(uint64_t site, uint64_t low, uint64_t high);

}  // namespace fusewire::code
