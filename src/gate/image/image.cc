#include "gate/image/image.h"

extern "C" const std::byte fusewire_gate_image[], fusewire_gate_image_end[];

namespace fusewire::gate {

std::span<const std::byte> image() { return {fusewire_gate_image, fusewire_gate_image_end}; }

}  // namespace fusewire::gate
