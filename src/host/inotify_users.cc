#include "host/inotify_users.h"

#include <unistd.h>

#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace fusewire::host {
namespace {

namespace fs = std::filesystem;
using fs::directory_iterator;

void add_watches(const fs::path& fdinfo, std::set<uint64_t>& inodes) {
  std::ifstream lines(fdinfo);
  for (std::string line; std::getline(lines, line);) {
    unsigned watch = 0;
    unsigned long inode = 0;
    if (std::sscanf(line.c_str(), "inotify wd:%x ino:%lx", &watch, &inode) == 2) inodes.insert(inode);
  }
}

void add_process(const fs::path& process, std::set<uint64_t>& inodes) {
  std::error_code error;
  for (directory_iterator fd(process / "fd", error), end; !error && fd != end; fd.increment(error)) {
    char target[64];
    const ssize_t size = ::readlink(fd->path().c_str(), target, sizeof target);
    if (size > 0 && std::string_view(target, static_cast<size_t>(size)) == "anon_inode:inotify")
      add_watches(process / "fdinfo" / fd->path().filename(), inodes);
  }
}

}  // namespace

std::optional<std::set<uint64_t>> watched_inodes() {
  std::set<uint64_t> inodes;
  std::error_code error;
  bool any = false;
  for (directory_iterator process("/proc", error), end; !error && process != end; process.increment(error)) {
    if (!std::isdigit(static_cast<unsigned char>(process->path().filename().native()[0]))) continue;
    any = true;
    add_process(process->path(), inodes);
  }
  if (!any) return std::nullopt;
  return inodes;
}

}  // namespace fusewire::host
