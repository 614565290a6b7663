// MemFs: contents of files and directories, extended attributes.
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "filesystems/memfs_inode.h"
#include "wire/protocol.h"

namespace fusewire::filesystems {

using daemon::Errno;
using daemon::error;
using daemon::FileHandle;
using daemon::NodeId;
using daemon::Opened;
using daemon::Result;

namespace {

constexpr uint64_t file_size_limit = INT64_MAX;
constexpr size_t xattr_value_limit = 64 * 1024;
constexpr size_t xattr_list_limit = 64 * 1024;

// relatime: atime is kept newer than the last change, and at most a day old (fs/inode.c: relatime_need_update).
bool wants_new_atime(const timespec& atime, const timespec& mtime, const timespec& ctime, const timespec& now) {
  auto before = [](const timespec& a, const timespec& b) {
    return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec <= b.tv_nsec);
  };
  constexpr time_t day = 24 * 60 * 60;
  return before(atime, mtime) || before(atime, ctime) || now.tv_sec - atime.tv_sec >= day;
}

bool kept_namespace(std::string_view name) {
  return name.starts_with("user.") || name.starts_with("trusted.") || name.starts_with("security.");
}

Result<size_t> copy_out(std::string_view value, std::span<std::byte> buffer) {
  if (buffer.empty()) return value.size();
  if (value.size() > buffer.size()) return error(Errno::erange);
  std::memcpy(buffer.data(), value.data(), value.size());
  return value.size();
}

}  // namespace

Result<Opened> MemFs::open(const Context&, NodeId node, uint32_t flags, bool kill_suidgid) {
  std::lock_guard lock(mutex_);
  auto inode = find_file(node);
  if (!inode) return error(inode.error());
  if ((flags & O_TRUNC) && atomic_truncate_) {
    (*inode)->data->truncate(0);
    (*inode)->mtime = (*inode)->ctime = current_time();
    drop_capability(**inode);
    if (kill_suidgid) (*inode)->drop_privileges();
  }
  ++(*inode)->opens;
  // Nobody else changes the data: what the kernel's half has cached is right.
  return Opened{FileHandle{0}, wire::fopen_flag::keep_cache};
}

Result<void> MemFs::release(const Context&, NodeId node, FileHandle, uint32_t) {
  std::lock_guard lock(mutex_);
  auto inode = find(node);
  if (!inode) return error(inode.error());
  if ((*inode)->opens > 0) --(*inode)->opens;
  drop_if_unused(**inode);
  return {};
}

Result<size_t> MemFs::read(const Context&, NodeId node, FileHandle, uint64_t offset, std::span<std::byte> buffer) {
  std::lock_guard lock(mutex_);
  auto inode = find_file(node);
  if (!inode) return error(inode.error());
  timespec now = current_time();
  if (wants_new_atime((*inode)->atime, (*inode)->mtime, (*inode)->ctime, now)) (*inode)->atime = now;
  return (*inode)->data->read(offset, buffer);
}

Result<size_t> MemFs::write(const Context&, NodeId node, FileHandle, uint64_t offset, std::span<const std::byte> data,
                            daemon::WriteFlags flags) {
  std::lock_guard lock(mutex_);
  auto inode = find_file(node);
  if (!inode) return error(inode.error());
  if (offset > file_size_limit || data.size() > file_size_limit - offset) return error(Errno::efbig);
  size_t written = (*inode)->data->write(offset, data);
  if (written == 0 && !data.empty()) return error(Errno::enospc);
  (*inode)->mtime = (*inode)->ctime = current_time();
  drop_capability(**inode);
  if (flags.kill_suidgid) (*inode)->drop_privileges();
  return written;
}

