// World: what the calls of one seed share: the descriptors they hold, and the names by which the log calls what a
// machine chooses freely (inode numbers, devices, the place of the mount).
// Turn: one step of it: its own random stream, and the line of the log it writes.
#pragma once

#include <fmt/format.h>
#include <sys/types.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "choices.h"

namespace fusewire::differential {

struct Options {
  // The daemon alone decides on inode numbers and on the order and offsets of directory entries; else they are those
  // of a host file system behind it.
  bool own_inodes = false;
  // The mount is direct_io, where Linux pins the program's memory before anything else: bad memory is not tried.
  bool direct_io = false;
};

// Numbers in the order in which they were first seen.
class Names {
 public:
  std::string of(uint64_t value) { return std::to_string(seen_.try_emplace(value, seen_.size()).first->second); }

 private:
  std::map<uint64_t, size_t> seen_;
};

struct World {
  std::string place;  // holds the mount: place/mnt; the work is in place/mnt/w
  uint64_t seed = 0;
  Options options;
  bool shows_atime = false;  // of seeds that read nothing: what is read from a page cache changes no atime
  bool has_special = false;  // seeds with fifos, sockets and devices, whose opening is left out
  int64_t start_seconds = 0;
  std::array<int, 8> slots{-1, -1, -1, -1, -1, -1, -1, -1};
  Names inodes, devices;
};

struct Path {
  std::string text;
  const char* pointer;  // to text, or nowhere

  Path(std::string path, const char* wrong) : text(std::move(path)), pointer(wrong ? wrong : text.c_str()) {}
  Path(const Path&) = delete;
};

class Turn {
 public:
  Turn(World& shared, uint64_t step) : world(shared), random(shared.seed, step), step_(step) {}

  World& world;
  Random random;

  const std::string& line() const { return line_; }
  void say(std::string_view text) { line_ += text; }
  template <typename... Args>
  void call(fmt::format_string<Args...> format, Args&&... args) {
    line_ += fmt::format("{} ", step_);
    line_ += fmt::format(format, std::forward<Args>(args)...);
  }
  // " = 3" or " = ENOENT"; gives the result back.
  long result(long value);

  // An argument, in brackets what the log shows for it.
  std::string path_text() { return any_path(random, world.place); }
  const char* wrong_pointer();
  std::string shown(const Path& path) const;
  std::string shown_text(std::string_view text) const;

  size_t slot() { return random.below(world.slots.size()); }
  int file();       // a descriptor: mostly one that is open
  int directory();  // for *at calls
  void keep(size_t slot, long descriptor);

 private:
  uint64_t step_;
  std::string line_;
};

using Action = void (*)(Turn&);
struct Choice {
  unsigned weight;
  Action action;
};

std::string error_name(int error);
// A file that its daemon knows no more. Linux needs no attributes to map it or to read on from its page cache; here the
// daemon is asked.
bool is_lost(int fd);
std::string mode_text(uint32_t mode);
// Length, checksum and beginning of some bytes.
std::string content_text(const void* bytes, size_t size);

}  // namespace fusewire::differential
