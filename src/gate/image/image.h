// The gate that the program `fusewire` carries in itself: an ELF file, linked in. One file is the product.
#pragma once

#include <cstddef>
#include <span>

namespace fusewire::gate {

// The whole file.
std::span<const std::byte> image();

// As argv[0] it makes `fusewire` the gate (carried_start.cc).
inline constexpr char image_name[] = "fusewire-gate";

}  // namespace fusewire::gate
