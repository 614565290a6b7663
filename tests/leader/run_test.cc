#include "leader/run.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "abi/mount_rules.h"
#include "host/packet_socket.h"
#include "leader/leader_client.h"
#include "leader/process_tree.h"
#include "support/host_rig.h"

namespace fusewire::test {
namespace {

using abi::LeaderOperation;
using abi::LeaderReply;
using abi::LeaderRequest;
using abi::MountState;

// run() in a child of the test, with a gate that is a script: it starts the program as it is.
class Run : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fusewire-run-XXXXXX";
    runtime = ::mkdtemp(name);
    ::setenv("XDG_RUNTIME_DIR", runtime.c_str(), 1);
    ::unsetenv("FUSEWIRE_NAMESPACE");
    options.gate = runtime + "/gate";
    std::ofstream(options.gate) << "#!/bin/sh\nshift 4\nprogram=$1\nshift 2\nexec \"$program\" \"$@\"\n";
    ::chmod(options.gate.c_str(), 0755);
  }
  void TearDown() override {
    if (leader > 0) end();
    EXPECT_FALSE(std::filesystem::exists(runtime + "/fusewire")) << "the namespace left something";
    std::filesystem::remove_all(runtime);
    ::unsetenv("XDG_RUNTIME_DIR");
    ::unsetenv("FUSEWIRE_NAMESPACE");
  }

