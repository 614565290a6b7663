// The table of scenarios: what the real kernel and our half must do alike. A scenario's name is the rule it shows.
#pragma once

#include <string>
#include <vector>

#include "oracle/user.h"

namespace fusewire::oracle {

struct Scenario {
  const char* name;
  Script script;
  Steps steps;
};

const std::vector<Scenario>& scenarios();

// A difference from Linux that is meant, with its reason; docs/ name them. In the kernel's trace of the scenario,
// `kernel` (whole lines, "" for none) becomes `ours` before the traces are compared.
struct KnownDifference {
  const char* scenario;
  const char* kernel;
  const char* ours;
  const char* reason;
};
const std::vector<KnownDifference>& known_differences();

// The parts of the table, one file each.
std::vector<Scenario> name_scenarios();       // lookup, create, remove, rename, link
std::vector<Scenario> attr_scenarios();       // attributes, permissions, xattrs, statfs
std::vector<Scenario> file_scenarios();       // open, data, locks, close
std::vector<Scenario> dir_scenarios();        // directories
std::vector<Scenario> wrong_scenarios();      // malformed replies, notifications, ends of the connection, old minors
std::vector<Scenario> edge_scenarios();       // odd paths, flags and arguments, other users
std::vector<Scenario> limit_scenarios();      // offsets, sizes, splits
std::vector<Scenario> stale_scenarios();      // what the cache believes after changes, errors and notifications
std::vector<Scenario> privilege_scenarios();  // who may, set-id bits, umask
std::vector<Scenario> data_scenarios();       // writes and reads through the cache, O_SYNC, locks

}  // namespace fusewire::oracle
