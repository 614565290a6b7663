#include "filesystems/memfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>

#include "filesystems/memfs_inode.h"
#include "wire/protocol.h"

namespace fusewire::filesystems {

using daemon::AttributeChange;
using daemon::AttributesFor;
using daemon::Entry;
using daemon::Errno;
using daemon::error;
using daemon::NodeId;
using daemon::Result;

namespace {

constexpr size_t name_limit = 255;
constexpr size_t target_limit = 4095;
constexpr uint64_t directory_entry_bytes = 20;  // what tmpfs counts for one in a directory's size
constexpr uint64_t file_size_limit = INT64_MAX;

uint64_t half_of_memory() {
  auto pages = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES));
  return pages / 2 * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

Result<void> check_name(std::string_view name) {
  if (name.size() > name_limit) return error(Errno::enametoolong);
  return {};
}

timespec resolve(const daemon::NewTime& time, const timespec& now) { return time.now ? now : time.time; }

}  // namespace

MemFs::MemFs(const MemFsOptions& options)
    : options_(options),
      space_(options.size_limit != 0 ? options.size_limit : half_of_memory()),
      inode_limit_(options.inode_limit != 0 ? options.inode_limit : half_of_memory() / ChunkedData::page_bytes) {
  auto root = std::make_unique<Inode>();
  root->id = static_cast<uint64_t>(NodeId::root);
  root->mode = S_IFDIR | (options.root_mode & 07777);
  root->uid = options.root_uid;
  root->gid = options.root_gid;
  root->nlink = 2;
  root->atime = root->mtime = root->ctime = current_time();
  root->lookups = 1;
  root->directory = std::make_unique<Directory>();
  root->directory->parent = root->id;
  inodes_.emplace(root->id, std::move(root));
}

MemFs::~MemFs() = default;

size_t MemFs::node_count() const {
  std::lock_guard lock(mutex_);
  return inodes_.size();
}

uint64_t MemFs::bytes_used() const {
  std::lock_guard lock(mutex_);
  return space_.used();
}

uint64_t MemFs::wanted_capabilities() const {
  namespace flag = wire::init_flag;
  return flag::atomic_o_trunc | flag::do_readdirplus | flag::readdirplus_auto | flag::handle_killpriv_v2 |
         flag::cache_symlinks | flag::async_dio;
}

void MemFs::started(const daemon::Negotiated& negotiated) {
  std::lock_guard lock(mutex_);
  atomic_truncate_ = (negotiated.capabilities & wire::init_flag::atomic_o_trunc) != 0;
}

// The kernel's half names only nodes that it was handed; any other id is a lie or a bug of its own.
Result<MemFs::Inode*> MemFs::find(NodeId node) {
  auto found = inodes_.find(static_cast<uint64_t>(node));
  if (found == inodes_.end()) return error(Errno::estale);
  return found->second.get();
}

Result<MemFs::Inode*> MemFs::find_directory(NodeId node) {
  auto inode = find(node);
  if (inode && !(*inode)->is_directory()) return error(Errno::enotdir);
  return inode;
}

Result<MemFs::Inode*> MemFs::find_file(NodeId node) {
  auto inode = find(node);
  if (!inode || (*inode)->data) return inode;
  return error((*inode)->is_directory() ? Errno::eisdir : Errno::einval);
}

Result<MemFs::Inode*> MemFs::directory_for_new(NodeId parent, std::string_view name) {
  auto directory = find_directory(parent);
  if (!directory) return directory;
  if (auto fits = check_name(name); !fits) return error(fits.error());
  if ((*directory)->is_removed_directory()) return error(Errno::enoent);
  if ((*directory)->directory->find(name) != nullptr) return error(Errno::eexist);
  return directory;
}

daemon::Attributes MemFs::attributes_of(const Inode& inode) const {
  daemon::Attributes out;
  out.ino = inode.id;
  out.mode = inode.mode;
  out.nlink = inode.nlink;
  out.uid = inode.uid;
  out.gid = inode.gid;
  out.rdev = inode.rdev;
  out.atime = inode.atime;
  out.mtime = inode.mtime;
  out.ctime = inode.ctime;
  if (inode.data) {
    out.size = inode.data->size();
    out.blocks = inode.data->allocated() / 512;
  } else if (inode.directory) {
    out.size = (inode.directory->by_cookie.size() + 2) * directory_entry_bytes;
  } else {
    out.size = inode.target.size();
  }
  return out;
}

Entry MemFs::hand_out(Inode& inode) {
  ++inode.lookups;
  return {NodeId{inode.id}, 0, attributes_of(inode), options_.entry_timeout, options_.attributes_timeout};
}

