#include "cli/message.h"

#include <cstdio>
#include <string>

namespace fusewire::cli {

int complain(int status, std::string_view text) {
  std::string line = "fusewire: ";
  for (const char c : text) line += c == '\n' ? ' ' : c;
  while (line.back() == ' ') line.pop_back();
  line += '\n';
  std::fputs(line.c_str(), stderr);
  return status;
}

}  // namespace fusewire::cli