  void start(std::vector<std::string> command) {
    options.command = std::move(command);
    leader = ::fork();
    if (leader != 0) return;
    // The test's ends: only without copies of them is their close an end of file.
    ::close(hold[1]);
    ::close(up[0]);
    if (before_run) before_run();
    const auto status = leader::run(options);
    if (!status) std::fprintf(stderr, "%s\n", status.error().c_str());
    ::_exit(status ? *status : 200);
  }
  int join() {
    int status = 0;
    ::waitpid(leader, &status, 0);
    leader = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  int run(std::vector<std::string> command) {
    start(std::move(command));
    return join();
  }

  // A namespace whose command waits until end().
  void begin() {
    ASSERT_EQ(::pipe(hold), 0);
    ASSERT_EQ(::pipe(up), 0);
    start(
        {"/bin/sh", "-c",
         "echo $FUSEWIRE_NAMESPACE >&" + std::to_string(up[1]) + "; read x <&" + std::to_string(hold[0]) + "; exit 7"});
    ::close(up[1]);
    ::close(hold[0]);
    char buffer[256];
    const ssize_t size = ::read(up[0], buffer, sizeof buffer);
    ASSERT_GT(size, 1);
    directory.assign(buffer, static_cast<size_t>(size) - 1);
    ::setenv("FUSEWIRE_NAMESPACE", directory.c_str(), 1);
  }
  int end() {
    ::close(hold[1]);
    ::close(up[0]);
    return join();
  }

  // One request to the leader, with descriptors both ways.
  abi::LeaderReply ask(const abi::LeaderRequest& request, int attached = -1, UniqueFd* received = nullptr) {
    UniqueFd socket(host::connect_to(directory + "/leader.sock"));
    const int fds[] = {attached};
    host::send_message(socket.get(), request, attached < 0 ? std::span<const int>() : std::span<const int>(fds));
    abi::LeaderReply reply{-1000, 0};
    host::Packet packet = host::receive_packet(socket.get(), std::as_writable_bytes(std::span(&reply, 1)));
    if (received && !packet.fds.empty()) *received = std::move(packet.fds[0]);
    return reply;
  }
  static abi::LeaderRequest request(abi::LeaderOperation operation) {
    abi::LeaderRequest request{};
    request.operation = static_cast<uint32_t>(operation);
    return request;
  }
  UniqueFd open_device(uint32_t& connection) {
    UniqueFd device;
    const abi::LeaderReply reply = ask(request(abi::LeaderOperation::open_device), -1, &device);
    EXPECT_EQ(reply.error, 0);
    connection = reply.connection;
    return device;
  }
  int mount(int device, const std::string& path) {
    abi::LeaderRequest mount = mount_more;
    mount.operation = static_cast<uint32_t>(abi::LeaderOperation::mount);
    std::strcpy(mount.path, path.c_str());
    std::strcpy(mount.type, "fuse.test");
    std::strcpy(mount.source, "nothing");
    const std::string options =
        "fd=3,rootmode=40000,user_id=" + std::to_string(::getuid()) + ",group_id=" + std::to_string(::getgid());
    std::strcpy(mount.options, options.c_str());
    return ask(mount, device).error;
  }
  abi::LeaderRequest mount_more{};  // of the next mounts
  int umount(const std::string& path, uint32_t flags = 0) {
    abi::LeaderRequest umount = request(abi::LeaderOperation::umount);
    std::strcpy(umount.path, path.c_str());
    umount.flags = flags;
    return ask(umount).error;
  }
  int umount_by_id(uint32_t mount, uint32_t flags) {
    abi::LeaderRequest umount = request(abi::LeaderOperation::umount);
    umount.mount = mount;
    umount.flags = flags;
    return ask(umount).error;
  }
  // A daemon on path.
  std::unique_ptr<SocketDaemon> serve(const std::string& path) {
    uint32_t connection;
    UniqueFd device = open_device(connection);
    EXPECT_EQ(mount(device.get(), path), 0);
    auto daemon = std::make_unique<SocketDaemon>(device.release());
    daemon->start();
    daemon->wait_for(wire::Opcode::init);
    return daemon;
  }
  std::vector<leader::MountInfo> mounts() {
    auto namespaces = leader::list_namespaces();
    EXPECT_TRUE(namespaces);
    EXPECT_EQ(namespaces->size(), 1u);
    return namespaces->empty() ? std::vector<leader::MountInfo>{} : namespaces->front().mounts;
  }

  leader::RunOptions options;
  std::function<void()> before_run;
  std::string runtime, directory;
  pid_t leader = -1;
  int hold[2] = {-1, -1}, up[2] = {-1, -1};
};

TEST_F(Run, the_exit_status_is_the_commands) {
  EXPECT_EQ(run({"sh", "-c", "exit 0"}), 0);
  EXPECT_EQ(run({"sh", "-c", "exit 42"}), 42);
  EXPECT_EQ(run({"sh", "-c", "kill -9 $$"}), 128 + SIGKILL);
}

TEST_F(Run, a_program_that_is_not_there_is_127_and_one_that_is_no_program_126) {
  EXPECT_EQ(run({"no-such-program-here"}), 127);
  EXPECT_EQ(run({"/nowhere/program"}), 127);
  EXPECT_EQ(run({"/etc/passwd"}), 126);
  EXPECT_EQ(run({"/tmp"}), 126);
}

TEST_F(Run, a_missing_gate_is_a_sentence) {
  options.gate = "/nowhere/gate";
  options.command = {"true"};
  const auto status = leader::run(options);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().find("/nowhere/gate"), std::string::npos);
}

TEST_F(Run, processes_in_the_background_end_with_the_command) {
  int alive[2];
  ASSERT_EQ(::pipe(alive), 0);
  start({"sh", "-c", "sleep 1000 & (trap '' TERM; sleep 1000) & setsid sleep 1000 & exit 3"});
  ::close(alive[1]);
  EXPECT_EQ(join(), 3);
  char byte;
  EXPECT_EQ(::read(alive[0], &byte, 1), 0) << "somebody still holds the pipe";
  ::close(alive[0]);
}

TEST_F(Run, sigterm_of_the_leader_ends_the_namespace) {
  begin();
  ::kill(leader, SIGTERM);
  EXPECT_EQ(join(), 128 + SIGTERM);
  ::close(hold[1]);
  ::close(up[0]);
}

TEST_F(Run, no_other_signal_ends_the_leader_or_a_host) {
  begin();
  auto daemon = serve("/mnt/a");
  RingClient client(directory, 1);
  const auto host = static_cast<pid_t>(mounts().at(0).host_pid);
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    // A sanitizer's handler, for faults, ends its process.
    struct sigaction action {};
    ::sigaction(signal, nullptr, &action);
    const bool is_handled = action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN;
    if (signal == SIGKILL || signal == SIGSTOP || is_handled) continue;
    ::kill(host, signal);
    if (signal != SIGTERM && signal != SIGHUP && signal != SIGTSTP) ::kill(leader, signal);
  }
  // Signals are delivered before the next system call returns: who still answers has survived them.
  EXPECT_EQ(client.call({.number = abi::CallNumber::statx, .path1 = "file", .arg = {0, 0x7ff}}), 0);
  EXPECT_EQ(umount("/mnt/a"), 0);
  daemon->join();
  EXPECT_EQ(end(), 7);
}

