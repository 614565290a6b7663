// NamespaceDirectory: the private directory (0700) of one namespace, <parent>/<leader pid>.<random>, and its parent,
// $XDG_RUNTIME_DIR/fusewire, else $TMPDIR/fusewire-<uid>, else /tmp/fusewire-<uid>: the first whose variable names a
// directory to write in. The leader
// holds a lock (flock) on the directory as long as it lives: who gets the lock knows that the namespace is dead, and
// removes it.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "abi/unique_fd.h"

namespace fusewire::leader {

class NamespaceDirectory {
 public:
  // Makes parent and directory, and removes what dead leaders of the same user left. Refuses a parent that is not ours
  // alone: errors are sentences for a person.
  static std::expected<NamespaceDirectory, std::string> create();
  NamespaceDirectory(NamespaceDirectory&&) = default;

  const std::string& path() const { return path_; }
  std::string file(const char* name) const { return path_ + "/" + name; }
  // The directory with all it holds, and the parent when it is empty.
  void remove();

 private:
  NamespaceDirectory(std::string path, UniqueFd lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::string path_;
  UniqueFd lock_;
};

// Directories of this user's namespaces whose leaders live.
std::vector<std::string> live_namespaces();

}  // namespace fusewire::leader
