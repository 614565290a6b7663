#include "daemon/serve.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <thread>

#include "daemon/device_transport.h"

namespace fusewire::daemon {
namespace {

constexpr int live_timeout_ms = 30'000;  // for the kernel's half to ask for INIT
constexpr unsigned threads_at_most = 4;
constexpr int wake_signal = SIGURG;  // ignored by default, so a late one harms nobody
constexpr timespec wake_interval{0, 10'000'000};
constexpr int wakes_at_most = 200;  // two seconds for the requests under way when told to stop

int complain(const ServeOptions& options, const std::string& message) {
  std::fprintf(stderr, "%s: %s\n", options.program.c_str(), message.c_str());
  return 1;
}

// Says once, through a pipe, that the mount is live.
class ParentNotice {
 public:
  explicit ParentNotice(UniqueFd pipe) : pipe_(std::move(pipe)) {}

  void live() {
    if (!pipe_) return;
    leave_terminal();
    char byte = 0;
    while (::write(pipe_.get(), &byte, 1) < 0 && errno == EINTR) {
    }
    pipe_.reset();
  }

 private:
  // Who waits for the end of our output must not wait for the daemon.
  static void leave_terminal() {
    UniqueFd null(::open("/dev/null", O_RDWR));
    for (int fd = 0; null && fd <= 2; ++fd) dup2(null.get(), fd);
    if (null.get() <= 2) null.release();
    if (chdir("/") != 0) return;
  }

  UniqueFd pipe_;
};

// In the parent: 0 when the child says that the mount is live.
int wait_until_live(const ServeOptions& options, UniqueFd pipe, pid_t child) {
  pollfd ready{pipe.get(), POLLIN, 0};
  int n;
  do {
    n = poll(&ready, 1, live_timeout_ms);
  } while (n < 0 && errno == EINTR);
  char byte;
  if (n > 0 && ::read(pipe.get(), &byte, 1) == 1) return 0;
  if (n == 0) {
    kill(child, SIGTERM);
    return complain(options, "mounting on " + options.mount_point + ": the kernel's half did not answer in " +
                                 std::to_string(live_timeout_ms / 1000) + " s; gave up");
  }
  // The child has said why.
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return 1;
}

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, signal);
  return set;
}

// Runs the session in a thread of its own and waits for its end, or for a signal to stop.
class Service {
 public:
  Service(FileSystem& file_system, const ServeOptions& options, UniqueFd device)
      : options_(options), transport_(std::move(device)), session_(transport_, file_system, with_threads(options)) {}

  int run(Mount& mount, ParentNotice& parent) {
    sigset_t signals = stop_signals();
    struct sigaction wake {};
    wake.sa_handler = [](int) {};
    sigaction(wake_signal, &wake, nullptr);
    std::thread thread;
    try {
      thread = std::thread([this, &parent, main = pthread_self()] {
        result_ = session_.run([&parent] { parent.live(); });
        ended_ = true;
        pthread_kill(main, SIGTERM);
      });
    } catch (const std::system_error& error) {
      const std::string unmounted = mount.unmount();
      return complain(options_, std::string("cannot start a thread: ") + error.what() +
                                    " (a container's filter that answers clone3(2) with EPERM, not ENOSYS, does this)" +
                                    (unmounted.empty() ? "" : "; " + unmounted));
    }
    int signal = 0;
    sigwait(&signals, &signal);
    if (!ended_) stop(mount, signals);
    thread.join();
    if (!result_) {
      return complain(
          options_, "serving " + mount.mount_point() + " failed: " + std::strerror(static_cast<int>(result_.error())));
    }
    return 0;
  }

 private:
  static SessionOptions with_threads(const ServeOptions& options) {
    SessionOptions session = options.session;
    if (session.threads == 0) session.threads = std::clamp(std::thread::hardware_concurrency(), 1u, threads_at_most);
    return session;
  }

  void stop(Mount& mount, const sigset_t& signals) {
    session_.stop();
    if (auto failed = mount.unmount(); !failed.empty()) complain(options_, failed);
    // Where files are open still, the connection goes on, and the threads would wait for its next request.
    for (int i = 0; i < wakes_at_most && !ended_; ++i) {
      session_.interrupt(wake_signal);
      sigtimedwait(&signals, nullptr, &wake_interval);
    }
    if (ended_) return;
    // A request does not end. Its thread holds the session, so nothing may be destroyed here.
    std::fflush(nullptr);
    _exit(0);
  }

  const ServeOptions& options_;
  DeviceTransport transport_;
  Session session_;
  Result<void> result_;
  std::atomic<bool> ended_{false};
};

int mount_and_serve(FileSystem& file_system, const ServeOptions& options, ParentNotice parent) {
  sigset_t signals = stop_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  auto mount = Mount::make(options.mount_point, options.mount);
  if (!mount) return complain(options, mount.error());
  Service service(file_system, options, mount->take_device());
  return service.run(*mount, parent);
}

}  // namespace

int serve(FileSystem& file_system, const ServeOptions& given) {
  ServeOptions options = given;
  if (options.mount.auto_unmount) {
    return complain(options, "option auto_unmount: not supported here; the mount ends with SIGTERM or an unmount");
  }
  if (!options.mount_point.starts_with("/dev/fd/")) {
    // The daemon changes its directory.
    char* absolute = realpath(options.mount_point.c_str(), nullptr);
    if (absolute == nullptr) {
      return complain(options, "cannot mount on '" + options.mount_point + "': " + std::strerror(errno));
    }
    options.mount_point = absolute;
    std::free(absolute);
  }
  if (options.foreground) return mount_and_serve(file_system, options, ParentNotice(UniqueFd()));

  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return complain(options, std::string("cannot make a pipe: ") + std::strerror(errno));
  UniqueFd readable(ends[0]), writable(ends[1]);
  pid_t child = fork();
  if (child < 0) return complain(options, std::string("cannot go to the background: ") + std::strerror(errno));
  if (child > 0) {
    writable.reset();
    return wait_until_live(options, std::move(readable), child);
  }
  readable.reset();
  setsid();
  return mount_and_serve(file_system, options, ParentNotice(std::move(writable)));
}

}  // namespace fusewire::daemon
