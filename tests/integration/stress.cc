// stress THREADS SECONDS DIR [PREFIX]: mixed work in DIR by many threads; every answer is checked against what the
// thread itself did. Exit status 1 at the first wrong answer, with what was done and what came.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

std::atomic<long> calls{0};
std::atomic<bool> stop{false};

[[noreturn]] void wrong(const std::string& what) {
  std::fprintf(stderr, "stress: %s: %s\n", what.c_str(), std::strerror(errno));
  std::_Exit(1);
}

#define MUST(what, condition)      \
  do {                             \
    calls++;                       \
    if (!(condition)) wrong(what); \
  } while (0)

struct Worker {
  std::string dir;
  std::mt19937 random;

  std::string pattern(size_t size, unsigned seed) {
    std::string text(size, '\0');
    for (size_t i = 0; i < size; i++) text[i] = static_cast<char>('a' + (i * 7 + seed) % 26);
    return text;
  }
  void write_and_read(const std::string& name) {
    const std::string text = pattern(random() % 300000, random());
    int fd = open(name.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0644);
    MUST("create " + name, fd >= 0);
    size_t done = 0;
    while (done < text.size()) {
      ssize_t n = write(fd, text.data() + done, std::min<size_t>(text.size() - done, 1 + random() % 100000));
      MUST("write " + name, n > 0);
      done += static_cast<size_t>(n);
    }
    struct stat st;
    MUST("fstat " + name, fstat(fd, &st) == 0 && st.st_size == static_cast<off_t>(text.size()));
    std::string back(text.size() + 10, '\0');
    size_t got = 0;
    for (ssize_t n; (n = pread(fd, back.data() + got, back.size() - got, static_cast<off_t>(got))) != 0;) {
      MUST("pread " + name, n > 0);
      got += static_cast<size_t>(n);
    }
    MUST("content of " + name, got == text.size() && back.compare(0, got, text) == 0);
    MUST("close " + name, close(fd) == 0);
  }
  void rename_and_unlink(const std::string& name) {
    const std::string other = name + ".renamed";
    MUST("rename " + name, rename(name.c_str(), other.c_str()) == 0);
    struct stat st;
    MUST("old name is gone", stat(name.c_str(), &st) == -1 && errno == ENOENT);
    MUST("new name is there", stat(other.c_str(), &st) == 0);
    const std::string linked = name + ".linked";
    MUST("link", link(other.c_str(), linked.c_str()) == 0);
    MUST("chmod", chmod(linked.c_str(), 0600) == 0);
    MUST("the mode is changed", stat(linked.c_str(), &st) == 0 && (st.st_mode & 07777) == 0600);
    MUST("unlink", unlink(other.c_str()) == 0);
    MUST("unlink the link", unlink(linked.c_str()) == 0);
  }
  // Whether nothing is left in path but files that libfuse has hidden: a file that is removed before a busy daemon has
  // come to its RELEASE is renamed to .fuse_hidden…, and removed by the RELEASE.
  bool only_hidden_left(const std::string& path) {
    DIR* d = opendir(path.c_str());
    if (d == nullptr) return false;
    bool only_hidden = true;
    while (dirent* e = readdir(d)) {
      const std::string name = e->d_name;
      only_hidden = only_hidden && (name == "." || name == ".." || name.rfind(".fuse_hidden", 0) == 0);
    }
    closedir(d);
    return only_hidden;
  }
  bool remove_emptied(const std::string& path) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (rmdir(path.c_str()) != 0) {
      if (errno != ENOTEMPTY || !only_hidden_left(path) || std::chrono::steady_clock::now() > limit) return false;
    }
    return true;
  }
  void directory() {
    const std::string sub = dir + "/sub";
    MUST("mkdir", mkdir(sub.c_str(), 0755) == 0);
    const int count = 1 + static_cast<int>(random() % 60);
    for (int i = 0; i < count; i++) {
      int fd = open((sub + "/f" + std::to_string(i)).c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
      MUST("create in sub", fd >= 0);
      MUST("close in sub", close(fd) == 0);
    }
    DIR* d = opendir(sub.c_str());
    MUST("opendir", d != nullptr);
    int seen = 0;
    while (dirent* e = readdir(d)) seen += e->d_name[0] == 'f';
    closedir(d);
    MUST("all names once: " + std::to_string(seen) + " of " + std::to_string(count), seen == count);
    MUST("rmdir of a full directory", rmdir(sub.c_str()) == -1 && errno == ENOTEMPTY);
    for (int i = 0; i < count; i++) MUST("unlink in sub", unlink((sub + "/f" + std::to_string(i)).c_str()) == 0);
    MUST("rmdir", remove_emptied(sub));
  }
  void symlinks() {
    const std::string name = dir + "/link";
    MUST("symlink", symlink("nowhere/at/all", name.c_str()) == 0);
    char target[100];
    ssize_t n = readlink(name.c_str(), target, sizeof target);
    MUST("readlink", n == 14 && std::memcmp(target, "nowhere/at/all", 14) == 0);
    MUST("a dangling link", open(name.c_str(), O_RDONLY) == -1 && errno == ENOENT);
    MUST("unlink the symlink", unlink(name.c_str()) == 0);
  }
  void run() {
    MUST("mkdir " + dir, mkdir(dir.c_str(), 0755) == 0);
    while (!stop) {
      const std::string name = dir + "/file";
      write_and_read(name);
      rename_and_unlink(name);
      directory();
      symlinks();
    }
    MUST("rmdir " + dir, remove_emptied(dir));
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: stress THREADS SECONDS DIR [PREFIX]\n");
    return 2;
  }
  const int threads = std::atoi(argv[1]);
  const std::string prefix = argc > 4 ? argv[4] : "t";
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; i++)
    workers.emplace_back([=] {
      Worker worker{std::string(argv[3]) + "/" + prefix + "-" + std::to_string(i),
                    std::mt19937(static_cast<unsigned>(i))};
      worker.run();
    });
  std::this_thread::sleep_for(std::chrono::seconds(std::atoi(argv[2])));
  stop = true;
  for (auto& worker : workers) worker.join();
  std::printf("stress: %d threads, %ld calls, all right\n", threads, calls.load());
}
