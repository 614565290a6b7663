// What every part of the machinery uses: addresses, pages, text for messages.
#pragma once

#include <asm/unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gate/gate.h"
#include "gate/text.h"

namespace fusewire::gate {

inline constexpr uint64_t page_bytes = 4096;
constexpr uint64_t page_floor(uint64_t address) { return address & ~(page_bytes - 1); }
constexpr uint64_t page_ceiling(uint64_t address) { return page_floor(address + page_bytes - 1); }

template <class T>
uint64_t address_of(T* p) {
  return reinterpret_cast<uint64_t>(p);
}
template <class T>
long argument(T* p) {
  return reinterpret_cast<long>(p);
}

constexpr bool failed(long result) { return result < 0 && result > -4096; }

// Fresh zeroed memory, or nullptr.
void* map_memory(size_t bytes);
void unmap_memory(void* at, size_t bytes);

// map_aside, where nothing else of the gate's will lie within `room` bytes from the address.
long map_aside_with_room(size_t bytes, size_t room, int protection, int flags, int fd = -1);

}  // namespace fusewire::gate
