// counters: how many system calls, sleeps and hand-overs an operation costs each party. The numbers are exact.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "call_names.h"
#include "places.h"
#include "report.h"

namespace {

using namespace fusewire::counters;

struct Known {
  std::string name, what;
};

std::vector<Known> known_operations(const std::filesystem::path& programs) {
  const std::string command = "'" + (programs / "counters_client").string() + "' --list";
  FILE* list = popen(command.c_str(), "r");
  std::vector<Known> known;
  char line[512];
  while (list != nullptr && std::fgets(line, sizeof line, list) != nullptr) {
    std::string text(line);
    text.erase(text.find_last_not_of('\n') + 1);
    const size_t tab = text.find('\t');
    if (tab != std::string::npos) known.push_back({text.substr(0, tab), text.substr(tab + 1)});
  }
  if (list == nullptr || pclose(list) != 0 || known.empty()) throw std::runtime_error("cannot run: " + command);
  return known;
}

struct Arguments {
  std::vector<std::string> in, operations;
  std::string expected, programs;
  int warm_up = 10, times = 64;
  bool list = false, update = false, calls = false;
};

void print_calls(const std::string& operation, Place place, const Sample& sample) {
  fmt::print("{}, in {}:\n", operation, place_names[static_cast<int>(place)]);
  for (const Step& step : sample.last) {
    fmt::print("    {:<7} {:>7}  {}{}{}{}\n", party_names[static_cast<int>(step.party)], step.tid,
               step.caught ? "SIGSYS for " : "", call_name(step.nr),
               step.result ? fmt::format(" = {}", *step.result) : std::string(),
               step.slept && step.handed_over ? ", wakes another and sleeps"
               : step.slept                   ? ", sleeps"
               : step.handed_over             ? ", wakes another"
                                              : "");
  }
}

int run(const Arguments& arguments) {
  const std::filesystem::path programs = arguments.programs.empty()
                                             ? std::filesystem::read_symlink("/proc/self/exe").parent_path()
                                             : std::filesystem::absolute(arguments.programs);
  const auto known = known_operations(programs);
  if (arguments.list) {
    for (const Known& operation : known) fmt::print("{:<20} {}\n", operation.name, operation.what);
    return 0;
  }
  Measurement measurement{programs, arguments.operations, arguments.warm_up, arguments.times};
  if (measurement.operations.empty()) {
    for (const Known& operation : known) measurement.operations.push_back(operation.name);
  }
  std::vector<Place> where;
  for (const std::string& name : arguments.in) where.push_back(*place_named(name));
  if (where.empty() && arguments.expected.empty())
    where = {Place::native, Place::kernel, Place::beside, Place::virtual_};
  if (where.empty()) where = {Place::native, Place::beside, Place::virtual_};
  Report report;
  const auto add = [&](Place place, const Measurement& m) {
    for (const Sample& sample : measure(place, m)) {
      report.add(m.operations.at(sample.operation), place, sample);
      if (arguments.calls) print_calls(m.operations.at(sample.operation), place, sample);
    }
  };
  for (const Place place : where) {
    if (const std::string why = why_not(place); !why.empty()) {
      fmt::print(stderr, "not measured in '{}': {}\n", place_names[static_cast<int>(place)], why);
      continue;
    }
    add(place, measurement);
  }
  if (arguments.expected.empty()) {
    report.print();
    return 0;
  }
  std::erase_if(measurement.operations, [](const std::string& name) { return !starts_a_program(name); });
  if (!measurement.operations.empty() && std::ranges::find(where, Place::native) == where.end())
    add(Place::native, measurement);
  return report.compare(arguments.expected, arguments.update);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Counts exactly what an operation costs client, host and daemon", "counters");
  app.add_option("--in", arguments.in,
                 "where: native, kernel (its FUSE), beside (a plain directory in a namespace), virtual")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"native", "kernel", "beside", "virtual"}));
  app.add_option("--times", arguments.times, "how often each is counted")->check(CLI::PositiveNumber);
  app.add_option("--warm-up", arguments.warm_up, "how often each is done before")->check(CLI::PositiveNumber);
  app.add_option("--expected", arguments.expected,
                 "compare with this file: status 1 when anything is otherwise, 77 when nothing can be counted");
  app.add_flag("--update", arguments.update, "write what is counted into the file");
  app.add_option("--programs", arguments.programs, "where fusewire and counters_client are (default: beside this)");
  app.add_flag("--calls", arguments.calls, "print each call too, in the order in which they began");
  app.add_flag("--list", arguments.list, "what can be counted");
  app.add_option("operation", arguments.operations, "which ones (default: all)");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(arguments);
  } catch (const NotAllowed& e) {
    fmt::print(stderr, "counters: {}\n", e.what());
    return 77;
  } catch (const std::exception& e) {
    fmt::print(stderr, "counters: {}\n", e.what());
    return 2;
  }
}
