// Calls that make, move and remove names (Linux fs/namei.c filename_create, do_rmdir, do_unlinkat, do_renameat2,
// do_linkat and the vfs_* checks behind them).
#include "kernel/directory.h"
#include "kernel/lookup.h"
#include "kernel/permissions.h"
#include "syscall/mount_impl.h"

namespace fusewire::syscall {

namespace {

using kernel::SleepLock;
namespace lookup_flag = kernel::lookup_flag;

// A name in a locked directory. Members go in reverse order: the lock before what it is in.
struct Locked {
  Ref<Dentry> parent;
  Ref<Dentry> dentry;
  SleepLock::Guard guard;
};

Task<Result<Locked>> lock_and_lookup(Walk& walk, Superblock& sb, Caller& caller, std::string_view name,
                                     uint32_t flags) {
  Locked locked;
  locked.parent = Ref<Dentry>(walk.at());
  auto guard = co_await locked.parent->inode->lock.exclusive(sb.ready(), caller);
  if (!guard) co_return error(guard.error());
  locked.guard = std::move(*guard);
  auto found = co_await kernel::lookup(sb, caller, *locked.parent, name, flags | lookup_flag::locked);
  if (!found) co_return error(found.error());
  locked.dentry = *found;
  co_return locked;
}

// ".." at the end of a path may be another mount's business: only the walk can say.
Task<Result<void>> leave_or_fail(Walk& walk, Last last, Errno otherwise) {
  if (last.kind == LastKind::dotdot && walk.is_at_root()) {
    auto gone = co_await walk.lookup_last(last, lookup_flag::none);
    if (!gone) co_return error(gone.error());
  }
  co_return error(otherwise);
}

// may_create: write and execute permission on the directory.
Task<Result<void>> may_create(Dentry& parent, Superblock&, Caller& caller) {
  if (parent.inode->dead) co_return error(Errno::enoent);
  auto allowed = co_await kernel::permission(*parent.inode, caller, abi::may_write | abi::may_exec);
  co_return allowed;
}

// filename_create: a negative dentry under its directory's lock. for_directory: a trailing slash is allowed.
Task<Result<Locked>> find_free_name(Walk& walk, Superblock& sb, Caller& caller, bool for_directory) {
  auto last = co_await walk.to_last();
  if (!last) co_return error(last.error());
  if (last->kind != LastKind::name) {
    auto failed = co_await leave_or_fail(walk, *last, Errno::eexist);
    co_return error(failed.error());
  }
  const bool slash_in_way = last->trailing_slash && !for_directory;
  const uint32_t flags = slash_in_way ? lookup_flag::none : lookup_flag::exclusive;
  auto locked = co_await lock_and_lookup(walk, sb, caller, last->name, flags);
  if (!locked) co_return error(locked.error());
  if (locked->dentry->inode) co_return error(Errno::eexist);
  if (slash_in_way) co_return error(Errno::enoent);
  co_return std::move(*locked);
}

Task<Result<Locked>> prepare_creation(Walk& walk, MountImpl& mount, Caller& caller, bool for_directory) {
  auto locked = co_await find_free_name(walk, mount.sb, caller, for_directory);
  if (!locked) co_return error(locked.error());
  if (mount.is_read_only(walk.mount())) co_return error(Errno::erofs);
  auto allowed = co_await may_create(*locked->parent, mount.sb, caller);
  if (!allowed) co_return error(allowed.error());
  co_return std::move(*locked);
}

void tell_made(const MountImpl& mount, const Locked& locked, bool is_directory, Inode* linked = nullptr) {
  if (mount.events) mount.events->made(*locked.parent->inode, locked.dentry->name(), is_directory, linked);
}

Task<Result<void>> mkdir_at(MountImpl& mount, Caller& caller, Place place, uint32_t mode, Leave& leave) {
  CO_TRY_VOID(mount.reachable(place));
  Walk walk(mount.sb, caller, place, leave);
  auto locked = co_await prepare_creation(walk, mount, caller, true);
  if (!locked) co_return error(locked.error());
  auto made = co_await kernel::make_directory(mount.sb, caller, *locked->dentry, mode & 01777);
  if (made) tell_made(mount, *locked, true);
  co_return made;
}

Task<Result<void>> mknod_at(MountImpl& mount, Caller& caller, Place place, uint32_t mode, uint32_t rdev, Leave& leave) {
  CO_TRY_VOID(mount.reachable(place));
  const uint32_t type = mode & abi::s_ifmt;
  if (type == 0) mode |= abi::s_ifreg;
  if (type == abi::s_ifdir) co_return error(Errno::eperm);
  const bool device = type == abi::s_ifblk || type == abi::s_ifchr;
  const bool plain = type == 0 || type == abi::s_ifreg || type == abi::s_ififo || type == abi::s_ifsock;
  if (!device && !plain) co_return error(Errno::einval);
  Walk walk(mount.sb, caller, place, leave);
  auto locked = co_await prepare_creation(walk, mount, caller, false);
  if (!locked) co_return error(locked.error());
  // vfs_mknod: a whiteout is no device.
  const bool whiteout = type == abi::s_ifchr && rdev == 0;
  if (device && !whiteout && !caller.may(kernel::Capability::mknod)) co_return error(Errno::eperm);
  auto made = co_await kernel::make_node(mount.sb, caller, *locked->dentry, mode, device ? rdev : 0);
  if (made) tell_made(mount, *locked, false);
  co_return made;
}

// unix_bind_bsd: the name is made by MKNOD; what comes back stands for the inode as long as the socket is bound.
Task<Result<File*>> bind_socket(MountImpl& mount, Caller& caller, Place place, uint32_t mode, Leave& leave) {
  CO_TRY_VOID(mount.reachable(place));
  Walk walk(mount.sb, caller, place, leave);
  auto locked = co_await prepare_creation(walk, mount, caller, false);
  if (!locked) co_return error(locked.error());
  const uint32_t socket_mode = abi::s_ifsock | (mode & abi::s_iallugo);
  auto made = co_await kernel::make_node(mount.sb, caller, *locked->dentry, socket_mode, 0);
  if (!made) co_return error(made.error());
  tell_made(mount, *locked, false);
  Ref<Dentry> named = mount.sb.find_dentry(*locked->parent, locked->dentry->name());
  if (!named || !named->inode) co_return error(Errno::eio);
  File* file = kernel::make_file(*named, abi::o_path, caller);
  if (!file) co_return error(Errno::enomem);
  mount.file_opened(*file, walk.mount());
  co_return file;
}

// A copy of a text with a NUL behind it, from kmalloc.
class TextCopy {
 public:
  TextCopy(Kmalloc& kmalloc, std::string_view text)
      : kmalloc_(kmalloc), size_(text.size()), data_(static_cast<char*>(kmalloc.alloc(text.size() + 1))) {
    if (!data_) return;
    __builtin_memcpy(data_, text.data(), size_);
    data_[size_] = '\0';
  }
  ~TextCopy() {
    if (data_) kmalloc_.free(data_, size_ + 1);
  }
  TextCopy(const TextCopy&) = delete;
  explicit operator bool() const { return data_ != nullptr; }
  std::string_view text() const { return {data_, size_}; }

