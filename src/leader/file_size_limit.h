#pragma once

#include <sys/resource.h>

#include <csignal>

namespace fusewire::leader {

// A small limit of the user's is for files of his.
class NoFileSizeLimit {
 public:
  NoFileSizeLimit() {
    ::getrlimit(RLIMIT_FSIZE, &limit_);
    const rlimit raised{limit_.rlim_max, limit_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &raised);
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGXFSZ, &ignore, &action_);
  }
  ~NoFileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &limit_);
    ::sigaction(SIGXFSZ, &action_, nullptr);
  }
  NoFileSizeLimit(const NoFileSizeLimit&) = delete;

 private:
  rlimit limit_{};
  struct sigaction action_ {};
};

}  // namespace fusewire::leader
