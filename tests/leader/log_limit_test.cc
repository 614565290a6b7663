#include "leader/log_limit.h"

#include <gmock/gmock.h>

namespace fusewire::leader {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;

const LogLimit::Clock::time_point start{};

TEST(LogLimit, a_line_that_repeats_the_last_is_counted) {
  LogLimit limit;
  EXPECT_THAT(limit.take(7, "a", start), ElementsAre("process 7: a"));
  EXPECT_THAT(limit.take(7, "a", start), IsEmpty());
  EXPECT_THAT(limit.take(7, "a", start), IsEmpty());
  EXPECT_THAT(limit.take(8, "a", start), ElementsAre("process 8: a"));
  EXPECT_THAT(limit.take(7, "b", start), ElementsAre("process 7: the last line 2 times more", "process 7: b"));
}

TEST(LogLimit, too_many_lines_of_one_process_are_left_out_and_counted) {
  LogLimit limit;
  for (uint32_t i = 0; i < LogLimit::lines_max; ++i) EXPECT_EQ(limit.take(7, std::to_string(i), start).size(), 1u);
  EXPECT_THAT(limit.take(7, "x", start), IsEmpty());
  EXPECT_THAT(limit.take(7, "y", start + 1s), IsEmpty());
  EXPECT_THAT(limit.take(9, "x", start + 1s), ElementsAre("process 9: x"));
  EXPECT_THAT(limit.take(7, "z", start + LogLimit::window),
              ElementsAre("process 7: 2 more lines left out", "process 7: z"));
}

TEST(LogLimit, what_was_left_out_is_told_at_the_end_and_when_a_process_is_forgotten) {
  LogLimit limit;
  limit.take(1, "a", start);
  limit.take(1, "a", start);
  for (uint32_t pid = 2; pid <= LogLimit::processes_max; ++pid) limit.take(pid, "a", start + 1s);
  EXPECT_THAT(limit.take(9999, "b", start + 1s),
              ElementsAre("process 1: the last line 1 times more", "process 9999: b"));
  limit.take(2, "a", start + 1s);
  EXPECT_THAT(limit.rest(), ElementsAre("process 2: the last line 1 times more"));
}

}  // namespace
}  // namespace fusewire::leader
