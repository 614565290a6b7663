// The rig itself: what evens out must even out, and what differs must be seen.
#include <gtest/gtest.h>

#include <cstring>

#include "oracle/scenarios.h"

namespace fusewire::oracle {
namespace {

TEST(OracleRig, asynchronous_requests_stand_sorted_behind_their_call) {
  EXPECT_EQ(normalise("close(0)\n"
                      "  RELEASE 2 fh=1\n"
                      "= 0\n"
                      "  FORGET 9 nlookup=1\n"
                      "  FORGET 2 nlookup=1\n"
                      "stat(\"x\")\n"
                      "= -1 ENOENT\n"
                      "  LOOKUP 1 \"x\" -> ENOENT\n"),
            "close(0)\n"
            "= 0\n"
            "  FORGET 2 nlookup=1\n"
            "  FORGET 9 nlookup=1\n"
            "  RELEASE 2 fh=1\n"
            "stat(\"x\")\n"
            "  LOOKUP 1 \"x\" -> ENOENT\n"
            "= -1 ENOENT\n");
}

TEST(OracleRig, a_missing_and_a_changed_request_are_differences) {
  EXPECT_EQ(difference("a\nb\nc\n", "a\nb\nc\n"), "");
  EXPECT_EQ(difference("a\nb\nc\n", "a\nc\n"), " a\n-b\n c\n");
  EXPECT_EQ(difference("a\nb\n", "a\nB\n"), " a\n-b\n+B\n");
}

TEST(OracleRig, lock_owners_are_named_in_order_of_appearance) {
  Describer describe(45, 0);
  auto flush = [&](uint64_t owner) {
    struct {
      wire::InHeader in;
      wire::FlushIn flush;
    } message{{sizeof message, 25, 2, 7, 0, 0, 42, 0, 0}, {1, 0, 0, owner}};
    return describe(std::as_bytes(std::span(&message, 1)));
  };
  EXPECT_EQ(flush(0x77), "FLUSH 7 fh=1 owner=A");
  EXPECT_EQ(flush(0x11), "FLUSH 7 fh=1 owner=B");
  EXPECT_EQ(flush(0x77), "FLUSH 7 fh=1 owner=A");
}

TEST(OracleRig, a_request_that_breaks_framing_is_said_to_be_bad) {
  Describer describe(45, 0);
  wire::InHeader in{sizeof in + 4, 3, 2, 7, 0, 0, 42, 0, 0};
  EXPECT_EQ(describe(std::as_bytes(std::span(&in, 1))), "GETATTR 7 BAD too short BAD len=44 of 40");
}

TEST(OracleRig, a_batch_is_described_node_by_node) {
  Describer describe(45, 0);
  struct {
    wire::InHeader in;
    wire::BatchForgetIn batch;
    wire::ForgetOne one[2];
  } message{{sizeof message, 42, 2, 0, 0, 0, 0, 0, 0}, {2, 0}, {{5, 1}, {6, 3}}};
  EXPECT_EQ(describe(std::as_bytes(std::span(&message, 1))), "FORGET 5 nlookup=1\n  FORGET 6 nlookup=3");
}

TEST(OracleRig, every_scenario_has_a_name_of_its_own) {
  for (const Scenario& a : scenarios())
    for (const Scenario& b : scenarios()) EXPECT_TRUE(&a == &b || std::strcmp(a.name, b.name) != 0) << a.name;
}

TEST(OracleRig, known_differences_name_scenarios) {
  for (const KnownDifference& known : known_differences()) {
    bool found = false;
    for (const Scenario& scenario : scenarios()) found = found || std::strcmp(scenario.name, known.scenario) == 0;
    EXPECT_TRUE(found) << known.scenario;
  }
}

}  // namespace
}  // namespace fusewire::oracle
