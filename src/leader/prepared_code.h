// Code that is rewritten once for all programs of a namespace: the C library's and its loader's, copies in which each
// system-call site that is certain to be one leads to a trampoline. Gates map them in place of the files' own
// (abi/mount_table.h, PreparedCode), so a program that starts takes no signal for them and copies no page.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "abi/mount_table.h"

namespace fusewire::leader {

struct PreparedFile {
  abi::PreparedCode code{};      // its place is not known yet
  std::vector<std::byte> bytes;  // the trampolines, then the code
};

// Where prepared code enters the gate: its address, 0 in an image that does not say.
uint64_t entry_of_gate(std::span<const std::byte> image);

// No value: it is no library of this machine, or has no site that is certain.
std::vector<PreparedFile> prepare(const std::vector<std::string>& paths, uint64_t entry);

// The loaders and C libraries of this system.
std::vector<std::string> usual_libraries();

}  // namespace fusewire::leader
