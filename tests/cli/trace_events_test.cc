#include "cli/trace_events.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace fusewire::cli {
namespace {

using kernel::TraceStep;

Event call(TraceStep step, uint64_t time, uint32_t thread, uint32_t connection = 1) {
  Event event;
  event.step = step;
  event.time = time;
  event.pid = thread;
  event.connection = connection;
  event.name = "openat";
  return event;
}

Event request(TraceStep step, uint64_t time, uint64_t unique, uint32_t thread, uint32_t connection = 1) {
  Event event;
  event.step = step;
  event.time = time;
  event.unique = unique;
  event.pid = thread;
  event.connection = connection;
  event.opcode = "LOOKUP";
  return event;
}

TEST(TraceEvents, a_line_is_read_with_all_its_keys) {
  const auto event = parse_event(
      R"({"step":"queued","time":1234567890123,"connection":3,"pid":33,"name":"fi\"le","error":-2,"opcode":"UNLINK",)"
      R"("unique":18446744073709551615,"nodeid":1,"bytes":45,"daemon_pid":20,"pending":1,"processing":2,"background":3})");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->step, TraceStep::queued);
  EXPECT_EQ(event->time, 1234567890123u);
  EXPECT_EQ(event->name, "fi\"le");
  EXPECT_EQ(event->error, -2);
  EXPECT_EQ(event->unique, UINT64_MAX);
  EXPECT_EQ(event->processing, 2u);
  EXPECT_EQ(event->daemon_pid, 20u);
}

TEST(TraceEvents, what_is_no_event_is_refused) {
  for (const char* line : {"", "{", "[]", "7", "{}", R"({"step":"dance"})", R"({"step":7})", "\xff\xfe"}) {
    EXPECT_FALSE(parse_event(line)) << line;
  }
}

TEST(TraceEvents, keys_of_the_wrong_type_count_as_missing) {
  const auto event = parse_event(R"({"step":"call","time":"soon","pid":null,"name":7})");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->time, 0u);
  EXPECT_EQ(event->name, "");
}

TEST(TraceEvents, requests_belong_to_the_call_of_their_thread) {
  const auto runs = group_runs({call(TraceStep::call, 1, 10), call(TraceStep::call, 2, 20),
                                request(TraceStep::queued, 3, 2, 20), request(TraceStep::queued, 4, 4, 10),
                                request(TraceStep::ended, 5, 2, 20), call(TraceStep::returned, 6, 20),
                                request(TraceStep::ended, 7, 4, 10), call(TraceStep::returned, 8, 10)});
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].call->pid, 10u);
  ASSERT_EQ(runs[0].requests.size(), 1u);
  EXPECT_EQ(runs[0].requests[0].unique, 4u);
  EXPECT_EQ(runs[1].requests[0].unique, 2u);
  EXPECT_EQ(runs[1].returned->time, 6u);
}

TEST(TraceEvents, connections_do_not_share_uniques_or_threads) {
  const auto runs = group_runs({call(TraceStep::call, 1, 10, 1), request(TraceStep::queued, 2, 2, 10, 1),
                                request(TraceStep::queued, 3, 2, 10, 2)});
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].requests.size(), 1u);
  EXPECT_EQ(runs[1].connection, 2u);
}

TEST(TraceEvents, a_request_after_the_return_is_a_run_of_its_own) {
  const auto runs = group_runs({call(TraceStep::call, 1, 10), call(TraceStep::returned, 2, 10),
                                request(TraceStep::queued, 3, 2, 0), request(TraceStep::read, 4, 2, 0)});
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_FALSE(runs[1].call);
  EXPECT_EQ(runs[1].requests[0].steps.size(), 2u);
}

TEST(TraceEvents, the_order_in_the_file_does_not_matter) {
  std::vector<Event> events{call(TraceStep::call, 1, 10), request(TraceStep::queued, 2, 2, 10),
                            request(TraceStep::ended, 3, 2, 10), call(TraceStep::returned, 4, 10)};
  std::ranges::reverse(events);
  const auto runs = group_runs(events);
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(runs[0].requests[0].steps.size(), 2u);
  EXPECT_TRUE(runs[0].returned);
}

TEST(TraceEvents, a_run_is_found_by_call_or_opcode_in_any_case) {
  const auto runs = group_runs({call(TraceStep::call, 1, 10), request(TraceStep::queued, 2, 2, 10)});
  EXPECT_TRUE(runs[0].is_about("OPENAT"));
  EXPECT_TRUE(runs[0].is_about("lookup"));
  EXPECT_FALSE(runs[0].is_about("look"));
}

}  // namespace
}  // namespace fusewire::cli
