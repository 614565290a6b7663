// A writable file system in memory, with the semantics of Linux tmpfs (mm/shmem.c): exact link counts, files that live
// on while open, directory offsets that stay valid under change, holes, extended attributes, a size limit.
//
// Permissions are the kernel's half's to check: mount with default_permissions.
// Thread rule: everything may be called by many threads at once (one lock).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "daemon/file_system.h"
#include "filesystems/chunked_data.h"

namespace fusewire::filesystems {

struct MemFsOptions {
  uint64_t size_limit = 0;   // bytes of data and extended attributes; 0: half of the machine's memory
  uint64_t inode_limit = 0;  // 0: one per page of half the memory
  uint32_t root_mode = 01777;
  uint32_t root_uid = 0, root_gid = 0;
  daemon::Timeout entry_timeout = std::chrono::seconds(1);
  daemon::Timeout attributes_timeout = std::chrono::seconds(1);
  daemon::Timeout negative_timeout{};  // 0: a missing name is an error, and not cached
};

class MemFs final : public daemon::FileSystem {
 public:
  explicit MemFs(const MemFsOptions& options);
  ~MemFs() override;

  // Nodes that exist now, the root included: those with links, opens or lookups.
  size_t node_count() const;
  uint64_t bytes_used() const;

  uint64_t wanted_capabilities() const override;
  void started(const daemon::Negotiated& negotiated) override;

  daemon::Result<daemon::Entry> lookup(const Context&, daemon::NodeId parent, std::string_view name) override;
  void forget(daemon::NodeId node, uint64_t lookups) override;
  daemon::Result<daemon::AttributesFor> get_attributes(const Context&, daemon::NodeId node,
                                                       std::optional<daemon::FileHandle>) override;
  daemon::Result<daemon::AttributesFor> set_attributes(const Context&, daemon::NodeId node,
                                                       const daemon::AttributeChange& change) override;
  daemon::Result<size_t> readlink(const Context&, daemon::NodeId node, std::span<char> buffer) override;
  daemon::Result<daemon::Entry> mknod(const Context&, daemon::NodeId parent, std::string_view name, uint32_t mode,
                                      uint32_t rdev) override;
  daemon::Result<daemon::Entry> mkdir(const Context&, daemon::NodeId parent, std::string_view name,
                                      uint32_t mode) override;
  daemon::Result<daemon::Entry> symlink(const Context&, daemon::NodeId parent, std::string_view name,
                                        std::string_view target) override;
  daemon::Result<daemon::Entry> link(const Context&, daemon::NodeId node, daemon::NodeId new_parent,
                                     std::string_view new_name) override;
  daemon::Result<void> unlink(const Context&, daemon::NodeId parent, std::string_view name) override;
  daemon::Result<void> rmdir(const Context&, daemon::NodeId parent, std::string_view name) override;
  daemon::Result<void> rename(const Context&, daemon::NodeId parent, std::string_view name, daemon::NodeId new_parent,
                              std::string_view new_name, uint32_t flags) override;

  daemon::Result<daemon::Opened> open(const Context&, daemon::NodeId node, uint32_t flags, bool kill_suidgid) override;
  daemon::Result<daemon::Created> create(const Context&, daemon::NodeId parent, std::string_view name, uint32_t mode,
                                         uint32_t flags) override;
  daemon::Result<daemon::Created> tmpfile(const Context&, daemon::NodeId parent, uint32_t mode,
                                          uint32_t flags) override;
  daemon::Result<size_t> read(const Context&, daemon::NodeId node, daemon::FileHandle, uint64_t offset,
                              std::span<std::byte> buffer) override;
  daemon::Result<size_t> write(const Context&, daemon::NodeId node, daemon::FileHandle, uint64_t offset,
                               std::span<const std::byte> data, daemon::WriteFlags flags) override;
  daemon::Result<void> release(const Context&, daemon::NodeId node, daemon::FileHandle, uint32_t flags) override;
  daemon::Result<void> fallocate(const Context&, daemon::NodeId node, daemon::FileHandle, uint64_t offset,
                                 uint64_t length, uint32_t mode) override;
  daemon::Result<uint64_t> lseek(const Context&, daemon::NodeId node, daemon::FileHandle, uint64_t offset,
                                 uint32_t whence) override;

  daemon::Result<daemon::Opened> opendir(const Context&, daemon::NodeId node, uint32_t flags) override;
  daemon::Result<void> readdir(const Context&, daemon::NodeId node, daemon::FileHandle, uint64_t offset,
                               daemon::DirectoryWriter& writer) override;
  daemon::Result<void> readdirplus(const Context&, daemon::NodeId node, daemon::FileHandle, uint64_t offset,
                                   daemon::DirectoryPlusWriter& writer) override;
  daemon::Result<void> releasedir(const Context&, daemon::NodeId node, daemon::FileHandle) override;
  daemon::Result<daemon::FileSystemStatus> statfs(const Context&, daemon::NodeId node) override;

  daemon::Result<void> setxattr(const Context&, daemon::NodeId node, std::string_view name,
                                std::span<const std::byte> value, uint32_t flags) override;
  daemon::Result<size_t> getxattr(const Context&, daemon::NodeId node, std::string_view name,
                                  std::span<std::byte> buffer) override;
  daemon::Result<size_t> listxattr(const Context& context, daemon::NodeId node, std::span<std::byte> buffer) override;
  daemon::Result<void> removexattr(const Context&, daemon::NodeId node, std::string_view name) override;

 private:
  struct Directory;
  struct DirectoryEntry;
  struct Inode;
  using Xattrs = std::map<std::string, std::string, std::less<>>;

  // All of these with mutex_ held.
  daemon::Result<Inode*> find(daemon::NodeId node);
  daemon::Result<Inode*> find_directory(daemon::NodeId node);
  daemon::Result<Inode*> find_file(daemon::NodeId node);
  daemon::Result<Inode*> directory_for_new(daemon::NodeId parent, std::string_view name);
  daemon::Result<Inode*> make_inode(const Context& context, const Inode& parent, uint32_t mode);
  daemon::Result<daemon::Entry> make_entry(const Context& context, daemon::NodeId parent, std::string_view name,
                                           uint32_t mode, uint32_t rdev, std::string_view target);
  daemon::Result<void> check_rename(const Inode& from, const Inode& moved, const Inode& to, const Inode* victim,
                                    uint32_t flags);
  daemon::Result<void> move_over(const Context& context, Inode& from, std::string_view name, Inode& to,
                                 std::string_view new_name, Inode* victim, bool leave_whiteout);
  void exchange(Inode& from, std::string_view name, Inode& to, std::string_view new_name);
  bool is_ancestor(const Inode& candidate, const Inode& node) const;
  void unlinked(Inode& inode);
  void drop_if_unused(Inode& inode);
  void drop_capability(Inode& inode);
  void drop_xattr(Inode& inode, Xattrs::iterator xattr);
  daemon::Entry hand_out(Inode& inode);
  daemon::Attributes attributes_of(const Inode& inode) const;

  const MemFsOptions options_;
  mutable std::mutex mutex_;
  SpaceBudget space_;
  uint64_t inode_limit_;
  uint64_t last_id_ = 1;
  bool atomic_truncate_ = false;
  std::unordered_map<uint64_t, std::unique_ptr<Inode>> inodes_;  // by node id; ids are never used twice
};

}  // namespace fusewire::filesystems
