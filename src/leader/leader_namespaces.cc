// Mount namespaces that programs make for themselves. What is mounted in one is seen there alone, and in those that are
// made in it; it ends with the last process there. What the namespace around has mounted is seen in it too, by the same
// entries of the table: a copy (a twin) is made when the two are to differ.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "abi/mount_rules.h"
#include "leader/leader_copies.h"
#include "leader/leader_texts.h"
#include "leader/process_tree.h"

namespace fusewire::leader {
namespace {

constexpr size_t namespaces_max = 128;

UniqueFd process_descriptor(pid_t pid) { return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

bool stands_in(pid_t pid, uint64_t mount_namespace) {
  return mount_namespace_of(fmt::format("/proc/{}/ns/mnt", pid)) == mount_namespace;
}

bool has_ended(int process) {
  pollfd ended{process, POLLIN, 0};
  return ::poll(&ended, 1, 0) == 1;
}

bool is_change(const abi::LeaderRequest& request) {
  switch (abi::LeaderOperation{request.operation}) {
    case abi::LeaderOperation::mount:
    case abi::LeaderOperation::bind:
    case abi::LeaderOperation::move:
    case abi::LeaderOperation::remount:
      return true;
    default:
      return false;
  }
}

}  // namespace

uint64_t mount_namespace_of(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status;
  uint64_t id = 0;
  if (!file) return 0;
  if (::ioctl(file.get(), abi::get_mount_namespace_id, &id) == 0) return id;
  return ::fstat(file.get(), &status) == 0 ? status.st_ino : 0;
}

bool Leader::is_foreign(uint64_t mount_namespace) const {
  const uint64_t own = table_.table().mount_namespace;
  return own != 0 && mount_namespace != 0 && mount_namespace != own;
}

bool Leader::needs_twin(const abi::LeaderRequest& request) const {
  const bool whole = abi::LeaderOperation{request.operation} == abi::LeaderOperation::remount &&
                     (request.flags & abi::mount_flag::bind) == 0;
  const MountRecord* mount = find_mount(request.mount);
  return is_change(request) && !whole && mount && is_foreign(request.mount_namespace) &&
         is_from_elsewhere(request, *mount);
}

void Leader::twin(const abi::LeaderRequest& request, std::move_only_function<void(int, uint32_t)> done) {
  const auto place = abi::TwinPlace{request.value[1]};
  for (const auto& [id, each] : mounts_) {
    const abi::MountEntry& entry = entry_of(each);
    if (entry.twin_of == request.mount && entry.mount_namespace == request.mount_namespace && entry.twin_place == place)
      return done(0, id);
  }
  const MountRecord* top = find_mount(request.mount);
  while (top && top->parent != 0) top = find_mount(top->parent);
  if (!top || top->view != request.view) return done(-EINVAL, 0);
  abi::LeaderRequest placed{};
  const abi::MountEntry& entry = entry_of(*top);
  placed.view = request.view;
  placed.mount_namespace = request.mount_namespace;
  placed.point_device = entry.point_device, placed.point_inode = entry.point_inode;
  placed.point_file_system = entry.point_file_system;
  copy_text(placed.path, path_of(*top));
  copy_text(placed.options, path_of(*top));
  copy_text(placed.point, table_.table().point[top->entry]);
  auto copies = std::make_shared<Copies>(placed, next_mount_++);
  copies->originals = tree_of(top->id);
  copies->copy_of[top->id] = copies->mount;
  copies->done = [this, copies = copies.get(), place, asked = request.mount,
                  done = std::move(done)](int error) mutable {
    const auto found = copies->copy_of.find(asked);
    if (error == 0 && found == copies->copy_of.end()) error = -ENOENT;
    if (error < 0) return done(error, 0);
    table_.change([&](abi::MountTable&) {
      for (const auto& [original, copy] : copies->copy_of) {
        const MountRecord* made = find_mount(copy);
        if (!made) continue;
        entry_of(*made).twin_of = original;
        entry_of(*made).twin_place = place;
      }
    });
    done(0, found->second);
  };
  make_copy(top->id, 0, {.operation = host::HostOperation::bind, .mount = copies->mount, .in = top->id}, placed,
            [this, copies](int error) {
              if (error < 0) return copies->done(error);
              copy_next(copies);
            });
}

void Leader::link_namespaces(const abi::LeaderRequest& request) {
  if (!is_foreign(request.parent_namespace) || request.mount_namespace == request.parent_namespace) return;
  table_.change([&](abi::MountTable& table) {
    table.link[table.links++ % abi::namespace_links] = {request.mount_namespace, request.parent_namespace};
  });
}

// What a process says of its mount namespace is believed where it cannot be looked at alone.
int Leader::watch_namespace(const abi::LeaderRequest& request, uint32_t pid) {
  const uint64_t claimed = request.mount_namespace;
  if (!is_change(request) || !is_foreign(claimed) || namespaces_.contains(claimed)) return 0;
  const uint64_t seen = mount_namespace_of(fmt::format("/proc/{}/ns/mnt", pid));
  if (seen != 0 && seen != claimed) return -EPERM;
  if (namespaces_.size() >= namespaces_max) return -ENFILE;
  UniqueFd process = process_descriptor(static_cast<pid_t>(pid));
  if (!process && errno == ESRCH) return -ESRCH;
  if (!process) {
    tell_once("pidfd_open is refused: what is mounted in a mount namespace of its own stays until the run's end");
    return 0;
  }
  namespaces_.emplace(claimed, std::move(process));
  return 0;
}

void Leader::look_after_namespace(int watch) {
  const auto ended = std::find_if(namespaces_.begin(), namespaces_.end(),
                                  [watch](const auto& each) { return each.second.get() == watch; });
  if (ended == namespaces_.end()) return;
  const uint64_t mount_namespace = ended->first;
  for (const pid_t pid : descendants_of(::getpid())) {
    if (!stands_in(pid, mount_namespace)) continue;
    UniqueFd process = process_descriptor(pid);
    // Its number may be another's by now.
    if (!process || has_ended(process.get()) || !stands_in(pid, mount_namespace)) continue;
    ended->second = std::move(process);
    return;
  }
  namespaces_.erase(ended);
  end_namespace(mount_namespace);
}

void Leader::end_namespace(uint64_t mount_namespace) {
  for (;;) {
    const auto found = std::find_if(mounts_.begin(), mounts_.end(), [&](const auto& each) {
      return entry_of(each.second).mount_namespace == mount_namespace;
    });
    if (found == mounts_.end()) break;
    detach_tree(found->first, abi::umount_flag::detach);
  }
  table_.change([&](abi::MountTable& table) {
    for (abi::NamespaceLink& link : table.link)
      if (link.id == mount_namespace) link = {};
  });
}

}  // namespace fusewire::leader
