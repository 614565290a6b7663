// Notify: what a daemon tells of its own accord and what it does to the caches (K210-K217, §1.3; Linux inode.c
// fuse_reverse_inval_*, dev.c fuse_notify_*). No notification waits for a lock, so none can deadlock with a request.
// Without a page cache STORE keeps no data and RETRIEVE finds none.
// Thread rule: under the connection lock.
#pragma once

#include "kernel/connection.h"

namespace fusewire::kernel {

class Inode;
class Superblock;

// Told of what a notification says, when the caches are as it wants them. No call is made from it.
class NotifyListener {
 public:
  // Its attributes, or (contents) its bytes too.
  virtual void inode_changed(Inode& inode, bool contents) = 0;
  // What is known of the name, if anything, does not hold any more.
  virtual void name_changed(Inode& directory, std::string_view name) = 0;
  virtual void name_deleted(Inode& directory, std::string_view name, Inode& child) = 0;

 protected:
  ~NotifyListener() = default;
};

class Notify final : public NotifyTarget {
 public:
  Notify(Superblock& sb, NotifyListener& listener) : sb_(sb), listener_(listener) {}

  // payload: trusted in nothing. EINVAL for a malformed one, ENOENT for what is not known here.
  Result<void> notify(wire::NotifyCode code, std::span<const std::byte> payload) override;

 private:
  Result<void> inval_inode(std::span<const std::byte> payload);
  Result<void> inval_entry(std::span<const std::byte> payload);
  Result<void> delete_entry(std::span<const std::byte> payload);
  Result<void> store(std::span<const std::byte> payload);
  Result<void> retrieve(std::span<const std::byte> payload);
  Result<void> prune(std::span<const std::byte> payload);

  Superblock& sb_;
  NotifyListener& listener_;
};

}  // namespace fusewire::kernel
