// The report: a line an operation, place and party, in the same form for a person and in the file of what is expected.
//
// In that file the client's lines of operations that start a program are what it costs beyond the same on the same
// machine outside ('native'): what a program and its libc do themselves is theirs.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "places.h"

namespace fusewire::counters {

// Of one operation, place and party, each time it is done. In tenths, so that work which is done for several at once
// shows.
inline constexpr int columns = 6;
inline constexpr std::array<const char*, columns> column_names{"calls",      "SIGSYS", "sleeps",
                                                               "hand-overs", "bytes",  "faults"};
struct Line {
  std::string operation, place, party;
  std::array<int64_t, columns> value{};

  bool is_zero() const { return value == std::array<int64_t, columns>{}; }
  bool is_of(const Line& o) const { return operation == o.operation && place == o.place && party == o.party; }
};

bool starts_a_program(const std::string& operation);

class Report {
 public:
  void add(const std::string& operation, Place place, const Sample& sample);
  // To stdout.
  void print() const;
  // With a file of such lines, where a line that is not there is one of zeros. Tells each difference; 0: there is none.
  // With update the file is written anew, with its old lines of what was not measured.
  int compare(const std::string& path, bool update) const;

 private:
  bool measured(const Line& line) const;
  Line expected_form(const Line& line) const;
  void write(const std::string& path, const std::vector<Line>& now, const std::vector<Line>& expected) const;

  std::vector<Line> lines_;
};

}  // namespace fusewire::counters
