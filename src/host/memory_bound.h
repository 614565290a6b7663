// How much memory cached names may take. Linux has no bound but memory itself; a host process has its share of what
// there is: a quarter of the machine's or the control group's memory, and never more beyond what it has already than
// half of what is available. So a hundred mounts share what there is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace fusewire::host {

struct MemoryState {
  uint64_t total = 0, available = 0;  // bytes
};

constexpr uint64_t names_bound(const MemoryState& memory, uint64_t used) {
  const uint64_t share = memory.total / 4, more = used + memory.available / 2;
  return share < more ? share : more;
}

// As /proc/meminfo says; nullopt when it does not.
std::optional<MemoryState> parse_meminfo(const std::string& text);
// The machine's, or less where the control group (version 2) of this process, or one above, has a limit.
std::optional<MemoryState> memory_state();

}  // namespace fusewire::host
