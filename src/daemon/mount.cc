#include "daemon/mount.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

extern char** environ;

namespace fusewire::daemon {
namespace {

struct FlagOption {
  std::string_view name;
  unsigned long set, clear;
};

constexpr FlagOption flag_options[] = {
    {"rw", 0, MS_RDONLY},           {"ro", MS_RDONLY, 0},
    {"suid", 0, MS_NOSUID},         {"nosuid", MS_NOSUID, 0},
    {"dev", 0, MS_NODEV},           {"nodev", MS_NODEV, 0},
    {"exec", 0, MS_NOEXEC},         {"noexec", MS_NOEXEC, 0},
    {"async", 0, MS_SYNCHRONOUS},   {"sync", MS_SYNCHRONOUS, 0},
    {"atime", 0, MS_NOATIME},       {"noatime", MS_NOATIME, 0},
    {"dirsync", MS_DIRSYNC, 0},     {"nodiratime", MS_NODIRATIME, 0},
    {"diratime", 0, MS_NODIRATIME},
};

// Said to the helper or the mount program, never to the kernel's half; the first four it is told by us.
constexpr std::string_view not_for_kernel[] = {
    "fd=",  "rootmode=", "user_id=", "group_id=", "user=", "nonempty", "large_read", "defaults",
    "auto", "noauto",    "user",     "nouser",    "users", "_netdev",  "x-"};

bool matches(std::string_view option, std::string_view rule) {
  return rule.ends_with('=') || rule.ends_with('-') ? option.starts_with(rule) : option == rule;
}

std::string without_escapes(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    plain += text[i];
  }
  return plain;
}

// The length of the first option, up to a comma that no backslash stands before.
size_t first_option(std::string_view options) {
  for (size_t i = 0; i < options.size(); ++i) {
    if (options[i] == '\\') {
      ++i;
    } else if (options[i] == ',') {
      return i;
    }
  }
  return options.size();
}

void add_option(MountOptions& out, std::string_view option) {
  if (option.starts_with("fsname=")) {
    out.source = without_escapes(option.substr(7));
    return;
  }
  if (option.starts_with("subtype=")) {
    out.subtype = without_escapes(option.substr(8));
    return;
  }
  if (option == "auto_unmount") {
    out.auto_unmount = true;
    return;
  }
  for (const FlagOption& flag : flag_options) {
    if (option != flag.name) continue;
    out.flags = (out.flags & ~flag.clear) | flag.set;
    return;
  }
  for (std::string_view rule : not_for_kernel) {
    if (matches(option, rule)) return;
  }
  if (!out.kernel.empty()) out.kernel += ',';
  out.kernel += option;
}

// The first of the options for the kernel's half that it has never heard of; else what it was told.
std::string blame_of_options(std::string_view options) {
  const std::string all(options);
  while (!options.empty()) {
    const size_t length = first_option(options);
    const std::string_view option = options.substr(0, length);
    const bool known = option == "default_permissions" || option == "allow_other" || option.starts_with("max_read=") ||
                       option.starts_with("blksize=") || option.empty();
    if (!known) return "unknown mount option '" + std::string(option) + "'";
    options.remove_prefix(length < options.size() ? length + 1 : length);
  }
  return "the mount options are '" + all + "'";
}

std::string sentence(const std::string& what, int why) { return what + ": " + std::strerror(why); }

int device_in_name(const std::string& mount_point) {
  int fd = -1, used = 0;
  if (std::sscanf(mount_point.c_str(), "/dev/fd/%d%n", &fd, &used) != 1) return -1;
  return static_cast<size_t>(used) == mount_point.size() ? fd : -1;
}

// The helper's options: what the kernel's half, the flags and the names say, in words again.
std::string words_of(const MountOptions& options) {
  std::string words = options.kernel;
  auto add = [&](const std::string& word) { words += (words.empty() ? "" : ",") + word; };
  if (!options.source.empty()) add("fsname=" + options.source);
  if (!options.subtype.empty()) add("subtype=" + options.subtype);
  for (const FlagOption& flag : flag_options) {
    if (flag.set != 0 && (options.flags & flag.set)) add(std::string(flag.name));
  }
  return words;
}

// Runs the helper with the arguments; its exit status, or -1 when there is none to run.
int run_helper(std::vector<std::string> arguments, int channel) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  if (channel >= 0) environment.push_back("_FUSE_COMMFD=" + std::to_string(channel));
  auto pointers = [](std::vector<std::string>& strings) {
    std::vector<char*> out;
    for (auto& string : strings) out.push_back(string.data());
    out.push_back(nullptr);
    return out;
  };
  auto envp = pointers(environment);
  for (const char* helper : {"fusermount3", "fusermount"}) {
    arguments[0] = helper;
    pid_t child;
    if (posix_spawnp(&child, helper, nullptr, nullptr, pointers(arguments).data(), envp.data()) != 0) continue;
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  }
  return -1;
}