void MemFs::drop_if_unused(Inode& inode) {
  if (inode.nlink != 0 || inode.lookups != 0 || inode.opens != 0) return;
  space_.give_back(inode.xattr_bytes);
  inodes_.erase(inode.id);
}

Result<Entry> MemFs::lookup(const Context&, NodeId parent, std::string_view name) {
  std::lock_guard lock(mutex_);
  auto directory = find_directory(parent);
  if (!directory) return error(directory.error());
  if (auto fits = check_name(name); !fits) return error(fits.error());
  if (auto* found = (*directory)->directory->find(name)) return hand_out(*inodes_.at(found->id));
  if (options_.negative_timeout.count() == 0) return error(Errno::enoent);
  Entry missing;
  missing.entry_timeout = options_.negative_timeout;
  return missing;
}

void MemFs::forget(NodeId node, uint64_t lookups) {
  std::lock_guard lock(mutex_);
  auto inode = find(node);
  if (!inode || node == NodeId::root) return;
  (*inode)->lookups -= std::min(lookups, (*inode)->lookups);
  drop_if_unused(**inode);
}

// A file whose content or owner changed no longer deserves what it was given.
void MemFs::drop_capability(Inode& inode) {
  auto found = inode.xattrs.find("security.capability");
  if (found != inode.xattrs.end()) drop_xattr(inode, found);
}

Result<AttributesFor> MemFs::get_attributes(const Context&, NodeId node, std::optional<daemon::FileHandle>) {
  std::lock_guard lock(mutex_);
  auto inode = find(node);
  if (!inode) return error(inode.error());
  return AttributesFor{attributes_of(**inode), options_.attributes_timeout};
}

Result<AttributesFor> MemFs::set_attributes(const Context&, NodeId node, const AttributeChange& change) {
  std::lock_guard lock(mutex_);
  auto found = find(node);
  if (!found) return error(found.error());
  Inode& inode = **found;
  timespec now = current_time();
  if (change.size) {
    if (!inode.data) return error(inode.is_directory() ? Errno::eisdir : Errno::einval);
    if (*change.size > file_size_limit) return error(Errno::efbig);
    inode.data->truncate(*change.size);
    inode.mtime = now;
  }
  // A change of owner takes the set-id bits away, whoever makes it (fs/open.c: chown_common).
  if (change.uid || change.gid || change.kill_suidgid) inode.drop_privileges();
  if (change.uid || change.gid || change.size) drop_capability(inode);
  if (change.uid) inode.uid = *change.uid;
  if (change.gid) inode.gid = *change.gid;
  if (change.mode) inode.mode = (inode.mode & S_IFMT) | (*change.mode & 07777);
  if (change.atime) inode.atime = resolve(*change.atime, now);
  if (change.mtime) inode.mtime = resolve(*change.mtime, now);
  inode.ctime = change.ctime.value_or(now);
  return AttributesFor{attributes_of(inode), options_.attributes_timeout};
}

Result<size_t> MemFs::readlink(const Context&, NodeId node, std::span<char> buffer) {
  std::lock_guard lock(mutex_);
  auto inode = find(node);
  if (!inode) return error(inode.error());
  if (!S_ISLNK((*inode)->mode)) return error(Errno::einval);
  return (*inode)->target.copy(buffer.data(), buffer.size());
}

Result<MemFs::Inode*> MemFs::make_inode(const Context& context, const Inode& parent, uint32_t mode) {
  if (inodes_.size() >= inode_limit_) return error(Errno::enospc);
  auto inode = std::make_unique<Inode>();
  inode->id = ++last_id_;
  inode->mode = mode;
  inode->uid = context.uid;
  inode->gid = context.gid;
  // As fs/inode.c: inode_init_owner.
  if (parent.mode & S_ISGID) {
    inode->gid = parent.gid;
    if (S_ISDIR(mode)) inode->mode |= S_ISGID;
  }
  inode->atime = inode->mtime = inode->ctime = current_time();
  if (S_ISREG(mode)) inode->data = std::make_unique<ChunkedData>(space_);
  if (S_ISDIR(mode)) {
    inode->nlink = 2;
    inode->directory = std::make_unique<Directory>();
    inode->directory->parent = parent.id;
  }
  return inodes_.emplace(inode->id, std::move(inode)).first->second.get();
}

Result<Entry> MemFs::make_entry(const Context& context, NodeId parent, std::string_view name, uint32_t mode,
                                uint32_t rdev, std::string_view target) {
  auto directory = directory_for_new(parent, name);
  if (!directory) return error(directory.error());
  auto inode = make_inode(context, **directory, mode);
  if (!inode) return error(inode.error());
  (*inode)->rdev = rdev;
  (*inode)->target = target;
  (*directory)->directory->add(name, (*inode)->id);
  if ((*inode)->is_directory()) ++(*directory)->nlink;
  (*directory)->mtime = (*directory)->ctime = (*inode)->ctime;
  return hand_out(**inode);
}