TEST_F(Run, the_command_takes_signals_as_run_did) {
  before_run = [] {
    // By the kernel's own call: posix_spawn, and so make, leaves the two that glibc keeps for itself ignored.
    constexpr uint64_t defaults[4] = {};
    for (int signal = 1; signal <= SIGRTMAX; ++signal)
      ::syscall(SYS_rt_sigaction, signal, defaults, nullptr, sizeof(uint64_t));
    for (const int signal : {SIGUSR2, SIGCHLD, SIGHUP}) ::signal(signal, SIG_IGN);
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    ::sigprocmask(SIG_SETMASK, &blocked, nullptr);
  };
  const auto set = [](int signal) { return uint64_t{1} << (signal - 1); };
  const std::string said = runtime + "/said";
  // The reader itself is the command: a shell would change both.
  ASSERT_EQ(run({"cp", "/proc/self/status", said}), 0);
  const auto word = [&](const std::string& name) {
    std::ifstream status(said);
    for (std::string line; std::getline(status, line);)
      if (line.starts_with(name + ":\t")) return std::stoull(line.substr(name.size() + 2), nullptr, 16);
    ADD_FAILURE() << "no " << name;
    return 0ull;
  };
  // The shell that stands for the gate takes SIGCHLD itself.
  EXPECT_EQ(word("SigIgn") & ~set(SIGCHLD), set(SIGUSR2) | set(SIGHUP));
  EXPECT_EQ(word("SigBlk"), set(SIGUSR1));
}

TEST_F(Run, an_odd_umask_is_the_commands_alone) {
  before_run = [] { ::umask(0777); };
  EXPECT_EQ(run({"sh", "-c", "test $(umask) = 0777"}), 0);
}

TEST_F(Run, a_hangup_that_nohup_ignores_is_no_end) {
  before_run = [] { ::signal(SIGHUP, SIG_IGN); };
  begin();
  ::kill(leader, SIGHUP);
  uint32_t connection;
  open_device(connection);
  EXPECT_EQ(end(), 7);
}

TEST_F(Run, a_mount_is_made_and_listed_and_ended) {
  begin();
  auto daemon = serve("/mnt/a");
  ASSERT_EQ(mounts().size(), 1u);
  EXPECT_EQ(mounts()[0].path, "/mnt/a");
  EXPECT_EQ(mounts()[0].type, "fuse.test");
  EXPECT_EQ(mounts()[0].connection, 1u);
  EXPECT_EQ(mounts()[0].state, abi::MountState::mounted);
  RingClient client(directory, 1);
  ASSERT_TRUE(client.welcome());
  EXPECT_EQ(client.call({.number = abi::CallNumber::statx, .path1 = "file", .arg = {0, 0x7ff}}), 0);
  EXPECT_EQ(umount("/mnt/a"), 0);
  daemon->join();
  EXPECT_TRUE(mounts().empty());
  EXPECT_EQ(umount("/mnt/a"), -EINVAL);
  EXPECT_EQ(end(), 7);
}

TEST_F(Run, what_cannot_be_mounted_is_refused) {
  begin();
  uint32_t connection;
  UniqueFd device = open_device(connection);
  UniqueFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC)), one, other;
  host::packet_pair(one, other);
  EXPECT_EQ(mount(null.get(), "/mnt/a"), -EINVAL);
  EXPECT_EQ(mount(one.get(), "/mnt/a"), -EINVAL);
  EXPECT_EQ(mount(-1, "/mnt/a"), -EINVAL);
  for (const char* path : {"", "/", "mnt", "/mnt/", "/mnt//a", "/mnt/../a", "/mnt/."})
    EXPECT_EQ(mount(device.get(), path), -EINVAL) << path;
  EXPECT_EQ(mount(device.get(), "/mnt/a"), 0);
  UniqueFd second = open_device(connection);
  EXPECT_EQ(mount(second.get(), "/mnt/ab"), 0);
}

