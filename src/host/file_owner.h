// FileOwner: whom an open file signals and how (Linux fown_struct; fcntl F_SETOWN, F_SETSIG). The kernel keeps it for
// us, as that of a pipe: the program's gate sets and asks it by fcntl(2) of the pipe, with the program's own ids and
// numbers of processes, and a byte in the pipe is a signal.
// Thread rule: one thread.
#pragma once

#include <expected>

#include "abi/unique_fd.h"

namespace fusewire::host {

class FileOwner {
 public:
  FileOwner() = default;
  FileOwner(FileOwner&&) = default;
  FileOwner& operator=(FileOwner&& other);
  ~FileOwner();
  // A descriptor whose owner is the file's; -errno.
  std::expected<UniqueFd, int> reach();
  // The descriptor that signals name from now on (si_fd): a number of the program's. Where there is no memory for it
  // they name another.
  void set_descriptor(int number);
  void signal();

 private:
  int make();
  void end();

  UniqueFd end_, other_end_;
};

}  // namespace fusewire::host
