// What a file system is: one virtual function for each request of the kernel's half, on nodes. Derive, override what
// you support; the rest answers ENOSYS, which for many operations tells the kernel's half never to ask again.
//
// A function answers by returning: a value, or an Errno. So no request is answered twice, and none is forgotten.
// Thread rule: with a session of several threads, every function may be called by all of them at once.
// Borrowing rule: names and spans are valid during the call only. Names hold no '/' and no NUL, and are never empty,
// "." or ".." (the session refuses such requests).
#pragma once

#include <span>
#include <string_view>

#include "daemon/directory_writer.h"
#include "daemon/types.h"

namespace fusewire::daemon {

// An answer that hands out a node. Each one sent adds one to the node's lookup count; forget takes it off again.
// node == NodeId::none in a lookup: the name is known not to exist, for entry_timeout.
struct Entry {
  NodeId node = NodeId::none;
  uint64_t generation = 0;  // tells apart two nodes that had the same id
  Attributes attributes;
  Timeout entry_timeout{};  // how long name -> node is believed
  Timeout attributes_timeout{};
};

struct AttributesFor {
  Attributes attributes;
  Timeout timeout{};
};

struct Opened {
  FileHandle handle{};
  uint32_t flags = 0;  // wire::fopen_flag
};

struct Created {
  Entry entry;
  Opened opened;
};

// A time to set: a given one, or the server's now.
struct NewTime {
  bool now = false;
  timespec time{};
};

// SETATTR: what is present is to be changed.
struct AttributeChange {
  std::optional<uint32_t> mode{};  // permission bits (07777)
  std::optional<uint32_t> uid{}, gid{};
  std::optional<uint64_t> size{};
  std::optional<NewTime> atime{}, mtime{};
  std::optional<timespec> ctime{};
  std::optional<FileHandle> handle{};  // the open file it came through
  bool kill_suidgid = false;           // clear suid, and sgid of a group-executable file (HANDLE_KILLPRIV_V2)
};

struct WriteFlags {
  bool from_cache = false;  // delayed write-back; ids and handle are guesses
  bool kill_suidgid = false;
  uint32_t open_flags = 0;  // O_*
};

struct FileLock {
  uint64_t start = 0, end = 0;  // bytes, inclusive; end of file is INT64_MAX
  int type = 0;                 // F_RDLCK, F_WRLCK, F_UNLCK
  pid_t pid = 0;
};

struct FileSystemStatus {
  uint64_t blocks = 0, blocks_free = 0, blocks_available = 0;  // of fragment_size
  uint64_t files = 0, files_free = 0;
  uint32_t block_size = 4096, fragment_size = 4096, name_max = 255;
};

struct IoctlAnswer {
  int32_t result = 0;
  size_t bytes = 0;  // put into out
};

// What both sides agreed on at INIT.
struct Negotiated {
  uint32_t minor = 0;
  uint64_t capabilities = 0;  // wire::init_flag
  uint32_t max_write = 0;     // bytes of one WRITE
  uint32_t max_readahead = 0;
};

class FileSystem {
 public:
  using Context = RequestContext;
  virtual ~FileSystem() = default;

  // wire::init_flag bits this file system wants; only those that are offered, and that the session can honour, are
  // agreed on. See started() for the outcome.
  virtual uint64_t wanted_capabilities() const;
  virtual void started(const Negotiated& negotiated);  // before any other request
  virtual void stopped();                              // DESTROY, or the session's end

  virtual Result<Entry> lookup(const Context& context, NodeId parent, std::string_view name);
  virtual void forget(NodeId node, uint64_t lookups);  // has no answer
  virtual Result<AttributesFor> get_attributes(const Context& context, NodeId node, std::optional<FileHandle> handle);
  virtual Result<AttributesFor> set_attributes(const Context& context, NodeId node, const AttributeChange& change);
  // Writes the target into buffer, no NUL; its length. The buffer holds every legal target.
  virtual Result<size_t> readlink(const Context& context, NodeId node, std::span<char> buffer);
  virtual Result<Entry> mknod(const Context& context, NodeId parent, std::string_view name, uint32_t mode,
                              uint32_t rdev);
  virtual Result<Entry> mkdir(const Context& context, NodeId parent, std::string_view name, uint32_t mode);
  virtual Result<Entry> symlink(const Context& context, NodeId parent, std::string_view name, std::string_view target);
  virtual Result<Entry> link(const Context& context, NodeId node, NodeId new_parent, std::string_view new_name);
  virtual Result<void> unlink(const Context& context, NodeId parent, std::string_view name);
  virtual Result<void> rmdir(const Context& context, NodeId parent, std::string_view name);
  // flags: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT; refuse what is not supported with EINVAL.
  virtual Result<void> rename(const Context& context, NodeId parent, std::string_view name, NodeId new_parent,
                              std::string_view new_name, uint32_t flags);

