#include "host/memory_bound.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>

namespace fusewire::host {
namespace {

std::string contents_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<uint64_t> field(std::string_view text, std::string_view name) {
  const size_t at = text.find(name);
  if (at == std::string_view::npos) return std::nullopt;
  text.remove_prefix(at + name.size());
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const std::optional<uint64_t> kilobytes = number(text);
  if (!kilobytes || *kilobytes > UINT64_MAX / 1024) return std::nullopt;
  return *kilobytes * 1024;
}

void apply_control_groups(MemoryState& memory) {
  const std::string line = contents_of("/proc/self/cgroup");
  constexpr std::string_view unified = "0::";
  if (!line.starts_with(unified)) return;
  std::string group = line.substr(unified.size(), line.find('\n') - unified.size());
  while (group.size() > 1) {
    const std::string directory = "/sys/fs/cgroup" + group;
    const auto limit = number(contents_of(directory + "/memory.max"));
    const auto current = number(contents_of(directory + "/memory.current"));
    if (limit && current) {
      memory.total = std::min(memory.total, *limit);
      memory.available = std::min(memory.available, *limit - std::min(*limit, *current));
    }
    group.resize(std::max<size_t>(group.rfind('/'), 1));
    if (group == "/") return;
  }
}

}  // namespace

std::optional<MemoryState> parse_meminfo(const std::string& text) {
  const auto total = field(text, "MemTotal:"), available = field(text, "MemAvailable:");
  if (!total || !available) return std::nullopt;
  return MemoryState{*total, *available};
}

std::optional<MemoryState> memory_state() {
  std::optional<MemoryState> memory = parse_meminfo(contents_of("/proc/meminfo"));
  if (memory) apply_control_groups(*memory);
  return memory;
}

}  // namespace fusewire::host
