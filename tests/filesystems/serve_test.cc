// The built-in daemon as a process: going to the background, ending, and what it says when it cannot.
#include "filesystems/serve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <fstream>

#include "support/conformance.h"
#include "support/real_mount.h"

namespace fusewire::filesystems {
namespace {

bool mounted(const std::string& path) {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    if (line.find(" " + path + " ") != std::string::npos) return true;
  }
  return false;
}

// Waits for a change of the mount table at a time, so that nothing depends on how long it takes.
bool wait_for_mount(const std::string& path, bool wanted) {
  UniqueFd table(open("/proc/self/mounts", O_RDONLY | O_CLOEXEC));
  for (int i = 0; i < 200; ++i) {
    if (mounted(path) == wanted) return true;
    pollfd change{table.get(), POLLPRI, 0};
    poll(&change, 1, 100);
  }
  return false;
}

class Serve : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = "/tmp/fusewire-test-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    path = name;
    ASSERT_EQ(pipe2(errors, O_CLOEXEC), 0);
  }
  void TearDown() override {
    umount2(path.c_str(), MNT_DETACH);
    rmdir(path.c_str());
    close(errors[0]);
    if (errors[1] >= 0) close(errors[1]);
  }
  // In a child, whose stderr is the pipe.
  pid_t start(const ServeOptions& options) {
    pid_t child = fork();
    if (child == 0) {
      dup2(errors[1], 2);
      close(errors[0]);
      close(errors[1]);
      _exit(serve_memfs(options));
    }
    close(errors[1]);
    errors[1] = -1;
    return child;
  }
  int status_of(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  // All that was said, until everybody who could say more has let go of stderr.
  std::string said() {
    std::string text;
    char buffer[256];
    for (ssize_t n; (n = read(errors[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(n));
    return text;
  }

  std::string path;
  int errors[2] = {-1, -1};
};

TEST_F(Serve, in_the_background_returns_when_the_mount_is_live_and_lets_go_of_the_terminal) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  EXPECT_EQ(status_of(start({path, false, "size=1m", 0})), 0);
  EXPECT_TRUE(mounted(path));
  EXPECT_EQ(said(), "") << "ends although the daemon runs on";
  conformance::Place(path).write_file("f", "x");
  EXPECT_EQ(umount2(path.c_str(), 0), 0);
}

TEST_F(Serve, ends_with_an_unmount) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  pid_t child = start({path, true, "", 0});
  ASSERT_TRUE(wait_for_mount(path, true));
  EXPECT_EQ(umount2(path.c_str(), 0), 0);
  EXPECT_EQ(status_of(child), 0);
}

TEST_F(Serve, unmounts_when_told_to_end) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  pid_t child = start({path, true, "", 2});
  ASSERT_TRUE(wait_for_mount(path, true));
  kill(child, SIGTERM);
  EXPECT_EQ(status_of(child), 0);
  EXPECT_FALSE(mounted(path));
  EXPECT_EQ(said(), "");
}

TEST_F(Serve, ends_although_files_are_open) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  pid_t child = start({path, true, "", 2});
  ASSERT_TRUE(wait_for_mount(path, true));
  UniqueFd file(open((path + "/f").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_TRUE(file);
  kill(child, SIGINT);
  EXPECT_EQ(status_of(child), 0) << said();
  EXPECT_FALSE(mounted(path));
}

TEST_F(Serve, says_what_was_tried_and_why_it_failed) {
  EXPECT_EQ(status_of(start({"/nonexistent/place", false, "", 0})), 1);
  EXPECT_EQ(said(), "fusewire fs memfs: cannot mount on '/nonexistent/place': No such file or directory\n");
}

TEST_F(Serve, refuses_options_that_make_no_sense_with_status_2) {
  EXPECT_EQ(status_of(start({path, false, "size=many", 0})), 2);
  EXPECT_EQ(said(), "fusewire fs memfs: option 'size=many' makes no sense\n");
}

TEST_F(Serve, refuses_options_that_the_kernel_does_not_know) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  EXPECT_EQ(status_of(start({path, false, "no_such_option", 0})), 1);
  EXPECT_THAT(said(), testing::HasSubstr("mount(2) on " + path + ": Invalid argument"));
}

}  // namespace
}  // namespace fusewire::filesystems
