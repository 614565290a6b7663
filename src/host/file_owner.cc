#include "host/file_owner.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

namespace fusewire::host {

FileOwner& FileOwner::operator=(FileOwner&& other) {
  end();
  end_ = std::move(other.end_);
  other_end_ = std::move(other.other_end_);
  return *this;
}

FileOwner::~FileOwner() { end(); }

// The end of the pipe is no signal.
void FileOwner::end() {
  if (end_) ::fcntl(end_.get(), F_SETFL, O_NONBLOCK);
}

int FileOwner::make() {
  if (end_) return 0;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return -errno;
  end_.reset(ends[0]);
  other_end_.reset(ends[1]);
  return ::fcntl(end_.get(), F_SETFL, O_NONBLOCK | O_ASYNC) == 0 ? 0 : -errno;
}

std::expected<UniqueFd, int> FileOwner::reach() {
  if (const int error = make(); error < 0) return std::unexpected(error);
  UniqueFd fd(::fcntl(end_.get(), F_DUPFD_CLOEXEC, 0));
  if (!fd) return std::unexpected(-errno);
  return fd;
}

// The kernel notes the number by which O_ASYNC was switched on. In a table of descriptors of its own a thread has
// every number free.
void FileOwner::set_descriptor(int number) {
  if (make() < 0) return;
  const auto switch_on = [this, number] {
    if (::unshare(CLONE_FILES) != 0 || ::dup2(end_.get(), number) < 0) return;
    ::fcntl(number, F_SETFL, O_NONBLOCK);
    ::fcntl(number, F_SETFL, O_NONBLOCK | O_ASYNC);
  };
  try {
    std::thread(switch_on).join();
  } catch (const std::system_error&) {
    return;
  }
}

void FileOwner::signal() {
  char byte = 0;
  if (!end_ || ::write(other_end_.get(), &byte, 1) != 1) return;
  (void)!::read(end_.get(), &byte, 1);
}

}  // namespace fusewire::host
