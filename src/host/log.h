// Log: the namespace's log: one line, with its time, per call; leader and hosts append to the same file.
// Thread rule: any; lines are written whole.
#pragma once

#include <string>
#include <string_view>

#include "abi/unique_fd.h"

namespace fusewire::host {

// What programs say may hold anything: control characters become '?'.
std::string printable(std::string_view text);

class Log {
 public:
  Log() = default;
  // verbose: lines go to stderr too.
  Log(UniqueFd file, bool verbose) : file_(std::move(file)), verbose_(verbose) {}

  // Of text, what is printable.
  void line(std::string_view text) const;
  int fd() const { return file_.get(); }
  bool verbose() const { return verbose_; }

 private:
  UniqueFd file_;
  bool verbose_ = false;
};

}  // namespace fusewire::host
