// The real kernel's back end: mount -t fuse with the scripted daemon in a process of its own (a process that is both
// user and daemon can deadlock, K044), real system calls in another, everything in a private mount namespace.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "oracle/system.h"
#include "oracle/user.h"

namespace fusewire::oracle {

namespace {

constexpr int scenario_seconds = 20;

[[noreturn]] void fail_with(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

// A directory with the mount point and a control file system, seen by this process and its children only.
class Place {
 public:
  static Place& get() {
    static Place place;
    return place;
  }
  std::string mount_point() const { return base_ + "/mnt"; }
  std::string control(int connection, const char* file) const {
    return fmt::format("{}/ctl/{}/{}", base_, connection, file);
  }

 private:
  Place() {
    if (unshare(CLONE_NEWNS) < 0) fail_with("oracle: cannot make a mount namespace");
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) fail_with("oracle: cannot make mounts private");
    char name[] = "/tmp/oracle-XXXXXX";
    if (!mkdtemp(name)) fail_with("oracle: cannot make a directory in /tmp");
    base_ = name;
    chmod(name, 0755);
    mkdir(mount_point().c_str(), 0755);
    mkdir((base_ + "/ctl").c_str(), 0755);
    if (mount("none", (base_ + "/ctl").c_str(), "fusectl", 0, nullptr) < 0) fail_with("oracle: cannot mount fusectl");
  }
  ~Place() {
    umount2((base_ + "/ctl").c_str(), MNT_DETACH);
    rmdir((base_ + "/ctl").c_str());
    rmdir(mount_point().c_str());
    rmdir(base_.c_str());
  }
  std::string base_;
};

// The number of the connection mounted at path: the minor of its device, from mountinfo (a stat would ask the daemon).
int connection_at(const std::string& path) {
  std::ifstream mountinfo("/proc/self/mountinfo");
  int connection = -1;
  for (std::string line; std::getline(mountinfo, line);) {
    std::istringstream words(line);
    std::string id, parent, device, root, point;
    words >> id >> parent >> device >> root >> point;
    if (point == path) connection = std::stoi(device.substr(device.find(':') + 1));
  }
  return connection;
}

void write_abort(int connection) {
  const int fd = open(Place::get().control(connection, "abort").c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, "1", 1) != 1) perror("oracle: abort");
  close(fd);
}

// What the user process asks of the daemon process, over a SOCK_SEQPACKET pair; answered with one int.
struct Command {
  enum Kind { connection, settle, notify, action, die } kind;
  DaemonAction call = nullptr;
  wire::NotifyCode code{};
  size_t size = 0;
  std::byte payload[512] = {};
};

// The daemon's process: serves until the control socket ends.
class DaemonProcess {
 public:
  DaemonProcess(const Script& script, int control, Log& log)
      : daemon_(script), describe_(script.minor, script.init_flags), control_(control), log_(log) {
    device_ = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (device_ < 0) fail_with("oracle: /dev/fuse");
    std::string options = fmt::format("fd={},rootmode=40000,user_id=0,group_id=0", device_);
    if (script.default_permissions) options += ",default_permissions";
    if (script.allow_other) options += ",allow_other";
    if (script.max_read) options += fmt::format(",max_read={}", script.max_read);
    const unsigned long flags = MS_NOSUID | MS_NODEV | (script.read_only ? MS_RDONLY : 0);
    const std::string at = Place::get().mount_point();
    if (mount("oracle", at.c_str(), "fuse", flags, options.c_str()) < 0) fail_with("oracle: mount " + options);
    connection_ = connection_at(at);
  }

  void run() {
    for (;;) {
      pollfd fds[2] = {{control_, POLLIN, 0}, {device_, POLLIN, 0}};
      if (poll(fds, device_ < 0 ? 1 : 2, -1) < 0) continue;
      if (device_ >= 0 && (fds[1].revents & POLLERR))
        end();
      else if (device_ >= 0 && (fds[1].revents & POLLIN))
        serve();
      else if (fds[0].revents && !obey())
        return;
    }
  }

 private:
  void end() {
    close(device_);
    device_ = -1;
  }

  void serve() {
    static std::byte buffer[1 << 21];
    const ssize_t size = read(device_, buffer, sizeof buffer);
    if (size < 0) {
      if (errno == ENODEV || errno == ECONNABORTED) end();
      return;
    }
    std::string line = "  " + describe_({buffer, static_cast<size_t>(size)});
    const Answer answer = daemon_.answer({buffer, static_cast<size_t>(size)});
    if (!answer.said.empty()) line += " -> " + answer.said;
    if (answer.action == Answer::Action::reply && write(device_, answer.reply.data(), answer.reply.size()) < 0) {
      line += fmt::format(" (write: {})", strerrorname_np(errno));
      // Where the bad reply left the request waiting, an honest error ends it.
      wire::OutHeader out{sizeof out, -EIO, reinterpret_cast<wire::InHeader*>(buffer)->unique};
      line += write(device_, &out, sizeof out) < 0 ? "" : ", then EIO";
    }
    log_.line(line);
    if (answer.action == Answer::Action::die) end();
    if (answer.action == Answer::Action::abort) write_abort(connection_);
  }