  // flags: O_*, without O_CREAT and O_EXCL; with O_TRUNC only when atomic_o_trunc was agreed on.
  virtual Result<Opened> open(const Context& context, NodeId node, uint32_t flags, bool kill_suidgid);
  virtual Result<Created> create(const Context& context, NodeId parent, std::string_view name, uint32_t mode,
                                 uint32_t flags);
  virtual Result<Created> tmpfile(const Context& context, NodeId parent, uint32_t mode, uint32_t flags);
  // Fills buffer from offset; the bytes put there. Fewer than buffer.size() mean the end of the file.
  virtual Result<size_t> read(const Context& context, NodeId node, FileHandle handle, uint64_t offset,
                              std::span<std::byte> buffer);
  virtual Result<size_t> write(const Context& context, NodeId node, FileHandle handle, uint64_t offset,
                               std::span<const std::byte> data, WriteFlags flags);
  virtual Result<void> flush(const Context& context, NodeId node, FileHandle handle);  // each close(2)
  virtual Result<void> release(const Context& context, NodeId node, FileHandle handle, uint32_t flags);
  virtual Result<void> fsync(const Context& context, NodeId node, FileHandle handle, bool data_only);
  // mode: FALLOC_FL_*.
  virtual Result<void> fallocate(const Context& context, NodeId node, FileHandle handle, uint64_t offset,
                                 uint64_t length, uint32_t mode);
  virtual Result<uint64_t> lseek(const Context& context, NodeId node, FileHandle handle, uint64_t offset,
                                 uint32_t whence);  // SEEK_DATA, SEEK_HOLE
  virtual Result<uint64_t> copy_file_range(const Context& context, NodeId from, FileHandle from_handle,
                                           uint64_t from_offset, NodeId to, FileHandle to_handle, uint64_t to_offset,
                                           uint64_t length, uint64_t flags);

  virtual Result<Opened> opendir(const Context& context, NodeId node, uint32_t flags);
  // Adds entries from offset on (0: the start, else a `next` that was given before) until the writer is full or the
  // directory ends. "." and ".." are the file system's to give.
  virtual Result<void> readdir(const Context& context, NodeId node, FileHandle handle, uint64_t offset,
                               DirectoryWriter& writer);
  // The same with entries as lookup gives them: each one that fits counts as a lookup, except "." and "..".
  virtual Result<void> readdirplus(const Context& context, NodeId node, FileHandle handle, uint64_t offset,
                                   DirectoryPlusWriter& writer);
  virtual Result<void> releasedir(const Context& context, NodeId node, FileHandle handle);
  virtual Result<void> fsyncdir(const Context& context, NodeId node, FileHandle handle, bool data_only);

  virtual Result<FileSystemStatus> statfs(const Context& context, NodeId node);
  virtual Result<void> syncfs(const Context& context);
  virtual Result<void> access(const Context& context, NodeId node, uint32_t mask);  // R_OK | W_OK | X_OK

  virtual Result<void> setxattr(const Context& context, NodeId node, std::string_view name,
                                std::span<const std::byte> value, uint32_t flags);  // XATTR_CREATE, XATTR_REPLACE
  // The size of the value (of the list of NUL-terminated names). An empty buffer only asks for it; else the value is
  // copied, or ERANGE when it does not fit.
  virtual Result<size_t> getxattr(const Context& context, NodeId node, std::string_view name,
                                  std::span<std::byte> buffer);
  virtual Result<size_t> listxattr(const Context& context, NodeId node, std::span<std::byte> buffer);
  virtual Result<void> removexattr(const Context& context, NodeId node, std::string_view name);

  // Asked only when posix_locks (or flock_locks, for is_flock) was agreed on; otherwise locks are the kernel's half's.
  virtual Result<FileLock> get_lock(const Context& context, NodeId node, FileHandle handle, uint64_t owner,
                                    const FileLock& lock);
  virtual Result<void> set_lock(const Context& context, NodeId node, FileHandle handle, uint64_t owner,
                                const FileLock& lock, bool is_flock, bool wait);
  virtual Result<uint64_t> bmap(const Context& context, NodeId node, uint64_t block, uint32_t block_size);
  virtual Result<IoctlAnswer> ioctl(const Context& context, NodeId node, FileHandle handle, uint32_t command,
                                    uint64_t argument, std::span<const std::byte> in, std::span<std::byte> out);
  virtual Result<uint32_t> poll(const Context& context, NodeId node, FileHandle handle, uint32_t events);
};

}  // namespace fusewire::daemon
