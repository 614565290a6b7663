// Code that was rewritten in advance, mapped out of the gate's own file in place of a library's.
#include <errno.h>
#include <linux/mman.h>

#include "gate/machinery/base.h"
#include "gate/machinery/machinery.h"
#include "gate/machinery/maps.h"

namespace fusewire::gate {

namespace {

// Where trampolines are mapped. Only grows; read without a lock, also by signal handlers. A library that is unmapped
// leaves its own behind, and finds them there when it comes back to the same place.
struct Trampolines {
  std::atomic<uint64_t> low{0};  // written last
  uint64_t bytes = 0;
  const abi::PreparedCode* code = nullptr;
};
constexpr int trampolines_max = 8;
Trampolines trampolines[trampolines_max];
std::atomic<int> trampolines_taken{0};

bool map_part(uint64_t at, uint64_t bytes, uint64_t place, int flags) {
  const long r = raw_syscall(__NR_mmap, static_cast<long>(at), static_cast<long>(bytes), PROT_READ | PROT_EXEC,
                             MAP_PRIVATE | flags, gate_descriptor(), static_cast<long>(place));
  if (r == static_cast<long>(at)) return true;
  if (!failed(r)) raw_syscall(__NR_munmap, r, static_cast<long>(bytes));
  return false;
}

bool are_mapped(const abi::PreparedCode& code, uint64_t low) {
  for (const Trampolines& t : trampolines) {
    if (t.low.load(std::memory_order_acquire) != low || t.code != &code) continue;
    Mapping m;
    return find_mapping(low, m) && m.executable && !m.writable && m.from_file;
  }
  return false;
}

bool map_trampolines(const abi::PreparedCode& code, uint64_t low) {
  const int index = trampolines_taken.fetch_add(1);
  if (index >= trampolines_max) {
    trampolines_taken = trampolines_max;
    return false;
  }
  Trampolines& t = trampolines[index];
  if (!map_part(low, code.trampoline_bytes, code.place, MAP_FIXED_NOREPLACE)) return false;
  t.bytes = code.trampoline_bytes;
  t.code = &code;
  t.low.store(low, std::memory_order_release);
  return true;
}

bool is_in_prepared_code(uint64_t address) {
  for (const Trampolines& t : trampolines) {
    const uint64_t low = t.low.load(std::memory_order_acquire);
    if (low != 0 && address - (low + t.code->below) < t.code->bytes) return true;
  }
  return false;
}

}  // namespace

bool map_prepared_for_loader(const abi::PreparedCode& code, uint64_t at, uint64_t bytes, uint64_t offset) {
  const char here = 0;
  if (!on_gate_stack(address_of(&here))) return false;
  const uint64_t caller = record_of_stack(address_of(&here)).program->return_address;
  return is_in_prepared_code(caller) && map_prepared(code, at, bytes, offset);
}

bool map_prepared(const abi::PreparedCode& code, uint64_t at, uint64_t bytes, uint64_t offset) {
  if (gate_descriptor() < 0 || offset != code.offset || bytes != code.bytes || at <= code.below) return false;
  const uint64_t low = at - code.below;
  if (!are_mapped(code, low) && !map_trampolines(code, low)) return false;
  return map_part(at, bytes, code.place + code.trampoline_bytes, MAP_FIXED);
}

code::Trampoline* prepared_trampoline_at(uint64_t pc) {
  for (const Trampolines& t : trampolines) {
    const uint64_t low = t.low.load(std::memory_order_acquire);
    if (low == 0 || pc - low >= t.bytes) continue;
    return reinterpret_cast<code::Trampoline*>(low + (pc - low) / sizeof(code::Trampoline) * sizeof(code::Trampoline));
  }
  return nullptr;
}

}  // namespace fusewire::gate
