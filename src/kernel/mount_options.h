// MountOptions: what mount(2)'s data says, and its parser (K002, K004; Linux inode.c: fuse_parse_param, fuse_get_tree).
// Thread rule: none.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "kernel/errno.h"

namespace fusewire::kernel {

// Options of mount(2) that concern the half (K004).
struct MountOptions {
  uint32_t rootmode = 0040000;
  uint32_t user_id = 0;
  uint32_t group_id = 0;
  bool default_permissions = false;
  bool allow_other = false;
  bool read_only = false;          // the file system itself, through whichever mount
  bool no_devices = true;          // of a user (SB_I_NODEV): device nodes are not opened
  uint32_t max_read = UINT32_MAX;  // raised to 4096 at least
  // Upper bound of one message's data that the transport sets (a socket's SO_SNDBUF); 0: none. It bounds max_write and
  // max_pages, and 4096 is always allowed.
  uint32_t transport_max_write = 0;
  // The daemon has CAP_SYS_ADMIN: its background limits are not clamped (K037).
  bool privileged_daemon = false;
};

// Linux's file types, the upper bits of a mode.
bool is_file_type(uint32_t mode);

// As Linux's kstrtouint: base 0 goes by the prefix 0 or 0x; a '+' in front and one newline behind are allowed.
std::optional<uint32_t> parse_number(std::string_view text, uint32_t base);

struct ParsedMountData {
  MountOptions options;
  uint32_t fd = 0;
  std::string_view subtype;  // borrowed from the data
  std::string_view source;   // where mount(2)'s own source argument was given, Linux refuses this one with EINVAL
};

// The text of mount(2)'s data: "fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,max_read=131072". EINVAL when one
// of the first four is missing, an option is unknown, has a value where none belongs, or a value is not a number of 32
// bits; for blksize unless is_block (fuseblk). Numbers take Linux's prefixes 0 and 0x; rootmode is octal.
Result<ParsedMountData> parse_mount_data(std::string_view data, bool is_block = false);

// The data of a MS_REMOUNT, of which only the superblock's own flags count (K004). Takes what the call's flags say of
// read-only, gives what "ro" and "rw" in the data make of it. EINVAL for "mand".
Result<bool> parse_remount_data(std::string_view data, bool read_only);

}  // namespace fusewire::kernel
