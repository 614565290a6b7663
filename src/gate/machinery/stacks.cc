// The pool of gate stacks: one mapping, pages come with use, a bit each for "free" (entry.S claims and releases them).
#include <linux/mman.h>

#include "gate/machinery/base.h"
#include "gate/machinery/machinery.h"

namespace fusewire::gate {

extern "C" {
// One word more than there are stacks: the bit behind the last is what a call without a pool stack releases.
std::atomic<uint64_t> free_stacks[GATE_STACKS / 64 + 1];
uint64_t gate_stacks;  // the lowest address
uint64_t altstacks_low = ~0ull;
uint64_t altstacks_high = 0;
}

namespace {

constexpr uint64_t stack_bytes = 1ull << GATE_STACK_SHIFT;
constexpr uint64_t pool_bytes = GATE_STACKS * stack_bytes;

void all_free() {
  for (int i = 0; i < GATE_STACKS / 64; i++) free_stacks[i] = ~0ull;
}

}  // namespace

void stacks_start() {
  const long at =
      raw_syscall(__NR_mmap, 0, pool_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  // Without the pool (a tight RLIMIT_AS) every call runs on the program's own stack.
  if (failed(at)) return;
  gate_stacks = static_cast<uint64_t>(at);
  all_free();
}

void stacks_after_fork(const StackRecord& own) {
  if (gate_stacks == 0) return;
  // The other threads' calls stayed with the parent; what they held back must not be found by the next owner.
  for (uint64_t i = 0; i < GATE_STACKS; i++) {
    if (i == own.index || (free_stacks[i / 64] & 1ull << i % 64) != 0) continue;
    record_of_stack(gate_stacks + i * stack_bytes).deferred = 0;
  }
  all_free();
  if (own.index < GATE_STACKS) free_stacks[own.index / 64].fetch_and(~(1ull << own.index % 64));
}

bool on_gate_stack(uint64_t address) { return gate_stacks != 0 && address - gate_stacks < pool_bytes; }

StackRecord& record_of_stack(uint64_t address) {
  const uint64_t top = gate_stacks + ((address - gate_stacks) / stack_bytes + 1) * stack_bytes;
  return *reinterpret_cast<StackRecord*>(top - R_SIZE);
}

void release_stack(uint64_t index) { free_stacks[index / 64].fetch_or(1ull << index % 64); }

void note_alternate_stack(const AlternateStack& stack) {
  if ((stack.flags & alternate_stack_disabled) != 0) return;
  // Grows only: a stale range costs a system call, a missing one a corrupted stack.
  std::atomic_ref low(altstacks_low), high(altstacks_high);
  uint64_t seen = low;
  while (stack.low < seen && !low.compare_exchange_weak(seen, stack.low)) continue;
  const uint64_t end = stack.low + stack.size;
  seen = high;
  while (end > seen && !high.compare_exchange_weak(seen, end)) continue;
}

}  // namespace fusewire::gate
