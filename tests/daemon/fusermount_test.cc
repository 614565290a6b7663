// The helper's side of the _FUSE_COMMFD protocol, as FUSE libraries drive it.
#include "daemon/fusermount.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "daemon/session.h"
#include "support/real_mount.h"

namespace fusewire::daemon {
namespace {

constexpr char error_file[] = "/tmp/fusewire-fusermount-test-stderr";

struct Ran {
  int status;
  std::string errors;
};

// Runs the helper in a child with nothing in its environment but the channel.
Ran run(std::vector<std::string> arguments, int channel = -1) {
  std::string file = error_file + std::to_string(getpid());
  pid_t child = fork();
  if (child == 0) {
    // As after an exec: only the channel is open.
    constexpr int kept = 3;
    if (channel >= 0) dup2(channel, kept);
    close_range(channel >= 0 ? kept + 1 : kept, ~0u, 0);
    clearenv();
    if (channel >= 0) setenv("_FUSE_COMMFD", std::to_string(kept).c_str(), 1);
    if (freopen(file.c_str(), "w", stderr) == nullptr || freopen("/dev/null", "w", stdout) == nullptr) _exit(99);
    arguments.insert(arguments.begin(), "/some/where/fusermount3");
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int status = fusermount_main(static_cast<int>(arguments.size()), argv.data());
    fflush(nullptr);
    _exit(status);
  }
  int status = 0;
  waitpid(child, &status, 0);
  std::ifstream in(file);
  std::string errors(std::istreambuf_iterator<char>(in), {});
  unlink(file.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, errors};
}

UniqueFd receive(int socket) {
  char byte;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1 || CMSG_FIRSTHDR(&message) == nullptr) return {};
  int fd;
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return UniqueFd(fd);
}

class Empty final : public FileSystem {
  Result<AttributesFor> get_attributes(const Context&, NodeId, std::optional<FileHandle>) override {
    AttributesFor out;
    out.attributes.mode = 0040755;
    out.attributes.ino = 1;
    return out;
  }
};

std::string mount_line(const std::string& path) {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    if (line.find(" " + path + " ") != std::string::npos) return line;
  }
  return {};
}

TEST(FusermountArguments, say_what_is_wrong_as_libfuse_does) {
  EXPECT_EQ(run({}).errors, "fusermount3: missing mountpoint argument\n");
  EXPECT_EQ(run({"a", "b"}).errors, "fusermount3: extra arguments after the mountpoint\n");
  EXPECT_EQ(run({"-z", "a"}).errors, "fusermount3: -z can only be used with -u\n");
  EXPECT_EQ(run({"/tmp"}).errors, "fusermount3: old style mounting not supported\n");
  EXPECT_EQ(run({"--bogus"}).errors, "fusermount3: unrecognized option '--bogus'\n");
  EXPECT_EQ(run({"-u", "/nonexistent"}).errors,
            "fusermount3: failed to unmount /nonexistent: No such file or directory\n");
  auto quiet = run({"-u", "-q", "-z", "--", "/nonexistent"});
  EXPECT_EQ(quiet.status, 1);
  EXPECT_EQ(quiet.errors, "");
  EXPECT_EQ(run({"-V"}).status, 0);
  EXPECT_EQ(run({"-h"}).status, 0);
}

class Fusermount : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ours = UniqueFd(ends[0]);
    theirs = UniqueFd(ends[1]);
    fcntl(ours.get(), F_SETFD, FD_CLOEXEC);
    std::string name = "/tmp/fusewire-test-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    path = name;
  }
  void TearDown() override {
    umount2(path.c_str(), MNT_DETACH);
    if (thread.joinable()) thread.join();
    rmdir(path.c_str());
  }
  void serve(UniqueFd device) {
    transport = std::make_unique<DeviceTransport>(std::move(device));
    session = std::make_unique<Session>(*transport, fs, SessionOptions{});
    thread = std::thread([this] { static_cast<void>(session->run()); });
  }

  UniqueFd ours, theirs;
  std::string path;
  Empty fs;
  std::unique_ptr<DeviceTransport> transport;
  std::unique_ptr<Session> session;
  std::thread thread;
};

