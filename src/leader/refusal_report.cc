#include "leader/refusal_report.h"

#include <fmt/format.h>
#include <string.h>
#include <sys/syscall.h>

#include <algorithm>
#include <vector>

#include "host/log.h"

namespace fusewire::leader {

namespace {

struct Name {
  uint32_t number;
  std::string_view text;
};

#define CALL(name) \
  { SYS_##name, #name }
// The calls that programs fall back on, and how they end.
constexpr Name names[] = {CALL(read),       CALL(write),         CALL(readv),
                          CALL(writev),     CALL(pread64),       CALL(pwrite64),
                          CALL(preadv),     CALL(pwritev),       CALL(open),
                          CALL(openat),     CALL(close),         CALL(stat),
                          CALL(lstat),      CALL(fstat),         CALL(newfstatat),
                          CALL(statx),      CALL(lseek),         CALL(mmap),
                          CALL(sendfile),   CALL(splice),        CALL(ioctl),
                          CALL(fcntl),      CALL(mkdir),         CALL(mkdirat),
                          CALL(mknod),      CALL(mknodat),       CALL(unlink),
                          CALL(unlinkat),   CALL(rename),        CALL(renameat2),
                          CALL(link),       CALL(linkat),        CALL(symlink),
                          CALL(chdir),      CALL(fchdir),        CALL(mount),
                          CALL(umount2),    CALL(chroot),        CALL(execve),
                          CALL(exit_group), CALL(io_submit),     CALL(io_uring_setup),
                          CALL(getdents64), CALL(fsync),         CALL(ftruncate),
                          CALL(fallocate),  CALL(access),        CALL(faccessat2),
                          CALL(readlink),   CALL(readlinkat),    CALL(bind),
                          CALL(connect),    CALL(utimensat),     CALL(copy_file_range),
                          CALL(poll),       CALL(fanotify_mark), CALL(inotify_add_watch)};
#undef CALL

std::string name_of(uint32_t number) {
  const auto* known =
      std::find_if(std::begin(names), std::end(names), [&](const Name& n) { return n.number == number; });
  return known == std::end(names) ? fmt::format("call {}", number) : std::string(known->text);
}

template <size_t room>
std::string clean(const char (&field)[room]) {
  return host::printable({field, ::strnlen(field, room)});
}

}  // namespace

void RefusalReport::take(uint32_t pid, const abi::LeaderRequest& request) {
  if (request.value[0] == abi::log_next) {
    const auto last = last_.find(pid);
    if (last == last_.end()) return;
    ++refusals_[last->second].next[name_of(request.value[1])];
    last_.erase(last);
  } else if (request.type[0] != 0) {
    take_refusal(pid,
                 {clean(request.source), clean(request.type), clean(request.path), static_cast<int>(request.value[1])});
  }
}

void RefusalReport::take_refusal(uint32_t pid, Key key) {
  last_.erase(pid);
  if (refusals_.size() >= refusals_max && !refusals_.contains(key)) {
    ++left_out_;
    return;
  }
  ++refusals_[key].count;
  if (last_.size() < refusals_max) last_.emplace(pid, std::move(key));
}

std::string RefusalReport::text() const {
  if (refusals_.empty()) return "no call was refused\n";
  std::vector<const std::pair<const Key, Refusal>*> sorted;
  for (const auto& entry : refusals_) sorted.push_back(&entry);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto* a, const auto* b) { return a->second.count > b->second.count; });
  std::string out =
      fmt::format("{:>7}  {:<15} {:<18} {:<16} {}\n", "TIMES", "PROGRAM", "CALL", "ERROR", "WHY; WHAT CAME NEXT");
  for (const auto* entry : sorted) {
    const auto& [program, call, why, error] = entry->first;
    const char* error_name = ::strerrorname_np(error);
    out += fmt::format("{:>7}  {:<15} {:<18} {:<16} {}", entry->second.count, program, call,
                       error_name != nullptr ? error_name : std::to_string(error), why);
    const char* mark = "; ";
    for (const auto& [next, count] : entry->second.next) {
      out += fmt::format("{}{} {}", mark, count, next);
      mark = ", ";
    }
    out += '\n';
  }
  if (left_out_ != 0) out += fmt::format("{:>7}  more, of other kinds\n", left_out_);
  return out;
}

}  // namespace fusewire::leader
