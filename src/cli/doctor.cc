#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/checkup.h"
#include "cli/commands.h"

namespace fusewire::cli {

namespace {

void print_json(const std::vector<Finding>& findings) {
  auto list = nlohmann::json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"name", finding.name},
                    {"verdict", verdict_name(finding.verdict)},
                    {"detail", finding.detail},
                    {"consequence", finding.consequence},
                    {"required", finding.required}});
  }
  const nlohmann::json report{{"can_run", can_run(findings)}, {"findings", list}};
  constexpr int indent = 2;
  fmt::print("{}\n", report.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_lines(const std::vector<Finding>& findings) {
  size_t width = 0;
  for (const Finding& finding : findings) width = std::max(width, finding.name.size());
  for (const Finding& finding : findings) {
    fmt::print("{:<7}  {:<{}}  {}: {}\n", verdict_name(finding.verdict), finding.name, width, finding.detail,
               finding.consequence);
  }
  fmt::print("\n{}\n", can_run(findings) ? "Fusewire can run here." : "Fusewire cannot run here.");
}

}  // namespace

int doctor_command(bool json, const std::string& gate) {
  const auto findings = check_machine(gate);
  if (json) {
    print_json(findings);
  } else {
    print_lines(findings);
  }
  return can_run(findings) ? 0 : 1;
}

}  // namespace fusewire::cli
