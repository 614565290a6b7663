// The FUSE protocol, 7.0 to 7.45: messages as they stand in memory, host byte order. Names are the field's
// (include/uapi/linux/fuse.h) without prefix; sizes and offsets are guarded in protocol_layout.h. No I/O, freestanding.
#pragma once

#include <cstdint>

namespace fusewire::wire {

// One struct, one line, where it fits: the messages are read side by side.
// clang-format off

inline constexpr uint32_t major_version = 7;
inline constexpr uint32_t minor_version = 45;
inline constexpr uint64_t root_id = 1;
inline constexpr uint32_t min_read_buffer = 8192;
inline constexpr uint32_t invalid_id = UINT32_MAX;          // FUSE_INVALID_UIDGID
inline constexpr uint64_t interrupt_bit = 1;                // FUSE_INT_REQ_BIT
inline constexpr uint64_t unique_step = 2;
inline constexpr uint64_t unique_resend = uint64_t{1} << 63;

enum class Opcode : uint32_t {
  lookup = 1, forget = 2, getattr = 3, setattr = 4, readlink = 5, symlink = 6, mknod = 8, mkdir = 9, unlink = 10,
  rmdir = 11, rename = 12, link = 13, open = 14, read = 15, write = 16, statfs = 17, release = 18, fsync = 20,
  setxattr = 21, getxattr = 22, listxattr = 23, removexattr = 24, flush = 25, init = 26, opendir = 27, readdir = 28,
  releasedir = 29, fsyncdir = 30, getlk = 31, setlk = 32, setlkw = 33, access = 34, create = 35, interrupt = 36,
  bmap = 37, destroy = 38, ioctl = 39, poll = 40, notify_reply = 41, batch_forget = 42, fallocate = 43,
  readdirplus = 44, rename2 = 45, lseek = 46, copy_file_range = 47, setupmapping = 48, removemapping = 49,
  syncfs = 50, tmpfile = 51, statx = 52, copy_file_range_64 = 53, cuse_init = 4096,
};
// CUSE_INIT and INIT as a machine of the other byte order sends them: never valid.
inline constexpr uint32_t opcode_cuse_init_swapped = 1048576, opcode_init_swapped = 436207616;

// ioctl(2) on /dev/fuse: CLONE takes a pointer to the other descriptor, BACKING_OPEN a BackingMap, BACKING_CLOSE a
// pointer to the id, SYNC_INIT nothing. Others: ENOTTY.
inline constexpr uint32_t dev_ioctl_clone = 0x8004e500, dev_ioctl_backing_open = 0x4010e501,
    dev_ioctl_backing_close = 0x4004e502, dev_ioctl_sync_init = 0xe503;

enum class NotifyCode : int32_t {
  poll = 1, inval_inode = 2, inval_entry = 3, store = 4, retrieve = 5, delete_entry = 6, resend = 7, inc_epoch = 8,
  prune = 9,
};

// INIT flags: bits 0-31 travel in flags, 32-63 in flags2 (only with init_ext).
namespace init_flag {
inline constexpr uint64_t bit(int n) { return uint64_t{1} << n; }
inline constexpr uint64_t async_read = bit(0), posix_locks = bit(1), file_ops = bit(2), atomic_o_trunc = bit(3),
    export_support = bit(4), big_writes = bit(5), dont_mask = bit(6), splice_write = bit(7), splice_move = bit(8),
    splice_read = bit(9), flock_locks = bit(10), has_ioctl_dir = bit(11), auto_inval_data = bit(12),
    do_readdirplus = bit(13), readdirplus_auto = bit(14), async_dio = bit(15), writeback_cache = bit(16),
    no_open_support = bit(17), parallel_dirops = bit(18), handle_killpriv = bit(19), posix_acl = bit(20),
    abort_error = bit(21), max_pages = bit(22), cache_symlinks = bit(23), no_opendir_support = bit(24),
    explicit_inval_data = bit(25), map_alignment = bit(26), submounts = bit(27), handle_killpriv_v2 = bit(28),
    setxattr_ext = bit(29), init_ext = bit(30), init_reserved = bit(31), security_ctx = bit(32),
    has_inode_dax = bit(33), create_supp_group = bit(34), has_expire_only = bit(35), direct_io_allow_mmap = bit(36),
    passthrough = bit(37), no_export_support = bit(38), has_resend = bit(39), allow_idmap = bit(40),
    over_io_uring = bit(41), request_timeout = bit(42);
}  // namespace init_flag

namespace fopen_flag {
inline constexpr uint32_t direct_io = 1, keep_cache = 2, nonseekable = 4, cache_dir = 8, stream = 16, noflush = 32,
    parallel_direct_writes = 64, passthrough = 128;
}
namespace fattr {
inline constexpr uint32_t mode = 1, uid = 2, gid = 4, size = 8, atime = 16, mtime = 32, fh = 64, atime_now = 128,
    mtime_now = 256, lockowner = 512, ctime = 1024, kill_suidgid = 2048;
}
inline constexpr uint32_t getattr_fh = 1, lk_flock = 1, release_flush = 1, release_flock_unlock = 2,
    read_lockowner = 2, write_cache = 1, write_lockowner = 2, write_kill_suidgid = 4, fsync_fdatasync = 1,
    poll_schedule_notify = 1, open_kill_suidgid = 1, setxattr_acl_kill_sgid = 1, expire_only = 1;
namespace attr_flag {
inline constexpr uint32_t submount = 1, dax = 2;
}
namespace ioctl_flag {
inline constexpr uint32_t compat = 1, unrestricted = 2, retry = 4, bits32 = 8, dir = 16, compat_x32 = 32;
inline constexpr uint32_t max_iov = 256;
}
inline constexpr uint32_t cuse_unrestricted_ioctl = 1, cuse_init_info_max = 4096;
inline constexpr uint64_t setupmapping_write = 1, setupmapping_read = 2;
inline constexpr uint32_t ext_max_secctx = 31, ext_groups = 32;

struct InHeader {
  uint32_t len, opcode;
  uint64_t unique, nodeid;
  uint32_t uid, gid, pid;
  uint16_t total_extlen, padding;  // total_extlen in units of 8 bytes
};
struct OutHeader {
  uint32_t len;
  int32_t error;  // 0, -errno, or with unique 0 a positive notify code
  uint64_t unique;
};

struct Attr {
  uint64_t ino, size, blocks, atime, mtime, ctime;
  uint32_t atimensec, mtimensec, ctimensec, mode, nlink, uid, gid, rdev, blksize, flags;
};
struct StatxTime { int64_t tv_sec; uint32_t tv_nsec; int32_t reserved; };
struct Statx {
  uint32_t mask, blksize;
  uint64_t attributes;
  uint32_t nlink, uid, gid;
  uint16_t mode, spare0;
  uint64_t ino, size, blocks, attributes_mask;
  StatxTime atime, btime, ctime, mtime;
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  uint64_t spare2[14];
};
struct Kstatfs {
  uint64_t blocks, bfree, bavail, files, ffree;
  uint32_t bsize, namelen, frsize, padding, spare[6];
};
struct FileLock { uint64_t start, end; uint32_t type, pid; };

struct EntryOut {
  uint64_t nodeid, generation, entry_valid, attr_valid;
  uint32_t entry_valid_nsec, attr_valid_nsec;
  Attr attr;
};
struct AttrOut { uint64_t attr_valid; uint32_t attr_valid_nsec, dummy; Attr attr; };
inline constexpr uint32_t compat_entry_out_size = 120, compat_attr_out_size = 96;  // minor < 9

struct ForgetIn { uint64_t nlookup; };
struct ForgetOne { uint64_t nodeid, nlookup; };
struct BatchForgetIn { uint32_t count, dummy; };
struct GetattrIn { uint32_t getattr_flags, dummy; uint64_t fh; };
struct StatxIn { uint32_t getattr_flags, reserved; uint64_t fh; uint32_t sx_flags, sx_mask; };
struct StatxOut { uint64_t attr_valid; uint32_t attr_valid_nsec, flags; uint64_t spare[2]; Statx stat; };
struct MknodIn { uint32_t mode, rdev, umask, padding; };
inline constexpr uint32_t compat_mknod_in_size = 8;  // minor < 12
struct MkdirIn { uint32_t mode, umask; };
struct RenameIn { uint64_t newdir; };
struct Rename2In { uint64_t newdir; uint32_t flags, padding; };
struct LinkIn { uint64_t oldnodeid; };
struct SetattrIn {
  uint32_t valid, padding;
  uint64_t fh, size, lock_owner, atime, mtime, ctime;
  uint32_t atimensec, mtimensec, ctimensec, mode, unused4, uid, gid, unused5;
};
struct OpenIn { uint32_t flags, open_flags; };
struct CreateIn { uint32_t flags, mode, umask, open_flags; };
struct OpenOut { uint64_t fh; uint32_t open_flags; int32_t backing_id; };
struct ReleaseIn { uint64_t fh; uint32_t flags, release_flags; uint64_t lock_owner; };
struct FlushIn { uint64_t fh; uint32_t unused, padding; uint64_t lock_owner; };
struct ReadIn { uint64_t fh, offset; uint32_t size, read_flags; uint64_t lock_owner; uint32_t flags, padding; };
struct WriteIn { uint64_t fh, offset; uint32_t size, write_flags; uint64_t lock_owner; uint32_t flags, padding; };
inline constexpr uint32_t compat_write_in_size = 24;  // minor < 9
struct WriteOut { uint32_t size, padding; };
struct StatfsOut { Kstatfs st; };
inline constexpr uint32_t compat_statfs_size = 48;  // minor < 4
struct FsyncIn { uint64_t fh; uint32_t fsync_flags, padding; };
struct SetxattrIn { uint32_t size, flags, setxattr_flags, padding; };
inline constexpr uint32_t compat_setxattr_in_size = 8;  // without setxattr_ext
struct GetxattrIn { uint32_t size, padding; };
struct GetxattrOut { uint32_t size, padding; };
struct LkIn { uint64_t fh, owner; FileLock lk; uint32_t lk_flags, padding; };
struct LkOut { FileLock lk; };
struct AccessIn { uint32_t mask, padding; };
struct InitIn { uint32_t major, minor, max_readahead, flags, flags2, unused[11]; };
struct InitOut {
  uint32_t major, minor, max_readahead, flags;
  uint16_t max_background, congestion_threshold;
  uint32_t max_write, time_gran;
  uint16_t max_pages, map_alignment;
  uint32_t flags2, max_stack_depth;
  uint16_t request_timeout, unused[11];
};
inline constexpr uint32_t compat_init_out_size = 8, compat_22_init_out_size = 24;
struct CuseInitIn { uint32_t major, minor, unused, flags; };
struct CuseInitOut {
  uint32_t major, minor, unused, flags, max_read, max_write, dev_major, dev_minor, spare[10];
};
struct InterruptIn { uint64_t unique; };
struct BmapIn { uint64_t block; uint32_t blocksize, padding; };
struct BmapOut { uint64_t block; };
struct IoctlIn { uint64_t fh; uint32_t flags, cmd; uint64_t arg; uint32_t in_size, out_size; };
struct IoctlIovec { uint64_t base, len; };
struct IoctlOut { int32_t result; uint32_t flags, in_iovs, out_iovs; };
struct PollIn { uint64_t fh, kh; uint32_t flags, events; };
struct PollOut { uint32_t revents, padding; };
struct FallocateIn { uint64_t fh, offset, length; uint32_t mode, padding; };
struct LseekIn { uint64_t fh, offset; uint32_t whence, padding; };
struct LseekOut { uint64_t offset; };
struct CopyFileRangeIn { uint64_t fh_in, off_in, nodeid_out, fh_out, off_out, len, flags; };
struct CopyFileRangeOut { uint64_t bytes_copied; };
struct SetupmappingIn { uint64_t fh, foffset, len, flags, moffset; };
struct RemovemappingIn { uint32_t count; };
struct RemovemappingOne { uint64_t moffset, len; };
struct SyncfsIn { uint64_t padding; };

// A directory record: header, name, zero padding to 8 bytes.
struct Dirent { uint64_t ino, off; uint32_t namelen, type; };
struct Direntplus { EntryOut entry; Dirent dirent; };
inline constexpr uint64_t record_align(uint64_t bytes) { return (bytes + 7) & ~uint64_t{7}; }

struct NotifyPollWakeupOut { uint64_t kh; };
struct NotifyInvalInodeOut { uint64_t ino; int64_t off, len; };
struct NotifyInvalEntryOut { uint64_t parent; uint32_t namelen, flags; };
struct NotifyDeleteOut { uint64_t parent, child; uint32_t namelen, padding; };
struct NotifyStoreOut { uint64_t nodeid, offset; uint32_t size, padding; };
struct NotifyRetrieveOut { uint64_t notify_unique, nodeid, offset; uint32_t size, padding; };
struct NotifyRetrieveIn { uint64_t dummy1, offset; uint32_t size, dummy2; uint64_t dummy3, dummy4; };
struct NotifyPruneOut { uint32_t count, padding; uint64_t spare; };
struct BackingMap { int32_t fd; uint32_t flags; uint64_t padding; };

struct Secctx { uint32_t size, padding; };
struct SecctxHeader { uint32_t size, nr_secctx; };
struct ExtHeader { uint32_t size, type; };
struct SuppGroups { uint32_t nr_groups; };

struct UringEntInOut { uint64_t flags, commit_id; uint32_t payload_sz, padding; uint64_t reserved; };
struct UringReqHeader { char in_out[128]; char op_in[128]; UringEntInOut ent; };
inline constexpr uint32_t uring_cmd_register = 1, uring_cmd_commit_and_fetch = 2;
struct UringCmdReq { uint64_t flags, commit_id; uint16_t qid; uint8_t padding[6]; };

// clang-format on

}  // namespace fusewire::wire
