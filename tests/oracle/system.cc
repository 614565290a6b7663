#include "oracle/system.h"

#include <fmt/format.h>

#include <cstring>

namespace fusewire::oracle {

std::string stat_text(const abi::Stat& s) {
  std::string text =
      fmt::format("ino={} mode={:#o} nlink={} uid={} gid={} size={} blocks={} rdev={} times={},{},{}", s.ino, s.mode,
                  s.nlink, s.uid, s.gid, s.size, s.blocks, s.rdev, s.atime, s.mtime, s.ctime);
  constexpr uint32_t statx_btime = 0x800;
  if (s.mask & statx_btime) text += fmt::format(" btime={}", s.btime);
  return text;
}

std::string statfs_text(const abi::Statfs& s) {
  return fmt::format("type={:#x} bsize={} blocks={} bfree={} bavail={} files={} ffree={} namelen={} frsize={}", s.type,
                     s.bsize, s.blocks, s.bfree, s.bavail, s.files, s.ffree, s.namelen, s.frsize);
}

std::string dirents_text(std::string_view records) {
  constexpr size_t name_offset = 19;
  std::string text;
  while (records.size() >= name_offset) {
    uint64_t ino;
    int64_t off;
    uint16_t length;
    std::memcpy(&ino, records.data(), 8);
    std::memcpy(&off, records.data() + 8, 8);
    std::memcpy(&length, records.data() + 16, 2);
    if (length <= name_offset || length > records.size()) return text + " BAD RECORD";
    text += fmt::format("{}{}(ino={} off={} type={})", text.empty() ? "" : " ", records.data() + name_offset, ino, off,
                        static_cast<int>(records[18]));
    records.remove_prefix(length);
  }
  return text;
}

}  // namespace fusewire::oracle
