// Who may ask the leader for what. Its own user and root may do everything. Another user inside (a process that root
// started and that has changed its user since) may do what a set-user-ID fusermount does for users on Linux: open a
// device, mount it with his own ids on what he may write, and unmount what he has mounted.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string>

#include "abi/mount_rules.h"
#include "leader/leader.h"

namespace fusewire::leader {
namespace {

constexpr uint64_t cap_sys_admin = uint64_t{1} << 21;
// Of all devices, those that one other user may have open.
constexpr size_t share = 8;

bool is_master(const host::Credentials& peer) {
  return host::may_use(peer.uid, ::geteuid()) || ((peer.capabilities & cap_sys_admin) != 0 && !peer.in_lower_namespace);
}

// As fusermount reads its configuration.
bool users_may_allow_others() {
  std::ifstream file("/etc/fuse.conf");
  for (std::string line; std::getline(file, line);)
    if (line == "user_allow_other") return true;
  return false;
}

bool is_in_group(const host::Credentials& peer, gid_t gid) {
  return peer.gid == gid || std::find(peer.groups.begin(), peer.groups.end(), gid) != peer.groups.end();
}

// fusermount's check_perm. By the mode: access lists and capabilities do not count.
bool may_cover(const char* path, const host::Credentials& peer) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  const UniqueFd point(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how)));
  struct stat status;
  if (!point || ::fstat(point.get(), &status) != 0) return false;
  if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) return false;
  if (status.st_uid == peer.uid) return (status.st_mode & S_IWUSR) != 0;
  if (S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX)) return false;
  return (status.st_mode & (is_in_group(peer, status.st_gid) ? S_IWGRP : S_IWOTH)) != 0;
}

}  // namespace

host::MountBounds Leader::bounds_of(const host::Credentials& peer) {
  if (is_master(peer)) return {};
  return {.bounded = true, .may_allow_other = users_may_allow_others(), .user_id = peer.uid, .group_id = peer.gid};
}

bool Leader::is_whole_tree_of(const abi::LeaderRequest& request, uint32_t uid) const {
  const MountRecord* mount = find_mount(request);
  if (!mount) return true;  // umount says so
  const std::vector<uint32_t> tree = tree_of(mount->id);
  return std::all_of(tree.begin(), tree.end(),
                     [&](uint32_t id) { return table_.table().entry[mounts_.at(id).entry].user_id == uid; });
}

int Leader::check_right(const abi::LeaderRequest& request, const host::Credentials& peer) const {
  // Linux may_mount: to show anew what is mounted is nobody's right by what he owns.
  const auto operation = abi::LeaderOperation{request.operation};
  const bool shows_anew = operation == abi::LeaderOperation::bind || operation == abi::LeaderOperation::move;
  if (shows_anew && (peer.capabilities & cap_sys_admin) == 0) return -EPERM;
  if (is_master(peer)) return 0;
  switch (abi::LeaderOperation{request.operation}) {
    case abi::LeaderOperation::reach_host:
    case abi::LeaderOperation::open_drop_in:
    case abi::LeaderOperation::open_void:
    case abi::LeaderOperation::memory:
    case abi::LeaderOperation::log:
    case abi::LeaderOperation::open_view:
    case abi::LeaderOperation::native_mounts_changed:
    case abi::LeaderOperation::directory_renamed:
      return 0;
    case abi::LeaderOperation::open_device: {
      const auto his = [&](const auto& each) { return each.second.opener == peer.uid; };
      const auto open = std::count_if(connections_.begin(), connections_.end(), his);
      return static_cast<size_t>(open) < abi::connection_entries / share ? 0 : -ENFILE;
    }
    case abi::LeaderOperation::mount: {
      constexpr uint32_t harmless = abi::mount_flag::nosuid | abi::mount_flag::nodev;
      const bool is_harmless = (request.flags & harmless) == harmless && !abi::is_block_fuse_type(request.type);
      // Over or inside a mount: of one's own. What there may be written the leader cannot see.
      const MountRecord* around = find_mount(request);
      const bool may = around ? table_.table().entry[around->entry].user_id == peer.uid : may_cover(request.path, peer);
      return is_harmless && may ? 0 : -EPERM;
    }
    case abi::LeaderOperation::umount:
      return is_whole_tree_of(request, peer.uid) ? 0 : -EPERM;
    default:
      return -EPERM;
  }
}

}  // namespace fusewire::leader
