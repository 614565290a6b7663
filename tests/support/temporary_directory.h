// A directory of a test's own in /tmp, which goes with all that is in it.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <stdexcept>
#include <string>

namespace fusewire {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/fusewire-test-XXXXXX";
    if (!::mkdtemp(name)) throw std::runtime_error("cannot make a directory in /tmp");
    path_ = std::filesystem::canonical(name);
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string at(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace fusewire
