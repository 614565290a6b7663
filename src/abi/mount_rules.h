// Words of mount(2) and umount2(2) that gate, leader and hosts read alike. Freestanding.
#pragma once

#include <cstdint>
#include <string_view>

namespace fusewire::abi {

// MS_*, as linux/mount.h has them.
namespace mount_flag {
inline constexpr uint32_t read_only = 1, nosuid = 2, nodev = 4, noexec = 8, remount = 32, mandatory_locks = 64,
                          noatime = 1024, nodiratime = 2048, bind = 4096, move = 8192, recursive = 16384,
                          no_user = 1u << 31;
// What an entry of the mount table keeps.
inline constexpr uint32_t kept = read_only | nosuid | nodev | noexec | noatime | nodiratime;
}  // namespace mount_flag

// ioctl(2) of /proc/PID/ns/mnt, NS_GET_MNTNS_ID of newer headers: a number that no later mount namespace has. Where the
// kernel knows none (before Linux 6.11), the inode number stands for it.
inline constexpr unsigned long get_mount_namespace_id = 0x8008b705;

// In the number of a mount: its mount point is meant, in the file system around it.
inline constexpr uint32_t mount_point = uint32_t{1} << 31;

// MNT_* and UMOUNT_NOFOLLOW.
namespace umount_flag {
inline constexpr uint32_t force = 1, detach = 2, expire = 4, no_follow = 8;
inline constexpr uint32_t known = force | detach | expire | no_follow;
}  // namespace umount_flag

// The flags without the magic number that mount(2) once demanded in their upper half (Linux path_mount).
inline constexpr uint32_t without_magic(uint32_t flags) {
  constexpr uint32_t magic = 0xC0ED0000, mask = 0xffff0000;
  return (flags & mask) == magic ? flags & ~mask : flags;
}

// "fuse" and "fuseblk", with a subtype behind a dot or without.
inline constexpr bool is_block_fuse_type(std::string_view type) {
  return type == "fuseblk" || (type.starts_with("fuseblk.") && type.size() > 8);
}
inline constexpr bool is_fuse_type(std::string_view type) {
  return type == "fuse" || (type.starts_with("fuse.") && type.size() > 5) || is_block_fuse_type(type);
}

}  // namespace fusewire::abi
