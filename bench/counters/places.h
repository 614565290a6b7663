// Places: where the operations are measured, and how a place is set up and left again.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tracer.h"

namespace fusewire::counters {

enum class Place {
  native,   // a plain directory, outside
  kernel,   // a mount of the real kernel's FUSE, outside
  beside,   // a plain directory, in a namespace that has mounts
  virtual_  // a mount in a namespace
};
inline constexpr int places = 4;
inline constexpr const char* place_names[places] = {"native", "kernel", "beside", "virtual"};
std::optional<Place> place_named(const std::string& name);

struct Measurement {
  std::filesystem::path programs;  // where fusewire and counters_client are
  std::vector<std::string> operations;
  int warm_up = 0, times = 0;
};

// Why this cannot be measured here; empty when it can.
std::string why_not(Place place);

// A sample of each operation, in their order. Throws std::runtime_error.
std::vector<Sample> measure(Place place, const Measurement& measurement);

}  // namespace fusewire::counters
