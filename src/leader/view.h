// View: what `fusewire run` makes when it is itself in a namespace: its command stays in that one, sees what is mounted
// there, and what it mounts is its own (leader_protocol.h). Thread rule: one thread.
#pragma once

#include <expected>
#include <optional>
#include <set>
#include <string>

#include "abi/unique_fd.h"
#include "leader/run.h"

namespace fusewire::leader {

class View {
 public:
  // Nothing when this process stands in no namespace. Errors are sentences for a person.
  static std::expected<std::optional<View>, std::string> open(const RunOptions& options);

  // The calling process, a child that is about to execute the command, stands in it from now on. 0 or an errno.
  int enter(const RunOptions& options) const;
  // Unmounts what is mounted in it. Its daemons; report: what was refused, when that was wanted.
  std::set<pid_t> end(std::string& report);

 private:
  View(UniqueFd socket, uint32_t id) : socket_(std::move(socket)), id_(id) {}
  std::expected<void, std::string> set_up(const RunOptions& options);

  UniqueFd socket_;
  uint32_t id_;
};

}  // namespace fusewire::leader
