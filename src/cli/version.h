// The version of the program, from CMake's project.
#pragma once

namespace fusewire::cli {

const char* version();

}  // namespace fusewire::cli
