// Our half's back end: Module, Connection, Device and Mount in this process, the scripted daemon called whenever the
// device has a request. One thread: a call is started, then the daemon is served until the call is done.
#include <fmt/format.h>

#include <cstring>
#include <map>
#include <stdexcept>

#include "kernel/connection.h"
#include "kernel/device.h"
#include "kernel/module.h"
#include "oracle/system.h"
#include "oracle/user.h"
#include "support/test_host.h"
#include "syscall/mount.h"

namespace fusewire::oracle {

namespace {

using kernel::Connection;
using kernel::Errno;
using kernel::Result;
using kernel::Task;
using syscall::OpenFile;

constexpr uint32_t at_symlink_nofollow = 0x100, at_removedir = 0x200;

class HalfSystem final : public System {
 public:
  HalfSystem(const Script& script, Log& log)
      : daemon_(script), describe_(script.minor, script.init_flags), log_(log), module_(host_) {
    check(module_.init(), "Module::init");
    connection_ = *check(module_.open_connection(), "Module::open_connection");
    device_ = &connection_->device();
    kernel::MountOptions options;
    options.default_permissions = script.default_permissions;
    options.allow_other = script.allow_other;
    options.read_only = script.read_only;
    if (script.max_read) options.max_read = script.max_read;
    Connection::Entry entry(*connection_);
    check(connection_->mount(options), "Connection::mount");
    mount_ = *check(syscall::Mount::create(*connection_, 77), "Mount::create");
    caller_.capabilities = caller_.permitted = kernel::all_capabilities;
    caller_.pid = caller_.tgid = 4242;
    caller_.lock_owner = 1;
  }

  // Every slab empty, or the host panics.
  void exit() {
    if (device_) close_device();
    module_.exit();
    if (host_.bytes_out() != 0) throw std::runtime_error("oracle: pages are left after Module::exit");
  }

