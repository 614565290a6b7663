// What every writable file system must do, as rules to run on a directory of any mounted one: with real system calls,
// and nothing known of what is behind. Linux tmpfs is the reference: it passes all of them.
//
// A rule gets a fresh directory, made and removed around it. Rules that need root, or something the file system need
// not have, skip themselves and say why.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace fusewire::conformance {

struct Failure {
  std::string what;
};
struct Skip {
  std::string why;
};

inline void expect(bool holds, const std::string& what) {
  if (!holds) throw Failure{what};
}
// A call that must succeed; its value.
inline long must(long result, const std::string& what) {
  if (result < 0) throw Failure{what + ": " + std::strerror(errno)};
  return result;
}
// A call that must fail with this errno.
inline void must_fail(long result, int wanted, const std::string& what) {
  int got = result < 0 ? errno : 0;
  if (got != wanted) {
    throw Failure{what + ": wanted " + std::strerror(wanted) + ", got " + (got ? std::strerror(got) : "success")};
  }
}

// The thread sanitizer holds signals back while a thread sleeps, and lets no child of fork start threads. Such a child
// of the address sanitizer's may find its locks held by threads that it does not have.
inline void needs_the_systems_own_threads() {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  throw Skip{"not in a program of a sanitizer that has locks of its own"};
#endif
}

template <typename T>
void expect_equal(const T& got, const T& wanted, const std::string& what) {
  if (got == wanted) return;
  if constexpr (std::is_arithmetic_v<T>) {
    throw Failure{what + ": wanted " + std::to_string(wanted) + ", got " + std::to_string(got)};
  } else {
    throw Failure{what + ": wanted '" + std::string(wanted) + "', got '" + std::string(got) + "'"};
  }
}

// Calls on names below one directory.
class Place {
 public:
  explicit Place(std::string root) : root_(std::move(root)) {}

  std::string path(std::string_view name) const { return root_ + "/" + std::string(name); }
  const std::string& root() const { return root_; }

  int open(std::string_view name, int flags, mode_t mode = 0644) const {
    return static_cast<int>(must(::open(path(name).c_str(), flags | O_CLOEXEC, mode), "open " + std::string(name)));
  }
  void write_file(std::string_view name, std::string_view text) const;
  std::string read_file(std::string_view name) const;
  struct stat status(std::string_view name) const {
    struct stat out;
    must(lstat(path(name).c_str(), &out), "lstat " + std::string(name));
    return out;
  }
  bool exists(std::string_view name) const {
    struct stat out;
    return lstat(path(name).c_str(), &out) == 0;
  }
  void mkdir(std::string_view name, mode_t mode = 0755) const {
    must(::mkdir(path(name).c_str(), mode), "mkdir " + std::string(name));
  }
  int rename(std::string_view from, std::string_view to, unsigned flags = 0) const {
    return renameat2(AT_FDCWD, path(from).c_str(), AT_FDCWD, path(to).c_str(), flags);
  }
  std::vector<std::string> list(std::string_view name = ".") const;

 private:
  std::string root_;
};

// An open descriptor of a rule.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { ::close(fd_); }
  operator int() const { return fd_; }

 private:
  int fd_;
};

struct Rule {
  const char* name;
  void (*check)(const Place&);
};

// All rules, in tests/support/conformance_*.cc.
const std::vector<Rule>& rules();

struct Outcome {
  enum Kind { passed, failed, skipped } kind;
  std::string text;
};

// Runs one rule in a fresh directory below directory.
Outcome run_rule(const Rule& rule, const std::string& directory);

}  // namespace fusewire::conformance
