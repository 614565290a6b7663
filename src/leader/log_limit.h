// LogLimit: how much of what a process says goes into the namespace's log. A line that repeats the last one is counted,
// not written, and so is what goes beyond `lines_max` in a window; the next line, or the end, tells how many were left
// out. Thread rule: one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fusewire::leader {

class LogLimit {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr uint32_t lines_max = 32;  // of one process in one window
  static constexpr std::chrono::seconds window{10};
  static constexpr size_t processes_max = 256;  // remembered at once

  // What is to be written now that the process says text: none, one or more lines.
  std::vector<std::string> take(uint32_t pid, std::string_view text, Clock::time_point now);
  // What was left out and has not been told yet. Everything is forgotten.
  std::vector<std::string> rest();

 private:
  struct Speaker {
    Clock::time_point begin;  // of the window
    uint32_t lines = 0;       // written in it
    std::string last = {};
    uint64_t repeated = 0, left_out = 0;
  };

  static void tell(uint32_t pid, Speaker& speaker, std::vector<std::string>& lines);
  void forget_oldest(std::vector<std::string>& lines);

  std::map<uint32_t, Speaker> speakers_;  // by pid
};

}  // namespace fusewire::leader
