// Code of a file in which system-call sites already lead to trampolines (code/trampoline.h): in the gate's file, behind
// the gate, and mapped in place of the file's own by a private mapping. First the trampolines, then the code. The
// leader writes what gates read (mount_table.h). Freestanding.
#pragma once

#include <sys/stat.h>

#include <cstdint>

namespace fusewire::abi {

// What a file is, and how it was when it was looked at.
struct FileIdentity {
  uint64_t device, inode, size, modified, changed;  // times in nanoseconds

  bool operator==(const FileIdentity&) const = default;
};

inline FileIdentity identity_of(const struct stat& file) {
  const auto nanoseconds = [](const timespec& t) {
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
  };
  return {.device = file.st_dev,
          .inode = file.st_ino,
          .size = static_cast<uint64_t>(file.st_size),
          .modified = nanoseconds(file.st_mtim),
          .changed = nanoseconds(file.st_ctim)};
}

struct PreparedCode {
  FileIdentity file;
  uint64_t offset, bytes;     // of its executable segment, whole pages
  uint64_t place;             // in the gate's file
  uint64_t trampoline_bytes;  // whole pages
  uint64_t below;             // the trampolines begin so far below the code
  char path[256];             // without links; NUL-terminated
};
inline constexpr uint32_t prepared_codes_max = 4;

}  // namespace fusewire::abi
