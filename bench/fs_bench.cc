// Measures operations on a directory by plain system calls, with one client or several at once.
// usage: fs_bench [--clients N] [--milliseconds N] DIR FORGETFUL [ROW...]   (FORGETFUL: DIR on a mount that may cache
// no name; what it makes in them, it removes.)
//        fs_bench --list
//
// For each row it writes "begin ROW" and reads a line; does the row for that long; writes "end ROW VALUE UNIT TIMES"
// and reads a line. Whoever started it can look at everybody's CPU time at both, while the clients stand still.
// VALUE: microseconds of one, or the MiB/s of all. TIMES: how often it was done, by all.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <iostream>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t page = 4096, chunk = 128 * 1024, stream_bytes = 32 << 20;
constexpr int entries = 64;

void require(bool good, std::string_view what) {
  if (!good) throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

// Where one client works.
struct Stage {
  std::string dir, there, missing, link, listed, fresh, stream, uncached;
  std::vector<char> data = std::vector<char>(chunk, 'd');
  int held = -1;
};

void make_file(const Stage& stage, const std::string& path, size_t bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  require(fd >= 0, "create");
  require(write(fd, stage.data.data(), bytes) == static_cast<ssize_t>(bytes) && close(fd) == 0, "write");
}

void open_read_close(Stage& s, size_t bytes) {
  const int fd = open(s.there.c_str(), O_RDONLY | O_CLOEXEC);
  require(fd >= 0, "open");
  require(bytes == 0 || read(fd, s.data.data(), bytes) == static_cast<ssize_t>(bytes), "read");
  require(close(fd) == 0, "close");
}

void list_with_lstat(Stage& s) {
  DIR* directory = opendir(s.listed.c_str());
  require(directory != nullptr, "opendir");
  int seen = 0;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    struct stat status;
    require(fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0, "lstat");
    seen++;
  }
  require(seen == entries, "list");
  closedir(directory);
}

