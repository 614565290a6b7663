// Sysfs and Control: /sys/fs/fuse and, mounted on it, the control file system fusectl: connections/<id>/{waiting,
// abort, max_background, congestion_threshold} (K230, K231; Linux control.c). What the files say and what writing them
// does; paths and descriptors are the business of whoever shows them to programs. Thread rule: read and write from any
// thread; they take the connection's lock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernel/errno.h"

namespace fusewire::kernel {

class Connection;
class Module;

// The place under which the control file system stands.
class Sysfs {
 public:
  static constexpr std::string_view path = "/sys/fs/fuse/connections";
  void init() { present_ = true; }
  void exit() { present_ = false; }
  bool present() const { return present_; }

 private:
  bool present_ = false;
};

enum class ControlFile : uint8_t { waiting, abort, max_background, congestion_threshold };

struct ControlFileInfo {
  ControlFile file;
  std::string_view name;
  uint32_t mode;  // of the regular file
};

inline constexpr std::array<ControlFileInfo, 4> control_files{{
    {ControlFile::waiting, "waiting", 0400},
    {ControlFile::abort, "abort", 0200},
    {ControlFile::max_background, "max_background", 0600},
    {ControlFile::congestion_threshold, "congestion_threshold", 0600},
}};

class Control {
 public:
  static constexpr uint32_t magic = 0x65735543;
  static constexpr size_t longest_text = 16;

  explicit Control(Module& module) : module_(module) {}
  void init(const Sysfs& sysfs);
  void exit();

  // The file's text, a decimal number and a newline, at the front of text (longest_text bytes are enough); its length.
  // 0 once the connection has ended. EINVAL for abort, ENOENT when there is no such connection.
  Result<size_t> read(uint32_t connection_id, ControlFile file, std::span<char> text);
  // abort: any bytes abort. The limits: a number up to 65535, and for the unprivileged up to max_user_background; else
  // EINVAL. ENOENT when there is no such connection. Returns text.size().
  Result<size_t> write(uint32_t connection_id, ControlFile file, std::string_view text, bool privileged);

 private:
  Module& module_;
  bool mounted_ = false;
};

}  // namespace fusewire::kernel
