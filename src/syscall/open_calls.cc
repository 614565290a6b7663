// openat(2), open for execve, chdir(2): from a path to an open file (K130-K135; Linux fs/namei.c path_openat, do_open,
// fs/open.c build_open_flags; fuse dir.c fuse_atomic_open).
#include "kernel/attributes.h"
#include "kernel/directory.h"
#include "kernel/leases.h"
#include "kernel/lookup.h"
#include "kernel/permissions.h"
#include "syscall/mount_impl.h"

namespace fusewire::syscall {

namespace {

using kernel::SleepLock;
namespace lookup_flag = kernel::lookup_flag;

constexpr uint32_t fmode_exec = 040;  // __FMODE_EXEC: the daemon sees that the open is for execve
// VALID_OPEN_FLAGS, and __FMODE_EXEC; open and openat drop all others.
constexpr uint32_t known_flags = abi::o_accmode | abi::o_creat | abi::o_excl | abi::o_noctty | abi::o_trunc |
                                 abi::o_append | abi::o_nonblock | abi::o_sync | abi::o_async | abi::o_direct |
                                 abi::o_largefile | abi::o_directory | abi::o_nofollow | abi::o_noatime | abi::o_path |
                                 abi::o_tmpfile_bit | fmode_exec;
constexpr uint32_t creation_flags = abi::o_creat | abi::o_excl | abi::o_noctty | abi::o_trunc;

constexpr uint32_t access_of(uint32_t flags) {
  constexpr uint32_t by_mode[] = {abi::may_read, abi::may_write, abi::may_read | abi::may_write,
                                  abi::may_read | abi::may_write};
  const uint32_t truncation = (flags & abi::o_trunc) ? abi::may_write : 0;
  return by_mode[flags & abi::o_accmode] | truncation;
}

// build_open_flags.
Result<uint32_t> checked_flags(uint32_t flags) {
  flags &= known_flags;
  if (flags & abi::o_path) return flags & (abi::o_path | abi::o_directory | abi::o_nofollow);
  if (flags & abi::o_tmpfile_bit) {
    const bool writes = (flags & abi::o_accmode) != abi::o_rdonly;
    if (!(flags & abi::o_directory) || (flags & abi::o_creat) || !writes) return error(Errno::einval);
  }
  if ((flags & abi::o_creat) && (flags & abi::o_directory)) return error(Errno::einval);
  return flags | abi::o_largefile;
}

bool writes(uint32_t flags) { return (flags & abi::o_accmode) != abi::o_rdonly; }

bool follows_last(uint32_t flags) {
  const bool exclusive = (flags & abi::o_creat) && (flags & abi::o_excl);
  return !(flags & abi::o_nofollow) && !exclusive;
}

// The open succeeded: what is left of the flags, and the mount's count.
File* opened(MountImpl& mount, File* file, uint32_t through) {
  file->flags &= ~creation_flags;
  mount.file_opened(*file, through);
  return file;
}

// The same for a file of the daemon's: watchers are told. truncated: by O_TRUNC.
File* opened_and_told(MountImpl& mount, File* file, uint32_t through, bool truncated) {
  opened(mount, file, through);
  if (!mount.events) return file;
  mount.events->used(*file, Use::opened);
  if (truncated) mount.events->used(*file, Use::modified);
  return file;
}

Result<File*> open_path(MountImpl& mount, Caller& caller, const Place& place, Dentry& dentry, uint32_t flags) {
  if ((flags & abi::o_directory) && !dentry.inode->is_dir()) return error(Errno::enotdir);
  File* file = make_file(dentry, flags, caller);
  if (!file) return error(Errno::enomem);
  return opened(mount, file, mount.mount_of(place));
}

Result<void> check_type(const Inode& inode, uint32_t flags, uint32_t access, uint32_t mount_flags) {
  if ((flags & abi::o_creat) && inode.is_dir()) return error(Errno::eisdir);
  if ((flags & abi::o_directory) && !inode.is_dir()) return error(Errno::enotdir);
  switch (inode.type()) {
    case abi::s_iflnk:
      return error(Errno::eloop);
    case abi::s_ifdir:
      return (access & abi::may_write) ? error(Errno::eisdir) : Result<void>();
    // may_open_dev.
    case abi::s_ifblk:
    case abi::s_ifchr:
      if (mount_flags & fusewire::abi::mount_flag::nodev) return error(Errno::eacces);
      return inode.sb.connection.options().no_devices ? error(Errno::eacces) : Result<void>();
    default:
      return {};
  }
}

// init_special_inode: what stands behind the name is the client kernel's own, and the daemon is not told of its opens.
bool is_special(const Inode& inode) {
  const uint32_t type = inode.type();
  return type == abi::s_ififo || type == abi::s_ifblk || type == abi::s_ifchr;
}

Task<Result<void>> truncate_opened(File& file, Caller& caller) {
  const kernel::Writing writing(*file.inode);
  if (!writing) co_return error(Errno::etxtbsy);
  kernel::SetAttributes set;
  set.valid = wire::fattr::size;
  set.file = &file;
  set.opened_with_trunc = true;
  auto done = co_await kernel::set_attributes(*file.inode, caller, set);
  co_return done;
}

// An open that failed behind OPEN: no descriptor ever named the file, so no FLUSH is due.
void drop_unnamed(File& file) {
  file.flushed = true;
  file.unuse();
}

// do_open of what exists. created: by this very call, so that nothing is asked of permissions, and O_TRUNC is done
// with.
Task<Result<File*>> open_existing(MountImpl& mount, Caller& caller, Dentry& found, uint32_t through, uint32_t flags,
                                  uint32_t access, bool created) {
  Ref<Dentry> dentry(found);
  Ref<Inode> inode(*found.inode);
  const bool read_only = !created && mount.is_read_only(through);
  // do_open: before permissions.
  if (read_only && (flags & abi::o_trunc) && inode->is_reg()) co_return error(Errno::erofs);
  if (!created) CO_TRY_VOID(check_type(*inode, flags, access, mount.sb.mounts.flags(through)));
  auto allowed = co_await kernel::permission(*inode, caller, created ? 0 : access);
  if (!allowed) co_return error(allowed.error());
  const bool owner = caller.may_as_owner(inode->attr.uid);
  if ((flags & abi::o_noatime) && !owner) co_return error(Errno::eperm);
  if (inode->type() == abi::s_ifsock) co_return error(Errno::enxio);
  File* file = make_file(*dentry, flags, caller);
  if (!file) co_return error(Errno::enomem);
  file->created = created;
  if (is_special(*inode)) co_return opened(mount, file, through);
  auto sent = file->take_access();
  if (sent && read_only && file->writable()) sent = error(Errno::erofs);
  // A running program is not cut off by an OPEN that reads, as Linux lets it be.
  if (sent && (flags & abi::o_trunc) && inode->writers < 0) sent = error(Errno::etxtbsy);
  if (sent) sent = co_await kernel::break_leases(*inode, caller, writes(flags), (flags & abi::o_nonblock) != 0);
  if (sent) sent = co_await open_file(*file, caller);
  // do_dentry_open asks that of the opened file: a directory can do no direct I/O.
  if (sent && (flags & abi::o_direct) && inode->is_dir()) sent = error(Errno::einval);
  const bool truncates = (flags & abi::o_trunc) && inode->is_reg() && !created;
  if (sent && truncates) sent = co_await truncate_opened(*file, caller);
  if (!sent) {
    drop_unnamed(*file);
    co_return error(sent.error());
  }
  co_return opened_and_told(mount, file, through, truncates);
}

struct Creation {
  uint32_t flags, mode, access;
  bool read_only;  // the mount
};

// may_o_create.
Task<Result<void>> may_make(Caller& caller, Inode& directory, bool read_only) {
  if (read_only) co_return error(Errno::erofs);
  auto allowed = co_await kernel::permission(directory, caller, abi::may_write | abi::may_exec);
  co_return allowed;
}

// What one round of O_CREAT came to: a file that CREATE has opened, or a name to open.
struct Round {
  File* file = nullptr;
  Ref<Dentry> found;
  bool created = false;
};

// CREATE, or MKNOD where the daemon knows no CREATE; the directory is locked.
Task<Result<Round>> create(Superblock& sb, Caller& caller, Dentry& dentry, Creation what) {
  Ref<Dentry> parent(*dentry.parent);
  Round round;
  round.created = true;
  auto file = co_await kernel::create_file(sb, caller, dentry, what.flags, what.mode);
  if (file) {
    round.file = *file;
    co_return round;
  }
  if (file.error() != Errno::enosys) co_return error(file.error());
  auto made = co_await kernel::make_node(sb, caller, dentry, abi::s_ifreg | what.mode, 0);
  if (!made) co_return error(made.error());
  round.found = sb.find_dentry(*parent, dentry.name());
  if (!round.found || !round.found->inode) co_return error(Errno::eio);
  co_return round;
}

// lookup_open: whether the name may be made is found out before the daemon is asked for it, but told only when it is
// not there.
Task<Result<Round>> lookup_or_create(Superblock& sb, Caller& caller, Dentry& directory, std::string_view name,
                                     Creation what) {
  auto guard = co_await directory.inode->lock.exclusive(sb.ready(), caller);
  if (!guard) co_return error(guard.error());
  if (directory.inode->dead) co_return error(Errno::enoent);
  const uint32_t flags = (what.flags & abi::o_excl) ? lookup_flag::exclusive : lookup_flag::none;
  auto cached = co_await kernel::lookup_cached(sb, caller, directory, name, flags);
  if (!cached) co_return error(cached.error());
  Round round;
  round.found = *cached;
  if (round.found && round.found->inode) co_return round;
  auto makeable = co_await may_make(caller, *directory.inode, what.read_only);
  if (!round.found) {
    auto looked = co_await kernel::lookup(sb, caller, directory, name, flags | lookup_flag::locked);
    if (!looked) co_return error(looked.error());
    round.found = *looked;
  }
  if (round.found->inode) co_return round;
  if (!makeable) co_return error(makeable.error());
  auto made = co_await create(sb, caller, *round.found, what);
  co_return made;
}

// One round of O_CREAT: the last component is opened, or made. A symlink to follow comes back in `link`, and no file.
Task<Result<File*>> open_or_create(MountImpl& mount, Caller& caller, Walk& walk, Last last, Creation what,
                                   Ref<Dentry>& link) {
  Superblock& sb = mount.sb;
  const bool exclusive = (what.flags & abi::o_excl) != 0;
  Ref<Dentry> directory(walk.at());
  Round round;
  if (!exclusive) {
    auto cached = co_await kernel::lookup_cached(sb, caller, *directory, last.name, lookup_flag::none);
    if (!cached) co_return error(cached.error());
    if (*cached && (*cached)->inode) round.found = *cached;
  }
  if (!round.found) {
    auto done = co_await lookup_or_create(sb, caller, *directory, last.name, what);
    if (!done) co_return error(done.error());
    round = std::move(*done);
  }
  if (round.created && mount.events) mount.events->made(*directory->inode, last.name, false, nullptr);
  if (round.file) {
    auto allowed = co_await kernel::permission(*round.file->inode, caller, 0);
    if (allowed) co_return opened_and_told(mount, round.file, walk.mount(), false);
    drop_unnamed(*round.file);
    co_return error(allowed.error());
  }
  Ref<Dentry> found = round.found;
  if (const uint32_t mounted = walk.mounted_on(*found)) co_return error(walk.leave_into(mounted, {}).error());
  if (exclusive && !round.created) co_return error(Errno::eexist);
  if (found->inode->is_lnk() && follows_last(what.flags)) {
    link = found;
    co_return static_cast<File*>(nullptr);
  }
  auto file = co_await open_existing(mount, caller, *found, walk.mount(), what.flags, what.access, round.created);
  co_return file;
}

Task<Result<File*>> open_creating(MountImpl& mount, Caller& caller, Place place, Creation what, Leave& leave) {
  Walk walk(mount.sb, caller, place, leave);
  for (;;) {
    auto last = co_await walk.to_last();
    if (!last) co_return error(last.error());
    if (last->kind == LastKind::dotdot) {
      auto up = co_await walk.lookup_last(*last, lookup_flag::none);
      if (!up) co_return error(up.error());
    }
    const bool exclusive = (what.flags & abi::o_excl) != 0;
    const bool is_file = last->kind == LastKind::nothing && !last->trailing_slash && !walk.at().inode->is_dir();
    if (is_file && !exclusive) {
      // A mount on a file.
      Ref<Dentry> root(walk.at());
      auto file = co_await open_existing(mount, caller, *root, walk.mount(), what.flags, what.access, false);
      co_return file;
    }
    if (last->kind != LastKind::name) co_return error(exclusive ? Errno::eexist : Errno::eisdir);
    if (last->trailing_slash) co_return error(Errno::eisdir);
    Ref<Dentry> link;
    auto file = co_await open_or_create(mount, caller, walk, *last, what, link);
    if (!link) co_return file;
    auto followed = co_await walk.follow_last(*link);
    if (!followed) co_return error(followed.error());
  }
}

Task<Result<File*>> open_tmpfile(MountImpl& mount, Caller& caller, Place place, Creation what, Leave& leave) {
  const uint32_t how = nofollow_unless(follows_last(what.flags)) | abi::at_empty_path;
  auto directory = co_await resolve(mount, caller, place, how, leave);
  if (!directory) co_return error(directory.error());
  if (!(*directory)->inode->is_dir()) co_return error(Errno::enotdir);
  if (what.read_only) co_return error(Errno::erofs);
  auto allowed = co_await kernel::permission(*(*directory)->inode, caller, abi::may_write | abi::may_exec);
  if (!allowed) co_return error(allowed.error());
  auto file = co_await kernel::make_tmpfile(mount.sb, caller, **directory, what.flags, what.mode);
  if (!file) co_return error(file.error());
  co_return opened(mount, *file, mount.mount_of(place));
}

// What a link of /proc/self/fd leads to: an open file, whether or not it still has a name.
bool is_start(const Place& place) { return place.start != nullptr && place.path.empty(); }

Task<Result<File*>> open_at(MountImpl& mount, Caller& caller, Place place, uint32_t wanted, uint32_t mode,
                            Leave& leave) {
  CO_TRY(flags, checked_flags(wanted));
  CO_TRY_VOID(mount.reachable(place));
  const Creation what{flags, mode & abi::s_iallugo, access_of(flags), mount.is_read_only(place)};
  if ((flags & abi::o_tmpfile_bit) && !(flags & abi::o_path)) {
    auto file = co_await open_tmpfile(mount, caller, place, what, leave);
    co_return file;
  }
  if ((flags & abi::o_creat) && !is_start(place)) {
    auto file = co_await open_creating(mount, caller, place, what, leave);
    co_return file;
  }
  auto found = co_await resolve(mount, caller, place, nofollow_unless(follows_last(flags)) | abi::at_empty_path, leave);
  if (!found) co_return error(found.error());
  if (flags & abi::o_path) co_return open_path(mount, caller, place, **found, flags);
  auto file = co_await open_existing(mount, caller, **found, mount.mount_of(place), flags, what.access, false);
  co_return file;
}

Task<Result<File*>> open_exec(MountImpl& mount, Caller& caller, Place place, Leave& leave, bool nofollow) {
  auto found = co_await resolve(mount, caller, place, nofollow_unless(!nofollow) | abi::at_empty_path, leave);
  if (!found) co_return error(found.error());
  if ((*found)->inode->is_lnk()) co_return error(Errno::eloop);
  if (!(*found)->inode->is_reg() || mount.is_no_exec(place)) co_return error(Errno::eacces);
  const uint32_t flags = abi::o_rdonly | abi::o_largefile | fmode_exec;
  auto file = co_await open_existing(mount, caller, **found, mount.mount_of(place), flags, abi::may_exec, false);
  if (!file) co_return file;
  if (const auto denied = (*file)->deny_writing(); !denied) {
    mount.file_released(**file);
    co_return error(denied.error());
  }
  co_return file;
}

// unix_find_bsd: the socket that is connected or sent to.
Task<Result<File*>> reach_socket(MountImpl& mount, Caller& caller, Place place, Leave& leave) {
  CO_TRY_VOID(mount.reachable(place));
  auto found = co_await resolve(mount, caller, place, abi::at_empty_path, leave);
  if (!found) co_return error(found.error());
  Ref<Inode> inode(*(*found)->inode);
  auto allowed = co_await kernel::permission(*inode, caller, abi::may_write);
  if (!allowed) co_return error(allowed.error());
  if (inode->type() != abi::s_ifsock) co_return error(Errno::econnrefused);
  co_return open_path(mount, caller, place, **found, abi::o_path);
}

// fuse_encode_fh.
Task<Result<FileHandle>> file_handle(MountImpl& mount, Caller& caller, Place place, uint32_t at_flags, Leave& leave) {
  auto found = co_await resolve(mount, caller, place, at_flags, leave);
  if (!found) co_return error(found.error());
  const Dentry& dentry = **found;
  const Inode& inode = *dentry.inode;
  const Inode& parent = dentry.is_root() ? inode : *dentry.parent->inode;
  co_return FileHandle{.nodeid = inode.nodeid,
                       .parent_nodeid = parent.nodeid,
                       .generation = inode.generation,
                       .parent_generation = parent.generation,
                       .is_directory = inode.is_dir(),
                       .can_be_opened = !mount.sb.has(wire::init_flag::no_export_support)};
}

// fuse_get_dentry, as far as the half still knows a name of the file.
Task<Result<File*>> open_handle(MountImpl& mount, Caller& caller, Place place, uint64_t nodeid, uint32_t generation,
                                uint32_t wanted) {
  CO_TRY(flags, checked_flags(wanted));
  if (!caller.may(kernel::Capability::dac_read_search)) co_return error(Errno::eperm);
  const bool served = !mount.sb.has(wire::init_flag::no_export_support) && nodeid != 0;
  Inode* inode = served ? mount.sb.find_inode(nodeid) : nullptr;
  if (!inode || inode->bad || inode->generation != generation || !inode->newest_alias) co_return error(Errno::estale);
  Ref<Dentry> dentry(*inode->newest_alias);
  if (flags & abi::o_path) co_return open_path(mount, caller, place, *dentry, flags);
  auto file = co_await open_existing(mount, caller, *dentry, mount.mount_of(place), flags, access_of(flags), false);
  co_return file;
}

Task<Result<File*>> change_directory(MountImpl& mount, Caller& caller, Place place, Leave& leave) {
  auto found = co_await resolve(mount, caller, place, abi::at_empty_path, leave);
  if (!found) co_return error(found.error());
  Ref<Inode> inode(*(*found)->inode);
  if (!inode->is_dir()) co_return error(Errno::enotdir);
  auto allowed = co_await kernel::permission(*inode, caller, abi::may_exec | abi::may_chdir);
  if (!allowed) co_return error(allowed.error());
  co_return open_path(mount, caller, place, **found, abi::o_path | abi::o_directory);
}

}  // namespace

Task<Result<OpenFile*>> Mount::sys_openat(Caller& caller, Place place, uint32_t flags, uint32_t mode, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "openat", {place.start}, [&mount, &caller, &leave, place, flags, mode] {
    return open_at(mount, caller, place, flags, mode, leave);
  });
}

