#include "cli/ladder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace fusewire::cli {
namespace {

using kernel::TraceStep;
using testing::HasSubstr;
using testing::Not;

// One unlink, as DESIGN's picture has it: the daemon sleeps, the caller sleeps, the reply wakes it.
std::vector<Event> unlink_events() {
  const auto request = [](TraceStep step, uint64_t time) {
    Event event;
    event.step = step;
    event.time = time;
    event.opcode = "UNLINK";
    event.unique = 12;
    event.nodeid = 1;
    event.pid = 33;
    event.connection = 2;
    event.daemon_pid = 20;
    return event;
  };
  const auto call = [](TraceStep step, uint64_t time) {
    Event event;
    event.step = step;
    event.time = time;
    event.name = "unlinkat";
    event.pid = 33;
    event.connection = 2;
    event.entered = 1'000'000;
    return event;
  };
  Event queued = request(TraceStep::queued, 1'009'500);
  queued.name = "file";
  queued.pending = 1;
  Event read = request(TraceStep::read, 1'020'100);
  read.bytes = 45;
  read.processing = 1;
  Event replied = request(TraceStep::replied, 1'030'500);
  replied.bytes = 16;
  return {call(TraceStep::call, 1'004'000),
          queued,
          request(TraceStep::sleeping, 1'009'700),
          read,
          replied,
          request(TraceStep::ended, 1'031'000),
          call(TraceStep::returned, 1'040'200)};
}

std::string draw(const std::vector<Event>& events) {
  std::string all;
  for (const Run& run : group_runs(events)) all += draw_ladder(run, {.user = "rm", .daemon = "memfs"});
  return all;
}

std::string line_with(const std::string& ladder, std::string_view text) {
  std::istringstream lines(ladder);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(text) != std::string::npos) return line;
  }
  return {};
}

