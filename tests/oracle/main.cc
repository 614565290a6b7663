// The oracle: each scenario on the real kernel and on our half, traces compared (docs/architecture.md, D8).
//
//   oracle --gtest_filter=...      compares, as tests
//   oracle --record [SCENARIO...]  writes the real kernel's traces anew into traces/
//   oracle --print real|ours SCENARIO
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "oracle/scenarios.h"

namespace fusewire::oracle {
namespace {

std::string trace_path(const Scenario& scenario) { return fmt::format("{}/{}.txt", ORACLE_TRACES, scenario.name); }

std::string recorded(const Scenario& scenario) {
  std::ifstream file(trace_path(scenario));
  std::stringstream text;
  text << file.rdbuf();
  return file ? text.str() : "";
}

std::string real_trace(const Scenario& scenario) {
  return normalise(run_on_real_kernel(scenario.script, scenario.steps));
}
std::string our_trace(const Scenario& scenario) { return normalise(run_on_our_half(scenario.script, scenario.steps)); }

class Oracle : public testing::TestWithParam<size_t> {
 protected:
  const Scenario& scenario() const { return scenarios()[GetParam()]; }
};

// The kernel's trace as our half must give it.
std::string expected_of_ours(const Scenario& scenario, std::string trace) {
  for (const KnownDifference& known : known_differences()) {
    if (std::strcmp(known.scenario, scenario.name) != 0) continue;
    const size_t at = trace.find(known.kernel);
    if (at == trace.npos) {
      ADD_FAILURE() << "the kernel does not do this any more; drop the known difference: " << known.reason;
      continue;
    }
    trace.replace(at, std::strlen(known.kernel), known.ours);
  }
  return trace;
}

TEST_P(Oracle, our_half_does_as_the_recorded_kernel) {
  const std::string kernel = recorded(scenario());
  ASSERT_FALSE(kernel.empty()) << "no recorded trace " << trace_path(scenario()) << "; run oracle --record "
                               << scenario().name << " where /dev/fuse is usable";
  EXPECT_EQ(difference(expected_of_ours(scenario(), kernel), our_trace(scenario())), "");
}

TEST_P(Oracle, this_kernel_does_as_the_recorded_one) {
  if (const std::string reason = real_kernel_unusable(); !reason.empty())
    GTEST_SKIP() << "compared with recorded traces of Linux 6.18 only: " << reason;
  if (real_kernel_name() != "Linux 6.18")
    GTEST_SKIP() << "compared with recorded traces of Linux 6.18 only: this is " << real_kernel_name();
  EXPECT_EQ(difference(recorded(scenario()), real_trace(scenario())), "");
}

INSTANTIATE_TEST_SUITE_P(, Oracle, testing::Range(size_t{0}, scenarios().size()),
                         [](const auto& info) { return std::string(scenarios()[info.param].name); });

int record(int count, char** names) {
  for (const Scenario& scenario : scenarios()) {
    bool wanted = count == 0;
    for (int i = 0; i < count; ++i) wanted = wanted || std::strcmp(names[i], scenario.name) == 0;
    if (!wanted) continue;
    const std::string trace = real_trace(scenario);
    std::ofstream(trace_path(scenario)) << trace;
  }
  return 0;
}

int print(const std::string& which, const std::string& name) {
  for (const Scenario& scenario : scenarios())
    if (scenario.name == name) fmt::print("{}", which == "ours" ? our_trace(scenario) : real_trace(scenario));
  return 0;
}

}  // namespace
}  // namespace fusewire::oracle

int main(int argc, char** argv) {
  using namespace fusewire::oracle;
  try {
    if (argc > 1 && std::strcmp(argv[1], "--record") == 0) return record(argc - 2, argv + 2);
    if (argc > 3 && std::strcmp(argv[1], "--print") == 0) return print(argv[2], argv[3]);
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