Task<Result<OpenFile*>> Mount::sys_open_exec(Caller& caller, Place place, Leave& leave, bool nofollow) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "execve", {place.start}, [&mount, &caller, &leave, place, nofollow] {
    return open_exec(mount, caller, place, leave, nofollow);
  });
}

Task<Result<FileHandle>> Mount::sys_file_handle(Caller& caller, Place place, uint32_t at_flags, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "name_to_handle_at", {place.start}, [&mount, &caller, &leave, place, at_flags] {
    return file_handle(mount, caller, place, at_flags, leave);
  });
}

Task<Result<OpenFile*>> Mount::sys_open_handle(Caller& caller, Place place, uint64_t nodeid, uint32_t generation,
                                               uint32_t flags) {
  MountImpl& mount = impl(*this);
  return run(mount, caller, "open_by_handle_at", open_handle(mount, caller, place, nodeid, generation, flags));
}

Task<Result<OpenFile*>> Mount::sys_reach_socket(Caller& caller, Place place, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "connect", {place.start},
                  [&mount, &caller, &leave, place] { return reach_socket(mount, caller, place, leave); });
}

Task<Result<OpenFile*>> Mount::sys_chdir(Caller& caller, Place place, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "chdir", {place.start},
                  [&mount, &caller, &leave, place] { return change_directory(mount, caller, place, leave); });
}

}  // namespace fusewire::syscall
