#include "call_names.h"

#include <fmt/format.h>

#include <algorithm>

namespace fusewire::counters {
namespace {

struct Name {
  uint64_t nr;
  const char* name;
};
constexpr Name names[] = {
#include "call_names.inc"
};

}  // namespace

std::string call_name(uint64_t nr) {
  const auto found = std::ranges::find(names, nr, &Name::nr);
  return found != std::end(names) ? found->name : fmt::format("call {}", nr);
}

}  // namespace fusewire::counters
