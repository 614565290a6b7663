// Mount: one mounted file system as its users see it: system calls by path and by open file (D3). sys_* take what the
// Linux calls take, walk inside, and answer what Linux answers. Flags and modes have Linux's x86-64 values.
//
// A path starts at a Place: an open file of this mount (dirfd, cwd) or the root. A walk that leaves the mount ("..",
// above the root, or an absolute symlink) ends with Errno::eleave and fills Leave: the caller goes on from there.
// Paths are byte strings without NUL; "" means the start itself where AT_EMPTY_PATH allows it, else ENOENT. From the
// mount's root (no open file) "" and "/" are the root.
//
// Thread rule: coroutines under the connection lock. A path or buffer argument must outlive the call's Task.
// Ownership: OpenFile belongs to the Mount from open to release(); every user of one holds it by its token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "abi/types.h"
#include "kernel/connection.h"

namespace fusewire::kernel {
class File;
class LeaseHolders;
class View;
class ViewMemory;
}  // namespace fusewire::kernel

namespace fusewire::syscall {

class Events;
class NameSink;

// The half's upper face speaks in these.
using abi::FileHandle, abi::Lock, abi::Stat, abi::Statfs, abi::Timespec;

using kernel::Caller;
using kernel::Errno;
using kernel::Kmalloc;
using kernel::Result;
using kernel::Task;

using OpenFile = kernel::File;  // kernel/file.h: struct file of the half: inode, dentry, f_flags, f_pos, fh

using abi::LeaveTo;

// Where the walk left, and what is still to be walked. Storage is the caller's.
struct Leave {
  std::span<char> storage;  // PATH_MAX
  size_t length = 0;
  LeaveTo to = LeaveTo::root;
  uint32_t mount = 0;  // that it left, or that it goes into
  uint8_t which = 0;   // of two paths: 0 the first, 1 the second
  uint32_t links = 0;  // symlinks that were followed on the way
  std::string_view rest() const { return {storage.data(), length}; }
};

struct Place {
  OpenFile* start = nullptr;  // nullptr: `mount` says
  std::string_view path;
  uint32_t resolve = 0;  // RESOLVE_* of openat2(2), but for RESOLVE_CACHED
  uint32_t mount = 0;    // without start: as kernel/mounts.h has it, 0 the root of the first one
};

class Mount {
 public:
  static Result<Mount*> create(kernel::Connection& connection, uint64_t dev);
  // The mount is gone for new walks; files still open live on (K042). Frees everything when the last is released.
  void unmount();
  // One more mount of the file system, from its root on or from an open file. flags: abi/mount_rules.h,
  // mount_flag::kept. ENOMEM, ENOTCONN once it is unmounted.
  Result<void> add_mount(uint32_t mount, OpenFile* root, uint32_t flags);
  // One more with the root and the flags of another.
  Result<void> copy_mount(uint32_t mount, uint32_t other);
  bool is_of_part(uint32_t mount) const;
  void remove_mount(uint32_t mount);
  void set_mount_flags(uint32_t mount, uint32_t flags);
  uint32_t mount_flags(uint32_t mount) const;
  // Something is mounted on an open file, as it is seen in the mount `in` (0: through which it was opened), or on the
  // root of the mount `in`; where it was mounted in this file system it is not any more. What is mounted there already
  // (then nothing was done), or 0. ENOENT for a name that is gone, ENOMEM.
  Result<uint32_t> attach(uint32_t mount, OpenFile* point, uint32_t in);
  // `copy` is mounted in the mount `in` where `mount` is in another. ENOENT where the root of `in` is not above.
  Result<void> attach_copy(uint32_t copy, uint32_t mount, uint32_t in);
  void detach(uint32_t mount);
  // In which mount a place lies.
  uint32_t mount_of(const Place&) const;
  // From now on what is known of names is published in this memory (kernel/view.h), until the mount's end; the memory
  // outlives it. ENOMEM, EEXIST, ENOTCONN once it is unmounted.
  Result<void> start_view(kernel::ViewMemory& memory);
  // Whether this caller may read it: he may see everything of the mount, and nobody else reads it.
  bool may_see_view(const Caller& caller) const;
  kernel::View* view();  // nullptr: there is none
  bool view_agrees();    // for tests
  size_t cached_names() const;
  size_t cached_inodes() const;
  // Forgets names that nobody uses, as a remount does (Linux reconfigure_super).
  void shrink();