  // Until nothing is pending and no request is on its way.
  void settle() {
    while (device_ >= 0) {
      pollfd fd = {device_, POLLIN, 0};
      poll(&fd, 1, 0);
      if (fd.revents & POLLERR) return;
      if (fd.revents & POLLIN)
        serve();
      else if (waiting() == 0)
        return;
      else
        poll(&fd, 1, 1);
    }
  }
  int waiting() {
    std::ifstream file(Place::get().control(connection_, "waiting"));
    int n = 0;
    file >> n;
    return n;
  }

  bool obey() {
    Command command;
    if (recv(control_, &command, sizeof command, 0) != sizeof command) return false;
    int result = 0;
    switch (command.kind) {
      case Command::connection:
        result = connection_;
        break;
      case Command::settle:
        settle();
        break;
      case Command::action:
        command.call(daemon_);
        break;
      case Command::die:
        end();
        break;
      case Command::notify: {
        Bytes message(sizeof(wire::OutHeader) + command.size);
        wire::OutHeader out{static_cast<uint32_t>(message.size()), static_cast<int32_t>(command.code), 0};
        std::memcpy(message.data(), &out, sizeof out);
        std::memcpy(message.data() + sizeof out, command.payload, command.size);
        if (write(device_, message.data(), message.size()) < 0) result = errno;
        break;
      }
    }
    return send(control_, &result, sizeof result, MSG_NOSIGNAL) == sizeof result;
  }

  TreeDaemon daemon_;
  Describer describe_;
  int control_;
  Log& log_;
  int device_ = -1;
  int connection_ = -1;
};

Outcome outcome(long result) { return result < 0 ? Outcome{0, errno} : Outcome{result, 0}; }

class RealSystem final : public System {
 public:
  explicit RealSystem(int control) : control_(control), connection_(command({Command::connection})) {}

