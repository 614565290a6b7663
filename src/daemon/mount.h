// Getting a file system mounted, as libfuse's daemons and helpers do it: /dev/fuse, mount(2), and where that is not
// allowed the setuid helper fusermount3.
#pragma once

#include <sys/types.h>

#include <expected>
#include <string>
#include <string_view>

#include "abi/unique_fd.h"

namespace fusewire::daemon {

// The -o options of a FUSE mount, sorted by who they are for.
struct MountOptions {
  unsigned long flags = 2 | 4;  // MS_*; nosuid and nodev unless the options say otherwise
  std::string kernel;           // for the kernel's half: "allow_other,max_read=65536"
  std::string source;           // fsname=
  std::string subtype;          // subtype=: the type is shown as fuse.<subtype>
  bool auto_unmount = false;

  // Options are separated by commas; "\," stands for a comma in a value. What is for the daemon's side alone is taken
  // out; what nobody here knows goes to the kernel's half, which refuses it.
  void add(std::string_view options);
};

// mount(2) with the descriptor of a device; 0 or errno.
int mount_device(int device, const std::string& mount_point, mode_t root_mode, const MountOptions& options);

// One mounted file system: the device until it is taken out, and the way to unmount.
// Thread rule: one thread.
class Mount {
 public:
  // mount_point: an existing directory or file, or /dev/fd/N for a device that somebody else has mounted or holds.
  // The error is a sentence for a person.
  static std::expected<Mount, std::string> make(const std::string& mount_point, const MountOptions& options);

  UniqueFd take_device() { return std::move(device_); }

  // Lazily: open files live on, the name is free at once. Empty, or a sentence for a person.
  std::string unmount();

  const std::string& mount_point() const { return mount_point_; }

 private:
  UniqueFd device_;
  std::string mount_point_;
  bool by_helper_ = false;
  bool foreign_ = false;  // /dev/fd/N: mounting and unmounting are somebody else's
};

}  // namespace fusewire::daemon
