#include "daemon/fusermount.h"

#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "abi/unique_fd.h"
#include "daemon/mount.h"

namespace fusewire::daemon {
namespace {

constexpr const char* version_text = "fusermount3 version: 3.17.0 (fusewire)";
constexpr const char* help_text =
    "fusermount3: [options] mountpoint\n"
    "Options:\n"
    " -h\t\t    print help\n"
    " -V\t\t    print version\n"
    " -o opt[,opt...]    mount options\n"
    " -u\t\t    unmount\n"
    " -q\t\t    quiet\n"
    " -z\t\t    lazy unmount\n";
constexpr int library_timeout_ms = 5 * 60 * 1000;  // as libfuse's helper waits
constexpr unsigned last_look_seconds = 10;

struct Arguments {
  bool unmount = false, lazy = false, quiet = false, auto_unmount_only = false, sync_init = false;
  MountOptions options;
  std::string mount_point;
};

[[gnu::format(printf, 1, 2)]] int fail(const char* format, ...) {
  std::fputs("fusermount3: ", stderr);
  va_list values;
  va_start(values, format);
  std::vfprintf(stderr, format, values);
  va_end(values);
  std::fputc('\n', stderr);
  return 1;
}

// The directory's path made canonical, the last name left as it is: looking at a dead mount could hang.
std::string resolved(const std::string& path) {
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  size_t slash = trimmed.rfind('/');
  std::string last = slash == std::string::npos ? trimmed : trimmed.substr(slash + 1);
  std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : trimmed.substr(0, slash);
  if (last == "." || last == ".." || last.empty()) {
    parent = trimmed;
    last.clear();
  }
  char* absolute = realpath(parent.c_str(), nullptr);
  if (absolute == nullptr) return {};
  std::string out = absolute;
  std::free(absolute);
  if (last.empty()) return out;
  return out == "/" ? out + last : out + "/" + last;
}

int unmount(const Arguments& arguments) {
  std::string path = resolved(arguments.mount_point);
  if (!path.empty() && umount2(path.c_str(), arguments.lazy ? MNT_DETACH : 0) == 0) return 0;
  if (arguments.quiet) return 1;
  const int why = errno;
  return fail("failed to unmount %s: %s", (path.empty() ? arguments.mount_point : path).c_str(), std::strerror(why));
}

// The library's end of the channel; -1 when the caller is not a FUSE library.
int channel_of_environment() {
  const char* text = std::getenv("_FUSE_COMMFD");
  if (text == nullptr) return -1;
  std::string_view number = text;
  int fd = -1;
  auto [end, failed] = std::from_chars(number.data(), number.data() + number.size(), fd);
  if (failed != std::errc() || end != number.data() + number.size() || fd < 0) return -1;
  return fcntl(fd, F_GETFD) < 0 ? -1 : fd;
}

bool send_descriptor(int channel, int fd) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  ssize_t sent;
  do {
    sent = sendmsg(channel, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == 1;
}

// One byte of the library, for which it gets its time.
bool wait_for_library(int channel) {
  pollfd ready{channel, POLLIN, 0};
  int n;
  do {
    n = poll(&ready, 1, library_timeout_ms);
  } while (n < 0 && errno == EINTR);
  char byte;
  return n > 0 && recv(channel, &byte, 1, 0) == 1;
}

void wait_for_end(int channel) {
  char byte;
  ssize_t n;
  do {
    n = recv(channel, &byte, 1, 0);
  } while (n > 0 || (n < 0 && errno == EINTR));
}

// A path as mountinfo writes it: "\040" for a space, and so on.
std::string without_escapes(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 3 >= text.size()) {
      plain += text[i];
      continue;
    }
    plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return plain;
}

// The device number (as text) of what is mounted there; empty: nothing. Does not touch the mount itself.
std::string mounted_device(const std::string& mount_point) {
  std::string found;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, path;
    if (fields >> id >> parent >> device >> root >> path && without_escapes(path) == mount_point) found = device;
  }
  return found;
}

// After the library's process is gone: unmounts what its connection has left dead, and nothing else. device: what the
// library has mounted; somebody else may mount there as soon as that is gone.
int unmount_when_dead(int channel, const std::string& mount_point, const std::string& device) {
  wait_for_end(channel);
  // A daemon that lives but does not answer would hold the look at its mount for ever: the alarm ends this process.
  signal(SIGALRM, SIG_DFL);
  alarm(last_look_seconds);
  // The channel may close before the device does.
  for (int attempt = 0; attempt < 20 && !device.empty() && mounted_device(mount_point) == device; ++attempt) {
    UniqueFd root(::open(mount_point.c_str(), O_RDONLY | O_CLOEXEC));
    if (!root && (errno == ENOTCONN || errno == ECONNABORTED)) {
      return umount2(mount_point.c_str(), MNT_DETACH) == 0 ? 0 : 1;
    }
    root.reset();
    poll(nullptr, 0, 50);
  }
  return 0;
}

// Leaves the caller's session, so that what ends the daemon does not end its undertaker.
void stay_behind() {
  setsid();
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) signal(number, SIG_IGN);
  UniqueFd null(::open("/dev/null", O_RDWR));
  for (int fd = 0; null && fd <= 2; ++fd) dup2(null.get(), fd);
  if (null.get() <= 2) null.release();
  if (chdir("/") != 0) return;
}