  Outcome open(const char* p, int flags, int mode) override {
    const int fd = ::open(path(p).c_str(), flags, mode);
    return fd < 0 ? Outcome{0, errno} : handle(fd);
  }
  Outcome close(int h) override { return outcome(::close(fds_[h])); }
  Outcome dup(int h) override {
    const int fd = ::dup(fds_[h]);
    return fd < 0 ? Outcome{0, errno} : handle(fd);
  }
  Outcome read(int h, size_t size, int64_t offset) override {
    std::string data(size, '\0');
    const ssize_t n = offset < 0 ? ::read(fds_[h], data.data(), size) : pread(fds_[h], data.data(), size, offset);
    return with_data(n, data);
  }
  Outcome write(int h, std::string_view data, int64_t offset) override {
    return outcome(offset < 0 ? ::write(fds_[h], data.data(), data.size())
                              : pwrite(fds_[h], data.data(), data.size(), offset));
  }
  // A directory's position may be negative as an offset.
  Outcome lseek(int h, int64_t offset, int whence) override {
    const off_t position = ::lseek(fds_[h], offset, whence);
    return position == -1 ? Outcome{0, errno} : Outcome{position};
  }
  Outcome getdents(int h, size_t room) override {
    std::string data(room, '\0');
    const ssize_t n = ::syscall(SYS_getdents64, fds_[h], data.data(), room);
    Outcome result = with_data(n, data);
    result.data = dirents_text(result.data);
    return result;
  }
  Outcome stat(const char* p, bool follow, uint32_t mask, int at_flags) override {
    return stat_at(AT_FDCWD, path(p).c_str(), at_flags | (follow ? 0 : AT_SYMLINK_NOFOLLOW), mask);
  }
  Outcome fstat(int h) override { return stat_at(fds_[h], "", AT_EMPTY_PATH, STATX_BASIC_STATS); }
  Outcome access(const char* p, int mask) override { return outcome(::access(path(p).c_str(), mask)); }
  Outcome readlink(const char* p, size_t room) override {
    std::string data(room, '\0');
    Outcome result = with_data(::readlink(path(p).c_str(), data.data(), room), data);
    result.data = quoted(result.data);
    return result;
  }
  Outcome mkdir(const char* p, int mode) override { return outcome(::mkdir(path(p).c_str(), mode)); }
  Outcome mknod(const char* p, int mode, int rdev) override { return outcome(::mknod(path(p).c_str(), mode, rdev)); }
  Outcome symlink(const char* target, const char* p) override { return outcome(::symlink(target, path(p).c_str())); }
  Outcome unlink(const char* p) override { return outcome(::unlink(path(p).c_str())); }
  Outcome rmdir(const char* p) override { return outcome(::rmdir(path(p).c_str())); }
  Outcome rename(const char* from, const char* to, uint32_t flags) override {
    return outcome(renameat2(AT_FDCWD, path(from).c_str(), AT_FDCWD, path(to).c_str(), flags));
  }
  Outcome link(const char* from, const char* to) override {
    return outcome(::link(path(from).c_str(), path(to).c_str()));
  }
  Outcome chmod(const char* p, int mode) override { return outcome(::chmod(path(p).c_str(), mode)); }
  Outcome fchmod(int h, int mode) override { return outcome(::fchmod(fds_[h], mode)); }
  Outcome chown(const char* p, uint32_t uid, uint32_t gid, bool follow) override {
    return outcome(fchownat(AT_FDCWD, path(p).c_str(), uid, gid, follow ? 0 : AT_SYMLINK_NOFOLLOW));
  }
  Outcome truncate(const char* p, int64_t size) override { return outcome(::truncate(path(p).c_str(), size)); }
  Outcome ftruncate(int h, int64_t size) override { return outcome(::ftruncate(fds_[h], size)); }
  Outcome utimens(const char* p, Time atime, Time mtime) override {
    const timespec times[2] = {{atime.sec, atime.nsec}, {mtime.sec, mtime.nsec}};
    return outcome(utimensat(AT_FDCWD, path(p).c_str(), times, 0));
  }
  Outcome futimens(int h, Time atime, Time mtime) override {
    const timespec times[2] = {{atime.sec, atime.nsec}, {mtime.sec, mtime.nsec}};
    return outcome(::futimens(fds_[h], times));
  }
  Outcome statfs(const char* p) override {
    struct statfs s;
    if (::statfs(path(p).c_str(), &s) < 0) return {0, errno};
    return {0, 0,
            statfs_text({static_cast<uint64_t>(s.f_type), static_cast<uint64_t>(s.f_bsize), s.f_blocks, s.f_bfree,
                         s.f_bavail, s.f_files, s.f_ffree, static_cast<uint64_t>(s.f_namelen),
                         static_cast<uint64_t>(s.f_frsize), 0})};
  }
  Outcome setxattr(const char* p, const char* name, std::string_view value, int flags) override {
    return outcome(::setxattr(path(p).c_str(), name, value.data(), value.size(), flags));
  }
  Outcome getxattr(const char* p, const char* name, size_t room) override {
    std::string data(room, '\0');
    Outcome result = with_data(::getxattr(path(p).c_str(), name, data.data(), room), data);
    result.data = room ? quoted(result.data) : "";
    return result;
  }
  Outcome listxattr(const char* p, size_t room) override {
    std::string data(room, '\0');
    Outcome result = with_data(::listxattr(path(p).c_str(), data.data(), room), data);
    result.data = room ? quoted(result.data) : "";
    return result;
  }
  Outcome removexattr(const char* p, const char* name) override {
    return outcome(::removexattr(path(p).c_str(), name));
  }
  Outcome fsync(int h, bool datasync) override { return outcome(datasync ? fdatasync(fds_[h]) : ::fsync(fds_[h])); }
  Outcome fallocate(int h, int mode, int64_t offset, int64_t length) override {
    return outcome(::fallocate(fds_[h], mode, offset, length));
  }
  Outcome setlk(int h, int type, int64_t start, int64_t length, bool wait) override {
    struct flock lock = {static_cast<short>(type), SEEK_SET, start, length, 0};
    return outcome(fcntl(fds_[h], wait ? F_SETLKW : F_SETLK, &lock));
  }
  Outcome getlk(int h, int type, int64_t start, int64_t length) override {
    struct flock lock = {static_cast<short>(type), SEEK_SET, start, length, 0};
    if (fcntl(fds_[h], F_GETLK, &lock) < 0) return {0, errno};
    return {0, 0, fmt::format("type={} start={} len={}", lock.l_type, lock.l_start, lock.l_len)};
  }
  Outcome flock(int h, int operation) override { return outcome(::flock(fds_[h], operation)); }
  Outcome ioctl(int h, uint32_t number, std::string_view given) override {
    std::string data(given);
    Outcome result = outcome(::ioctl(fds_[h], number, data.data()));
    result.data = quoted(data);
    return result;
  }
  Outcome umask(int mask) override {
    ::umask(mask);
    return {};
  }
  Outcome become(uint32_t uid, uint32_t gid) override {
    if (setgroups(0, nullptr) < 0 || setresgid(gid, gid, gid) < 0) return {0, errno};
    return outcome(setresuid(uid, uid, uid));
  }
  Outcome abort() override {
    write_abort(connection_);
    return {};
  }
  Outcome umount() override { return outcome(umount2(Place::get().mount_point().c_str(), 0)); }

