// Measures a directory: what programs do most, one thread, plain system calls. Prints one line a measurement:
//   NAME VALUE UNIT
// usage: fs_bench DIR FORGETFUL   (FORGETFUL: a mount with entry_timeout=0; what it makes in them, it removes)
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr int warm_up = 50;
constexpr int operations = 1000;

void require(bool good, std::string_view what) {
  if (!good) throw std::runtime_error(fmt::format("fs_bench: {}: {}", what, std::strerror(errno)));
}

// Microseconds of one call of operation(i).
template <typename F>
void measure(const char* name, F&& operation) {
  for (int i = 0; i < warm_up; ++i) operation(-1 - i);
  const auto begin = Clock::now();
  for (int i = 0; i < operations; ++i) operation(i);
  const std::chrono::duration<double, std::micro> spent = Clock::now() - begin;
  fmt::print("{} {:.3f} us\n", name, spent.count() / operations);
}

void stat_of(const char* name, const std::string& dir) {
  const std::string path = dir + "/there";
  const int made = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  require(made >= 0 && close(made) == 0, "create");
  measure(name, [&](int) {
    struct stat st;
    require(stat(path.c_str(), &st) == 0, "stat");
  });
  unlink(path.c_str());
}

void create_unlink(const std::string& dir) {
  measure("create_unlink", [&](int i) {
    const std::string path = fmt::format("{}/new-{}", dir, i);
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    require(fd >= 0, "create");
    require(close(fd) == 0 && unlink(path.c_str()) == 0, "unlink");
  });
}

void open_read_close(const std::string& dir) {
  const std::string path = dir + "/page";
  std::vector<char> page(4096, 'p');
  const int made = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  require(made >= 0 && write(made, page.data(), page.size()) == 4096 && close(made) == 0, "write 4 KiB");
  measure("open_read4k_close", [&](int) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    require(fd >= 0, "open");
    require(read(fd, page.data(), page.size()) == 4096, "read");
    require(close(fd) == 0, "close");
  });
  unlink(path.c_str());
}

void sequential(const std::string& dir) {
  constexpr size_t chunk = 128 * 1024, total = 32 * 1024 * 1024;
  const std::string path = dir + "/stream";
  std::vector<char> data(chunk, 's');
  auto stream = [&](const char* name, int flags, auto&& move) {
    const auto begin = Clock::now();
    const int fd = open(path.c_str(), flags | O_CLOEXEC, 0644);
    require(fd >= 0, "open of the stream");
    for (size_t done = 0; done < total; done += chunk)
      require(move(fd) == static_cast<ssize_t>(chunk), "a chunk of the stream");
    require(close(fd) == 0, "close of the stream");
    const std::chrono::duration<double> spent = Clock::now() - begin;
    fmt::print("{} {:.1f} MiB/s\n", name, total / spent.count() / (1024 * 1024));
  };
  stream("write_sequential", O_WRONLY | O_CREAT | O_TRUNC, [&](int fd) { return write(fd, data.data(), chunk); });
  stream("read_sequential", O_RDONLY, [&](int fd) { return read(fd, data.data(), chunk); });
  unlink(path.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: fs_bench DIR FORGETFUL\n");
    return 2;
  }
  try {
    const std::string dir = argv[1];
    stat_of("stat_uncached", argv[2]);
    stat_of("stat_cached", dir);
    create_unlink(dir);
    open_read_close(dir);
    sequential(dir);
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
  return 0;
}
