// What this machine and container allow: one finding a capability, with what it means for Fusewire.
#pragma once

#include <string>
#include <vector>

namespace fusewire::cli {

enum class Verdict { ok, limited, no };

struct Finding {
  std::string name;  // "Syscall User Dispatch"
  Verdict verdict = Verdict::ok;
  std::string detail;       // what was found
  std::string consequence;  // what follows from it
  bool required = false;    // "no" means that Fusewire cannot run here
};

std::string verdict_name(Verdict verdict);

// Tries everything; changes nothing. gate: the gate program's path, or empty for the one that this program carries.
std::vector<Finding> check_machine(const std::string& gate);

// Whether nothing that is required is missing.
bool can_run(const std::vector<Finding>& findings);

}  // namespace fusewire::cli