Result<Entry> MemFs::mknod(const Context& context, NodeId parent, std::string_view name, uint32_t mode, uint32_t rdev) {
  uint32_t type = mode & S_IFMT;
  if (type == 0) type = S_IFREG;
  bool device = type == S_IFCHR || type == S_IFBLK;
  if (!device && type != S_IFREG && type != S_IFIFO && type != S_IFSOCK) return error(Errno::einval);
  std::lock_guard lock(mutex_);
  return make_entry(context, parent, name, type | (mode & 07777), device ? rdev : 0, {});
}

Result<Entry> MemFs::mkdir(const Context& context, NodeId parent, std::string_view name, uint32_t mode) {
  std::lock_guard lock(mutex_);
  return make_entry(context, parent, name, S_IFDIR | (mode & 07777), 0, {});
}

Result<Entry> MemFs::symlink(const Context& context, NodeId parent, std::string_view name, std::string_view target) {
  if (target.size() > target_limit) return error(Errno::enametoolong);
  if (target.empty()) return error(Errno::enoent);
  std::lock_guard lock(mutex_);
  return make_entry(context, parent, name, S_IFLNK | 0777, 0, target);
}

Result<daemon::Created> MemFs::create(const Context& context, NodeId parent, std::string_view name, uint32_t mode,
                                      uint32_t) {
  std::lock_guard lock(mutex_);
  auto entry = make_entry(context, parent, name, S_IFREG | (mode & 07777), 0, {});
  if (!entry) return error(entry.error());
  ++inodes_.at(static_cast<uint64_t>(entry->node))->opens;
  return daemon::Created{*entry, {daemon::FileHandle{0}, wire::fopen_flag::keep_cache}};
}

Result<daemon::Created> MemFs::tmpfile(const Context& context, NodeId parent, uint32_t mode, uint32_t) {
  std::lock_guard lock(mutex_);
  auto directory = find_directory(parent);
  if (!directory) return error(directory.error());
  auto inode = make_inode(context, **directory, S_IFREG | (mode & 07777));
  if (!inode) return error(inode.error());
  (*inode)->nlink = 0;
  ++(*inode)->opens;
  return daemon::Created{hand_out(**inode), {daemon::FileHandle{0}, wire::fopen_flag::keep_cache}};
}

Result<Entry> MemFs::link(const Context&, NodeId node, NodeId new_parent, std::string_view new_name) {
  std::lock_guard lock(mutex_);
  auto inode = find(node);
  if (!inode) return error(inode.error());
  if ((*inode)->is_directory()) return error(Errno::eperm);
  auto directory = directory_for_new(new_parent, new_name);
  if (!directory) return error(directory.error());
  (*directory)->directory->add(new_name, (*inode)->id);
  ++(*inode)->nlink;
  (*inode)->ctime = (*directory)->mtime = (*directory)->ctime = current_time();
  return hand_out(**inode);
}

// One name less. A directory loses its own "." with it, and counts for nothing from then on.
void MemFs::unlinked(Inode& inode) {
  inode.ctime = current_time();
  if (inode.directory) {
    inode.nlink = 0;
    inode.directory->parent = 0;
  } else {
    --inode.nlink;
  }
  drop_if_unused(inode);
}

Result<void> MemFs::unlink(const Context&, NodeId parent, std::string_view name) {
  std::lock_guard lock(mutex_);
  auto directory = find_directory(parent);
  if (!directory) return error(directory.error());
  auto* entry = (*directory)->directory->find(name);
  if (entry == nullptr) return error(Errno::enoent);
  Inode& inode = *inodes_.at(entry->id);
  if (inode.is_directory()) return error(Errno::eisdir);
  (*directory)->directory->remove(name);
  (*directory)->mtime = (*directory)->ctime = current_time();
  unlinked(inode);
  return {};
}

Result<void> MemFs::rmdir(const Context&, NodeId parent, std::string_view name) {
  std::lock_guard lock(mutex_);
  auto directory = find_directory(parent);
  if (!directory) return error(directory.error());
  auto* entry = (*directory)->directory->find(name);
  if (entry == nullptr) return error(Errno::enoent);
  Inode& inode = *inodes_.at(entry->id);
  if (!inode.is_directory()) return error(Errno::enotdir);
  if (!inode.directory->by_cookie.empty()) return error(Errno::enotempty);
  (*directory)->directory->remove(name);
  --(*directory)->nlink;
  (*directory)->mtime = (*directory)->ctime = current_time();
  unlinked(inode);
  return {};
}

