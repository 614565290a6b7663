// Texts of requests and of the mount table, in fields of a fixed size that end with a NUL.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>

namespace fusewire::leader {

// What does not fit is cut off.
template <size_t n>
void copy_text(char (&to)[n], std::string_view from) {
  const size_t size = std::min(from.size(), n - 1);
  std::memmove(to, from.data(), size);
  std::memset(to + size, 0, n - size);
}

inline bool is_below(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

}  // namespace fusewire::leader