Result<void> MemFs::fallocate(const Context&, NodeId node, FileHandle, uint64_t offset, uint64_t length,
                              uint32_t mode) {
  constexpr uint32_t keep_size = FALLOC_FL_KEEP_SIZE;
  bool punch = mode == (FALLOC_FL_PUNCH_HOLE | keep_size);
  bool zero = (mode & ~keep_size) == FALLOC_FL_ZERO_RANGE;
  if (!punch && !zero && (mode & ~keep_size) != 0) return error(Errno::eopnotsupp);
  if (length == 0) return error(Errno::einval);
  if (offset > file_size_limit || length > file_size_limit - offset) return error(Errno::efbig);

  std::lock_guard lock(mutex_);
  auto inode = find_file(node);
  if (!inode) return error(inode.error());
  ChunkedData& data = *(*inode)->data;
  if (punch) {
    data.punch(offset, length);
  } else {
    // Zeroed first: what a failure leaves is then at least what the caller asked to lose.
    if (zero) data.zero(offset, length);
    if (!data.allocate(offset, length)) return error(Errno::enospc);
    if (!(mode & keep_size)) data.extend(offset + length);
  }
  (*inode)->mtime = (*inode)->ctime = current_time();
  return {};
}

Result<uint64_t> MemFs::lseek(const Context&, NodeId node, FileHandle, uint64_t offset, uint32_t whence) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return error(Errno::einval);
  std::lock_guard lock(mutex_);
  auto inode = find_file(node);
  if (!inode) return error(inode.error());
  auto found = whence == SEEK_DATA ? (*inode)->data->next_data(offset) : (*inode)->data->next_hole(offset);
  if (!found) return error(Errno::enxio);
  return *found;
}

Result<Opened> MemFs::opendir(const Context&, NodeId node, uint32_t) {
  std::lock_guard lock(mutex_);
  auto inode = find_directory(node);
  if (!inode) return error(inode.error());
  ++(*inode)->opens;
  return Opened{};
}

Result<void> MemFs::releasedir(const Context& context, NodeId node, FileHandle handle) {
  return release(context, node, handle, 0);
}

Result<void> MemFs::readdir(const Context&, NodeId node, FileHandle, uint64_t offset, daemon::DirectoryWriter& writer) {
  std::lock_guard lock(mutex_);
  auto found = find_directory(node);
  if (!found) return error(found.error());
  Inode& inode = **found;
  Directory& directory = *inode.directory;
  timespec now = current_time();
  if (wants_new_atime(inode.atime, inode.mtime, inode.ctime, now)) inode.atime = now;
  if (inode.is_removed_directory()) return {};
  if (offset < Directory::dot_cookie && !writer.add(".", inode.id, inode.mode, Directory::dot_cookie)) return {};
  if (offset < Directory::dot_dot_cookie && !writer.add("..", directory.parent, S_IFDIR, Directory::dot_dot_cookie)) {
    return {};
  }
  for (auto it = directory.by_cookie.upper_bound(offset); it != directory.by_cookie.end(); ++it) {
    const auto& [name, id] = it->second;
    if (!writer.add(name, id, inodes_.at(id)->mode, it->first)) break;
  }
  return {};
}

Result<void> MemFs::readdirplus(const Context&, NodeId node, FileHandle, uint64_t offset,
                                daemon::DirectoryPlusWriter& writer) {
  std::lock_guard lock(mutex_);
  auto found = find_directory(node);
  if (!found) return error(found.error());
  Inode& inode = **found;
  Directory& directory = *inode.directory;
  timespec now = current_time();
  if (wants_new_atime(inode.atime, inode.mtime, inode.ctime, now)) inode.atime = now;
  if (inode.is_removed_directory()) return {};
  auto unnamed = [&](uint64_t id) {
    daemon::Entry entry;
    entry.attributes.ino = id;
    entry.attributes.mode = S_IFDIR;
    return entry;
  };
  if (offset < Directory::dot_cookie && !writer.add(".", unnamed(inode.id), Directory::dot_cookie)) return {};
  if (offset < Directory::dot_dot_cookie && !writer.add("..", unnamed(directory.parent), Directory::dot_dot_cookie)) {
    return {};
  }
  for (auto it = directory.by_cookie.upper_bound(offset); it != directory.by_cookie.end(); ++it) {
    Inode& child = *inodes_.at(it->second.id);
    auto entry = hand_out(child);
    if (writer.add(it->second.name, entry, it->first)) continue;
    --child.lookups;
    break;
  }
  return {};
}

