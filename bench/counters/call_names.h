// The names of the system calls.
#pragma once

#include <cstdint>
#include <string>

namespace fusewire::counters {

std::string call_name(uint64_t nr);

}  // namespace fusewire::counters