  Outcome open(const char* p, int flags, int mode) override {
    auto file = run(mount_->sys_openat(caller_, at(p), flags, mode, leave_));
    if (!file) return error(file.error());
    return handle(*file);
  }
  Outcome close(int h) override {
    OpenFile* file = files_[h];
    const Outcome result = outcome(run(mount_->sys_flush(caller_, *file)));
    if (--users_[file] == 0) {
      Connection::Entry entry(*connection_);
      mount_->release(*file);
    }
    return result;
  }
  Outcome dup(int h) override { return handle(files_[h]); }
  Outcome read(int h, size_t size, int64_t offset) override {
    std::string data(size, '\0');
    return with_data(run(mount_->sys_read(caller_, *files_[h], std::as_writable_bytes(std::span(data)), offset)), data);
  }
  Outcome write(int h, std::string_view data, int64_t offset) override {
    return outcome(run(mount_->sys_write(caller_, *files_[h], std::as_bytes(std::span(data)), offset)));
  }
  Outcome lseek(int h, int64_t offset, int whence) override {
    return outcome(run(mount_->sys_lseek(caller_, *files_[h], offset, whence)));
  }
  Outcome getdents(int h, size_t room) override {
    std::string data(room, '\0');
    Outcome result =
        with_data(run(mount_->sys_getdents64(caller_, *files_[h], std::as_writable_bytes(std::span(data)))), data);
    result.data = dirents_text(result.data);
    return result;
  }
  Outcome stat(const char* p, bool follow, uint32_t mask, int at_flags) override {
    const int flags = at_flags | (follow ? 0 : at_symlink_nofollow);
    return with_stat(run(mount_->sys_statx(caller_, at(p), flags, mask, leave_)));
  }
  Outcome fstat(int h) override {
    constexpr uint32_t basic_stats = 0x7ff;
    return with_stat(run(mount_->sys_fstat(caller_, *files_[h], basic_stats)));
  }
  Outcome access(const char* p, int mask) override {
    return outcome(run(mount_->sys_faccessat(caller_, at(p), mask, 0, leave_)));
  }
  Outcome readlink(const char* p, size_t room) override {
    std::string data(room, '\0');
    Outcome result = with_data(run(mount_->sys_readlinkat(caller_, at(p), std::span(data), leave_)), data);
    result.data = quoted(result.data);
    return result;
  }
  Outcome mkdir(const char* p, int mode) override {
    return outcome(run(mount_->sys_mkdirat(caller_, at(p), mode, leave_)));
  }
  Outcome mknod(const char* p, int mode, int rdev) override {
    return outcome(run(mount_->sys_mknodat(caller_, at(p), mode, rdev, leave_)));
  }
  Outcome symlink(const char* target, const char* p) override {
    return outcome(run(mount_->sys_symlinkat(caller_, target, at(p), leave_)));
  }
  Outcome unlink(const char* p) override { return outcome(run(mount_->sys_unlinkat(caller_, at(p), 0, leave_))); }
  Outcome rmdir(const char* p) override {
    return outcome(run(mount_->sys_unlinkat(caller_, at(p), at_removedir, leave_)));
  }
  Outcome rename(const char* from, const char* to, uint32_t flags) override {
    return outcome(run(mount_->sys_renameat2(caller_, at(from), at(to), flags, leave_)));
  }
  Outcome link(const char* from, const char* to) override {
    return outcome(run(mount_->sys_linkat(caller_, at(from), at(to), 0, leave_)));
  }
  Outcome chmod(const char* p, int mode) override {
    return outcome(run(mount_->sys_fchmodat(caller_, at(p), mode, 0, leave_)));
  }
  Outcome fchmod(int h, int mode) override { return outcome(run(mount_->sys_fchmod(caller_, *files_[h], mode))); }
  Outcome chown(const char* p, uint32_t uid, uint32_t gid, bool follow) override {
    return outcome(run(mount_->sys_fchownat(caller_, at(p), uid, gid, follow ? 0 : at_symlink_nofollow, leave_)));
  }
  Outcome truncate(const char* p, int64_t size) override {
    return outcome(run(mount_->sys_truncate(caller_, at(p), size, leave_)));
  }
  Outcome ftruncate(int h, int64_t size) override {
    return outcome(run(mount_->sys_ftruncate(caller_, *files_[h], size)));
  }
  Outcome utimens(const char* p, Time atime, Time mtime) override {
    return outcome(
        run(mount_->sys_utimensat(caller_, at(p), {atime.sec, atime.nsec}, {mtime.sec, mtime.nsec}, 0, leave_)));
  }
  Outcome futimens(int h, Time atime, Time mtime) override {
    return outcome(run(mount_->sys_futimens(caller_, *files_[h], {atime.sec, atime.nsec}, {mtime.sec, mtime.nsec})));
  }
  Outcome statfs(const char* p) override {
    auto result = run(mount_->sys_statfs(caller_, at(p), leave_));
    if (!result) return error(result.error());
    return {0, 0, statfs_text(*result)};
  }
  Outcome setxattr(const char* p, const char* name, std::string_view value, int flags) override {
    return outcome(run(mount_->sys_setxattr(caller_, at(p), name, std::as_bytes(std::span(value)), flags, 0, leave_)));
  }
  Outcome getxattr(const char* p, const char* name, size_t room) override {
    std::string data(room, '\0');
    return with_xattr(
        run(mount_->sys_getxattr(caller_, at(p), name, std::as_writable_bytes(std::span(data)), 0, leave_)), data);
  }
  Outcome listxattr(const char* p, size_t room) override {
    std::string data(room, '\0');
    return with_xattr(run(mount_->sys_listxattr(caller_, at(p), std::span(data), 0, leave_)), data);
  }
  Outcome removexattr(const char* p, const char* name) override {
    return outcome(run(mount_->sys_removexattr(caller_, at(p), name, 0, leave_)));
  }
  Outcome fsync(int h, bool datasync) override {
    return outcome(run(mount_->sys_fsync(caller_, *files_[h], datasync)));
  }
  Outcome fallocate(int h, int mode, int64_t offset, int64_t length) override {
    return outcome(run(mount_->sys_fallocate(caller_, *files_[h], mode, offset, length)));
  }
  Outcome setlk(int h, int type, int64_t start, int64_t length, bool wait) override {
    return outcome(run(mount_->sys_setlk(caller_, *files_[h], lock(type, start, length), wait)));
  }
  Outcome getlk(int h, int type, int64_t start, int64_t length) override {
    auto found = run(mount_->sys_getlk(caller_, *files_[h], lock(type, start, length)));
    if (!found) return error(found.error());
    const uint64_t size = found->end == INT64_MAX ? 0 : found->end - found->start + 1;
    return {0, 0, fmt::format("type={} start={} len={}", found->type, found->start, size)};
  }
  Outcome flock(int h, int operation) override {
    return outcome(run(mount_->sys_flock(caller_, *files_[h], operation)));
  }
  Outcome ioctl(int h, uint32_t number, std::string_view given) override {
    std::string data(given);
    // Linux gives the daemon the address; the trace does not show it.
    Outcome result =
        outcome(run(mount_->sys_ioctl(caller_, *files_[h], number, 0, std::as_writable_bytes(std::span(data)))));
    result.data = quoted(data);
    return result;
  }
  Outcome umask(int mask) override {
    caller_.umask = mask;
    return {};
  }
  Outcome become(uint32_t uid, uint32_t gid) override {
    caller_.uid = caller_.ruid = caller_.euid = caller_.suid = uid;
    caller_.gid = caller_.rgid = caller_.egid = caller_.sgid = gid;
    caller_.capabilities = caller_.permitted = 0;
    return {};
  }
  Outcome abort() override {
    Connection::Entry entry(*connection_);
    connection_->abort();
    return {};
  }
  Outcome umount() override {
    Connection::Entry entry(*connection_);
    mount_->unmount();
    return {};
  }