bool MemFs::is_ancestor(const Inode& candidate, const Inode& node) const {
  for (const Inode* at = &node;;) {
    if (at == &candidate) return true;
    if (at->directory->parent == at->id || at->directory->parent == 0) return false;
    at = inodes_.at(at->directory->parent).get();
  }
}

Result<void> MemFs::check_rename(const Inode& from, const Inode& moved, const Inode& to, const Inode* victim,
                                 uint32_t flags) {
  if (to.is_removed_directory()) return error(Errno::enoent);
  if (moved.is_directory() && is_ancestor(moved, to)) return error(Errno::einval);
  if (victim == nullptr) return flags & RENAME_EXCHANGE ? Result<void>(error(Errno::enoent)) : Result<void>();
  if (flags & RENAME_NOREPLACE) return error(Errno::eexist);
  if (flags & RENAME_EXCHANGE) {
    bool loop = victim->is_directory() && is_ancestor(*victim, from);
    return loop ? Result<void>(error(Errno::einval)) : Result<void>();
  }
  if (victim->is_directory() && is_ancestor(*victim, from)) return error(Errno::enotempty);
  if (moved.is_directory() && !victim->is_directory()) return error(Errno::enotdir);
  if (!moved.is_directory() && victim->is_directory()) return error(Errno::eisdir);
  if (victim->is_directory() && !victim->directory->by_cookie.empty()) return error(Errno::enotempty);
  return {};
}

Result<void> MemFs::rename(const Context& context, NodeId parent, std::string_view name, NodeId new_parent,
                           std::string_view new_name, uint32_t flags) {
  if (flags & ~uint32_t{RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT}) return error(Errno::einval);
  if ((flags & RENAME_EXCHANGE) && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT))) return error(Errno::einval);
  std::lock_guard lock(mutex_);
  auto from = find_directory(parent);
  if (!from) return error(from.error());
  auto to = find_directory(new_parent);
  if (!to) return error(to.error());
  if (auto fits = check_name(new_name); !fits) return fits;
  auto* entry = (*from)->directory->find(name);
  if (entry == nullptr) return error(Errno::enoent);
  Inode& moved = *inodes_.at(entry->id);
  auto* old = (*to)->directory->find(new_name);
  Inode* victim = old == nullptr ? nullptr : inodes_.at(old->id).get();
  if (auto allowed = check_rename(**from, moved, **to, victim, flags); !allowed) return allowed;
  // Two names of one file: POSIX has rename do nothing.
  if (victim == &moved) return {};
  if (flags & RENAME_EXCHANGE) {
    exchange(**from, name, **to, new_name);
    return {};
  }
  return move_over(context, **from, name, **to, new_name, victim, (flags & RENAME_WHITEOUT) != 0);
}

Result<void> MemFs::move_over(const Context& context, Inode& from, std::string_view name, Inode& to,
                              std::string_view new_name, Inode* victim, bool leave_whiteout) {
  Inode& moved = *inodes_.at(from.directory->find(name)->id);
  Inode* whiteout = nullptr;
  if (leave_whiteout) {
    auto made = make_inode(context, from, S_IFCHR);
    if (!made) return error(made.error());
    whiteout = *made;
  }
  if (victim != nullptr) {
    to.directory->find(new_name)->id = moved.id;
    if (victim->is_directory()) --to.nlink;
    unlinked(*victim);
  } else {
    to.directory->add(new_name, moved.id);
  }
  if (whiteout != nullptr) {
    from.directory->find(name)->id = whiteout->id;
  } else {
    from.directory->remove(name);
  }
  if (moved.is_directory()) {
    --from.nlink;
    ++to.nlink;
    moved.directory->parent = to.id;
  }
  moved.ctime = current_time();
  from.mtime = from.ctime = to.mtime = to.ctime = moved.ctime;
  return {};
}

void MemFs::exchange(Inode& from, std::string_view name, Inode& to, std::string_view new_name) {
  auto* first = from.directory->find(name);
  auto* second = to.directory->find(new_name);
  Inode& a = *inodes_.at(first->id);
  Inode& b = *inodes_.at(second->id);
  std::swap(first->id, second->id);
  from.nlink += (b.is_directory() ? 1 : 0) - (a.is_directory() ? 1 : 0);
  to.nlink += (a.is_directory() ? 1 : 0) - (b.is_directory() ? 1 : 0);
  if (a.is_directory()) a.directory->parent = to.id;
  if (b.is_directory()) b.directory->parent = from.id;
  a.ctime = b.ctime = current_time();
  from.mtime = from.ctime = to.mtime = to.ctime = a.ctime;
}

}  // namespace fusewire::filesystems
