#include "gate/dispatch/clock.h"

#include <elf.h>

#include <atomic>
#include <string_view>

#include "gate/gate.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using ClockGettime = int (*)(int, native::Time*);
constexpr int clock_monotonic_coarse = 6;
constexpr uint64_t not_searched = 0, not_there = 1;

std::atomic<uint64_t> function{not_searched};

struct Dynamic {
  uint64_t bias = 0;
  const Elf64_Sym* symbols = nullptr;
  const char* strings = nullptr;
  const uint32_t* hash = nullptr;      // DT_HASH
  const uint32_t* gnu_hash = nullptr;  // DT_GNU_HASH
};

Dynamic dynamic_of(uint64_t base) {
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(base);
  const auto* segment = reinterpret_cast<const Elf64_Phdr*>(base + header->e_phoff);
  const Elf64_Dyn* entry = nullptr;
  uint64_t bias = base;
  for (int i = 0; i < header->e_phnum; i++) {
    if (segment[i].p_type == PT_LOAD && segment[i].p_offset == 0) bias = base - segment[i].p_vaddr;
    if (segment[i].p_type == PT_DYNAMIC) entry = reinterpret_cast<const Elf64_Dyn*>(base + segment[i].p_offset);
  }
  Dynamic found;
  found.bias = bias;
  for (; entry != nullptr && entry->d_tag != DT_NULL; entry++) {
    const uint64_t at = bias + entry->d_un.d_ptr;
    if (entry->d_tag == DT_SYMTAB) found.symbols = reinterpret_cast<const Elf64_Sym*>(at);
    if (entry->d_tag == DT_STRTAB) found.strings = reinterpret_cast<const char*>(at);
    if (entry->d_tag == DT_HASH) found.hash = reinterpret_cast<const uint32_t*>(at);
    if (entry->d_tag == DT_GNU_HASH) found.gnu_hash = reinterpret_cast<const uint32_t*>(at);
  }
  return found;
}

// Newer kernels have no DT_HASH, whose second word says it: then the end of the last chain of the other table.
uint32_t symbol_count(const Dynamic& dynamic) {
  if (dynamic.hash != nullptr) return dynamic.hash[1];
  if (dynamic.gnu_hash == nullptr) return 0;
  const uint32_t bucket_count = dynamic.gnu_hash[0], first = dynamic.gnu_hash[1], bloom_words = dynamic.gnu_hash[2];
  const uint32_t* const buckets = dynamic.gnu_hash + 4 + size_t{bloom_words} * 2;
  const uint32_t* const chains = buckets + bucket_count;
  uint32_t last = 0;
  for (uint32_t i = 0; i < bucket_count; i++) last = buckets[i] > last ? buckets[i] : last;
  if (last < first) return 0;
  while ((chains[last - first] & 1) == 0) last++;
  return last + 1;
}

uint64_t find_function() {
  const uint64_t base = vdso_address();
  if (base == 0) return not_there;
  const Dynamic dynamic = dynamic_of(base);
  if (dynamic.symbols == nullptr || dynamic.strings == nullptr) return not_there;
  const uint32_t count = symbol_count(dynamic);
  for (uint32_t i = 0; i < count; i++) {
    const Elf64_Sym& symbol = dynamic.symbols[i];
    const char* name = dynamic.strings + symbol.st_name;
    if (symbol.st_shndx != SHN_UNDEF && std::string_view(name, text_length(name)) == "__vdso_clock_gettime")
      return dynamic.bias + symbol.st_value;
  }
  return not_there;
}

}  // namespace

uint64_t coarse_clock() {
  uint64_t at = function.load(std::memory_order_relaxed);
  if (at == not_searched) function.store(at = find_function(), std::memory_order_relaxed);
  native::Time now{};
  if (at == not_there || reinterpret_cast<ClockGettime>(at)(clock_monotonic_coarse, &now) != 0) return 0;
  return static_cast<uint64_t>(now.sec) * 1'000'000'000 + static_cast<uint64_t>(now.nsec);
}

}  // namespace fusewire::gate
