#include "kernel/mounts.h"

#include <new>

#include "kernel/superblock.h"

namespace fusewire::kernel {

Mounts::Mount* Mounts::find(uint32_t mount) const {
  for (Mount* each = mounts_; each; each = each->next)
    if (each->id == mount) return each;
  return nullptr;
}

Mounts::Start Mounts::start(uint32_t place, Dentry& superblock_root) const {
  if (place & fusewire::abi::mount_point) {
    for (const Point* point = points_; point; point = point->next)
      if (point->mount == (place ^ fusewire::abi::mount_point)) return {point->dentry.get(), point->in, true};
    return {};
  }
  if (place != 0) {
    const Mount* mount = find(place);
    return mount ? Start{mount->root.get(), place} : Start{};
  }
  const Mount* first = nullptr;
  for (const Mount* each = mounts_; each; each = each->next)
    if (!each->removed) first = each;
  return first ? Start{first->root.get(), first->id} : Start{&superblock_root, 0};
}

Result<void> Mounts::add(uint32_t mount, Dentry& root, uint32_t flags) {
  void* memory = kmalloc_.alloc(sizeof(Mount));
  if (!memory) return error(Errno::enomem);
  mounts_ = ::new (memory) Mount{mounts_, mount, flags, Ref<Dentry>(root)};
  ++version_;
  return {};
}

template <typename Ends>
void Mounts::free_where(Ends ends) {
  for (Mount** at = &mounts_; *at;) {
    Mount* gone = *at;
    if (!ends(*gone)) {
      at = &gone->next;
      continue;
    }
    *at = gone->next;
    ++version_;
    gone->~Mount();
    kmalloc_.free(gone, sizeof(Mount));
  }
}

void Mounts::remove(uint32_t mount) {
  Mount* found = find(mount);
  if (!found) return;
  found->removed = true;
  ++version_;
  any_removed_ = true;
}

void Mounts::sweep() {
  if (!any_removed_) return;
  any_removed_ = false;
  free_where([this](const Mount& mount) {
    any_removed_ = any_removed_ || (mount.removed && mount.files != 0);
    return mount.removed && mount.files == 0;
  });
}

void Mounts::opened(uint32_t mount) {
  if (Mount* found = find(mount)) ++found->files;
}

void Mounts::closed(uint32_t mount) {
  if (Mount* found = find(mount)) --found->files;
}

bool Mounts::is_removed(uint32_t mount) const {
  const Mount* found = find(mount);
  return found && found->removed;
}

uint32_t Mounts::flags(uint32_t mount) const {
  const Mount* found = find(mount);
  return found ? found->flags : 0;
}

void Mounts::set_flags(uint32_t mount, uint32_t flags) {
  Mount* found = find(mount);
  if (!found) return;
  found->flags = flags;
  ++version_;
}

Dentry& Mounts::root(uint32_t mount, Dentry& superblock_root) const {
  const Mount* found = find(mount);
  return found ? *found->root : superblock_root;
}

Result<void> Mounts::attach(uint32_t in, Dentry& dentry, uint32_t mount) {
  void* memory = kmalloc_.alloc(sizeof(Point));
  if (!memory) return error(Errno::enomem);
  points_ = ::new (memory) Point{points_, in, mount, Ref<Dentry>(dentry)};
  dentry.count_mounted(1);
  dentry.sb().changed(dentry);
  detach_behind(&points_->next, mount);
  return {};
}

void Mounts::detach(uint32_t mount) { detach_behind(&points_, mount); }

void Mounts::detach_behind(Point** at, uint32_t mount) {
  for (; *at; at = &(*at)->next) {
    if ((*at)->mount != mount) continue;
    Point* gone = *at;
    *at = gone->next;
    gone->dentry->count_mounted(-1);
    gone->dentry->sb().changed(*gone->dentry);
    gone->~Point();
    return kmalloc_.free(gone, sizeof(Point));
  }
}

uint32_t Mounts::find_mounted(uint32_t in, const Dentry& dentry) const {
  for (const Point* point = points_; point; point = point->next)
    if (point->in == in && point->dentry.get() == &dentry) return point->mount;
  return 0;
}

void Mounts::clear() {
  free_where([](const Mount&) { return true; });
  while (points_) detach(points_->mount);
}

}  // namespace fusewire::kernel