int mount_now(int device, const Arguments& arguments, const std::string& path, mode_t mode) {
  int why = mount_device(device, path, mode, arguments.options);
  if (why != 0) fail("mount failed: %s", std::strerror(why));
  return why;
}

int mount_first(int channel, UniqueFd device, const Arguments& arguments, const std::string& path, mode_t mode) {
  if (mount_now(device.get(), arguments, path, mode) != 0) return 1;
  if (!send_descriptor(channel, device.get())) {
    int why = errno;
    umount2(path.c_str(), MNT_DETACH);
    return fail("sending file descriptor: %s", std::strerror(why));
  }
  if (!arguments.options.auto_unmount) return 0;
  device.reset();
  const std::string mounted = mounted_device(path);
  // Some libraries wait for this process to end before they go on.
  pid_t child = fork();
  if (child < 0) return fail("fork: %s", std::strerror(errno));
  if (child > 0) return 0;
  stay_behind();
  _exit(unmount_when_dead(channel, path, mounted));
}

// The library first makes INIT synchronous on the device, then lets it be mounted.
int mount_when_told(int channel, const UniqueFd& device, const Arguments& arguments, const std::string& path,
                    mode_t mode) {
  if (!send_descriptor(channel, device.get())) return fail("sending file descriptor: %s", std::strerror(errno));
  if (!wait_for_library(channel)) return fail("the library did not say when to mount");
  int32_t status = -mount_now(device.get(), arguments, path, mode);
  if (send(channel, &status, sizeof status, MSG_NOSIGNAL) != sizeof status && status == 0) {
    umount2(path.c_str(), MNT_DETACH);
    return 1;
  }
  return status == 0 ? 0 : 1;
}

int mount(const Arguments& arguments) {
  int channel = channel_of_environment();
  if (channel < 0) return fail("old style mounting not supported");
  const char* given = arguments.mount_point.c_str();
  struct stat status;
  if (!arguments.auto_unmount_only && stat(given, &status) != 0) {
    return fail("failed to access mountpoint %s: %s", given, std::strerror(errno));
  }
  std::string path = resolved(arguments.mount_point);
  if (path.empty()) return fail("bad mount point %s: %s", given, std::strerror(errno));
  if (arguments.auto_unmount_only) return unmount_when_dead(channel, path, mounted_device(path));
  if (access(given, W_OK) != 0 && geteuid() != 0) return fail("user has no write access to mountpoint %s", given);

  UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device && (errno == ENODEV || errno == ENOENT)) {
    return fail("fuse device not found, try 'modprobe fuse' first");
  }
  if (!device) return fail("failed to open /dev/fuse: %s", std::strerror(errno));
  return arguments.sync_init ? mount_when_told(channel, device, arguments, path, status.st_mode)
                             : mount_first(channel, std::move(device), arguments, path, status.st_mode);
}

// Nothing when the program is to go on; else its exit status.
int parse(int argc, char** argv, Arguments& out, bool& done) {
  static const option long_options[] = {
      {"unmount", no_argument, nullptr, 'u'},       {"lazy", no_argument, nullptr, 'z'},
      {"quiet", no_argument, nullptr, 'q'},         {"help", no_argument, nullptr, 'h'},
      {"version", no_argument, nullptr, 'V'},       {"options", required_argument, nullptr, 'o'},
      {"auto-unmount", no_argument, nullptr, 'U'},  {"sync-init", no_argument, nullptr, 'S'},
      {"comm-fd", required_argument, nullptr, 'c'}, {nullptr, 0, nullptr, 0},
  };
  done = true;
  optind = 1;
  static char name[] = "fusermount3";
  argv[0] = name;  // for getopt's own messages
  for (int choice; (choice = getopt_long(argc, argv, "hVo:uzqU", long_options, nullptr)) != -1;) {
    switch (choice) {
      case 'h':
        std::fputs(help_text, stdout);
        return 0;
      case 'V':
        std::puts(version_text);
        return 0;
      case 'o':
        out.options.add(optarg);
        break;
      case 'u':
        out.unmount = true;
        break;
      case 'z':
        out.lazy = true;
        break;
      case 'q':
        out.quiet = true;
        break;
      case 'U':
        out.auto_unmount_only = true;
        break;
      case 'S':
        out.sync_init = true;
        break;
      case 'c':
        setenv("_FUSE_COMMFD", optarg, 1);
        break;
      default:
        return 1;
    }
  }
  if (out.lazy && !out.unmount) return fail("-z can only be used with -u");
  if (optind >= argc) return fail("missing mountpoint argument");
  if (argc - optind > 1) return fail("extra arguments after the mountpoint");
  out.mount_point = argv[optind];
  done = false;
  return 0;
}

}  // namespace

int fusermount_main(int argc, char** argv) {
  Arguments arguments;
  bool done;
  int status = parse(argc, argv, arguments, done);
  if (done) return status;
  return arguments.unmount ? unmount(arguments) : mount(arguments);
}

}  // namespace fusewire::daemon
