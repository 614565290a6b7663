// What is mapped at an address of the program.
#pragma once

#include <cstdint>

namespace fusewire::gate {

struct Mapping {
  uint64_t low = 0, high = 0;
  bool readable = false, writable = false, executable = false, shared = false, from_file = false;
};

// false: nothing is mapped there, or /proc cannot be read. The answer of find_mapping is fresh.
bool find_mapping(uint64_t address, Mapping& mapping);

}  // namespace fusewire::gate