// K003
TEST_F(Run, a_device_is_mounted_at_two_places) {
  begin();
  uint32_t connection;
  UniqueFd device = open_device(connection);
  EXPECT_EQ(mount(device.get(), "/mnt/a"), 0);
  EXPECT_EQ(mount(device.get(), "/mnt/b"), 0);
  auto daemon = std::make_unique<SocketDaemon>(device.release());
  daemon->start();
  daemon->wait_for(wire::Opcode::init);
  ASSERT_EQ(mounts().size(), 2u);
  EXPECT_EQ(mounts().at(0).connection, mounts().at(1).connection);
  EXPECT_EQ(umount("/mnt/a"), 0);
  ASSERT_EQ(mounts().size(), 1u);
  EXPECT_EQ(mounts().at(0).path, "/mnt/b");
  EXPECT_EQ(umount("/mnt/b"), 0);
  daemon->join();
}

TEST_F(Run, a_mount_goes_with_a_renamed_directory_if_its_mount_point_does) {
  begin();
  const std::string old_name = directory + "-old", new_name = directory + "-new";
  std::filesystem::create_directories(old_name + "/point");
  struct stat point;
  ASSERT_EQ(::stat((old_name + "/point").c_str(), &point), 0);
  uint32_t connection;
  UniqueFd device = open_device(connection);
  mount_more.point_device = point.st_dev;
  mount_more.point_inode = point.st_ino;
  EXPECT_EQ(mount(device.get(), old_name + "/point"), 0);
  auto renamed = request(abi::LeaderOperation::directory_renamed);
  std::strcpy(renamed.path, old_name.c_str());
  std::strcpy(renamed.point, new_name.c_str());
  EXPECT_EQ(ask(renamed).error, 0);
  EXPECT_EQ(mounts().at(0).path, old_name + "/point") << "nobody is believed";
  std::filesystem::rename(old_name, new_name);
  EXPECT_EQ(ask(renamed).error, 0);
  EXPECT_EQ(mounts().at(0).path, new_name + "/point");
  std::filesystem::remove_all(new_name);
}

TEST_F(Run, a_mount_over_another_goes_first) {
  begin();
  auto a = serve("/mnt/a");
  auto b = serve("/mnt/a");
  EXPECT_EQ(umount("/mnt/a"), 0);
  ASSERT_EQ(mounts().size(), 1u);
  EXPECT_EQ(mounts().at(0).connection, 1u);
  EXPECT_EQ(umount("/mnt/a"), 0);
  a->join();
  b->join();
}

TEST_F(Run, a_mount_with_another_one_on_it_is_busy) {
  begin();
  auto a = serve("/mnt/a");
  auto b = serve("/mnt/a");
  const uint32_t lower = mounts().at(0).id;
  EXPECT_EQ(umount_by_id(lower, 0), -EBUSY);
  EXPECT_EQ(umount_by_id(lower, 2), 0);
  EXPECT_TRUE(mounts().empty());
  a->join();
  b->join();
}

