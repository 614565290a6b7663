#include "gate/machinery/base.h"

#include <linux/mman.h>

#include "gate/machinery/machinery.h"

namespace {

// To start `rep movsb` costs some 30 cycles, and most texts are short. Everything is read before anything is written,
// so both may overlap.
constexpr size_t short_move = 32;

template <class Word>
void move_two(char* to, const char* from, size_t n) {
  Word front, back;
  __builtin_memcpy(&front, from, sizeof front);
  __builtin_memcpy(&back, from + n - sizeof back, sizeof back);
  __builtin_memcpy(to, &front, sizeof front);
  __builtin_memcpy(to + n - sizeof back, &back, sizeof back);
}

struct Words {
  uint64_t first, second;
};

void move_short(char* to, const char* from, size_t n) {
  if (n >= sizeof(Words)) return move_two<Words>(to, from, n);
  if (n >= 8) return move_two<uint64_t>(to, from, n);
  if (n >= 4) return move_two<uint32_t>(to, from, n);
  if (n >= 2) return move_two<uint16_t>(to, from, n);
  if (n == 1) *to = *from;
}

}  // namespace

// The compiler and the standard headers call these of their own accord. General registers only: words, and plain `rep`
// string instructions.
extern "C" {

void* memcpy(void* to, const void* from, size_t n) {
  if (n <= short_move) {
    move_short(static_cast<char*>(to), static_cast<const char*>(from), n);
    return to;
  }
  void* result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
  return result;
}

void* memmove(void* to, const void* from, size_t n) {
  if (n <= short_move || static_cast<char*>(to) <= static_cast<const char*>(from)) return memcpy(to, from, n);
  char* last = static_cast<char*>(to) + n - 1;
  const char* last_from = static_cast<const char*>(from) + n - 1;
  asm volatile("std; rep movsb; cld" : "+D"(last), "+S"(last_from), "+c"(n)::"memory");
  return to;
}

void* memset(void* to, int value, size_t n) {
  void* result = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
  return result;
}

int memcmp(const void* a, const void* b, size_t n) {
  const auto* x = static_cast<const unsigned char*>(a);
  const auto* y = static_cast<const unsigned char*>(b);
  for (; n > 0; n--, x++, y++) {
    if (*x != *y) return *x - *y;
  }
  return 0;
}

void* memchr(const void* in, int value, size_t n) {
  const auto* p = static_cast<const unsigned char*>(in);
  for (; n > 0; n--, p++) {
    if (*p == static_cast<unsigned char>(value)) return const_cast<unsigned char*>(p);
  }
  return nullptr;
}

size_t strlen(const char* text) { return fusewire::gate::text_length(text); }

long guarded_copy(void* to, const void* from, size_t n);
long guarded_copy_string(char* to, const char* from, size_t room);
}

// What the standard headers call instead of throwing.
namespace std {
void __throw_out_of_range_fmt(const char* what, ...) { fusewire::gate::die("internal error:", what); }
}  // namespace std

namespace fusewire::gate {

namespace {

// The gate's memory lies below its image, which the program's heap follows. ThreadSanitizer and MemorySanitizer call a
// mapping unexpected that lies outside the parts of the address space they know; this one they all take for a
// program's.
constexpr uint64_t aside_low = 0x551800000000, aside_high = 0x551ff0000000;
std::atomic<uint64_t> aside_next{aside_low};

uint64_t place_aside(uint64_t bytes) {
  uint64_t at = aside_next.load();
  uint64_t place;
  do {
    place = at + bytes <= aside_high ? at : aside_low;
  } while (!aside_next.compare_exchange_weak(at, place + bytes));
  return place;
}

}  // namespace

long map_aside_with_room(size_t bytes, size_t room, int protection, int flags, int fd) {
  constexpr long taken = -17;  // EEXIST
  constexpr int tries = 16;
  for (int i = 0; i < tries; i++) {
    const uint64_t wanted = place_aside(page_ceiling(room));
    const long r = raw_syscall(__NR_mmap, static_cast<long>(wanted), static_cast<long>(bytes), protection,
                               flags | MAP_FIXED_NOREPLACE, fd, 0);
    if (r != taken) return r;
  }
  return raw_syscall(__NR_mmap, 0, static_cast<long>(bytes), protection, flags, fd, 0);
}

long map_aside(size_t bytes, int protection, int flags, int fd) {
  return map_aside_with_room(bytes, bytes, protection, flags, fd);
}

void* map_memory(size_t bytes) {
  const long r = map_aside(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  return failed(r) ? nullptr : reinterpret_cast<void*>(r);
}

void unmap_memory(void* at, size_t bytes) { raw_syscall(__NR_munmap, argument(at), static_cast<long>(bytes)); }

int copy_from_program(void* to, const void* from, size_t bytes) {
  return static_cast<int>(guarded_copy(to, from, bytes));
}

int copy_to_program(void* to, const void* from, size_t bytes) {
  return static_cast<int>(guarded_copy(to, from, bytes));
}

long copy_string_from_program(char* to, const char* from, size_t room) {
  const long length = guarded_copy_string(to, from, room);
  return length == -1 ? -36 /* ENAMETOOLONG */ : length;
}

void die(const char* what, const char* detail) {
  Text<1024> line;
  line.add("fusewire-gate: ").add(what);
  if (detail[0] != 0) line.add(" ").add(detail);
  line.add('\n');
  raw_syscall(__NR_write, 2, argument(line.data()), static_cast<long>(line.length()));
  raw_syscall(__NR_exit_group, 127);
  __builtin_unreachable();
}

}  // namespace fusewire::gate