  void settle() override {
    while (serve()) {
    }
  }
  Outcome notify(wire::NotifyCode code, const Bytes& payload) override {
    Bytes message(sizeof(wire::OutHeader));
    message.insert(message.end(), payload.begin(), payload.end());
    const wire::OutHeader out{static_cast<uint32_t>(message.size()), static_cast<int32_t>(code), 0};
    std::memcpy(message.data(), &out, sizeof out);
    auto written = device_->write(message);
    return written ? Outcome{} : error(written.error());
  }
  void daemon(DaemonAction action) override { action(daemon_); }
  void daemon_dies() override { close_device(); }

 private:
  template <typename R>
  static R check(R result, const char* what) {
    if (!result) throw std::runtime_error(fmt::format("oracle: {}: errno {}", what, static_cast<int>(result.error())));
    return result;
  }
  // The real kernel gets the mount point itself for ".".
  static syscall::Place at(const char* path) { return {nullptr, std::strcmp(path, ".") == 0 ? "" : path}; }
  static abi::Lock lock(int type, int64_t start, int64_t length) {
    return {static_cast<uint64_t>(start), static_cast<uint64_t>(length ? start + (length - 1) : INT64_MAX),
            static_cast<uint32_t>(type), 0};
  }
  Outcome handle(OpenFile* file) {
    files_.push_back(file);
    ++users_[file];
    return {static_cast<int64_t>(files_.size() - 1)};
  }

  static Outcome error(Errno e) {
    if (e == Errno::eleave) throw std::runtime_error("oracle: a walk left the mount; write the scenario without");
    return {0, static_cast<int>(e)};
  }
  static Outcome outcome(const Result<void>& result) { return result ? Outcome{} : error(result.error()); }
  template <typename T>
  static Outcome outcome(const Result<T>& result) {
    return result ? Outcome{static_cast<int64_t>(*result)} : error(result.error());
  }
  static Outcome with_data(const Result<size_t>& size, const std::string& data) {
    if (!size) return error(size.error());
    return {static_cast<int64_t>(*size), 0, data.substr(0, *size)};
  }
  static Outcome with_xattr(const Result<size_t>& size, const std::string& data) {
    Outcome result = with_data(size, data);
    result.data = data.empty() ? "" : quoted(result.data);
    return result;
  }
  static Outcome with_stat(const Result<abi::Stat>& result) {
    if (!result) return error(result.error());
    return {0, 0, stat_text(*result)};
  }

  // One system call from beginning to end.
  template <typename T>
  T run(Task<T> task) {
    {
      Connection::Entry entry(*connection_);
      task.start();
    }
    while (!task.done() && serve()) {
    }
    if (!task.done()) hung();
    return task.take();
  }
  // A call sleeps though the daemon has nothing to do. Its task must not be destroyed, so there is no way on.
  [[noreturn]] void hung() {
    fmt::print(stderr, "oracle: a call of our half sleeps for ever; the trace so far:\n{}", log_.text());
    std::abort();
  }

  // One request; false when there was none.
  bool serve() {
    if (!device_) return false;
    auto size = device_->read(buffer_);
    if (!size) {
      if (size.error() == Errno::enodev || size.error() == Errno::econnaborted) close_device();
      return false;
    }
    const std::span<const std::byte> request(buffer_.data(), *size);
    std::string line = "  " + describe_(request);
    const Answer answer = daemon_.answer(request);
    if (!answer.said.empty()) line += " -> " + answer.said;
    if (answer.action == Answer::Action::reply) {
      if (auto written = device_->write(answer.reply); !written) {
        line += fmt::format(" (write: {})", strerrorname_np(static_cast<int>(written.error())));
        const wire::OutHeader out{sizeof out, -EIO, reinterpret_cast<wire::InHeader*>(buffer_.data())->unique};
        if (device_->write(std::as_bytes(std::span(&out, 1)))) line += ", then EIO";
      }
    }
    log_.line(line);
    if (answer.action == Answer::Action::die) close_device();
    if (answer.action == Answer::Action::abort) abort();
    return true;
  }
  void close_device() {
    device_->close();
    device_ = nullptr;
  }

  TreeDaemon daemon_;
  Describer describe_;
  Log& log_;
  test::TestHost host_;
  kernel::Module module_;
  Connection* connection_ = nullptr;
  kernel::Device* device_ = nullptr;
  syscall::Mount* mount_ = nullptr;
  kernel::Caller caller_;
  char leave_storage_[4096];
  syscall::Leave leave_{leave_storage_};
  std::vector<OpenFile*> files_;
  std::map<OpenFile*, int> users_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(1 << 21);
};

}  // namespace

std::string run_on_our_half(const Script& script, Steps steps) {
  Log log;
  log.line("mount");
  HalfSystem system(script, log);
  User user(system, log);
  user.run(steps);
  user.umount();
  system.exit();
  return log.text();
}

}  // namespace fusewire::oracle