  void settle() override { command({Command::settle}); }
  Outcome notify(wire::NotifyCode code, const Bytes& payload) override {
    Command ask{Command::notify, nullptr, code, payload.size(), {}};
    if (payload.size() > sizeof ask.payload) throw std::runtime_error("oracle: notification too big for Command");
    std::memcpy(ask.payload, payload.data(), payload.size());
    return {0, command(ask)};
  }
  void daemon(DaemonAction action) override { command({Command::action, action}); }
  void daemon_dies() override { command({Command::die}); }
  int connection() const { return connection_; }

 private:
  static std::string path(const char* p) {
    std::string whole = Place::get().mount_point();
    if (*p && std::strcmp(p, ".") != 0) whole += std::string("/") + p;
    return whole;
  }
  Outcome handle(int fd) {
    fds_.push_back(fd);
    return {static_cast<int64_t>(fds_.size() - 1)};
  }
  static Outcome with_data(ssize_t n, const std::string& data) {
    if (n < 0) return {0, errno};
    return {n, 0, data.substr(0, n)};
  }
  static Outcome stat_at(int dirfd, const char* p, int flags, uint32_t mask) {
    struct statx s;
    if (::statx(dirfd, p, flags, mask, &s) < 0) return {0, errno};
    abi::Stat out{};
    out.ino = s.stx_ino, out.mode = s.stx_mode, out.nlink = s.stx_nlink, out.uid = s.stx_uid, out.gid = s.stx_gid;
    out.size = s.stx_size, out.blocks = s.stx_blocks, out.mask = s.stx_mask;
    out.rdev = makedev(s.stx_rdev_major, s.stx_rdev_minor);
    out.atime = s.stx_atime.tv_sec, out.mtime = s.stx_mtime.tv_sec, out.ctime = s.stx_ctime.tv_sec;
    out.btime = s.stx_btime.tv_sec;
    return {0, 0, stat_text(out)};
  }
  int command(const Command& ask) {
    int result = 0;
    if (send(control_, &ask, sizeof ask, MSG_NOSIGNAL) != sizeof ask ||
        recv(control_, &result, sizeof result, 0) != sizeof result)
      throw std::runtime_error("oracle: the daemon's process is gone");
    return result;
  }

  int control_;
  int connection_;
  std::vector<int> fds_;
};

template <typename F>
pid_t child(F&& body) {
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) fail_with("oracle: fork");
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
  ::umask(022);
  try {
    body();
    _exit(0);
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    _exit(1);
  }
}

// Whether the child ended well in time.
bool ends_well(pid_t pid, int seconds) {
  const int pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  pollfd fd = {pidfd, POLLIN, 0};
  const bool ended = poll(&fd, 1, seconds * 1000) > 0;
  close(pidfd);
  if (!ended) return false;
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

std::string run_on_real_kernel(const Script& script, Steps steps) {
  Place& place = Place::get();
  Log log;
  log.line("mount");
  int control[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0) fail_with("oracle: socketpair");
  const pid_t daemon = child([&] {
    close(control[0]);
    DaemonProcess(script, control[1], log).run();
  });
  close(control[1]);
  const timeval limit = {scenario_seconds, 0};
  setsockopt(control[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  std::string error;
  try {
    RealSystem system(control[0]);
    const pid_t user = child([&] {
      alarm(scenario_seconds);
      RealSystem own(control[0]);
      User(own, log).run(steps);
    });
    if (!ends_well(user, scenario_seconds + 2)) {
      write_abort(system.connection());
      kill(user, SIGKILL);
      waitpid(user, nullptr, 0);
      error = "oracle: the user process did not come to its end; the trace so far:\n" + log.text();
    } else {
      system.settle();
      User(system, log).umount();
    }
  } catch (const std::exception& e) {
    error = e.what();
  }
  close(control[0]);
  kill(daemon, SIGKILL);
  waitpid(daemon, nullptr, 0);
  umount2(place.mount_point().c_str(), MNT_DETACH | MNT_FORCE);
  if (!error.empty()) throw std::runtime_error(error);
  return log.text();
}

std::string real_kernel_unusable() {
  static const std::string reason = [] {
    const int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0) return fmt::format("/dev/fuse: {}", std::strerror(errno));
    close(fd);
    try {
      run_on_real_kernel(Script{}, [](User&) {});
      return std::string();
    } catch (const std::exception& e) {
      return std::string(e.what());
    }
  }();
  return reason;
}

std::string real_kernel_name() {
  utsname name;
  uname(&name);
  const std::string release = name.release;
  return std::string("Linux ") + release.substr(0, release.find('.', release.find('.') + 1));
}

}  // namespace fusewire::oracle