TEST_F(Run, a_device_socket_is_known_by_its_address) {
  begin();
  uint32_t connection;
  UniqueFd device = open_device(connection);
  sockaddr_un address{};
  socklen_t size = sizeof address;
  ASSERT_EQ(::getsockname(device.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  EXPECT_EQ(address.sun_path[0], '\0');
  EXPECT_EQ(std::string_view(address.sun_path + 1).substr(0, std::strlen(abi::device_address_prefix)),
            abi::device_address_prefix);
}

TEST_F(Run, the_daemons_death_leaves_an_ended_mount_until_umount) {
  begin();
  auto daemon = serve("/mnt/a");
  RingClient client(directory, 1);
  daemon->stop();
  while (mounts().at(0).state != abi::MountState::ended) std::this_thread::yield();
  EXPECT_EQ(client.call({.number = abi::CallNumber::statx, .path1 = "file"}), -ENOTCONN);
  EXPECT_EQ(umount("/mnt/a"), 0);
  EXPECT_TRUE(mounts().empty());
}

TEST_F(Run, a_host_that_is_killed_leaves_an_ended_mount_until_umount) {
  begin();
  auto daemon = serve("/mnt/a");
  ::kill(static_cast<pid_t>(mounts().at(0).host_pid), SIGKILL);
  daemon->join();
  while (mounts().at(0).state != abi::MountState::ended) std::this_thread::yield();
  EXPECT_EQ(umount("/mnt/a"), 0);
  EXPECT_TRUE(mounts().empty());
}

TEST_F(Run, a_stopped_host_keeps_its_mount_busy_and_nobody_else_waiting) {
  begin();
  auto a = serve("/mnt/a");
  auto b = serve("/mnt/b");
  const auto host = static_cast<pid_t>(mounts().at(0).host_pid);
  RingClient client(directory, 1);
  ::kill(host, SIGSTOP);
  std::thread stuck([this] { EXPECT_EQ(umount("/mnt/a"), -EBUSY); });
  EXPECT_EQ(umount("/mnt/b"), 0);
  stuck.join();
  EXPECT_EQ(mounts().at(0).state, abi::MountState::mounted);
  // What was given up is not done later, and its answer is nobody else's.
  ::kill(host, SIGCONT);
  EXPECT_EQ(client.call({.number = abi::CallNumber::statx, .path1 = "file", .arg = {0, 0x7ff}}), 0);
  EXPECT_EQ(umount("/mnt/a"), 0);
  a->join();
  b->join();
}

TEST_F(Run, a_lazy_umount_takes_the_mount_of_a_stopped_host_away_at_once) {
  begin();
  auto daemon = serve("/mnt/a");
  const auto host = static_cast<pid_t>(mounts().at(0).host_pid);
  ::kill(host, SIGSTOP);
  EXPECT_EQ(umount("/mnt/a", abi::umount_flag::detach), 0);
  EXPECT_TRUE(mounts().empty() || mounts()[0].state != abi::MountState::mounted);
  ::kill(host, SIGCONT);
  daemon->join();
}

TEST_F(Run, an_expiring_umount_asks_twice_and_use_between_makes_it_start_again) {
  begin();
  auto daemon = serve("/mnt/a");
  RingClient client(directory, 1);
  EXPECT_EQ(umount("/mnt/a", abi::umount_flag::expire), -EAGAIN);
  EXPECT_EQ(client.call({.number = abi::CallNumber::statx, .path1 = "file", .arg = {0, 0x7ff}}), 0);
  EXPECT_EQ(umount("/mnt/a", abi::umount_flag::expire), -EAGAIN);
  EXPECT_EQ(umount("/mnt/a", abi::umount_flag::expire), 0);
  daemon->join();
}

TEST_F(Run, a_forced_umount_aborts_and_is_busy_still_while_files_are_open) {
  begin();
  auto daemon = serve("/mnt/a");
  RingClient client(directory, 1);
  auto file = client.open("file", O_RDWR);
  ASSERT_EQ(file.result, 0);
  EXPECT_EQ(umount("/mnt/a", abi::umount_flag::force), -EBUSY);
  daemon->join();
  file.fd.reset();
  EXPECT_EQ(umount("/mnt/a"), 0);
}

TEST_F(Run, a_remount_changes_read_only_unless_a_file_is_open_for_writing) {
  begin();
  auto daemon = serve("/mnt/a");
  RingClient client(directory, 1);
  const auto remount = [&](uint32_t flags, const char* options) {
    abi::LeaderRequest remount = request(abi::LeaderOperation::remount);
    std::strcpy(remount.path, "/mnt/a");
    std::strcpy(remount.options, options);
    remount.flags = abi::mount_flag::remount | flags;
    return ask(remount).error;
  };
  const auto unlink = [&] { return client.call({.number = abi::CallNumber::unlinkat, .path1 = "file", .arg = {0}}); };
  auto file = client.open("file", O_RDWR);
  ASSERT_EQ(file.result, 0);
  EXPECT_EQ(remount(abi::mount_flag::read_only, ""), -EBUSY);
  file.fd.reset();
  EXPECT_EQ(remount(0, "ro,what=ever"), 0);
  EXPECT_EQ(unlink(), -EROFS);
  EXPECT_EQ(remount(0, "mand"), -EINVAL);
  EXPECT_EQ(remount(abi::mount_flag::mandatory_locks, ""), -EINVAL);
  EXPECT_EQ(remount(abi::mount_flag::bind, ""), 0);
  EXPECT_EQ(unlink(), -EROFS) << "the file system itself is read-only still";
  EXPECT_EQ(remount(0, ""), 0);
  EXPECT_EQ(remount(abi::mount_flag::bind | abi::mount_flag::read_only, ""), 0);
  EXPECT_EQ(unlink(), -EROFS);
  EXPECT_EQ(remount(abi::mount_flag::bind, ""), 0);
  EXPECT_EQ(unlink(), 0);
}

TEST_F(Run, abort_through_the_leader_ends_the_connection) {
  begin();
  auto daemon = serve("/mnt/a");
  abi::LeaderRequest abort = request(abi::LeaderOperation::abort);
  abort.connection = 99;
  EXPECT_EQ(ask(abort).error, -ENOENT);
  abort.connection = 1;
  EXPECT_EQ(ask(abort).error, 0);
  daemon->join();
}

TEST_F(Run, mounts_end_in_reverse_order_with_the_command) {
  begin();
  auto a = serve("/mnt/a");
  auto b = serve("/mnt/b");
  EXPECT_EQ(end(), 7);
  a->join();
  b->join();
}

TEST_F(Run, a_killed_leader_takes_its_hosts_along) {
  begin();
  auto daemon = serve("/mnt/a");
  ::kill(leader, SIGKILL);
  EXPECT_EQ(join(), -SIGKILL);
  daemon->join();
  ::close(hold[1]);
  ::close(up[0]);
  // What it left is removed by the next one.
  EXPECT_EQ(run({"true"}), 0);
}

TEST_F(Run, steps_are_traced_while_tracing_is_on) {
  begin();
  auto daemon = serve("/mnt/a");
  RingClient client(directory, 1);
  abi::LeaderRequest trace = request(abi::LeaderOperation::set_tracing);
  const std::string file = runtime + "/trace";
  std::strcpy(trace.options, file.c_str());
  trace.value[0] = 1;
  ASSERT_EQ(ask(trace).error, 0);
  EXPECT_EQ(client.call({.number = abi::CallNumber::unlinkat, .path1 = "file", .arg = {0}}), 0);
  trace.value[0] = 0;
  ASSERT_EQ(ask(trace).error, 0);
  EXPECT_EQ(client.call({.number = abi::CallNumber::statx, .path1 = "missing"}), -ENOENT);
  std::ifstream lines(file);
  const std::string text((std::istreambuf_iterator<char>(lines)), {});
  for (const char* step : {"\"call\"", "\"queued\"", "\"read\"", "\"replied\"", "\"ended\"", "\"returned\""})
    EXPECT_NE(text.find(step), std::string::npos) << step;
  EXPECT_NE(text.find("\"opcode\":\"UNLINK\""), std::string::npos);
  EXPECT_EQ(text.find("missing"), std::string::npos);
}

TEST_F(Run, the_control_file_system_is_connection_0) {
  options.control_daemon = [](int fd, const abi::MountTable& table, const std::string&) {
    SocketDaemon daemon(fd);
    daemon.start();
    daemon.join();
    return table.magic == abi::mount_table_magic ? 0 : 1;
  };
  begin();
  ASSERT_EQ(mounts().size(), 1u);
  EXPECT_EQ(mounts()[0].connection, 0u);
  EXPECT_EQ(mounts()[0].path, "/sys/fs/fuse/connections");
  EXPECT_EQ(mounts()[0].type, "fusectl");
  RingClient client(directory, 0);
  EXPECT_EQ(client.call({.number = abi::CallNumber::statx, .path1 = "file", .arg = {0, 0x7ff}}), 0);
  auto daemon = serve("/mnt/a");
  EXPECT_EQ(mounts()[1].connection, 1u);
}

}  // namespace
}  // namespace fusewire::test