  // --- by path. nofollow: AT_SYMLINK_NOFOLLOW or O_NOFOLLOW's meaning; empty_path: AT_EMPTY_PATH.
  // flags: O_*, O_PATH and O_DIRECTORY included; mode before the umask of caller. Here, in truncate, statfs and chdir
  // "" is the start itself: that is how a link of /proc/self/fd is followed. Of a fifo or a device the daemon is not
  // told (is_special): the caller opens what stands behind it.
  Task<Result<OpenFile*>> sys_openat(Caller&, Place, uint32_t flags, uint32_t mode, Leave&);
  // As open for execve: x permission, regular files only; ETXTBSY while somebody writes, and for writers until its end.
  // nofollow: AT_SYMLINK_NOFOLLOW, ELOOP.
  Task<Result<OpenFile*>> sys_open_exec(Caller&, Place, Leave&, bool nofollow = false);
  Task<Result<Stat>> sys_statx(Caller&, Place, uint32_t at_flags, uint32_t mask, Leave&);
  Task<Result<void>> sys_faccessat(Caller&, Place, uint32_t mask, uint32_t at_flags, Leave&);
  Task<Result<size_t>> sys_readlinkat(Caller&, Place, std::span<char> target, Leave&);
  Task<Result<void>> sys_mkdirat(Caller&, Place, uint32_t mode, Leave&);
  Task<Result<void>> sys_mknodat(Caller&, Place, uint32_t mode, uint32_t rdev, Leave&);
  // bind(2) and connect(2) of a local socket, as far as names go: what is bound to the inode is the caller's business.
  // The file is O_PATH. EEXIST for a name that is there; ECONNREFUSED for what is no socket.
  Task<Result<OpenFile*>> sys_bind_socket(Caller&, Place, uint32_t mode, Leave&);
  Task<Result<OpenFile*>> sys_reach_socket(Caller&, Place, Leave&);
  Task<Result<void>> sys_symlinkat(Caller&, std::string_view target, Place, Leave&);
  // at_flags: AT_REMOVEDIR for rmdir.
  Task<Result<void>> sys_unlinkat(Caller&, Place, uint32_t at_flags, Leave&);
  // flags: RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4.
  Task<Result<void>> sys_renameat2(Caller&, Place from, Place to, uint32_t flags, Leave&);
  // at_flags: AT_SYMLINK_FOLLOW, AT_EMPTY_PATH for from.
  Task<Result<void>> sys_linkat(Caller&, Place from, Place to, uint32_t at_flags, Leave&);
  Task<Result<void>> sys_fchmodat(Caller&, Place, uint32_t mode, uint32_t at_flags, Leave&);
  // uid, gid: UINT32_MAX leaves it.
  Task<Result<void>> sys_fchownat(Caller&, Place, uint32_t uid, uint32_t gid, uint32_t at_flags, Leave&);
  Task<Result<void>> sys_truncate(Caller&, Place, uint64_t size, Leave&);
  Task<Result<void>> sys_utimensat(Caller&, Place, Timespec atime, Timespec mtime, uint32_t at_flags, Leave&);
  Task<Result<Statfs>> sys_statfs(Caller&, Place, Leave&);
  // x permission on a directory, as chdir(2); the file opened is O_PATH.
  Task<Result<OpenFile*>> sys_chdir(Caller&, Place, Leave&);
  Task<Result<void>> sys_setxattr(Caller&, Place, std::string_view name, std::span<const std::byte> value,
                                  uint32_t flags, uint32_t at_flags, Leave&);
  // size 0 buffers ask for the size.
  Task<Result<size_t>> sys_getxattr(Caller&, Place, std::string_view name, std::span<std::byte> value,
                                    uint32_t at_flags, Leave&);
  Task<Result<size_t>> sys_listxattr(Caller&, Place, std::span<char> list, uint32_t at_flags, Leave&);
  Task<Result<void>> sys_removexattr(Caller&, Place, std::string_view name, uint32_t at_flags, Leave&);

  // name_to_handle_at(2). at_flags: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH.
  Task<Result<FileHandle>> sys_file_handle(Caller&, Place, uint32_t at_flags, Leave&);
  // open_by_handle_at(2): with CAP_DAC_READ_SEARCH. Of the place only its mount counts. ESTALE for a file that is not
  // known any more.
  Task<Result<OpenFile*>> sys_open_handle(Caller&, Place, uint64_t nodeid, uint32_t generation, uint32_t flags);
  // inotify_add_watch(2) as far as the path goes: read permission; the file is O_PATH.
  Task<Result<OpenFile*>> sys_watch(Caller&, Place, bool follow, bool only_directory, Leave&);
  // The names of such a directory, by an open of its own of which no Events are told.
  Task<Result<void>> sys_list_names(Caller&, OpenFile& watched, NameSink&);
  // From now on it is told (events.h); nullptr: nobody is. Outlives the mount, or is taken away before.
  void set_events(Events*);

