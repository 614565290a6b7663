// Linux's x86-64 numbers that system calls carry and the protocol repeats: open flags, modes, masks.
// Freestanding, so that no libc header is needed; the values are those of asm-generic and linux/stat.h.
#pragma once

#include <cstdint>

namespace fusewire::kernel::abi {

inline constexpr uint32_t o_accmode = 03, o_rdonly = 0, o_wronly = 01, o_rdwr = 02, o_creat = 0100, o_excl = 0200,
                          o_noctty = 0400, o_trunc = 01000, o_append = 02000, o_nonblock = 04000, o_dsync = 010000,
                          o_async = 020000, o_direct = 040000, o_largefile = 0100000, o_directory = 0200000,
                          o_nofollow = 0400000, o_noatime = 01000000, o_cloexec = 02000000, o_sync = 04010000,
                          o_path = 010000000, o_tmpfile_bit = 020000000;
inline constexpr uint32_t o_tmpfile = o_tmpfile_bit | o_directory;

inline constexpr uint32_t s_ifmt = 0170000, s_ifsock = 0140000, s_iflnk = 0120000, s_ifreg = 0100000, s_ifblk = 0060000,
                          s_ifdir = 0040000, s_ifchr = 0020000, s_ififo = 0010000;
inline constexpr uint32_t s_isuid = 04000, s_isgid = 02000, s_isvtx = 01000, s_ixgrp = 010, s_ixugo = 0111,
                          s_iallugo = 07777;
constexpr bool is_dir(uint32_t mode) { return (mode & s_ifmt) == s_ifdir; }
constexpr bool is_reg(uint32_t mode) { return (mode & s_ifmt) == s_ifreg; }
constexpr bool is_lnk(uint32_t mode) { return (mode & s_ifmt) == s_iflnk; }

inline constexpr uint32_t at_symlink_nofollow = 0x100, at_removedir = 0x200, at_eaccess = 0x200,
                          at_symlink_follow = 0x400, at_no_automount = 0x800, at_empty_path = 0x1000,
                          at_statx_force_sync = 0x2000, at_statx_dont_sync = 0x4000;

inline constexpr uint32_t statx_type = 1, statx_mode = 2, statx_nlink = 4, statx_uid = 8, statx_gid = 0x10,
                          statx_atime = 0x20, statx_mtime = 0x40, statx_ctime = 0x80, statx_ino = 0x100,
                          statx_size = 0x200, statx_blocks = 0x400, statx_basic_stats = 0x7ff, statx_btime = 0x800,
                          statx_reserved = 0x80000000;
// What a change of content, and of content and size, makes doubtful (FUSE_STATX_MODIFY, FUSE_STATX_MODSIZE).
inline constexpr uint32_t statx_modify = statx_mtime | statx_ctime | statx_blocks,
                          statx_modsize = statx_modify | statx_size;

inline constexpr uint32_t may_exec = 1, may_write = 2, may_read = 4, may_access = 0x10, may_chdir = 0x40;

inline constexpr uint32_t seek_set = 0, seek_cur = 1, seek_end = 2, seek_data = 3, seek_hole = 4;
inline constexpr uint32_t rename_noreplace = 1, rename_exchange = 2, rename_whiteout = 4;
inline constexpr uint32_t falloc_keep_size = 1, falloc_punch_hole = 2, falloc_collapse_range = 8,
                          falloc_zero_range = 0x10, falloc_insert_range = 0x20, falloc_unshare_range = 0x40,
                          falloc_write_zeroes = 0x80;
inline constexpr uint32_t rwf_hipri = 1, rwf_dsync = 2, rwf_sync = 4, rwf_nowait = 8, rwf_append = 0x10,
                          rwf_noappend = 0x20, rwf_atomic = 0x40, rwf_dontcache = 0x80, rwf_nosignal = 0x100;
inline constexpr uint32_t f_rdlck = 0, f_wrlck = 1, f_unlck = 2;
inline constexpr uint32_t lock_sh = 1, lock_ex = 2, lock_nb = 4, lock_un = 8;
inline constexpr int64_t utime_now = 0x3fffffff, utime_omit = 0x3ffffffe;
inline constexpr uint32_t xattr_create = 1, xattr_replace = 2;

inline constexpr uint64_t page_size = 4096;
inline constexpr uint64_t max_file_size = INT64_MAX;
inline constexpr uint64_t max_rw_count = 0x7ffff000;  // MAX_RW_COUNT: no call moves more
inline constexpr uint32_t path_max = 4096;
// FUSE_NAME_LOW_MAX and FUSE_NAME_MAX: the longer one with MAX_PAGES (K077).
inline constexpr uint32_t name_low_max = 1024, name_max = path_max - 1;
inline constexpr uint32_t fuse_super_magic = 0x65735546;

}  // namespace fusewire::kernel::abi
