#include "leader/log_limit.h"

#include <fmt/format.h>

#include <algorithm>

namespace fusewire::leader {

std::vector<std::string> LogLimit::take(uint32_t pid, std::string_view text, Clock::time_point now) {
  std::vector<std::string> lines;
  auto found = speakers_.find(pid);
  if (found == speakers_.end()) {
    if (speakers_.size() >= processes_max) forget_oldest(lines);
    found = speakers_.emplace(pid, Speaker{.begin = now}).first;
  }
  Speaker& speaker = found->second;
  if (now - speaker.begin >= window) {
    tell(pid, speaker, lines);
    speaker = {.begin = now};
  }
  if (speaker.lines > 0 && speaker.last == text) {
    ++speaker.repeated;
    return lines;
  }
  if (speaker.lines >= lines_max) {
    ++speaker.left_out;
    return lines;
  }
  tell(pid, speaker, lines);
  ++speaker.lines;
  speaker.last = text;
  lines.push_back(fmt::format("process {}: {}", pid, text));
  return lines;
}

void LogLimit::tell(uint32_t pid, Speaker& speaker, std::vector<std::string>& lines) {
  if (speaker.repeated > 0)
    lines.push_back(fmt::format("process {}: the last line {} times more", pid, speaker.repeated));
  if (speaker.left_out > 0) lines.push_back(fmt::format("process {}: {} more lines left out", pid, speaker.left_out));
  speaker.repeated = speaker.left_out = 0;
}

void LogLimit::forget_oldest(std::vector<std::string>& lines) {
  const auto oldest = std::min_element(speakers_.begin(), speakers_.end(),
                                       [](const auto& a, const auto& b) { return a.second.begin < b.second.begin; });
  tell(oldest->first, oldest->second, lines);
  speakers_.erase(oldest);
}

std::vector<std::string> LogLimit::rest() {
  std::vector<std::string> lines;
  for (auto& [pid, speaker] : speakers_) tell(pid, speaker, lines);
  speakers_.clear();
  return lines;
}

}  // namespace fusewire::leader