void create_unlink(Stage& s) {
  const int fd = open(s.fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  require(fd >= 0 && close(fd) == 0 && unlink(s.fresh.c_str()) == 0, "create and unlink");
}

template <class Move>
void stream(Stage& s, int flags, Move move) {
  const int fd = open(s.stream.c_str(), flags | O_CLOEXEC, 0644);
  require(fd >= 0, "open of the stream");
  for (size_t done = 0; done < stream_bytes; done += chunk)
    require(move(fd, s.data.data(), chunk) == static_cast<ssize_t>(chunk), "a chunk of the stream");
  require(close(fd) == 0, "close of the stream");
}

struct Row {
  const char* name;
  std::function<void(Stage&)> once;
  double weight = 1;  // how many operations it is, or for streams how many MiB
  bool is_stream = false;
};

const Row rows[] = {
    {"stat_uncached",
     [](Stage& s) {
       struct stat status;
       require(stat(s.uncached.c_str(), &status) == 0, "stat");
     }},
    {"stat_cached",
     [](Stage& s) {
       struct stat status;
       require(stat(s.there.c_str(), &status) == 0, "stat");
     }},
    {"stat_negative",
     [](Stage& s) {
       struct stat status;
       require(stat(s.missing.c_str(), &status) != 0 && errno == ENOENT, "stat of a missing name");
     }},
    {"access", [](Stage& s) { require(access(s.there.c_str(), R_OK) == 0, "access"); }},
    {"readlink", [](Stage& s) { require(readlink(s.link.c_str(), s.data.data(), page) > 0, "readlink"); }},
    {"open_close", [](Stage& s) { open_read_close(s, 0); }},
    {"open_read4k_close", [](Stage& s) { open_read_close(s, page); }},
    {"pread4k", [](Stage& s) { require(pread(s.held, s.data.data(), page, 0) == page, "pread"); }},
    {"lseek", [](Stage& s) { require(lseek(s.held, 1, SEEK_SET) == 1, "lseek"); }},
    {"fstat",
     [](Stage& s) {
       struct stat status;
       require(fstat(s.held, &status) == 0, "fstat");
     }},
    {"readdir_lstat", list_with_lstat, entries},
    {"create_unlink", create_unlink},
    {"write_sequential", [](Stage& s) { stream(s, O_WRONLY | O_CREAT | O_TRUNC, write); }, stream_bytes >> 20, true},
    {"read_sequential", [](Stage& s) { stream(s, O_RDONLY, read); }, stream_bytes >> 20, true},
};

Stage set_up(const std::string& dir, const std::string& forgetful, int number) {
  Stage s;
  s.dir = fmt::format("{}/client-{}", dir, number);
  require(mkdir(s.dir.c_str(), 0755) == 0, s.dir);
  s.there = s.dir + "/there", s.missing = s.dir + "/missing", s.link = s.dir + "/link", s.listed = s.dir + "/listed";
  s.fresh = s.dir + "/fresh", s.stream = s.dir + "/stream";
  s.uncached = fmt::format("{}/uncached-{}", forgetful, number);
  make_file(s, s.there, page);
  make_file(s, s.uncached, 0);
  require(symlink("there", s.link.c_str()) == 0 && mkdir(s.listed.c_str(), 0755) == 0, "symlink and mkdir");
  for (int i = 0; i < entries; i++) make_file(s, fmt::format("{}/entry-{}", s.listed, i), 0);
  s.held = open(s.there.c_str(), O_RDWR | O_CLOEXEC);
  require(s.held >= 0, "open");
  return s;
}

void tear_down(const Stage& s) {
  close(s.held);
  for (int i = 0; i < entries; i++) unlink(fmt::format("{}/entry-{}", s.listed, i).c_str());
  rmdir(s.listed.c_str());
  for (const std::string& name : {s.there, s.link, s.stream, s.uncached}) unlink(name.c_str());
  rmdir(s.dir.c_str());
}

// In memory of all clients.
struct Shared {
  std::atomic<uint32_t> turn{0};     // which row runs; odd: it may begin
  std::atomic<uint32_t> arrived{0};  // clients that stand still
  std::atomic<uint64_t> times{0}, nanoseconds{0};
  std::atomic<bool> failed{false};
};

void wait_for(std::atomic<uint32_t>& word, uint32_t value) {
  for (uint32_t now; (now = word.load()) != value;)
    syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, now, nullptr, nullptr, 0);
}
void wake_all(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, 1 /* FUTEX_WAKE */, 1 << 20, nullptr, nullptr, 0);
}
void tell(std::atomic<uint32_t>& word, uint32_t value) {
  word = value;
  wake_all(word);
}

// Does the row until the time is over; streams at least once.
void run_row(const Row& row, Stage& stage, std::chrono::nanoseconds length, Shared& shared) {
  uint64_t times = 0;
  const auto begin = Clock::now();
  Clock::duration spent{};
  for (uint64_t block = 1; spent < length; spent = Clock::now() - begin) {
    for (uint64_t i = 0; i < block; i++) row.once(stage);
    times += block;
    if (!row.is_stream && block < 64) block *= 2;
  }
  shared.times += times;
  shared.nanoseconds += static_cast<uint64_t>(std::chrono::nanoseconds(spent).count());
}

struct Options {
  int clients = 1;
  std::chrono::milliseconds length{60};
  std::string dir, forgetful;
  std::vector<const Row*> rows;
};

