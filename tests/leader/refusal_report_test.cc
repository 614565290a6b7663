#include "leader/refusal_report.h"

#include <gmock/gmock.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstring>

namespace fusewire::leader {
namespace {

using testing::HasSubstr;
using testing::Not;

abi::LeaderRequest refusal(const char* program, const char* call, const char* why, int error) {
  abi::LeaderRequest request{};
  std::strcpy(request.source, program);
  std::strcpy(request.type, call);
  std::strcpy(request.path, why);
  request.value[1] = static_cast<uint32_t>(error);
  return request;
}

abi::LeaderRequest next(uint32_t nr) {
  abi::LeaderRequest request{};
  request.value[0] = abi::log_next;
  request.value[1] = nr;
  return request;
}

TEST(RefusalReport, nothing_refused_is_said) { EXPECT_EQ(RefusalReport().text(), "no call was refused\n"); }

TEST(RefusalReport, refusals_are_counted_by_program_call_and_reason_the_most_frequent_first) {
  RefusalReport report;
  report.take(1, refusal("one", "mmap", "no", ENODEV));
  for (uint32_t pid = 1; pid < 4; ++pid) report.take(pid, refusal("two", "chroot", "never", EPERM));
  const std::string text = report.text();
  EXPECT_THAT(text, HasSubstr("      1  one             mmap               ENODEV           no\n"));
  EXPECT_LT(text.find("      3  two"), text.find("      1  one"));
}

TEST(RefusalReport, the_next_call_of_the_same_process_is_told) {
  RefusalReport report;
  report.take(1, refusal("one", "mmap", "no", ENODEV));
  report.take(2, next(SYS_read));  // has met no refusal
  report.take(1, next(SYS_pread64));
  report.take(1, next(SYS_write));  // follows something else
  EXPECT_THAT(report.text(), HasSubstr("no; 1 pread64\n"));
}

TEST(RefusalReport, other_lines_are_none) {
  RefusalReport report;
  abi::LeaderRequest line{};
  std::strcpy(line.options, "cannot: say more");
  report.take(1, line);
  EXPECT_EQ(report.text(), "no call was refused\n");
}

TEST(RefusalReport, a_program_cannot_make_it_grow_or_write_to_the_terminal) {
  RefusalReport report;
  for (size_t i = 0; i < RefusalReport::refusals_max + 7; ++i)
    report.take(1, refusal("p", "call", std::to_string(i).c_str(), EPERM));
  EXPECT_THAT(report.text(), HasSubstr("      7  more, of other kinds\n"));
  report = {};
  report.take(1, refusal("\x1b[2J", "call", "no", EPERM));
  EXPECT_THAT(report.text(), Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace fusewire::leader