size_t count(const std::string& text, std::string_view part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(Ladder, an_unlink_has_exactly_the_five_steps_in_order) {
  const std::string ladder = draw(unlink_events());
  size_t last = 0;
  for (const char* step : {"(1)", "(2)", "(3)", "(4)", "(5)"}) {
    ASSERT_EQ(count(ladder, step), 1u) << step << '\n' << ladder;
    EXPECT_GT(ladder.find(step), last);
    last = ladder.find(step);
  }
  EXPECT_THAT(ladder, Not(HasSubstr("(6)")));
}

TEST(Ladder, each_step_says_who_sleeps_and_who_is_woken) {
  const std::string ladder = draw(unlink_events());
  EXPECT_THAT(line_with(ladder, "(1)"), HasSubstr("sleeps in read"));
  EXPECT_THAT(line_with(ladder, "(2)"), HasSubstr("caller sleeps on the request's waitq"));
  EXPECT_THAT(line_with(ladder, "(3)"), HasSubstr("`pending` → `processing`"));
  EXPECT_THAT(line_with(ladder, "(4)"), HasSubstr("off `processing`"));
  EXPECT_THAT(line_with(ladder, "caches updated"), HasSubstr("waiter woken"));
  EXPECT_THAT(line_with(ladder, "(5)"), HasSubstr("returns 0"));
}

TEST(Ladder, times_count_from_the_gate_in_microseconds) {
  const std::string ladder = draw(unlink_events());
  EXPECT_THAT(line_with(ladder, "caught by the gate"), HasSubstr(" 0.0 "));
  EXPECT_THAT(line_with(ladder, "sys_unlinkat"), HasSubstr(" 4.0 "));
  EXPECT_THAT(line_with(ladder, "(3)"), HasSubstr(" 20.1 "));
  EXPECT_THAT(ladder, HasSubstr("total 40.2 µs until the half returns, result 0\n"));
  EXPECT_THAT(ladder, HasSubstr("10.6 µs until the daemon had it, 10.4 µs in the daemon"));
}

TEST(Ladder, without_the_gates_time_the_half_begins_at_0) {
  auto events = unlink_events();
  for (Event& event : events) event.entered = 0;
  const std::string ladder = draw(events);
  EXPECT_THAT(line_with(ladder, "enters the half"), HasSubstr(" 0.0 "));
  EXPECT_THAT(ladder, Not(HasSubstr("caught by the gate")));
}

TEST(Ladder, the_heading_names_call_file_and_parties) {
  EXPECT_THAT(draw(unlink_events()),
              testing::StartsWith("unlinkat \"file\"  by rm (thread 33), daemon memfs (20), connection 2\n"));
}

TEST(Ladder, lanes_stand_under_each_other) {
  const std::string ladder = draw(unlink_events());
  const auto column_of = [&](std::string_view line_mark, std::string_view text) {
    const std::string line = line_with(ladder, line_mark);
    const std::string before = line.substr(0, line.find(text));
    return std::ranges::count_if(before, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
  };
  const auto daemon = column_of("user process", "daemon");
  EXPECT_EQ(column_of("(1)", "sleeps in read"), daemon);
  EXPECT_EQ(column_of("(3)", "read: UNLINK"), daemon);
  EXPECT_EQ(column_of("(4)", "write: "), daemon);
  EXPECT_EQ(column_of("woken", "woken"), daemon);
}

TEST(Ladder, a_call_has_the_name_the_program_used) {
  auto events = unlink_events();
  events.front().nr = 87;
  const std::string ladder = draw(events);
  EXPECT_THAT(ladder, testing::StartsWith("unlink \"file\""));
  EXPECT_THAT(ladder, HasSubstr("enters the half: sys_unlinkat"));
}

TEST(Ladder, a_busy_daemon_does_not_sleep) {
  auto events = unlink_events();
  events[1].processing = 2;
  events[1].pending = 3;
  EXPECT_THAT(line_with(draw(events), "(1)"), HasSubstr("at work: 2 processing, 2 pending"));
}

TEST(Ladder, an_error_is_named_in_reply_and_result) {
  auto events = unlink_events();
  events[4].error = -2;
  events[6].error = -2;
  const std::string ladder = draw(events);
  EXPECT_THAT(line_with(ladder, "(4)"), HasSubstr("ENOENT"));
  EXPECT_THAT(line_with(ladder, "(5)"), HasSubstr("fails: ENOENT"));
}

TEST(Ladder, a_request_that_ends_without_reply_says_so) {
  auto events = unlink_events();
  events.erase(events.begin() + 4);
  events[4].error = -103;
  events[5].error = -103;
  const std::string ladder = draw(events);
  EXPECT_THAT(line_with(ladder, "(4)"), HasSubstr("ended without reply: ECONNABORTED"));
  EXPECT_THAT(line_with(ladder, "(5)"), HasSubstr("ECONNABORTED"));
}

TEST(Ladder, a_trace_may_end_before_the_call) {
  auto events = unlink_events();
  events.resize(4);
  const std::string ladder = draw(events);
  EXPECT_THAT(ladder, HasSubstr("the trace ends before the request does"));
  EXPECT_THAT(ladder, HasSubstr("has not returned in this trace"));
}

TEST(Ladder, a_call_without_request_is_one_line) {
  const auto all = unlink_events();
  const std::string line = draw({all.front(), all.back()});
  EXPECT_EQ(std::ranges::count(line, '\n'), 1);
  EXPECT_THAT(line, HasSubstr("no request was needed"));
}

TEST(Ladder, a_request_nobody_waits_for_has_no_numbers) {
  auto events = unlink_events();
  events.pop_back();
  events.erase(events.begin());
  for (Event& event : events) event.pid = 0;
  const std::string ladder = draw(events);
  EXPECT_THAT(ladder, HasSubstr("nobody waits"));
  EXPECT_THAT(ladder, Not(HasSubstr("(3)")));
}

TEST(Ladder, names_cannot_move_the_cursor) {
  auto events = unlink_events();
  events[1].name = "a\x1b[2J\nb\xc2\x9b";
  const std::string ladder = draw(events);
  EXPECT_THAT(ladder, HasSubstr(R"("a\x1b[2J\x0ab\xc2\x9b")"));
  EXPECT_EQ(ladder.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace fusewire::cli
