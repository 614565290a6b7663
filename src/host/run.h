// Runs a command in a new namespace: what `fusewire run` and `fusewire trace` do.
#pragma once

#include <expected>
#include <string>
#include <vector>

namespace fusewire::host {

struct RunOptions {
  std::vector<std::string> command;  // program and arguments; the program is searched in PATH as a shell does
  std::string trace_file;            // JSON lines of every step are appended; empty: no tracing
  std::string gate;                  // path of the fusewire-gate program; empty: next to this program
  bool verbose = false;              // leader and hosts tell what they do, on stderr
};

// The calling process becomes the namespace's leader until the command has ended and everything is cleaned up.
// The exit status for the shell: the command's (128 + signal when it was killed; 127 not found, 126 not executable),
// or a message for a person when the namespace could not be made.
std::expected<int, std::string> run(const RunOptions& options);

}  // namespace fusewire::host
