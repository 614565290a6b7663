#include "report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace fusewire::counters {
namespace {

constexpr int tenth = 10;
constexpr char heading[] =
    "# What each operation costs each party, each time it is done (bench/counters; docs/performance.md says what "
    "counts\n"
    "# as what). A party without a line does nothing. start_*, client: beyond what the same costs outside.\n"
    "# Compared by the tests; written anew by `make counters-update`.\n";

std::array<uint64_t, columns> values_of(const Counts& c) {
  return {c.calls, c.sigsys, c.sleeps, c.hand_overs, c.bytes, c.faults};
}

double median(const std::vector<PartyCounts>& each, int party, int column) {
  std::vector<uint64_t> values;
  for (const PartyCounts& once : each) values.push_back(values_of(once[party])[column]);
  std::ranges::sort(values);
  return static_cast<double>(values[values.size() / 2]);
}

double mean(const std::vector<PartyCounts>& each, int party, int column) {
  double sum = 0;
  for (const PartyCounts& once : each) sum += static_cast<double>(values_of(once[party])[column]);
  return sum / static_cast<double>(each.size());
}

// The mean, where what happens less than once in ten times is not told. Of what was done a few times only, and for
// programs, the median: one that went otherwise would be too much of a mean.
std::array<int64_t, columns> typical(const std::vector<PartyCounts>& each, int party, bool is_program) {
  constexpr size_t few = 16;
  std::array<int64_t, columns> typical{};
  for (int i = 0; i < columns && !each.empty(); i++) {
    const bool by_median = is_program || each.size() < few;
    const double value = by_median ? median(each, party, i) : mean(each, party, i);
    const double whole = std::round(value);
    typical[i] = std::llround((std::abs(value - whole) < 0.1 ? whole : value) * tenth);
  }
  return typical;
}

std::string shown(int64_t tenths) {
  if (tenths % tenth == 0) return fmt::format("{}", tenths / tenth);
  return fmt::format("{:.1f}", static_cast<double>(tenths) / tenth);
}

std::string text_of(const Line& line) {
  std::string text = fmt::format("{:<18} {:<8} {:<7}", line.operation, line.place, line.party);
  for (const int64_t value : line.value) text += fmt::format(" {:>10}", shown(value));
  return text + "\n";
}

std::string column_heading() {
  std::string text = fmt::format("{:<18} {:<8} {:<7}", "# operation", "in", "party");
  for (const char* name : column_names) text += fmt::format(" {:>10}", name);
  return text + "\n";
}

std::vector<Line> read_lines(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::vector<Line> lines;
  for (std::string text; std::getline(file, text);) {
    if (text.empty() || text[0] == '#') continue;
    std::istringstream words(text);
    Line line;
    words >> line.operation >> line.place >> line.party;
    for (int64_t& value : line.value) {
      double number = 0;
      words >> number;
      value = std::llround(number * tenth);
    }
    if (!words) throw std::runtime_error(fmt::format("{}: not a line of counts: {}", path, text));
    lines.push_back(line);
  }
  return lines;
}

// How far from what is expected is still the same. A program that is started finds other pages in memory each time,
// and searches what its user may see.
int64_t leeway(const Line& expected, int column) {
  constexpr int64_t few = 2 * tenth, pages = 5 * tenth, eighth = 8;
  if (column_names[column] == std::string("faults")) return pages;
  if (!starts_a_program(expected.operation)) return 1;
  const bool is_exact = expected.party == "client" && column_names[column] != std::string("bytes");
  return std::max(few, is_exact ? 0 : expected.value[column] / eighth);
}

class Differences {
 public:
  void tell(const Line& expected, const Line& now) {
    std::string text;
    bool is_worse = false;
    for (int i = 0; i < columns; i++) {
      const int64_t was = expected.value[i], is = now.value[i];
      if (std::abs(is - was) <= leeway(expected, i)) continue;
      is_worse = is_worse || is > was;
      text += fmt::format("{} {} {} -> {}", text.empty() ? "" : ",", column_names[i], shown(was), shown(is));
    }
    if (text.empty()) return;
    (is_worse ? worse_ : better_)++;
    fmt::print("{} {}, in {}, {}:{}\n", is_worse ? "WORSE " : "better", now.operation, now.place, now.party, text);
  }
  int worse() const { return worse_; }
  int better() const { return better_; }

 private:
  int worse_ = 0, better_ = 0;
};

}  // namespace

bool starts_a_program(const std::string& operation) { return operation.starts_with("start_"); }

void Report::add(const std::string& operation, Place place, const Sample& sample) {
  for (int party = 0; party < parties; party++) {
    const Line line{operation, place_names[static_cast<int>(place)], party_names[party],
                    typical(sample.each, party, starts_a_program(operation))};
    if (party == 0 || !line.is_zero()) lines_.push_back(line);
  }
}

void Report::print() const {
  fmt::print("{}", column_heading());
  for (const Line& line : lines_) fmt::print("{}", text_of(line));
}

bool Report::measured(const Line& line) const {
  return std::ranges::any_of(lines_,
                             [&](const Line& l) { return l.operation == line.operation && l.place == line.place; });
}

Line Report::expected_form(const Line& line) const {
  if (!starts_a_program(line.operation) || line.party != "client") return line;
  const Line native{line.operation, "native", "client", {}};
  const auto outside = std::ranges::find_if(lines_, [&](const Line& l) { return l.is_of(native); });
  Line beyond = line;
  for (int i = 0; i < columns && outside != lines_.end(); i++) beyond.value[i] -= outside->value[i];
  return beyond;
}

int Report::compare(const std::string& path, bool update) const {
  std::vector<Line> now;
  for (const Line& line : lines_) {
    if (line.place != "native" || !starts_a_program(line.operation)) now.push_back(expected_form(line));
  }
  const std::vector<Line> expected = update && !std::ifstream(path) ? now : read_lines(path);
  Differences differences;
  const auto counterpart = [](const std::vector<Line>& lines, const Line& of) {
    const auto found = std::ranges::find_if(lines, [&](const Line& l) { return l.is_of(of); });
    return found != lines.end() ? *found : Line{of.operation, of.place, of.party, {}};
  };
  for (const Line& line : now) differences.tell(counterpart(expected, line), line);
  for (const Line& line : expected) {
    const bool is_gone = std::ranges::none_of(now, [&](const Line& l) { return l.is_of(line); });
    if (is_gone && measured(line)) differences.tell(line, counterpart(now, line));
  }
  if (update) {
    write(path, now, expected);
    return 0;
  }
  if (differences.worse() + differences.better() == 0) return 0;
  fmt::print("{} lines are worse than in {}, {} better. Meant? Then: make counters-update\n", differences.worse(), path,
             differences.better());
  return 1;
}

// What was measured takes the place of what was expected of it; the rest stays where it is.
void Report::write(const std::string& path, const std::vector<Line>& now, const std::vector<Line>& expected) const {
  std::ofstream file(path);
  file << heading << column_heading();
  std::vector<bool> written(now.size());
  const auto write_all = [&](const auto& is_meant) {
    for (size_t i = 0; i < now.size(); i++) {
      if (written[i] || !is_meant(now[i])) continue;
      written[i] = true;
      if (!now[i].is_zero()) file << text_of(now[i]);
    }
  };
  for (const Line& line : expected) {
    if (!measured(line)) {
      file << text_of(line);
    } else {
      write_all([&](const Line& l) { return l.operation == line.operation && l.place == line.place; });
    }
  }
  write_all([](const Line&) { return true; });
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace fusewire::counters
