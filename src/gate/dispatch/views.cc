#include "gate/dispatch/views.h"

namespace fusewire::gate {

bool Views::see(uint32_t view) const {
  if (view == 0) return true;
  for (uint32_t i = 0; i < depth; i++) {
    if (id[i] == view) return true;
  }
  return false;
}

bool Views::enter(uint32_t view) {
  if (depth == abi::views_max) return false;
  id[depth] = view;
  depth++;
  return true;
}

void Views::copy(const Views& from) {
  for (uint32_t i = 0; i < abi::views_max; i++) id[i] = from.id[i].load();
  depth = from.depth.load();
}

}  // namespace fusewire::gate
