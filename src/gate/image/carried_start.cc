// `fusewire` as the gate, where no other file of the gate can be executed: no memfd, and everything that can be written
// is mounted noexec. The gate's segments are copied to their addresses, and it starts with the stack as the kernel made
// it.
//
// Runs before the program's own relocation: no libc, no thread-local storage, nothing but addresses relative to the
// instruction.
#include <elf.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstddef>
#include <cstdint>

extern "C" __attribute__((visibility("hidden"))) const unsigned char fusewire_gate_image[];

namespace {

constexpr uint64_t page = 4096;

long call(long number, uint64_t a, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0, uint64_t e = 0, uint64_t f = 0) {
  long result;
  register uint64_t r10 asm("r10") = d;
  register uint64_t r8 asm("r8") = e;
  register uint64_t r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

bool starts_with(const char* text, const char* front, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (text[i] != front[i]) return false;
  return true;
}

// As `fusewire run` starts it (gate/image/image.h), or as one image of the gate the next (gate/machinery/start.h).
bool is_gate(const uint64_t* stack) {
  const auto count = stack[0];
  const auto* arguments = reinterpret_cast<const char* const*>(stack + 1);
  const auto* environment = arguments + count + 1;
  if (count > 0 && starts_with(arguments[0], "fusewire-gate", sizeof "fusewire-gate")) return true;
  return environment[0] != nullptr && environment[1] != nullptr &&
         starts_with(environment[0], "FUSEWIRE_GATE=", sizeof "FUSEWIRE_GATE=" - 1) &&
         starts_with(environment[1], "FUSEWIRE_FILE=", sizeof "FUSEWIRE_FILE=" - 1);
}

[[noreturn]] void fail() {
  constexpr char text[] =
      "fusewire: cannot map the gate: its place in memory is taken, or there is no memory left. (Within a namespace "
      "another one can be made only where memfd_create is allowed.)\n";
  call(SYS_write, 2, reinterpret_cast<uint64_t>(text), sizeof text - 1);
  call(SYS_exit_group, 126);
  __builtin_unreachable();
}

void load(const Elf64_Phdr& segment) {
  const uint64_t low = segment.p_vaddr & ~(page - 1);
  const uint64_t bytes = (segment.p_vaddr + segment.p_memsz - low + page - 1) & ~(page - 1);
  const long at = call(SYS_mmap, low, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                       ~uint64_t{0}, 0);
  if (at != static_cast<long>(low)) fail();
  auto* to = reinterpret_cast<unsigned char*>(segment.p_vaddr);
  const unsigned char* from = fusewire_gate_image + segment.p_offset;
  uint64_t left = segment.p_filesz;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(left)::"memory");
  const uint64_t protection = ((segment.p_flags & PF_R) != 0 ? PROT_READ : 0) |
                              ((segment.p_flags & PF_W) != 0 ? PROT_WRITE : 0) |
                              ((segment.p_flags & PF_X) != 0 ? PROT_EXEC : 0);
  if (call(SYS_mprotect, low, bytes, protection) < 0) fail();
}

}  // namespace

// The gate's entry, or 0: the program itself is to start.
extern "C" uint64_t fusewire_carried_start(const uint64_t* stack) {
  if (!is_gate(stack)) return 0;
  const auto& header = *reinterpret_cast<const Elf64_Ehdr*>(fusewire_gate_image);
  const auto* segments = reinterpret_cast<const Elf64_Phdr*>(fusewire_gate_image + header.e_phoff);
  for (unsigned i = 0; i < header.e_phnum; i++)
    if (segments[i].p_type == PT_LOAD) load(segments[i]);
  return header.e_entry;
}
