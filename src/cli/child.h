// A child process that runs a command while this program waits for it.
#pragma once

#include <string>
#include <vector>

namespace fusewire::cli {

// Runs command (searched in PATH) with this program's standard streams and waits for its end. SIGTERM and SIGHUP are
// passed on to it; SIGINT and SIGQUIT reach it from the terminal and do not end this program meanwhile.
// The exit status as a shell has it: the command's, 128 + signal, 127 not found, 126 not executable (after a message).
int run_child(const std::vector<std::string>& command);

}  // namespace fusewire::cli
