#include "host/trace_writer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "wire/protocol.h"

namespace fusewire::host {
namespace {

class TraceWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fusewire-trace-XXXXXX";
    ::close(::mkstemp(name));
    path = name;
  }
  void TearDown() override { ::unlink(path.c_str()); }
  std::string first_line() {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
  }
  std::string path;
};

TEST_F(TraceWriterTest, a_request_step_is_one_json_line) {
  TraceWriter writer(5);
  ASSERT_EQ(writer.start(path), 0);
  writer.set_daemon_pid(99);
  writer.write({.step = kernel::TraceStep::queued,
                .time = 1234,
                .opcode = static_cast<uint32_t>(wire::Opcode::unlink),
                .unique = 6,
                .nodeid = 1,
                .pid = 42,
                .error = 0,
                .bytes = 45,
                .pending = 1,
                .processing = 2,
                .background = 3,
                .name = "a \"quoted\"\n\xff name"},
               {});
  writer.flush();
  const auto line = nlohmann::json::parse(first_line());
  EXPECT_EQ(line["step"], "queued");
  EXPECT_EQ(line["opcode"], "UNLINK");
  EXPECT_EQ(line["name"], "a \"quoted\"\n\ufffd name");
  EXPECT_EQ(line["connection"], 5);
  EXPECT_EQ(line["daemon_pid"], 99);
  EXPECT_EQ(line["time"], 1234);
  EXPECT_EQ(line["pending"], 1);
  EXPECT_EQ(line["processing"], 2);
  EXPECT_EQ(line["background"], 3);
  EXPECT_EQ(line["bytes"], 45);
}

TEST_F(TraceWriterTest, a_call_step_says_when_and_by_which_system_call_it_was_entered) {
  TraceWriter writer(5);
  ASSERT_EQ(writer.start(path), 0);
  writer.write({.step = kernel::TraceStep::returned,
                .time = 2,
                .opcode = 0,
                .unique = 0,
                .nodeid = 0,
                .pid = 42,
                .error = -2,
                .bytes = 0,
                .pending = 0,
                .processing = 0,
                .background = 0,
                .name = "unlinkat"},
               {.entered = 77, .nr = 263});
  writer.flush();
  const auto line = nlohmann::json::parse(first_line());
  EXPECT_EQ(line["step"], "returned");
  EXPECT_EQ(line["name"], "unlinkat");
  EXPECT_EQ(line["entered"], 77);
  EXPECT_EQ(line["nr"], 263);
  EXPECT_EQ(line["error"], -2);
}

TEST_F(TraceWriterTest, nothing_is_written_while_it_is_off) {
  TraceWriter writer(5);
  ASSERT_EQ(writer.start(path), 0);
  writer.stop();
  kernel::TraceEvent event{};
  event.name = "";
  writer.write(event, {});
  writer.flush();
  EXPECT_EQ(first_line(), "");
}

TEST(JsonEscaped, valid_utf8_stays_and_everything_else_becomes_valid) {
  EXPECT_EQ(json_escaped("gr\u00fc\u00df \U0001f600"), "gr\u00fc\u00df \U0001f600");
  EXPECT_EQ(json_escaped("a\\b\"c\td"), "a\\\\b\\\"c\\u0009d");
  EXPECT_EQ(json_escaped("\xc3"), "\\ufffd");
  EXPECT_EQ(json_escaped("\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd");
  EXPECT_EQ(json_escaped("\xc0\xaf"), "\\ufffd\\ufffd");
}

}  // namespace
}  // namespace fusewire::host
