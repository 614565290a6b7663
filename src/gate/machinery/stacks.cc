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
// Address space counts against RLIMIT_AS, also against one that the program sets later: the pool begins small, doubles
// while calls sleep on nearly all of it, and stays as it is where there is no room.
constexpr uint64_t first_stacks = 32, kept_ahead = 8;
std::atomic<uint64_t> stack_count{0};
std::atomic<bool> growing{false};

long end_of_pool() { return static_cast<long>(gate_stacks + stack_count * stack_bytes); }

void free_all(uint64_t from, uint64_t to) {
  for (uint64_t i = from; i < to; i++) free_stacks[i / 64].fetch_or(1ull << i % 64);
}

}  // namespace

void stacks_start() {
  constexpr uint64_t all_bytes = GATE_STACKS * stack_bytes, first_bytes = first_stacks * stack_bytes;
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  const long at = map_aside_with_room(first_bytes, all_bytes, PROT_READ | PROT_WRITE, flags);
  // Without the pool every call runs on the program's own stack.
  if (failed(at)) return;
  gate_stacks = static_cast<uint64_t>(at);
  stack_count = first_stacks;
  free_all(0, first_stacks);
}

void stacks_grow(uint64_t claimed) {
  const uint64_t count = stack_count.load(std::memory_order_relaxed);
  if (claimed + kept_ahead < count || count == 0 || count == GATE_STACKS || growing.exchange(true)) return;
  const uint64_t from = stack_count;
  const long wanted = end_of_pool();
  const long at = raw_syscall(__NR_mmap, wanted, from * stack_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (at == wanted) {
    stack_count = 2 * from;
    free_all(from, 2 * from);
  }
  growing = false;
}

void stacks_after_fork(const StackRecord& own) {
  if (gate_stacks == 0) return;
  // The other threads' calls stayed with the parent; what they held back must not be found by the next owner.
  for (uint64_t i = 0; i < stack_count; i++) {
    if (i == own.index || (free_stacks[i / 64] & 1ull << i % 64) != 0) continue;
    StackRecord& record = record_of_stack(gate_stacks + i * stack_bytes);
    record.deferred = 0;
    record.owner = nullptr;
  }
  // A thread of the parent may have been at it: what it has mapped is not known to be there.
  if (growing && stack_count < GATE_STACKS)
    raw_syscall(__NR_munmap, end_of_pool(), static_cast<long>(stack_count * stack_bytes));
  growing = false;
  free_all(0, stack_count);
  if (own.index < GATE_STACKS) free_stacks[own.index / 64].fetch_and(~(1ull << own.index % 64));
}

bool on_gate_stack(uint64_t address) {
  return gate_stacks != 0 && address - gate_stacks < stack_count.load(std::memory_order_relaxed) * stack_bytes;
}

StackRecord& record_of_stack(uint64_t address) {
  const uint64_t top = gate_stacks + ((address - gate_stacks) / stack_bytes + 1) * stack_bytes;
  return *reinterpret_cast<StackRecord*>(top - R_SIZE);
}

void release_stack(uint64_t index) { free_stacks[index / 64].fetch_or(1ull << index % 64); }

void release_stacks_of(const void* owner) {
  for (uint64_t i = 0; i < stack_count; i++) {
    if ((free_stacks[i / 64] & 1ull << i % 64) != 0) continue;
    StackRecord& record = record_of_stack(gate_stacks + i * stack_bytes);
    if (record.owner != owner) continue;
    if (record.left_memory != nullptr) unmap_memory(record.left_memory, record.left_bytes);
    record.left_memory = nullptr;
    record.owner = nullptr;
    record.deferred = 0;
    release_stack(i);
  }
}

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