 private:
  Kmalloc& kmalloc_;
  size_t size_;
  char* data_;
};

Task<Result<void>> symlink_at(MountImpl& mount, Caller& caller, std::string_view target, Place place, Leave& leave) {
  CO_TRY_VOID(mount.reachable(place));
  if (target.empty()) co_return error(Errno::enoent);
  if (target.size() >= abi::path_max) co_return error(Errno::enametoolong);
  TextCopy copy(mount.kmalloc(), target);
  if (!copy) co_return error(Errno::enomem);
  Walk walk(mount.sb, caller, place, leave);
  auto locked = co_await prepare_creation(walk, mount, caller, false);
  if (!locked) co_return error(locked.error());
  auto made = co_await kernel::make_symlink(mount.sb, caller, *locked->dentry, copy.text());
  if (made) tell_made(mount, *locked, false);
  co_return made;
}

// may_linkat with fs.protected_hardlinks: another's file only when it is plain and the caller may read and write it.
Task<Result<void>> may_link(Inode& inode, Caller& caller) {
  if (caller.may_as_owner(inode.attr.uid)) co_return Result<void>();
  const bool plain = inode.is_reg() && !(inode.attr.mode & abi::s_isuid) && !kernel::has_set_id(inode.attr.mode);
  if (!plain) co_return error(Errno::eperm);
  auto allowed = co_await kernel::permission(inode, caller, abi::may_read | abi::may_write);
  if (!allowed) co_return error(Errno::eperm);
  co_return allowed;
}

Task<Result<void>> link_at(MountImpl& mount, Caller& caller, Place from, Place to, uint32_t at_flags, Leave& leave) {
  CO_TRY_VOID(mount.reachable(from));
  CO_TRY_VOID(mount.reachable(to));
  if (at_flags & ~(abi::at_symlink_follow | abi::at_empty_path)) co_return error(Errno::einval);
  leave.which = 0;
  const uint32_t flags = nofollow_unless((at_flags & abi::at_symlink_follow) != 0) | (at_flags & abi::at_empty_path);
  auto source = co_await resolve(mount, caller, from, flags, leave);
  if (!source) co_return error(source.error());
  leave.which = 1;
  Walk walk(mount.sb, caller, to, leave);
  auto locked = co_await find_free_name(walk, mount.sb, caller, false);
  if (!locked) co_return error(locked.error());
  if (mount.mount_of(from) != walk.mount()) co_return error(Errno::exdev);
  if (mount.is_read_only(walk.mount())) co_return error(Errno::erofs);
  Ref<Inode> inode(*(*source)->inode);
  auto linkable = co_await may_link(*inode, caller);
  if (!linkable) co_return linkable;
  auto allowed = co_await may_create(*locked->parent, mount.sb, caller);
  if (!allowed) co_return allowed;
  if (inode->is_dir()) co_return error(Errno::eperm);
  if (inode->attr.nlink == 0 && !inode->linkable) co_return error(Errno::enoent);
  auto made = co_await kernel::make_link(mount.sb, caller, *inode, *locked->dentry);
  if (made) tell_made(mount, *locked, false, inode.get());
  co_return made;
}

Result<void> removal_kind(Last last, bool directory) {
  if (last.kind == LastKind::name) return {};
  if (!directory) return error(Errno::eisdir);
  if (last.kind == LastKind::dot) return error(Errno::einval);
  if (last.kind == LastKind::dotdot) return error(Errno::enotempty);
  return error(Errno::ebusy);
}

// may_delete's look at types, after permission; unlink of "name/" fails whatever it is.
Result<void> removal_type(const Inode& victim, const Inode& parent, bool directory, bool trailing_slash) {
  if (directory && !victim.is_dir()) return error(Errno::enotdir);
  if (!directory && victim.is_dir()) return error(Errno::eisdir);
  if (!directory && trailing_slash) return error(Errno::enotdir);
  if (parent.dead) return error(Errno::enoent);
  return {};
}

Task<Result<void>> unlink_at(MountImpl& mount, Caller& caller, Place place, uint32_t at_flags, Leave& leave) {
  Superblock& sb = mount.sb;
  CO_TRY_VOID(mount.reachable(place));
  if (at_flags & ~abi::at_removedir) co_return error(Errno::einval);
  const bool directory = (at_flags & abi::at_removedir) != 0;
  Walk walk(sb, caller, place, leave);
  auto last = co_await walk.to_last();
  if (!last) co_return error(last.error());
  CO_TRY_VOID(removal_kind(*last, directory));
  if (mount.is_read_only(walk.mount())) co_return error(Errno::erofs);
  auto locked = co_await lock_and_lookup(walk, sb, caller, last->name, lookup_flag::none);
  if (!locked) co_return error(locked.error());
  Dentry& dentry = *locked->dentry;
  if (!dentry.inode) co_return error(Errno::enoent);
  Ref<Inode> victim(*dentry.inode);
  if (!directory && last->trailing_slash) co_return error(victim->is_dir() ? Errno::eisdir : Errno::enotdir);
  auto allowed = co_await kernel::may_remove(*locked->parent->inode, *victim, caller);
  if (!allowed) co_return allowed;
  CO_TRY_VOID(removal_type(*victim, *locked->parent->inode, directory, last->trailing_slash));
  if (dentry.mounted() != 0) co_return error(Errno::ebusy);
  auto removed = co_await kernel::remove_entry(sb, caller, dentry);
  if (removed && mount.events) mount.events->removed(*locked->parent->inode, dentry.name(), *victim);
  co_return removed;
}

struct Rename {
  Last from_last, to_last;
  uint32_t flags;
};

// The two directories of a rename, locked in one order for all (Linux lock_rename).
struct RenameLocks {
  Ref<Dentry> from_parent, to_parent;
  SleepLock::Guard rename, first, second;
};

Task<Result<RenameLocks>> lock_directories(Walk& from, Walk& to, Superblock& sb, Caller& caller) {
  RenameLocks locks;
  locks.from_parent = Ref<Dentry>(from.at());
  locks.to_parent = Ref<Dentry>(to.at());
  Inode* a = locks.from_parent->inode;
  Inode* b = locks.to_parent->inode;
  if (a != b) {
    auto rename = co_await sb.rename_lock.exclusive(sb.ready(), caller);
    if (!rename) co_return error(rename.error());
    locks.rename = std::move(*rename);
  }
  if (a > b) {
    Inode* const swapped = a;
    a = b;
    b = swapped;
  }
  auto first = co_await a->lock.exclusive(sb.ready(), caller);
  if (!first) co_return error(first.error());
  locks.first = std::move(*first);
  if (a == b) co_return locks;
  auto second = co_await b->lock.exclusive(sb.ready(), caller);
  if (!second) co_return error(second.error());
  locks.second = std::move(*second);
  co_return locks;
}

bool is_ancestor(const Dentry& ancestor, const Dentry& dentry) {
  for (const Dentry* at = &dentry; at; at = at->parent) {
    if (at == &ancestor) return true;
  }
  return false;
}

// do_renameat2's checks on what was found.
Result<void> check_rename(const Dentry& from, const Dentry& to, const RenameLocks& locks, const Rename& what) {
  const bool exchange = (what.flags & abi::rename_exchange) != 0;
  if ((what.flags & abi::rename_noreplace) && to.inode) return error(Errno::eexist);
  if (exchange && !to.inode) return error(Errno::enoent);
  if (exchange && !to.inode->is_dir() && what.to_last.trailing_slash) return error(Errno::enotdir);
  if (!from.inode->is_dir()) {
    if (what.from_last.trailing_slash) return error(Errno::enotdir);
    if (!exchange && what.to_last.trailing_slash) return error(Errno::enotdir);
  }
  if (is_ancestor(from, *locks.to_parent)) return error(Errno::einval);
  if (is_ancestor(to, *locks.from_parent)) return error(exchange ? Errno::einval : Errno::enotempty);
  return {};
}

// vfs_rename's checks of permission and types.
Task<Result<void>> may_rename(Superblock& sb, Caller& caller, Dentry& from, Dentry& to, uint32_t flags) {
  // Held: a dentry may get another parent while the daemon is asked.
  Ref<Inode> old_directory(*from.parent->inode), new_directory(*to.parent->inode);
  Inode& source = *from.inode;
  const bool exchange = (flags & abi::rename_exchange) != 0;
  auto removable = co_await kernel::may_remove(*old_directory, source, caller);
  if (!removable) co_return removable;
  if (!to.inode) {
    auto allowed = co_await may_create(*to.parent, sb, caller);
    if (!allowed) co_return allowed;
  } else {
    auto replaceable = co_await kernel::may_remove(*new_directory, *to.inode, caller);
    if (!replaceable) co_return replaceable;
    if (!exchange && source.is_dir() && !to.inode->is_dir()) co_return error(Errno::enotdir);
    if (!exchange && !source.is_dir() && to.inode->is_dir()) co_return error(Errno::eisdir);
  }
  if (old_directory.get() == new_directory.get()) co_return Result<void>();
  // A directory that moves gets another "..".
  if (source.is_dir()) {
    auto allowed = co_await kernel::permission(source, caller, abi::may_write);
    if (!allowed) co_return allowed;
  }
  if (exchange && to.inode->is_dir()) {
    auto allowed = co_await kernel::permission(*to.inode, caller, abi::may_write);
    co_return allowed;
  }
  co_return Result<void>();
}

Task<Result<void>> rename_locked(MountImpl& mount, Caller& caller, RenameLocks& locks, Rename what) {
  Superblock& sb = mount.sb;
  auto from = co_await kernel::lookup(sb, caller, *locks.from_parent, what.from_last.name, lookup_flag::locked);
  if (!from) co_return error(from.error());
  Ref<Dentry> source = *from;
  if (!source->inode) co_return error(Errno::enoent);
  const bool exchange = (what.flags & abi::rename_exchange) != 0;
  uint32_t target_flags = lookup_flag::locked;
  if (!exchange) target_flags |= lookup_flag::rename_target;
  if (what.flags & abi::rename_noreplace) target_flags |= lookup_flag::exclusive;
  auto to = co_await kernel::lookup(sb, caller, *locks.to_parent, what.to_last.name, target_flags);
  if (!to) co_return error(to.error());
  Ref<Dentry> target = *to;
  CO_TRY_VOID(check_rename(*source, *target, locks, what));
  // Two names of one file: nothing to do (vfs_rename).
  if (source->inode == target->inode) co_return Result<void>();
  auto allowed = co_await may_rename(sb, caller, *source, *target, what.flags);
  if (!allowed) co_return allowed;
  if (source->mounted() != 0 || target->mounted() != 0) co_return error(Errno::ebusy);
  Ref<Inode> source_inode(*source->inode), target_inode;
  if (target->inode) target_inode = Ref<Inode>(*target->inode);
  auto renamed = co_await kernel::rename_entry(sb, caller, *source, *target, what.flags);
  if (renamed && mount.events)
    mount.events->moved({.from = *locks.from_parent->inode,
                         .to = *locks.to_parent->inode,
                         .from_name = what.from_last.name,
                         .to_name = what.to_last.name,
                         .source = *source,
                         .target = target_inode.get(),
                         .exchange = exchange});
  co_return renamed;
}

Result<void> check_rename_flags(uint32_t flags) {
  constexpr uint32_t known = abi::rename_noreplace | abi::rename_exchange | abi::rename_whiteout;
  const bool exclusive = (flags & (abi::rename_noreplace | abi::rename_whiteout)) != 0;
  if ((flags & ~known) || (exclusive && (flags & abi::rename_exchange))) return error(Errno::einval);
  return {};
}

Task<Result<void>> rename_at(MountImpl& mount, Caller& caller, Place from, Place to, uint32_t flags, Leave& leave) {
  Superblock& sb = mount.sb;
  CO_TRY_VOID(mount.reachable(from));
  CO_TRY_VOID(mount.reachable(to));
  CO_TRY_VOID(check_rename_flags(flags));
  leave.which = 0;
  Walk from_walk(sb, caller, from, leave);
  auto from_last = co_await from_walk.to_last();
  if (!from_last) co_return error(from_last.error());
  leave.which = 1;
  Walk to_walk(sb, caller, to, leave);
  auto to_last = co_await to_walk.to_last();
  if (!to_last) co_return error(to_last.error());
  if (from_walk.mount() != to_walk.mount()) co_return error(Errno::exdev);
  if (from_last->kind != LastKind::name) co_return error(Errno::ebusy);
  if (to_last->kind != LastKind::name) {
    const bool replaces = !(flags & abi::rename_noreplace);
    co_return error(replaces ? Errno::ebusy : Errno::eexist);
  }
  if (mount.is_read_only(from_walk.mount())) co_return error(Errno::erofs);
  auto locks = co_await lock_directories(from_walk, to_walk, sb, caller);
  if (!locks) co_return error(locks.error());
  auto renamed = co_await rename_locked(mount, caller, *locks, Rename{*from_last, *to_last, flags});
  co_return renamed;
}

}  // namespace

Task<Result<void>> Mount::sys_mkdirat(Caller& caller, Place place, uint32_t mode, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "mkdirat", {place.start},
                  [&mount, &caller, &leave, place, mode] { return mkdir_at(mount, caller, place, mode, leave); });
}

