#include "leader/process_tree.h"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace fusewire::leader {
namespace {

struct Process {
  pid_t parent = 0;
  bool ended = false;
};

bool read_process(const std::filesystem::path& directory, Process& process) {
  std::ifstream file(directory / "stat");
  std::string line;
  if (!std::getline(file, line)) return false;
  // "pid (name) state ppid ...": the name may hold spaces and parentheses.
  const size_t behind_name = line.rfind(')');
  char state = 0;
  if (behind_name == std::string::npos ||
      std::sscanf(line.c_str() + behind_name + 1, " %c %d", &state, &process.parent) != 2)
    return false;
  process.ended = state == 'Z' || state == 'X';
  return true;
}

}  // namespace

std::set<pid_t> descendants_of(pid_t root) {
  std::multimap<pid_t, pid_t> children;
  std::set<pid_t> ended;
  std::error_code error;
  std::filesystem::directory_iterator entry("/proc", error), end;
  for (; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename();
    Process process;
    if (!std::isdigit(static_cast<unsigned char>(name[0])) || !read_process(entry->path(), process)) continue;
    const pid_t pid = std::atoi(name.c_str());
    children.emplace(process.parent, pid);
    if (process.ended) ended.insert(pid);
  }
  std::set<pid_t> found;
  std::vector<pid_t> todo{root};
  while (!todo.empty()) {
    const auto [first, last] = children.equal_range(todo.back());
    todo.pop_back();
    for (auto child = first; child != last; ++child) {
      todo.push_back(child->second);
      if (!ended.contains(child->second)) found.insert(child->second);
    }
  }
  return found;
}

}  // namespace fusewire::leader