UniqueFd receive_descriptor(int channel) {
  char byte;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do {
    got = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  cmsghdr* header = got > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int))) return {};
  int fd;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd(fd);
}

std::expected<UniqueFd, std::string> mount_by_helper(const std::string& mount_point, const MountOptions& options) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return std::unexpected(sentence("cannot make a socket", errno));
  UniqueFd ours(ends[0]), theirs(ends[1]);
  fcntl(ours.get(), F_SETFD, FD_CLOEXEC);
  std::string words = words_of(options);
  std::vector<std::string> arguments = {""};
  if (!words.empty()) arguments.insert(arguments.end(), {"-o", words});
  arguments.insert(arguments.end(), {"--", mount_point});
  int status = run_helper(arguments, theirs.get());
  theirs.reset();
  if (status < 0) return std::unexpected("neither fusermount3 nor fusermount is installed");
  if (status != 0) return std::unexpected("fusermount failed with status " + std::to_string(status));
  UniqueFd device = receive_descriptor(ours.get());
  if (!device) return std::unexpected("fusermount sent no device");
  return device;
}

}  // namespace

void MountOptions::add(std::string_view options) {
  while (!options.empty()) {
    size_t length = first_option(options);
    if (length > 0) add_option(*this, options.substr(0, length));
    options.remove_prefix(length < options.size() ? length + 1 : length);
  }
}

int mount_device(int device, const std::string& mount_point, mode_t root_mode, const MountOptions& options) {
  char data[128];
  std::snprintf(data, sizeof data, "fd=%d,rootmode=%o,user_id=%u,group_id=%u", device, root_mode & S_IFMT, getuid(),
                getgid());
  std::string all = data;
  if (!options.kernel.empty()) all += "," + options.kernel;
  std::string type = options.subtype.empty() ? "fuse" : "fuse." + options.subtype;
  std::string source = !options.source.empty()    ? options.source
                       : !options.subtype.empty() ? options.subtype
                                                  : std::string("/dev/fuse");
  return ::mount(source.c_str(), mount_point.c_str(), type.c_str(), options.flags, all.c_str()) == 0 ? 0 : errno;
}

std::expected<Mount, std::string> Mount::make(const std::string& mount_point, const MountOptions& options) {
  Mount mount;
  mount.mount_point_ = mount_point;
  if (int fd = device_in_name(mount_point); fd >= 0) {
    if (fcntl(fd, F_GETFD) < 0) return std::unexpected(sentence("cannot use " + mount_point, errno));
    mount.device_ = UniqueFd(fd);
    mount.foreign_ = true;
    return mount;
  }
  struct stat status;
  if (stat(mount_point.c_str(), &status) != 0) {
    return std::unexpected(sentence("cannot mount on " + mount_point, errno));
  }
  UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  int why = device ? mount_device(device.get(), mount_point, status.st_mode, options) : errno;
  if (why == 0) {
    mount.device_ = std::move(device);
    return mount;
  }
  std::string tried = (device ? "mount(2) on " + mount_point : std::string("opening /dev/fuse"));
  if (device && why == EINVAL && !options.kernel.empty())
    return std::unexpected(sentence(tried, why) + ": " + blame_of_options(options.kernel));
  if (device && why != EPERM) return std::unexpected(sentence(tried, why));

  auto helped = mount_by_helper(mount_point, options);
  if (!helped) return std::unexpected(sentence(tried, why) + "; " + helped.error());
  mount.device_ = std::move(*helped);
  mount.by_helper_ = true;
  return mount;
}

std::string Mount::unmount() {
  if (foreign_) return {};
  if (!by_helper_) {
    if (umount2(mount_point_.c_str(), MNT_DETACH) == 0 || errno == EINVAL) return {};
    return sentence("cannot unmount " + mount_point_, errno);
  }
  int status = run_helper({"", "-u", "-q", "-z", "--", mount_point_}, -1);
  return status == 0 ? std::string() : "fusermount could not unmount " + mount_point_;
}

}  // namespace fusewire::daemon