TEST_F(Fusermount, a_mount_point_that_is_not_there_is_named) {
  auto ran = run({"-o", "ro", "--", "/nonexistent"}, theirs.get());
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.errors, "fusermount3: failed to access mountpoint /nonexistent: No such file or directory\n");
}

TEST_F(Fusermount, mounts_and_hands_the_device_over) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  auto ran = run({"-o", "ro,fsname=a\\,b,subtype=kind,max_read=65536,nonempty", "--", path}, theirs.get());
  ASSERT_EQ(ran.status, 0) << ran.errors;
  UniqueFd device = receive(ours.get());
  ASSERT_TRUE(device);
  serve(std::move(device));
  struct stat status;
  EXPECT_EQ(stat(path.c_str(), &status), 0);
  auto line = mount_line(path);
  EXPECT_THAT(line, testing::StartsWith("a,b " + path + " fuse.kind ro,nosuid,nodev"));
  EXPECT_THAT(line, testing::HasSubstr("max_read=65536"));
  EXPECT_EQ(run({"-u", path}).status, 0);
  EXPECT_EQ(mount_line(path), "");
}

TEST_F(Fusermount, takes_go_fuses_order_of_arguments_and_relative_paths) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  ASSERT_EQ(chdir("/tmp"), 0);
  auto ran = run({path.substr(5) + "/", "-o", "subtype=go"}, theirs.get());
  ASSERT_EQ(ran.status, 0) << ran.errors;
  serve(receive(ours.get()));
  EXPECT_THAT(mount_line(path), testing::HasSubstr(" fuse.go "));
  EXPECT_EQ(run({"-uz", path.substr(5)}).status, 0);
  EXPECT_EQ(mount_line(path), "");
}

TEST_F(Fusermount, options_the_kernel_does_not_know_fail_the_mount) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  auto ran = run({"-o", "no_such_option", "--", path}, theirs.get());
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.errors, "fusermount3: mount failed: Invalid argument\n");
  theirs.reset();
  EXPECT_FALSE(receive(ours.get())) << "nothing is sent";
}

TEST_F(Fusermount, sync_init_mounts_when_the_library_says_so) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  Ran ran;
  std::thread helper([&] { ran = run({"--sync-init", "-o", "subtype=sync", "--", path}, theirs.get()); });
  UniqueFd device = receive(ours.get());
  EXPECT_TRUE(device);
  EXPECT_EQ(mount_line(path), "") << "not before";
  char byte = 0;
  EXPECT_EQ(write(ours.get(), &byte, 1), 1);
  int32_t status = -1;
  EXPECT_EQ(read(ours.get(), &status, sizeof status), static_cast<ssize_t>(sizeof status));
  EXPECT_EQ(status, 0);
  helper.join();
  EXPECT_EQ(ran.status, 0) << ran.errors;
  EXPECT_NE(mount_line(path), "");
  serve(std::move(device));
}

TEST_F(Fusermount, auto_unmount_cleans_up_after_a_daemon_that_died) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  auto ran = run({"-o", "auto_unmount", "--", path}, theirs.get());
  ASSERT_EQ(ran.status, 0) << ran.errors;
  theirs.reset();
  {
    UniqueFd device = receive(ours.get());
    ASSERT_TRUE(device);
    EXPECT_NE(mount_line(path), "");
  }
  // The connection is dead; the end of the channel is the sign.
  pollfd changed{open("/proc/self/mounts", O_RDONLY), POLLPRI, 0};
  ours.reset();
  for (int i = 0; i < 100 && !mount_line(path).empty(); ++i) poll(&changed, 1, 100);
  close(changed.fd);
  EXPECT_EQ(mount_line(path), "");
}

}  // namespace
}  // namespace fusewire::daemon
