// differential [-i] [-d] PLACE SEED COUNT STEPS: runs COUNT seeds from SEED on, each of STEPS random file-system calls,
// in the file system that is mounted on PLACE/p/q/r/s/mnt, and writes a line for every call. The same seed makes the
// same calls, so that the logs of two file systems can be compared line by line. All else in PLACE is removed: calls
// leave the mount by "..", and a few levels are there for them.
//
// -i: inode numbers, and order and offsets of directory entries, are the daemon's alone.
// -d: the mount is direct_io.
// Environment: STEPS_KEPT="3 17 20" makes those steps alone (to narrow down a difference).
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <set>
#include <sstream>

#include "calls.h"

namespace fusewire::differential {

namespace {

namespace fs = std::filesystem;

struct Group {
  unsigned weight;
  std::span<const Choice> choices;
};

Action any_action(Random& random, std::span<const Group> groups) {
  unsigned total = 0;
  for (const auto& group : groups) total += group.weight;
  uint64_t at = random.below(total);
  const Group* group = groups.data();
  for (; at >= group->weight; group++) at -= group->weight;
  total = 0;
  for (const auto& choice : group->choices) total += choice.weight;
  at = random.below(total);
  const Choice* choice = group->choices.data();
  for (; at >= choice->weight; choice++) at -= choice->weight;
  return choice->action;
}

const char* const levels[] = {"p", "q", "r", "s", "mnt"};

// As every seed finds it, whatever the one before it has done to it.
void restore(const std::string& directory) {
  const timespec times[] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
  char names[65536];
  const ssize_t size = listxattr(directory.c_str(), names, sizeof names);
  for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(std::strlen(names + at)) + 1)
    removexattr(directory.c_str(), names + at);
  // Linux judges by what it knows of a mount's root, which is nothing before the first look.
  struct stat st;
  if (stat(directory.c_str(), &st) != 0 || chmod(directory.c_str(), 0755) != 0 ||
      chown(directory.c_str(), getuid(), getgid()) != 0 || utimensat(AT_FDCWD, directory.c_str(), times, 0) != 0)
    std::perror(directory.c_str());
}

// A directory that its own user may not enter cannot be emptied.
void open_up(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(fs::symlink_status(path, ignored))) return;
  chmod(path.c_str(), 0700);
  for (const auto& entry : fs::directory_iterator(path, ignored)) open_up(entry.path());
}

void remove_all_but(const std::string& directory, const std::string& kept) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    if (entry.path().filename() == kept) continue;
    open_up(entry.path());
    fs::remove_all(entry.path(), ignored);
  }
}

// What a seed leaves: everything but the way to the mount point.
void clean(const std::string& top) {
  std::string directory = top;
  for (const char* level : levels) {
    restore(directory);
    remove_all_but(directory, level);
    directory += '/' + std::string(level);
  }
  restore(directory);
  remove_all_but(directory, "");
}

bool enter_work(const World& world) {
  const std::string work = world.place + "/mnt/w";
  return chdir(work.c_str()) == 0;
}

bool prepare(const World& world, const std::string& top) {
  umask(022);
  clean(top);
  const std::string work = world.place + "/mnt/w";
  if (mkdir(work.c_str(), 0755) == 0 && enter_work(world)) return true;
  std::perror(work.c_str());
  return false;
}

// A path that names a mount point is taken at its word, without a look at the directories on the way, and the way out
// by ".." is walked from the root (docs/compatibility.md): the directories above may always be entered.
void open_the_way(const std::string& top) {
  std::string directory = top;
  for (const char* level : levels) {
    chmod(directory.c_str(), 0755);
    directory += '/' + std::string(level);
  }
}

// Not farther up than the levels reach.
void stay_near(const World& world, const std::string& top) {
  if (getuid() != 0) open_the_way(top);
  char directory[5000];
  const bool known = getcwd(directory, sizeof directory) != nullptr;
  if (known && !std::string_view(directory).starts_with(world.place) && !enter_work(world) && chdir("/") != 0)
    std::perror("/");
}

void finish(World& world, const std::string& top) {
  for (int& fd : world.slots) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
  if (chdir("/") != 0) std::perror("/");
  clean(top);
}

bool run_seed(const std::string& top, uint64_t seed, uint64_t steps, Options options, const std::set<uint64_t>& kept) {
  World world;
  world.place = top + "/p/q/r/s";
  world.seed = seed;
  world.options = options;
  static const int64_t start_seconds = time(nullptr);
  world.start_seconds = start_seconds;
  world.shows_atime = seed % 4 == 1;
  world.has_special = seed % 8 == 2;
  if (!prepare(world, top)) return false;
  // The kinds of calls are mixed differently from seed to seed.
  Random mix(seed, ~uint64_t{0});
  const auto weight = [&] { return static_cast<unsigned>(4 + mix.below(12)); };
  const Group groups[] = {{weight(), open_calls()},
                          {world.shows_atime ? 0 : weight(), data_calls()},
                          {weight(), name_calls()},
                          {weight(), attribute_calls()},
                          {weight() / 2, descriptor_calls()}};
  std::printf("seed %lu\n", seed);
  for (uint64_t step = 1; step <= steps; step++) {
    if (!kept.empty() && !kept.contains(step)) continue;
    Turn turn(world, step);
    any_action(turn.random, groups)(turn);
    std::printf("%s\n", turn.line().c_str());
    stay_near(world, top);
  }
  finish(world, top);
  std::fflush(stdout);
  return true;
}

std::set<uint64_t> kept_steps() {
  std::set<uint64_t> kept;
  const char* text = std::getenv("STEPS_KEPT");
  std::istringstream words(text ? text : "");
  for (uint64_t step; words >> step;) kept.insert(step);
  return kept;
}

}  // namespace

}  // namespace fusewire::differential

int main(int argc, char** argv) {
  using namespace fusewire::differential;
  Options options;
  int at = 1;
  for (; at < argc && argv[at][0] == '-'; at++) {
    if (std::strcmp(argv[at], "-i") == 0) options.own_inodes = true;
    if (std::strcmp(argv[at], "-d") == 0) options.direct_io = true;
  }
  if (argc - at != 4) {
    std::fprintf(stderr, "usage: differential [-i] [-d] PLACE SEED COUNT STEPS\n");
    return 2;
  }
  const std::string top = std::filesystem::canonical(argv[at]);
  const uint64_t seed = std::strtoull(argv[at + 1], nullptr, 10), count = std::strtoull(argv[at + 2], nullptr, 10),
                 steps = std::strtoull(argv[at + 3], nullptr, 10);
  std::signal(SIGXFSZ, SIG_IGN);
  close_range(3, ~0u, 0);
  const auto kept = kept_steps();
  for (uint64_t i = 0; i < count; i++)
    if (!run_seed(top, seed + i, steps, options, kept)) return 1;
}
