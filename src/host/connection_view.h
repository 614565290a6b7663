// ConnectionView: the memory in which the half publishes what it knows of a connection's names (kernel/view.h), and the
// counters of what clients found there. Both are made when the first client asks for them.
//
// Clients get the rows read-only: the file cannot be mapped for writing any more, nor change its size. The counters are
// theirs to write, and nothing but numbers is believed of them.
// Owner: the CallServer; outlives the mount. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>

#include "abi/unique_fd.h"
#include "kernel/view.h"
#include "syscall/mount.h"

namespace fusewire::host {

class ConnectionView {
 public:
  ConnectionView();
  ~ConnectionView();
  ConnectionView(const ConnectionView&) = delete;

  // A descriptor of the rows, for a client that may see them. The first one makes the half publish. -errno. Under the
  // connection lock.
  std::expected<UniqueFd, int> rows(syscall::Mount& mount);
  // A descriptor of the counters.
  std::expected<UniqueFd, int> counters();
  // Up to here the rows are used.
  uint64_t used_bytes(syscall::Mount& mount) const;
  // The handle of the inode whose row begins at this cell (Inode::view_row); 0: it has none.
  uint64_t handle_of(uint32_t cell) const;
  // How many calls clients have answered by themselves.
  uint64_t hits() const;

 private:
  class Rows;

  std::unique_ptr<Rows> rows_;
  UniqueFd counters_file_;
  const uint64_t* counters_ = nullptr;
};

}  // namespace fusewire::host
