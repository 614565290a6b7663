// File: one open file (Linux struct file with its fuse_file): inode, name, flags, position, the daemon's handle.
// From the slab `fuse_file`. Held by the descriptors (together one use) and by each call that works on it; when the
// last use ends RELEASE goes out in the background, and the inode is let go when that was answered (K137).
// Thread rule: under the connection lock.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernel/caller.h"
#include "kernel/dentry.h"
#include "kernel/request.h"
#include "kernel/superblock.h"
#include "kernel/task.h"

namespace fusewire::kernel {

class File : public RequestEnd {
 public:
  Superblock& sb;
  Ref<Dentry> dentry;
  Ref<Inode> inode;
  uint32_t flags;           // f_flags: O_*
  uint32_t mount = 0;       // through which it was opened (mounts.h)
  uint32_t open_flags = 0;  // wire::fopen_flag of the daemon
  uint64_t fh = 0;
  bool created = false;     // FMODE_CREATED: its open made the file
  bool has_handle = false;  // OPEN was answered: RELEASE is due
  bool flushed = false;     // a close(2) has sent FLUSH
  bool flocked = false;     // a forwarded flock is held: RELEASE drops it (K141)
  uint64_t position = 0;    // f_pos
  SleepLock position_lock;
  Caller opener;  // who opened it; only its ids are of use later

  File(Dentry& dentry, uint32_t flags, const Caller& caller);
  File(const File&) = delete;

  bool is_path() const { return (flags & abi::o_path) != 0; }
  // Before OPEN, counts among the inode's writers or readers. A file that writes is not that of a running program
  // (ETXTBSY), and none runs from it until its end.
  Result<void> take_access();
  // A program is started from the file: until its end nobody writes. ETXTBSY: somebody does. No close(2) will tell of
  // its end, so no FLUSH is due.
  Result<void> deny_writing();
  // Of access mode 3 neither holds (Linux OPEN_FMODE): such a file is good for ioctl alone.
  bool readable() const { return !is_path() && (access() == abi::o_rdonly || access() == abi::o_rdwr); }
  bool writable() const { return !is_path() && (access() == abi::o_wronly || access() == abi::o_rdwr); }
  uint32_t access() const { return flags & abi::o_accmode; }
  bool has_flag(uint32_t fopen_flag) const { return (open_flags & fopen_flag) != 0; }
  Kmalloc& kmalloc() { return sb.kmalloc(); }

  void use() { ++uses_; }
  void unuse();

  void ended(Request& request, Result<size_t> result) override;

 private:
  enum class Ending : uint8_t { open, flushing, releasing };
  enum class Holds : uint8_t { nothing, reading, writing, denial };  // of the inode's counts

  void end();
  void send_release();
  void forget();
  void give_back_count();

  uint32_t uses_ = 1;
  Holds holds_ = Holds::nothing;
  Ending ending_ = Ending::open;
};

// A use of a file for the length of a call.
class FileUse {
 public:
  explicit FileUse(File& file) : file_(file) { file_.use(); }
  ~FileUse() { file_.unuse(); }
  FileUse(const FileUse&) = delete;

 private:
  File& file_;
};

// get_write_access for the length of a call. The inode must outlive it.
class Writing {
 public:
  explicit Writing(Inode& inode) : inode_(inode), taken_(inode.take_writing()) {}
  ~Writing() {
    if (taken_) --inode_.writers;
  }
  Writing(const Writing&) = delete;
  explicit operator bool() const { return taken_; }

 private:
  Inode& inode_;
  const bool taken_;
};

// A File that is not open yet; nullptr when there is no memory.
File* make_file(Dentry& dentry, uint32_t flags, const Caller& caller);

// OPEN or OPENDIR (K130-K135). The file's flags are the call's; O_TRUNC goes to the daemon with ATOMIC_O_TRUNC only.
Task<Result<void>> open_file(File& file, Caller& caller);
// CREATE (K133): makes the name of the negative dentry and opens it: file->dentry is the new one. ENOSYS: the daemon
// knows none; the caller goes on with MKNOD and OPEN.
Task<Result<File*>> create_file(Superblock& sb, Caller& caller, Dentry& dentry, uint32_t flags, uint32_t mode);
// TMPFILE (K224). EOPNOTSUPP when the daemon knows none.
Task<Result<File*>> make_tmpfile(Superblock& sb, Caller& caller, Dentry& directory, uint32_t flags, uint32_t mode);
// FLUSH, as for one close(2) (K136).
Task<Result<void>> flush_file(File& file, Caller& caller);
// FSYNC or FSYNCDIR (K170, K197).
Task<Result<void>> sync_file(File& file, Caller& caller, bool datasync);
// lseek(2), directories included (K175).
Task<Result<uint64_t>> seek_file(File& file, Caller& caller, int64_t offset, uint32_t whence);
// fallocate(2) (K173).
Task<Result<void>> allocate_file(File& file, Caller& caller, uint32_t mode, uint64_t offset, uint64_t length);
// ioctl(2), restricted (K201): how much of data is read and written is what the number says.
Task<Result<uint32_t>> control_file(File& file, Caller& caller, uint32_t cmd, uint64_t arg, std::span<std::byte> data);

}  // namespace fusewire::kernel
