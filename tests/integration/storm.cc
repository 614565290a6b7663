// A storm: processes and threads do at once what one of them can do alone, and some are killed in between. Every record
// that a write said was written stands in exactly one file, whole and once; every call on a descriptor that was open
// has succeeded; a relative path led into the one directory or the other; locked counters lost nothing.
//
// usage: storm SECONDS DIRECTORY NATIVE-DIRECTORY [SEED]     prints what it did; exit status 1 when a rule was broken.
// With the same directory twice it runs natively, as a control.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

extern char** environ;

namespace {

constexpr int processes = 6, writers = 3, logs = 5, record_bytes = 32;
constexpr int ids = 1 << 16;
constexpr int rotated = 100;  // the descriptor that changes under the writers

// Shared by all processes; what a killed one acknowledged stays known.
struct Shared {
  std::atomic<uint32_t> next_id{1}, stop{0}, broken{0};
  std::atomic<uint64_t> operations{0};
  std::atomic<uint32_t> acknowledged[ids];  // records of a writer: written in order 0, 1, …
  std::atomic<uint32_t> counted;            // increments of the locked counter that were acknowledged
  std::atomic<uint32_t> begun;              // and those that were begun
};
Shared* shared;
std::string mount_directory, native_directory, self;

void breaks(const char* format, ...) {
  char text[256];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (shared->broken.fetch_add(1) < 20) std::fprintf(stderr, "BROKEN: %s\n", text);
}

std::string log_path(int i) { return (i % 2 == 0 ? mount_directory : native_directory) + "/log" + std::to_string(i); }

int open_log(int i) {
  const int fd = ::open(log_path(i).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) breaks("open of a log: %s", std::strerror(errno));
  return fd;
}

bool running() { return shared->stop.load(std::memory_order_relaxed) == 0; }
void counts() { shared->operations.fetch_add(1, std::memory_order_relaxed); }

// One writer of records: its id and how many it has written.
struct Writer {
  uint32_t id = shared->next_id.fetch_add(1);
  uint32_t sequence = 0;