Task<Result<void>> Mount::sys_mknodat(Caller& caller, Place place, uint32_t mode, uint32_t rdev, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "mknodat", {place.start}, [&mount, &caller, &leave, place, mode, rdev] {
    return mknod_at(mount, caller, place, mode, rdev, leave);
  });
}

Task<Result<OpenFile*>> Mount::sys_bind_socket(Caller& caller, Place place, uint32_t mode, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "bind", {place.start},
                  [&mount, &caller, &leave, place, mode] { return bind_socket(mount, caller, place, mode, leave); });
}

Task<Result<void>> Mount::sys_symlinkat(Caller& caller, std::string_view target, Place place, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "symlinkat", {place.start},
                  [&mount, &caller, &leave, target, place] { return symlink_at(mount, caller, target, place, leave); });
}

Task<Result<void>> Mount::sys_unlinkat(Caller& caller, Place place, uint32_t at_flags, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "unlinkat", {place.start}, [&mount, &caller, &leave, place, at_flags] {
    return unlink_at(mount, caller, place, at_flags, leave);
  });
}

Task<Result<void>> Mount::sys_renameat2(Caller& caller, Place from, Place to, uint32_t flags, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "renameat2", {from.start, to.start}, [&mount, &caller, &leave, from, to, flags] {
    return rename_at(mount, caller, from, to, flags, leave);
  });
}

Task<Result<void>> Mount::sys_linkat(Caller& caller, Place from, Place to, uint32_t at_flags, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "linkat", {from.start, to.start}, [&mount, &caller, &leave, from, to, at_flags] {
    return link_at(mount, caller, from, to, at_flags, leave);
  });
}

}  // namespace fusewire::syscall