int client(const Options& options, int number, Shared& shared) {
  try {
    Stage stage = set_up(options.dir, options.forgetful, number);
    for (size_t i = 0; i < options.rows.size(); i++) {
      const Row& row = *options.rows[i];
      constexpr int warm_up = 100;
      for (int w = 0; w < (row.is_stream ? 1 : warm_up); w++) row.once(stage);
      shared.arrived++;
      wake_all(shared.arrived);
      wait_for(shared.turn, static_cast<uint32_t>(2 * i + 1));
      run_row(row, stage, options.length, shared);
      shared.arrived++;
      wake_all(shared.arrived);
      wait_for(shared.turn, static_cast<uint32_t>(2 * i + 2));
    }
    tear_down(stage);
    return 0;
  } catch (const std::exception& e) {
    fmt::print(stderr, "fs_bench: {}\n", e.what());
    shared.failed = true;
    tell(shared.arrived, static_cast<uint32_t>(options.clients));
    return 1;
  }
}

// All clients stand still.
void await_clients(const Options& options, Shared& shared) {
  wait_for(shared.arrived, static_cast<uint32_t>(options.clients));
  if (shared.failed) throw std::runtime_error("a client failed");
  shared.arrived = 0;
}

void say(const std::string& line) {
  std::string answer;
  fmt::print("{}\n", line);
  std::fflush(stdout);
  std::getline(std::cin, answer);
}

void conduct(const Options& options, Shared& shared) {
  for (size_t i = 0; i < options.rows.size(); i++) {
    const Row& row = *options.rows[i];
    await_clients(options, shared);
    say(fmt::format("begin {}", row.name));
    shared.times = shared.nanoseconds = 0;
    tell(shared.turn, static_cast<uint32_t>(2 * i + 1));
    await_clients(options, shared);
    const double done = static_cast<double>(shared.times) * row.weight;
    // Of each client, the time; together, as many at once.
    const double seconds = static_cast<double>(shared.nanoseconds) / 1e9 / options.clients;
    const double value = row.is_stream ? done / seconds : seconds / done * 1e6;
    say(fmt::format("end {} {:.4f} {} {:.0f}", row.name, value, row.is_stream ? "MiB/s" : "us", done));
    tell(shared.turn, static_cast<uint32_t>(2 * i + 2));
  }
}

int run(const Options& options) {
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  require(memory != MAP_FAILED, "mmap");
  Shared& shared = *new (memory) Shared;
  std::vector<pid_t> children;
  for (int i = 0; i < options.clients; i++) {
    const pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) _exit(client(options, i, shared));
    children.push_back(child);
  }
  conduct(options, shared);
  int result = 0;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) result = 1;
  }
  return result;
}

const Row* find_row(std::string_view name) {
  const auto found = std::ranges::find(rows, name, &Row::name);
  if (found == std::end(rows)) throw std::runtime_error(fmt::format("no row is called {}", name));
  return found;
}

Options parse(const std::vector<std::string_view>& words) {
  Options options;
  std::vector<std::string> places;
  for (size_t i = 0; i < words.size(); i++) {
    const bool has_value = i + 1 < words.size();
    if (words[i] == "--clients" && has_value) {
      options.clients = std::stoi(std::string(words[++i]));
    } else if (words[i] == "--milliseconds" && has_value) {
      options.length = std::chrono::milliseconds(std::stoi(std::string(words[++i])));
    } else if (places.size() < 2) {
      places.emplace_back(words[i]);
    } else {
      options.rows.push_back(find_row(words[i]));
    }
  }
  if (places.size() != 2 || options.clients < 1) {
    throw std::runtime_error("usage: fs_bench [--clients N] [--milliseconds N] DIR FORGETFUL [ROW...]");
  }
  options.dir = places[0], options.forgetful = places[1];
  if (options.rows.empty()) {
    for (const Row& row : rows) options.rows.push_back(&row);
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::vector<std::string_view> words(argv + 1, argv + argc);
    if (words.size() == 1 && words[0] == "--list") {
      for (const Row& row : rows) fmt::print("{}\n", row.name);
      return 0;
    }
    return run(parse(words));
  } catch (const std::exception& e) {
    fmt::print(stderr, "fs_bench: {}\n", e.what());
    return 1;
  }
}
