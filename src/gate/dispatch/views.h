// The views that a process stands in (leader_protocol.h): `fusewire run` within the namespace makes one.
//
// Thread rule: any thread. A process enters a view before it has others; there is no way out.
#pragma once

#include <atomic>
#include <cstdint>

#include "abi/leader_protocol.h"

namespace fusewire::gate {

struct Views {
  std::atomic<uint32_t> depth{0};
  std::atomic<uint32_t> id[abi::views_max] = {};  // the outermost first

  // The innermost one; 0: none.
  uint32_t own() const { return depth == 0 ? 0 : id[depth - 1].load(); }
  // Whether what is mounted in the view is seen.
  bool see(uint32_t view) const;
  // false: there is no room.
  bool enter(uint32_t view);
  void copy(const Views& from);
};

}  // namespace fusewire::gate
