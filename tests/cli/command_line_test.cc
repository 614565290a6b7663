// The program from outside: exit statuses, and one line when something is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace {

using testing::HasSubstr;

struct Outcome {
  int status;
  std::string output;
};

// redirection: "2>&1 >/dev/null" hands back stderr alone.
Outcome run(const std::string& arguments, const std::string& redirection) {
  // Outside of every namespace, whatever this test runs in, and where nobody else has any.
  const std::string command = "d=$(mktemp -d); env -u FUSEWIRE_NAMESPACE XDG_RUNTIME_DIR=\"$d\" '" FUSEWIRE_PROGRAM
                              "' " +
                              arguments + " " + redirection + "; s=$?; rm -rf \"$d\"; exit $s";
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string output;
  std::array<char, 4096> buffer;
  for (size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) output.append(buffer.data(), n);
  const int status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

Outcome errors_of(const std::string& arguments) { return run(arguments, "2>&1 >/dev/null"); }

class BadUsage : public testing::TestWithParam<const char*> {};

TEST_P(BadUsage, is_one_line_on_stderr_and_status_2) {
  const Outcome outcome = errors_of(GetParam());
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(std::ranges::count(outcome.output, '\n'), 1) << outcome.output;
  EXPECT_THAT(outcome.output, testing::StartsWith("fusewire: "));
}

INSTANTIATE_TEST_SUITE_P(CommandLine, BadUsage,
                         testing::Values("", "no-such-command", "--no-such-option", "run --no-such-option",
                                         "run --trace", "trace", "trace --on", "trace --json --call x -- true", "fs",
                                         "fs nosuchfs /tmp", "fs memfs", "ps extra", "ps --no-such-option", "abort",
                                         "abort 1 2", "abort 4711", "umount", "umount /no/such/place", "umount /tmp",
                                         "doctor extra", "trace --on /tmp -- true"));

TEST(CommandLine, errors_name_what_was_wrong) {
  EXPECT_THAT(errors_of("no-such-command").output, HasSubstr("unknown command no-such-command"));
  EXPECT_THAT(errors_of("run --no-such-option").output, HasSubstr("--no-such-option"));
  EXPECT_THAT(errors_of("umount /tmp").output, HasSubstr("/tmp"));
}

TEST(CommandLine, help_and_version_are_status_0) {
  for (const char* arguments : {"--help", "run --help", "fs memfs --help", "trace --help", "umount --help"}) {
    const Outcome outcome = run(arguments, "2>/dev/null");
    EXPECT_EQ(outcome.status, 0) << arguments;
    EXPECT_THAT(outcome.output, HasSubstr("Usage: ")) << arguments;
  }
  EXPECT_THAT(run("--version", "").output, testing::MatchesRegex("fusewire [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

// Other tests may have namespaces at the same time, so what comes below the heading is theirs.
TEST(CommandLine, ps_begins_with_its_heading) {
  const Outcome outcome = run("ps", "");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.output, testing::MatchesRegex("ID +MOUNT POINT +TYPE +DAEMON +WAITING +REQUESTS\n(.|\n)*"));
  EXPECT_TRUE(nlohmann::json::parse(run("ps --json", "").output).is_array());
}

TEST(CommandLine, doctor_speaks_json_with_a_verdict_for_each_finding) {
  const Outcome outcome = run("doctor --json", "");
  const auto report = nlohmann::json::parse(outcome.output);
  EXPECT_EQ(outcome.status, report.at("can_run").get<bool>() ? 0 : 1);
  EXPECT_GE(report.at("findings").size(), 14u);
  for (const auto& finding : report.at("findings")) {
    EXPECT_THAT(finding.at("verdict").get<std::string>(), testing::AnyOf("ok", "limited", "no"));
    EXPECT_FALSE(finding.at("consequence").get<std::string>().empty());
  }
}

TEST(CommandLine, doctor_fails_where_the_gate_is_missing) {
  const Outcome outcome = run("doctor --gate /no/such/gate", "");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.output, HasSubstr("Fusewire cannot run here"));
}

TEST(CommandLine, as_fusermount_it_is_the_helper) {
  FILE* pipe = ::popen("bash -c 'exec -a /usr/bin/fusermount3 \"" FUSEWIRE_PROGRAM "\" -V' 2>&1", "r");
  std::array<char, 256> line{};
  ASSERT_NE(std::fgets(line.data(), line.size(), pipe), nullptr);
  EXPECT_EQ(::pclose(pipe), 0);
  EXPECT_THAT(line.data(), HasSubstr("fusermount3 version"));
}

}  // namespace