  void write_record(int fd, const char* how) {
    char record[record_bytes + 1];
    std::snprintf(record, sizeof record, "<%10u %10u %7s>\n", id % ids, sequence, how);
    const ssize_t n = ::write(fd, record, record_bytes);
    if (n != record_bytes) return breaks("write (%s) gave %zd: %s", how, n, n < 0 ? std::strerror(errno) : "cut");
    shared->acknowledged[id % ids].store(++sequence);
    counts();
  }
};

void keep_writing() {
  Writer writer;
  while (running()) writer.write_record(rotated, "plain");
}

void keep_rotating(unsigned seed) {
  std::minstd_rand random(seed);
  while (running()) {
    const int fd = open_log(static_cast<int>(random() % logs));
    if (::dup2(fd, rotated) != rotated) breaks("dup2: %s", std::strerror(errno));
    ::close(fd);
    counts();
  }
}

// A child by fork, vfork or posix_spawn: it writes a record of its own to the descriptor that it inherits.
void have_child(unsigned kind) {
  const Writer writer;
  const std::string id = std::to_string(writer.id);
  const char* arguments[] = {self.c_str(), "--child", id.c_str(), nullptr};
  auto* argv = const_cast<char**>(arguments);
  pid_t pid = -1;
  volatile int failed = 0;
  if (kind == 0) {
    pid = ::fork();
    if (pid == 0) {
      Writer child{writer.id, 0};
      child.write_record(rotated, "fork");
      ::_exit(0);
    }
  } else if (kind == 1) {
    pid = ::vfork();
    if (pid == 0) {
      ::execv(self.c_str(), argv);
      failed = errno;
      ::_exit(127);
    }
  } else if (::posix_spawn(&pid, self.c_str(), nullptr, nullptr, argv, environ) != 0) {
    pid = -1;
  }
  if (pid < 0 || failed != 0) return breaks("a child was not started (%u): %s", kind, std::strerror(errno));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (status != 0) breaks("a child ended with status %#x", status);
  counts();
}

void keep_having_children(unsigned seed) {
  std::minstd_rand random(seed);
  while (running()) have_child(random() % 3);
}

void lock(int fd, short type) {
  struct flock l {};
  l.l_type = type;
  l.l_whence = SEEK_SET;
  if (::fcntl(fd, F_SETLKW, &l) != 0) breaks("lock: %s", std::strerror(errno));
}

// POSIX locks are the process's, so one thread of each process counts.
void keep_counting() {
  const int fd = ::open((mount_directory + "/counter").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return breaks("open of the counter: %s", std::strerror(errno));
  while (running()) {
    uint32_t value = 0;
    lock(fd, F_WRLCK);
    if (::pread(fd, &value, sizeof value, 0) < 0) breaks("read of the counter: %s", std::strerror(errno));
    value++;
    shared->begun.fetch_add(1);
    if (::pwrite(fd, &value, sizeof value, 0) != sizeof value) breaks("write of the counter: %s", std::strerror(errno));
    shared->counted.fetch_add(1);
    lock(fd, F_UNLCK);
    counts();
  }
  ::close(fd);
}

void keep_changing_directory() {
  for (bool in_mount = true; running(); in_mount = !in_mount) {
    const std::string& to = in_mount ? mount_directory : native_directory;
    if (::chdir(to.c_str()) != 0) breaks("chdir: %s", std::strerror(errno));
    counts();
  }
}

void keep_looking_around() {
  while (running()) {
    char text[16] = {};
    const int fd = ::open("where", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      breaks("open of a relative path: %s", std::strerror(errno));
      continue;
    }
    if (::read(fd, text, sizeof text) != 5) breaks("a relative path led to '%s'", text);
    ::close(fd);
    counts();
  }
}

void send_descriptor(int socket, int fd) {
  char byte = 'd', control[CMSG_SPACE(sizeof(int))] = {};
  iovec io{&byte, 1};
  msghdr message{};
  message.msg_iov = &io, message.msg_iovlen = 1;
  message.msg_control = control, message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (::sendmsg(socket, &message, MSG_NOSIGNAL) != 1) breaks("a descriptor was not sent: %s", std::strerror(errno));
}

int receive_descriptor(int socket) {
  char byte, control[CMSG_SPACE(sizeof(int))];
  iovec io{&byte, 1};
  msghdr message{};
  message.msg_iov = &io, message.msg_iovlen = 1;
  message.msg_control = control, message.msg_controllen = sizeof control;
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) return -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  int fd = -1;
  if (header != nullptr) std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

// A log travels through a socket and is closed on the way: who receives it writes to it all the same.
void keep_sending(unsigned seed) {
  std::minstd_rand random(seed);
  Writer writer;
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return breaks("socketpair");
  while (running()) {
    const int fd = open_log(static_cast<int>(random() % logs));
    send_descriptor(pair[0], fd);
    ::close(fd);
    const int received = receive_descriptor(pair[1]);
    if (received < 0) {
      breaks("no descriptor came: %s", std::strerror(errno));
      continue;
    }
    writer.write_record(received, "sent");
    ::close(received);
  }
  ::close(pair[0]);
  ::close(pair[1]);
}

[[noreturn]] void be_process(unsigned seed) {
  ::dup2(open_log(0), rotated);
  std::vector<std::thread> threads;
  for (int i = 0; i < writers; i++) threads.emplace_back(keep_writing);
  threads.emplace_back(keep_rotating, seed);
  threads.emplace_back(keep_having_children, seed + 1);
  threads.emplace_back(keep_counting);
  threads.emplace_back(keep_sending, seed + 2);
  for (std::thread& thread : threads) thread.join();
  ::_exit(0);
}

// Of its own: the working directory is the process's, and children would be started from it.
[[noreturn]] void be_wanderer() {
  if (::chdir(mount_directory.c_str()) != 0) breaks("chdir: %s", std::strerror(errno));
  std::thread one(keep_changing_directory), two(keep_looking_around), three(keep_looking_around);
  one.join(), two.join(), three.join();
  ::_exit(0);
}

pid_t start(int which, unsigned seed) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (which == 0) be_wanderer();
    be_process(seed);
  }
  return pid;
}