  // --- by open file. O_PATH files give EBADF where Linux does.
  // offset: -1 for read(2), write(2) at the file position (which they move); else pread(2), pwrite(2).
  // rwf: RWF_ flags. Any length; split by max_read and max_write.
  Task<Result<size_t>> sys_read(Caller&, OpenFile&, std::span<std::byte> to, int64_t offset, uint32_t rwf = 0);
  Task<Result<size_t>> sys_write(Caller&, OpenFile&, std::span<const std::byte> from, int64_t offset, uint32_t rwf = 0);
  Task<Result<uint64_t>> sys_lseek(Caller&, OpenFile&, int64_t offset, uint32_t whence);
  // Fills `to` with struct linux_dirent64 records; 0 at the end; EINVAL when not even one record fits.
  Task<Result<size_t>> sys_getdents64(Caller&, OpenFile&, std::span<std::byte> to);
  Task<Result<Stat>> sys_fstat(Caller&, OpenFile&, uint32_t mask);
  Task<Result<void>> sys_ftruncate(Caller&, OpenFile&, uint64_t size);
  Task<Result<void>> sys_fchmod(Caller&, OpenFile&, uint32_t mode);
  Task<Result<void>> sys_fchown(Caller&, OpenFile&, uint32_t uid, uint32_t gid);
  Task<Result<void>> sys_futimens(Caller&, OpenFile&, Timespec atime, Timespec mtime);
  Task<Result<void>> sys_fsync(Caller&, OpenFile&, bool datasync);
  Task<Result<void>> sys_fallocate(Caller&, OpenFile&, uint32_t mode, uint64_t offset, uint64_t length);
  Task<Result<size_t>> sys_copy_file_range(Caller&, OpenFile& from, OpenFile& to, kernel::CopyRange);
  Task<Result<Statfs>> sys_fstatfs(Caller&, OpenFile&);
  Task<Result<void>> sys_fsetxattr(Caller&, OpenFile&, std::string_view name, std::span<const std::byte> value,
                                   uint32_t flags);
  Task<Result<size_t>> sys_fgetxattr(Caller&, OpenFile&, std::string_view name, std::span<std::byte> value);
  Task<Result<size_t>> sys_flistxattr(Caller&, OpenFile&, std::span<char> list);
  Task<Result<void>> sys_fremovexattr(Caller&, OpenFile&, std::string_view name);
  // F_GETFL and F_SETFL: O_APPEND, O_NONBLOCK, O_NOATIME, O_DIRECT may change.
  Result<uint32_t> sys_getfl(OpenFile&);
  Result<void> sys_setfl(OpenFile&, uint32_t flags);
  // POSIX locks; owner is caller.lock_owner, or the open file (F_OFD_*: lock.pid must be 0, and -1 comes back). wait:
  // F_SETLKW. Local unless POSIX_LOCKS was negotiated (K138, K139).
  Task<Result<void>> sys_setlk(Caller&, OpenFile&, Lock lock, bool wait, kernel::LockOf of = kernel::LockOf::process);
  Task<Result<Lock>> sys_getlk(Caller&, OpenFile&, Lock lock, kernel::LockOf of = kernel::LockOf::process);
  // LOCK_SH 1, LOCK_EX 2, LOCK_UN 8, LOCK_NB 4; owner is the open file (K141).
  Task<Result<void>> sys_flock(Caller&, OpenFile&, uint32_t operation);
  // Leases: kernel/leases.h.
  Result<void> sys_setlease(Caller&, OpenFile&, uint32_t type);
  Result<uint32_t> sys_getlease(OpenFile&);
  // Who is told that a lease is to be given up, and how long its holder may take, in nanoseconds; 0: for ever.
  void set_lease_holders(kernel::LeaseHolders*, uint64_t break_time);
  // When the half wants to be called for leases that end by themselves (Host::now()); UINT64_MAX: not at all.
  uint64_t next_lease_end();
  void expire_leases();
  // One close(2) of one descriptor: FLUSH, and the POSIX locks of caller.lock_owner on the inode go (K136).
  Task<Result<void>> sys_flush(Caller&, OpenFile&);
  // The path from the mount's root, or from_top from the file system's, "/" first; " (deleted)" behind when the name
  // is gone. ERANGE when too small. Of a place only its start counts; mount: in which that lies.
  Result<size_t> sys_path(const Place&, std::span<char> path, uint32_t& mount, bool from_top = false);
  // cmd and argument as ioctl(2); data in place. ENOTTY where the daemon knows nothing (K201).
  Task<Result<uint32_t>> sys_ioctl(Caller&, OpenFile&, uint32_t cmd, uint64_t arg, std::span<std::byte> data);

  // The last descriptor of the open file is gone (any process, any way): RELEASE, in the background (K137).
  void release(OpenFile&);
  // A process is gone: the POSIX locks of this owner on all inodes go.
  void release_locks(uint64_t lock_owner);

  kernel::Connection& connection();
  Kmalloc& kmalloc();
  uint64_t dev() const;
  size_t open_files() const;

 protected:
  Mount() = default;
  ~Mount() = default;
};

}  // namespace fusewire::syscall
