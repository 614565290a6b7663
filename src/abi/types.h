// Plain data that crosses the upper face of the half: between the gate (or another client) and sys_* calls.
// Freestanding; fixed layout, since it also travels through the call ring (abi/ring.h).
#pragma once

#include <cstdint>

namespace fusewire::abi {

// All of struct statx that FUSE can fill. Times are seconds and nanoseconds. dev is the mount's own number. is_root: 1
// for the mount's root.
struct Stat {
  uint64_t ino, size, blocks, dev;
  uint32_t mode, nlink, uid, gid, rdev, blksize, mask, is_root;
  int64_t atime, mtime, ctime, btime;
  uint32_t atime_nsec, mtime_nsec, ctime_nsec, btime_nsec;
};

// As struct statfs, without the padding fields.
struct Statfs {
  uint64_t type, bsize, blocks, bfree, bavail, files, ffree, namelen, frsize, flags;
};

// As struct flock, with absolute [start, end], end inclusive (INT64_MAX: to the end of the file).
struct Lock {
  uint64_t start, end;
  uint32_t type;  // F_RDLCK 0, F_WRLCK 1, F_UNLCK 2
  uint32_t pid;
};

// What a file handle of name_to_handle_at(2) holds: the inode, and its directory.
struct FileHandle {
  uint64_t nodeid, parent_nodeid;
  uint32_t generation, parent_generation;
  uint32_t is_directory;
  uint32_t can_be_opened;  // 0: they only tell files apart (AT_HANDLE_FID)
};

// Of one walk, whatever mounts it leads through: more are ELOOP (Linux MAXSYMLINKS).
inline constexpr uint32_t symlinks_max = 40;

// Where a walk goes on that leaves the mount, and what the rest of the path is.
enum class LeaveTo : uint32_t {
  root = 0,    // an absolute symlink; the rest is absolute
  parent = 1,  // ".." at the root of the mount; the rest is relative to the directory that holds the mount point
  mount = 2,   // what is mounted there; the rest is relative to its root, "" for the root itself
};

// Linux's UTIME_NOW and UTIME_OMIT stand in nsec as they do in utimensat(2).
struct Timespec {
  int64_t sec;
  int64_t nsec;
};

}  // namespace fusewire::abi