// Every record of all logs: whole, and each writer's 0, 1, … up to the acknowledged ones once; the one record a killed
// writer had under way may be there or not.
void check_logs() {
  std::map<uint32_t, std::map<uint32_t, int>> found;
  uint64_t records = 0;
  for (int i = 0; i < logs; i++) {
    const int fd = ::open(log_path(i).c_str(), O_RDONLY);
    std::string text;
    std::array<char, 65536> buffer;
    for (ssize_t n; (n = ::read(fd, buffer.data(), buffer.size())) > 0;)
      text.append(buffer.data(), static_cast<size_t>(n));
    ::close(fd);
    for (size_t at = 0; at < text.size(); at += record_bytes) {
      const std::string record = text.substr(at, record_bytes);  // sscanf measures what it is given, every time
      unsigned id, sequence;
      if (std::sscanf(record.c_str(), "<%u %u", &id, &sequence) != 2 || record.size() != record_bytes ||
          record.back() != '\n') {
        breaks("log %d holds no record at %zu", i, at);
        break;
      }
      found[id][sequence]++;
      records++;
    }
  }
  for (const auto& [id, of_writer] : found) {
    for (const auto& [sequence, times] : of_writer)
      if (times != 1) breaks("record %u of writer %u stands %d times", sequence, id, times);
  }
  for (uint32_t id = 1; id < shared->next_id; id++) {
    const uint32_t wanted = shared->acknowledged[id % ids];
    for (uint32_t sequence = 0; sequence < wanted; sequence++)
      if (!found[id % ids].contains(sequence)) breaks("record %u of writer %u is nowhere", sequence, id);
  }
  std::printf("%llu records\n", static_cast<unsigned long long>(records));
}

void check_counter() {
  uint32_t value = 0;
  const int fd = ::open((mount_directory + "/counter").c_str(), O_RDONLY);
  if (::read(fd, &value, sizeof value) != sizeof value) breaks("the counter cannot be read");
  ::close(fd);
  if (value < shared->counted || value > shared->begun)
    breaks("the counter is %u, counted %u to %u times", value, shared->counted.load(), shared->begun.load());
  std::printf("%u counts\n", value);
}

void put_file(const std::string& path, const char* text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (::write(fd, text, std::strlen(text)) < 0) breaks("cannot write %s", path.c_str());
  ::close(fd);
}

int run(int seconds, unsigned seed) {
  put_file(mount_directory + "/where", "mount");
  if (native_directory != mount_directory) put_file(native_directory + "/where", "nativ");
  std::minstd_rand random(seed);
  std::array<pid_t, processes> pids;
  for (int i = 0; i < processes; i++) pids[static_cast<size_t>(i)] = start(i, static_cast<unsigned>(random()));
  const time_t end = ::time(nullptr) + seconds;
  uint32_t killed = 0;
  while (::time(nullptr) < end) {
    ::usleep(50'000 + static_cast<unsigned>(random() % 150'000));
    const size_t i = random() % processes;
    ::kill(pids[i], SIGKILL);
    ::waitpid(pids[i], nullptr, 0);
    killed++;
    pids[i] = start(static_cast<int>(i), static_cast<unsigned>(random()));
  }
  shared->stop = 1;
  for (const pid_t pid : pids) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    if (status != 0) breaks("a process ended with status %#x", status);
  }
  // Children of killed processes may still be on their way.
  while (::waitpid(-1, nullptr, 0) > 0) continue;
  check_logs();
  check_counter();
  std::printf("%llu operations, %u processes killed, %u rules broken\n",
              static_cast<unsigned long long>(shared->operations.load()), killed, shared->broken.load());
  return shared->broken == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--child") == 0) {
    char record[record_bytes + 1];
    std::snprintf(record, sizeof record, "<%10lu %10u %7s>\n", std::strtoul(argv[2], nullptr, 10) % ids, 0u, "exec");
    return ::write(rotated, record, record_bytes) == record_bytes ? 0 : 3;
  }
  if (argc < 4) {
    std::fprintf(stderr, "usage: storm SECONDS DIRECTORY NATIVE-DIRECTORY [SEED]\n");
    return 2;
  }
  void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  shared = new (memory) Shared;
  // The children of killed processes come to us: their records are counted when they have ended.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  std::array<char, 4096> path{};
  if (::readlink("/proc/self/exe", path.data(), path.size() - 1) <= 0) return 2;
  self = path.data();
  mount_directory = argv[2], native_directory = argv[3];
  return run(std::atoi(argv[1]), argc > 4 ? static_cast<unsigned>(std::atoi(argv[4])) : 1);
}
