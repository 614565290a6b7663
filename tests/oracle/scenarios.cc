#include "oracle/scenarios.h"

namespace fusewire::oracle {

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all = [] {
    std::vector<Scenario> table;
    for (auto part : {name_scenarios, attr_scenarios, file_scenarios, dir_scenarios, wrong_scenarios, edge_scenarios,
                      limit_scenarios, stale_scenarios, privilege_scenarios, data_scenarios})
      for (Scenario& scenario : part()) table.push_back(std::move(scenario));
    return table;
  }();
  return all;
}

const std::vector<KnownDifference>& known_differences() {
  static const std::vector<KnownDifference> table = {};
  return table;
}

}  // namespace fusewire::oracle
