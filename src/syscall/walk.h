// Walk: from a Place to a dentry, as fs/namei.c does it: components, ".", "..", repeated and trailing slashes,
// symlinks (40 at most), execute permission on the way. One walk object serves one path of one call.
//
// A walk that leaves the mount (".." above its root, a symlink to an absolute path, a directory or file on which
// something is mounted) ends with Errno::eleave; the rest of the path stands in the Leave, its trailing slash included.
// Thread rule: under the connection lock; lives in the frame of the call's coroutine.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernel/lookup.h"
#include "kernel/superblock.h"
#include "syscall/mount.h"

namespace fusewire::syscall {

enum class LastKind : uint8_t {
  name,     // an ordinary component
  dot,      // "."
  dotdot,   // ".."
  nothing,  // the path has no component: the start itself
};

// The last component of a path, which the walk has not entered.
struct Last {
  LastKind kind = LastKind::nothing;
  std::string_view name;        // borrows the walk's path
  bool trailing_slash = false;  // a directory is demanded
};

// What a place starts from; dentry is nullptr where its mount is gone.
kernel::Mounts::Start start_of(kernel::Superblock& sb, const Place& place);

class Walk {
 public:
  // from: an open file of the mount, or its root. The file is held by its dentry only.
  Walk(kernel::Superblock& sb, Caller& caller, const Place& place, Leave& leave);
  ~Walk();
  Walk(const Walk&) = delete;

  // Everything but the last component. ENOENT for "" from an open file, ENAMETOOLONG from PATH_MAX on.
  Task<Result<Last>> to_last();
  // A symlink found as the last component: its text replaces it; to_last goes on from its directory.
  Task<Result<void>> follow_last(kernel::Dentry& link);
  // The last component's dentry, which may be negative; "." and nothing give the directory itself.
  Task<Result<kernel::Ref<kernel::Dentry>>> lookup_last(Last last, uint32_t flags);
  // The whole path to what exists. follow_symlink: one at the end is followed (always, with a trailing slash).
  // ENOENT, ENOTDIR.
  Task<Result<kernel::Ref<kernel::Dentry>>> to_end(bool follow_symlink);

  // What is mounted on a dentry that the walk has come to; 0: nothing.
  uint32_t mounted_on(const kernel::Dentry& dentry) const { return sb_.mounts.mounted_on(mount_, dentry); }
  // The walk goes on in that mount.
  Result<void> leave_into(uint32_t mount, std::string_view rest);
  // Whether it stands at the root of its mount, from where ".." leaves.
  bool is_at_root() const { return at_.get() == root_.get() || at_->is_root(); }
  // The number of the mount that it walks in.
  uint32_t mount() const { return mount_; }
  // The directory the walk stands in.
  kernel::Dentry& at() { return *at_; }
  Kmalloc& kmalloc() { return sb_.kmalloc(); }

 private:
  struct Component {
    std::string_view name;
    std::string_view behind;  // the path from the slash behind name on
  };

  static Component first_component(std::string_view path);
  bool enter_now(Component component);
  Task<Result<void>> enter(Component component);
  Task<Result<void>> follow(kernel::Inode& link);
  bool has(uint32_t resolve) const { return (resolve_ & resolve) != 0; }
  Result<void> leave_with(std::string_view front, std::string_view rest, LeaveTo to);
  Result<void> go_up(std::string_view behind);

  kernel::Superblock& sb_;
  Caller& caller_;
  Leave& leave_;
  const kernel::Mounts::Start from_;
  const uint32_t mount_;  // that it walks in
  kernel::Ref<kernel::Dentry> at_;
  const kernel::Ref<kernel::Dentry> start_;
  const kernel::Ref<kernel::Dentry> root_;  // of the mount
  const uint32_t resolve_;
  std::string_view rest_;  // still to be walked
  char* own_ = nullptr;    // the text that rest_ borrows, once a symlink was followed
  size_t own_bytes_ = 0;
  uint32_t links_ = 0;
  bool from_file_;
  bool too_long_;
  bool started_ = false;
};

}  // namespace fusewire::syscall
