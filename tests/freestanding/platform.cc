#include "platform.h"

// The program's main; its result is the exit status.
extern "C" int freestanding_main();

extern "C" {

void* memcpy(void* to, const void* from, size_t bytes) {
  void* begin = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
  return begin;
}

void* memset(void* to, int value, size_t bytes) {
  void* begin = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
  return begin;
}

void* memmove(void* to, const void* from, size_t bytes) {
  auto* target = static_cast<char*>(to);
  auto* source = static_cast<const char*>(from);
  if (target <= source || target >= source + bytes) return memcpy(to, from, bytes);
  while (bytes-- > 0) asm volatile("movb %1, %0" : "=m"(target[bytes]) : "r"(source[bytes]));
  return to;
}

int memcmp(const void* left, const void* right, size_t bytes) {
  auto* a = static_cast<const unsigned char*>(left);
  auto* b = static_cast<const unsigned char*>(right);
  for (; bytes > 0 && *a == *b; --bytes) ++a, ++b;
  return bytes > 0 ? *a - *b : 0;
}

[[noreturn]] void freestanding_start() { fusewire::freestanding::exit(freestanding_main()); }

}  // extern "C"

// The kernel enters with the stack aligned to 16 bytes; a function expects it as after a call.
asm(R"(
.globl _start
_start:
  xor %ebp, %ebp
  call freestanding_start
)");

namespace fusewire::freestanding {

long system_call(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

void print(const char* text) {
  constexpr long write = 1, standard_output = 1;
  size_t length = 0;
  while (text[length]) ++length;
  system_call(write, standard_output, reinterpret_cast<long>(text), static_cast<long>(length));
}

void exit(int status) {
  constexpr long exit_group = 231;
  for (;;) system_call(exit_group, status);
}

}  // namespace fusewire::freestanding