Result<daemon::FileSystemStatus> MemFs::statfs(const Context&, NodeId) {
  std::lock_guard lock(mutex_);
  daemon::FileSystemStatus status;
  status.blocks = space_.limit() / ChunkedData::page_bytes;
  status.blocks_free = (space_.limit() - space_.used()) / ChunkedData::page_bytes;
  status.blocks_available = status.blocks_free;
  status.files = inode_limit_;
  status.files_free = inode_limit_ - inodes_.size();
  return status;
}

Result<void> MemFs::setxattr(const Context&, NodeId node, std::string_view name, std::span<const std::byte> value,
                             uint32_t flags) {
  if (!kept_namespace(name)) return error(Errno::eopnotsupp);
  if (value.size() > xattr_value_limit) return error(Errno::e2big);
  std::lock_guard lock(mutex_);
  auto inode = find(node);
  if (!inode) return error(inode.error());
  auto& xattrs = (*inode)->xattrs;
  auto found = xattrs.find(name);
  if ((flags & XATTR_CREATE) && found != xattrs.end()) return error(Errno::eexist);
  if ((flags & XATTR_REPLACE) && found == xattrs.end()) return error(Errno::enodata);
  uint64_t old_bytes = found == xattrs.end() ? 0 : name.size() + found->second.size();
  if (!space_.take(name.size() + value.size())) return error(Errno::enospc);
  space_.give_back(old_bytes);
  (*inode)->xattr_bytes += name.size() + value.size() - old_bytes;
  xattrs.insert_or_assign(std::string(name), std::string(reinterpret_cast<const char*>(value.data()), value.size()));
  (*inode)->ctime = current_time();
  return {};
}

Result<size_t> MemFs::getxattr(const Context&, NodeId node, std::string_view name, std::span<std::byte> buffer) {
  if (!kept_namespace(name)) return error(Errno::eopnotsupp);
  std::lock_guard lock(mutex_);
  auto inode = find(node);
  if (!inode) return error(inode.error());
  auto found = (*inode)->xattrs.find(name);
  if (found == (*inode)->xattrs.end()) return error(Errno::enodata);
  return copy_out(found->second, buffer);
}

// trusted.* is shown to root alone, as on Linux.
Result<size_t> MemFs::listxattr(const Context& context, NodeId node, std::span<std::byte> buffer) {
  std::lock_guard lock(mutex_);
  auto inode = find(node);
  if (!inode) return error(inode.error());
  std::string list;
  for (const auto& [name, value] : (*inode)->xattrs) {
    if (name.starts_with("trusted.") && context.uid != 0) continue;
    list += name;
    list += '\0';
  }
  if (list.size() > xattr_list_limit) return error(Errno::e2big);
  return copy_out(list, buffer);
}

void MemFs::drop_xattr(Inode& inode, Xattrs::iterator xattr) {
  uint64_t bytes = xattr->first.size() + xattr->second.size();
  space_.give_back(bytes);
  inode.xattr_bytes -= bytes;
  inode.xattrs.erase(xattr);
}

Result<void> MemFs::removexattr(const Context&, NodeId node, std::string_view name) {
  if (!kept_namespace(name)) return error(Errno::eopnotsupp);
  std::lock_guard lock(mutex_);
  auto inode = find(node);
  if (!inode) return error(inode.error());
  auto found = (*inode)->xattrs.find(name);
  if (found == (*inode)->xattrs.end()) return error(Errno::enodata);
  drop_xattr(**inode, found);
  (*inode)->ctime = current_time();
  return {};
}

}  // namespace fusewire::filesystems
