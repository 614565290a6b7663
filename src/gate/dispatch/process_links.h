// What /proc shows of a process of the namespace that is the gate's makeshift: an empty directory for a working
// directory in a mount, the gate for the program, a memfd for a mapped file. Their names carry what they stand for, so
// that other processes can tell; who may read the link or the map may know it. Thread rule: any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "gate/dispatch/descriptors.h"
#include "gate/native.h"
#include "gate/text.h"

namespace fusewire::gate {

// The name of the empty directory (below the namespace's) in which somebody stands whose working directory is `file`.
Text<80> nowhere_name(VirtualFile file);
// What a link to it, " (deleted)" and all, stands for.
bool parse_nowhere_link(std::string_view link, VirtualFile& file);

// The name of a memfd that holds the bytes of a mapped file: the end of its path, as long as there is room.
Text<250> mapping_name(std::string_view path, bool no_exec = false);
// The mapping's memfd in a line of /proc/PID/maps, or in a link: where it stands, and the path. Empty: there is none.
struct MappingName {
  size_t at = 0, length = 0;
  std::string_view path;
};
MappingName find_mapping_name(std::string_view text);
// A line of maps or smaps that tells of a mapping: "low-high rwxp offset dev inode   name". false: another line.
struct MapsLine {
  uint64_t low = 0, high = 0, offset = 0;
  std::string_view front;  // up to the offset
  std::string_view name;   // a path; empty: it has none
};
bool read_maps_line(std::string_view line, MapsLine& parts);
// Whether a mapped file of this name may not be executed.
bool is_no_exec_name(std::string_view name);

// The program of the process whose directory of /proc is `directory`, when the gate runs it: false otherwise, or when
// this process may not know.
bool is_under_gate(std::string_view directory);
bool program_of(std::string_view directory, PathText& path);

// The lines of a native file, one after the other. What is longer than a page and a half comes in parts.
class LineReader {
 public:
  // -errno: see error().
  explicit LineReader(const char* path);
  explicit LineReader(const native::OwnFile& file);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  int error() const { return fd_ < 0 ? fd_ : 0; }
  // Its newline is part of it. False at the end.
  bool next(std::string_view& line);

 private:
  int fd_;
  size_t from_ = 0, to_ = 0;
  char buffer_[6144];
};

}  // namespace fusewire::gate
