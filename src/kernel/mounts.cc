#include "kernel/mounts.h"

#include <new>

namespace fusewire::kernel {

const Mounts::Mount* Mounts::find(uint32_t mount) const {
  for (const Mount* each = mounts_; each; each = each->next)
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
  const Mount* first = mounts_;
  while (first && first->next) first = first->next;
  return first ? Start{first->root.get(), first->id} : Start{&superblock_root, 0};
}

Result<void> Mounts::add(uint32_t mount, Dentry& root) {
  void* memory = kmalloc_.alloc(sizeof(Mount));
  if (!memory) return error(Errno::enomem);
  mounts_ = ::new (memory) Mount{mounts_, mount, Ref<Dentry>(root)};
  return {};
}

void Mounts::remove(uint32_t mount) {
  for (Mount** at = &mounts_; *at; at = &(*at)->next) {
    if ((*at)->id != mount) continue;
    Mount* gone = *at;
    *at = gone->next;
    gone->~Mount();
    return kmalloc_.free(gone, sizeof(Mount));
  }
}

Dentry& Mounts::root(uint32_t mount, Dentry& superblock_root) const {
  const Mount* found = find(mount);
  return found ? *found->root : superblock_root;
}

Result<void> Mounts::attach(uint32_t in, Dentry& dentry, uint32_t mount) {
  void* memory = kmalloc_.alloc(sizeof(Point));
  if (!memory) return error(Errno::enomem);
  points_ = ::new (memory) Point{points_, in, mount, Ref<Dentry>(dentry)};
  ++dentry.mounted;
  return {};
}

void Mounts::detach(uint32_t mount) {
  for (Point** at = &points_; *at; at = &(*at)->next) {
    if ((*at)->mount != mount) continue;
    Point* gone = *at;
    *at = gone->next;
    --gone->dentry->mounted;
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
  while (mounts_) remove(mounts_->id);
  while (points_) detach(points_->mount);
}

}  // namespace fusewire::kernel
