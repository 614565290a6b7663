#include "cli/version.h"

namespace fusewire::cli {

const char* version() { return FUSEWIRE_VERSION; }

}  // namespace fusewire::cli
