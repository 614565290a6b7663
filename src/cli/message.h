// How the program speaks to people when something is wrong: one line on stderr, and an exit status.
#pragma once

#include <string_view>

namespace fusewire::cli {

inline constexpr int exit_failed = 1;  // it was tried and did not work
inline constexpr int exit_usage = 2;   // it makes no sense: wrong arguments, an impossible request

// Prints "fusewire: <text>" as one line (newlines become spaces); returns status.
int complain(int status, std::string_view text);

}  // namespace fusewire::cli
