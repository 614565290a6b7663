// Calls that show or set what is known of a file: stat, access, readlink, statfs, chmod, chown, truncate, utimens.
// By path and by open file.
#include "kernel/attributes.h"
#include "kernel/directory.h"
#include "kernel/leases.h"
#include "kernel/permissions.h"
#include "syscall/mount_impl.h"

namespace fusewire::syscall {

namespace {

namespace mount_flag = fusewire::abi::mount_flag;

kernel::Sync sync_of(uint32_t at_flags) {
  if (at_flags & abi::at_statx_force_sync) return kernel::Sync::force;
  return (at_flags & abi::at_statx_dont_sync) ? kernel::Sync::never : kernel::Sync::as_needed;
}

Task<Result<Stat>> stat_inode(MountImpl& mount, Caller& caller, Inode& inode, uint32_t mask, kernel::Sync sync) {
  auto shown = co_await kernel::get_attributes(inode, caller, mask, sync);
  if (!shown) co_return error(shown.error());
  Stat stat{};
  if (shown->mask != 0) stat = stat_of(mount, *shown);
  stat.dev = mount.sb.dev;
  stat.is_root = mount.sb.root().inode == &inode;
  co_return stat;
}

// Who asks again finds the inode in the view, which it comes to with its name.
void show_name(MountImpl& mount, File& file) {
  if (file.dentry->hashed && !file.dentry->is_root()) mount.sb.used(*file.dentry);
}

Task<Result<Stat>> statx_at(MountImpl& mount, Caller& caller, Place place, uint32_t at_flags, uint32_t mask,
                            Leave& leave) {
  constexpr uint32_t syncs = abi::at_statx_force_sync | abi::at_statx_dont_sync;
  constexpr uint32_t known = syncs | abi::at_symlink_nofollow | abi::at_no_automount | abi::at_empty_path;
  if ((at_flags & ~known) || (at_flags & syncs) == syncs || (mask & abi::statx_reserved))
    co_return error(Errno::einval);
  if (place.start) show_name(mount, *place.start);
  auto found = co_await resolve(mount, caller, place, at_flags, leave);
  if (!found) co_return error(found.error());
  Ref<Inode> inode(*(*found)->inode);
  auto stat = co_await stat_inode(mount, caller, *inode, mask, sync_of(at_flags));
  co_return stat;
}

Task<Result<Stat>> stat_file(MountImpl& mount, Caller& caller, File& file, uint32_t mask) {
  FileUse use(file);
  show_name(mount, file);
  auto stat = co_await stat_inode(mount, caller, *file.inode, mask, kernel::Sync::as_needed);
  co_return stat;
}

// access(2) asks for the real ids, which the daemon then sees too (access_override_creds).
class RealIds {
 public:
  RealIds(Caller& caller, bool effective)
      : caller_(caller), uid_(caller.uid), gid_(caller.gid), capabilities_(caller.capabilities) {
    if (effective) return;
    caller.capabilities = caller.is_really_root() ? caller.permitted : 0;
    caller.uid = caller.ruid;
    caller.gid = caller.rgid;
  }
  ~RealIds() {
    caller_.uid = uid_;
    caller_.gid = gid_;
    caller_.capabilities = capabilities_;
  }
  RealIds(const RealIds&) = delete;

 private:
  Caller& caller_;
  uint32_t uid_, gid_;
  uint64_t capabilities_;
};

Task<Result<void>> access_at(MountImpl& mount, Caller& caller, Place place, uint32_t mask, uint32_t at_flags,
                             Leave& leave) {
  constexpr uint32_t known = abi::at_eaccess | abi::at_symlink_nofollow | abi::at_empty_path;
  constexpr uint32_t modes = abi::may_read | abi::may_write | abi::may_exec;
  if ((mask & ~modes) || (at_flags & ~known)) co_return error(Errno::einval);
  RealIds ids(caller, (at_flags & abi::at_eaccess) != 0);
  auto found = co_await resolve(mount, caller, place, at_flags, leave);
  if (!found) co_return error(found.error());
  Ref<Inode> inode(*(*found)->inode);
  if ((mask & abi::may_exec) && inode->is_reg() && mount.is_no_exec(place)) co_return error(Errno::eacces);
  auto allowed = co_await kernel::permission(*inode, caller, mask | abi::may_access);
  const bool is_special = !inode->is_reg() && !inode->is_dir() && !inode->is_lnk();
  if (allowed && (mask & abi::may_write) && !is_special && mount.is_read_only(place)) co_return error(Errno::erofs);
  co_return allowed;
}

Task<Result<size_t>> readlink_at(MountImpl& mount, Caller& caller, Place place, std::span<char> target, Leave& leave) {
  if (target.empty()) co_return error(Errno::einval);
  const bool empty = place.start && place.path.empty();
  const uint32_t flags = abi::at_symlink_nofollow | (place.start ? abi::at_empty_path : 0);
  auto found = co_await resolve(mount, caller, place, flags, leave);
  if (!found) co_return error(found.error());
  Ref<Inode> inode(*(*found)->inode);
  if (!inode->is_lnk()) co_return error(empty ? Errno::enoent : Errno::einval);
  auto* text = static_cast<char*>(mount.kmalloc().alloc(abi::page_size));
  if (!text) co_return error(Errno::enomem);
  auto length = co_await kernel::read_link(mount.sb, caller, *inode, std::span<char>(text, abi::page_size));
  const size_t fits = length && *length < target.size() ? *length : target.size();
  if (length) __builtin_memcpy(target.data(), text, fits);
  mount.kmalloc().free(text, abi::page_size);
  if (!length) co_return length;
  co_return fits;
}

Statfs statfs_of(const wire::Kstatfs& st, uint32_t flags, bool read_only) {
  // ST_NOSUID, ST_NODEV and so on have the values of mount(2)'s flags.
  constexpr uint64_t st_rdonly = 1, st_valid = 0x20, st_relatime = 0x1000;
  Statfs out{};
  out.type = abi::fuse_super_magic;
  out.bsize = st.bsize;
  out.blocks = st.blocks;
  out.bfree = st.bfree;
  out.bavail = st.bavail;
  out.files = st.files;
  out.ffree = st.ffree;
  out.namelen = st.namelen;
  out.frsize = st.frsize;
  out.flags = st_valid | flags | (read_only ? st_rdonly : 0);
  if ((flags & mount_flag::noatime) == 0) out.flags |= st_relatime;
  return out;
}

Task<Result<Statfs>> statfs_inode(MountImpl& mount, Caller& caller, Inode& inode, uint32_t through) {
  Superblock& sb = mount.sb;
  const uint32_t flags = sb.mounts.flags(through);
  const bool read_only = mount.is_read_only(through);
  wire::StatfsOut out{};
  // A stranger learns the type and nothing else (K104).
  if (!kernel::admitted(sb, caller)) co_return statfs_of(out.st, flags, read_only);
  kernel::Args args;
  args.opcode = wire::Opcode::statfs;
  args.nodeid = inode.nodeid;
  const auto bytes = std::as_writable_bytes(std::span(&out, 1));
  args.add_out_bytes(bytes.first(sb.minor() < 4 ? wire::compat_statfs_size : sizeof(out)), false);
  auto sent = co_await sb.connection.send(args, caller);
  if (!sent) co_return error(sent.error());
  co_return statfs_of(out.st, flags, read_only);
}

Task<Result<Statfs>> statfs_at(MountImpl& mount, Caller& caller, Place place, Leave& leave) {
  auto found = co_await resolve(mount, caller, place, abi::at_empty_path, leave);
  if (!found) co_return error(found.error());
  Ref<Inode> inode(*(*found)->inode);
  auto shown = co_await statfs_inode(mount, caller, *inode, mount.mount_of(place));
  co_return shown;
}

Task<Result<Statfs>> statfs_file(MountImpl& mount, Caller& caller, File& file) {
  FileUse use(file);
  auto shown = co_await statfs_inode(mount, caller, *file.inode, file.mount);
  co_return shown;
}

// --- setting. A SetAttributes is made by plain functions and applied by path or by file.

kernel::SetAttributes mode_change(const Inode& inode, uint32_t mode) {
  kernel::SetAttributes set;
  set.valid = wire::fattr::mode;
  set.mode = (mode & abi::s_iallugo) | inode.type();
  return set;
}

kernel::SetAttributes owner_change(uint32_t uid, uint32_t gid) {
  kernel::SetAttributes set;
  set.changes_owner = true;
  set.uid = uid;
  set.gid = gid;
  if (uid != UINT32_MAX) set.valid |= wire::fattr::uid;
  if (gid != UINT32_MAX) set.valid |= wire::fattr::gid;
  return set;
}

bool sane_time(const Timespec& time) {
  if (time.nsec == abi::utime_now || time.nsec == abi::utime_omit) return true;
  return time.nsec >= 0 && time.nsec < 1'000'000'000;
}

wire::StatxTime cut(Superblock& sb, const Timespec& time) {
  const uint32_t granularity = sb.connection.negotiated().time_gran;
  auto nanoseconds = static_cast<uint32_t>(time.nsec);
  if (granularity > 1) nanoseconds -= nanoseconds % granularity;
  return {time.sec, nanoseconds, 0};
}

// UTIME_NOW travels as a flag and as the half's own clock (K100).
kernel::SetAttributes times_change(Superblock& sb, const Timespec& atime, const Timespec& mtime) {
  kernel::SetAttributes set;
  if (atime.nsec != abi::utime_omit) set.valid |= wire::fattr::atime;
  if (mtime.nsec != abi::utime_omit) set.valid |= wire::fattr::mtime;
  if (atime.nsec == abi::utime_now) set.valid |= wire::fattr::atime_now;
  if (mtime.nsec == abi::utime_now) set.valid |= wire::fattr::mtime_now;
  const wire::StatxTime now = kernel::current_time(sb);
  set.atime = atime.nsec == abi::utime_now ? now : cut(sb, atime);
  set.mtime = mtime.nsec == abi::utime_now ? now : cut(sb, mtime);
  return set;
}

// fsnotify_change.
void tell_change(Events& events, Dentry& dentry, File* file, const kernel::SetAttributes& set) {
  using namespace wire::fattr;
  constexpr uint32_t both_times = atime | mtime;
  const bool one_time = (set.valid & both_times) != 0 && (set.valid & both_times) != both_times;
  const bool contents = (set.valid & size) != 0 || (one_time && (set.valid & mtime) != 0);
  const bool attributes = (set.valid & (uid | gid | mode)) != 0 || (set.valid & both_times) == both_times;
  if (contents) events.changed(dentry, Change::contents, file);
  if (one_time && (set.valid & atime) != 0) events.changed(dentry, Change::access, file);
  if (attributes) events.changed(dentry, Change::attributes, file);
}

// What is changed: by path, or through an open file.
struct Changed {
  Inode& inode;
  Dentry& dentry;
  uint32_t through;  // the mount
  File* file = nullptr;

  Changed(Inode& of, Ref<Dentry>& found, uint32_t mount) : inode(of), dentry(*found), through(mount) {}
  explicit Changed(File& of) : inode(*of.inode), dentry(*of.dentry), through(of.mount), file(&of) {}
};

Task<Result<void>> apply(MountImpl& mount, Caller& caller, Changed what, kernel::SetAttributes set) {
  if (mount.is_read_only(what.through)) co_return error(Errno::erofs);
  auto done = co_await kernel::set_attributes(what.inode, caller, set);
  if (done && mount.events) tell_change(*mount.events, what.dentry, what.file, set);
  co_return done;
}

Task<Result<void>> chmod_at(MountImpl& mount, Caller& caller, Place place, uint32_t mode, uint32_t at_flags,
                            Leave& leave) {
  if (at_flags & ~(abi::at_symlink_nofollow | abi::at_empty_path)) co_return error(Errno::einval);
  auto found = co_await resolve(mount, caller, place, at_flags, leave);
  if (!found) co_return error(found.error());
  Ref<Inode> inode(*(*found)->inode);
  if (inode->is_lnk()) co_return error(Errno::eopnotsupp);
  auto done = co_await apply(mount, caller, Changed(*inode, *found, mount.mount_of(place)), mode_change(*inode, mode));
  co_return done;
}

Task<Result<void>> chmod_file(MountImpl& mount, Caller& caller, File& file, uint32_t mode) {
  FileUse use(file);
  if (file.is_path()) co_return error(Errno::ebadf);
  auto done = co_await apply(mount, caller, Changed(file), mode_change(*file.inode, mode));
  co_return done;
}

Task<Result<void>> chown_at(MountImpl& mount, Caller& caller, Place place, uint32_t uid, uint32_t gid,
                            uint32_t at_flags, Leave& leave) {
  if (at_flags & ~(abi::at_symlink_nofollow | abi::at_empty_path)) co_return error(Errno::einval);
  auto found = co_await resolve(mount, caller, place, at_flags, leave);
  if (!found) co_return error(found.error());
  Ref<Inode> inode(*(*found)->inode);
  auto done = co_await apply(mount, caller, Changed(*inode, *found, mount.mount_of(place)), owner_change(uid, gid));
  co_return done;
}

Task<Result<void>> chown_file(MountImpl& mount, Caller& caller, File& file, uint32_t uid, uint32_t gid) {
  FileUse use(file);
  if (file.is_path()) co_return error(Errno::ebadf);
  auto done = co_await apply(mount, caller, Changed(file), owner_change(uid, gid));
  co_return done;
}

// vfs_truncate.
Task<Result<void>> truncate_at(MountImpl& mount, Caller& caller, Place place, uint64_t size, Leave& leave) {
  if (size > abi::max_file_size) co_return error(Errno::einval);
  auto found = co_await resolve(mount, caller, place, abi::at_empty_path, leave);
  if (!found) co_return error(found.error());
  Ref<Inode> inode(*(*found)->inode);
  if (inode->is_dir()) co_return error(Errno::eisdir);
  if (!inode->is_reg()) co_return error(Errno::einval);
  auto allowed = co_await kernel::permission(*inode, caller, abi::may_write);
  if (!allowed) co_return allowed;
  if (mount.is_read_only(place)) co_return error(Errno::erofs);
  const kernel::Writing writing(*inode);
  if (!writing) co_return error(Errno::etxtbsy);
  auto broken = co_await kernel::break_leases(*inode, caller, true, false);
  if (!broken) co_return broken;
  kernel::SetAttributes set;
  set.valid = wire::fattr::size;
  set.size = size;
  auto done = co_await apply(mount, caller, Changed(*inode, *found, mount.mount_of(place)), set);
  co_return done;
}

Task<Result<void>> truncate_file(MountImpl& mount, Caller& caller, File& file, uint64_t size) {
  FileUse use(file);
  if (file.is_path()) co_return error(Errno::ebadf);
  const bool fits = file.writable() && file.inode->is_reg() && size <= abi::max_file_size;
  if (!fits) co_return error(Errno::einval);
  kernel::SetAttributes set;
  set.valid = wire::fattr::size;
  set.size = size;
  set.file = &file;
  auto done = co_await apply(mount, caller, Changed(file), set);
  co_return done;
}

bool omits_both(const Timespec& atime, const Timespec& mtime) {
  return atime.nsec == abi::utime_omit && mtime.nsec == abi::utime_omit;
}

Task<Result<void>> utimens_at(MountImpl& mount, Caller& caller, Place place, Timespec atime, Timespec mtime,
                              uint32_t at_flags, Leave& leave) {
  // Neither the flags nor the path are looked at (fs/utimes.c).
  if (omits_both(atime, mtime)) co_return Result<void>();
  if (at_flags & ~(abi::at_symlink_nofollow | abi::at_empty_path)) co_return error(Errno::einval);
  auto found = co_await resolve(mount, caller, place, at_flags, leave);
  if (!found) co_return error(found.error());
  if (!sane_time(atime) || !sane_time(mtime)) co_return error(Errno::einval);
  Ref<Inode> inode(*(*found)->inode);
  auto done = co_await apply(mount, caller, Changed(*inode, *found, mount.mount_of(place)),
                             times_change(mount.sb, atime, mtime));
  co_return done;
}

Task<Result<void>> utimens_file(MountImpl& mount, Caller& caller, File& file, Timespec atime, Timespec mtime) {
  FileUse use(file);
  if (omits_both(atime, mtime)) co_return Result<void>();
  if (file.is_path()) co_return error(Errno::ebadf);
  if (!sane_time(atime) || !sane_time(mtime)) co_return error(Errno::einval);
  auto done = co_await apply(mount, caller, Changed(file), times_change(mount.sb, atime, mtime));
  co_return done;
}

}  // namespace

Task<Result<Stat>> Mount::sys_statx(Caller& caller, Place place, uint32_t at_flags, uint32_t mask, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "statx", {place.start}, [&mount, &caller, &leave, place, at_flags, mask] {
    return statx_at(mount, caller, place, at_flags, mask, leave);
  });
}

Task<Result<Stat>> Mount::sys_fstat(Caller& caller, OpenFile& file, uint32_t mask) {
  MountImpl& mount = impl(*this);
  return run(mount, caller, "fstat", stat_file(mount, caller, file, mask));
}

Task<Result<void>> Mount::sys_faccessat(Caller& caller, Place place, uint32_t mask, uint32_t at_flags, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "faccessat", {place.start}, [&mount, &caller, &leave, place, mask, at_flags] {
    return access_at(mount, caller, place, mask, at_flags, leave);
  });
}

Task<Result<size_t>> Mount::sys_readlinkat(Caller& caller, Place place, std::span<char> target, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "readlinkat", {place.start}, [&mount, &caller, &leave, place, target] {
    return readlink_at(mount, caller, place, target, leave);
  });
}

Task<Result<Statfs>> Mount::sys_statfs(Caller& caller, Place place, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "statfs", {place.start},
                  [&mount, &caller, &leave, place] { return statfs_at(mount, caller, place, leave); });
}

Task<Result<Statfs>> Mount::sys_fstatfs(Caller& caller, OpenFile& file) {
  MountImpl& mount = impl(*this);
  return run(mount, caller, "fstatfs", statfs_file(mount, caller, file));
}

Task<Result<void>> Mount::sys_fchmodat(Caller& caller, Place place, uint32_t mode, uint32_t at_flags, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "fchmodat", {place.start}, [&mount, &caller, &leave, place, mode, at_flags] {
    return chmod_at(mount, caller, place, mode, at_flags, leave);
  });
}

Task<Result<void>> Mount::sys_fchmod(Caller& caller, OpenFile& file, uint32_t mode) {
  MountImpl& mount = impl(*this);
  return run(mount, caller, "fchmod", chmod_file(mount, caller, file, mode));
}

Task<Result<void>> Mount::sys_fchownat(Caller& caller, Place place, uint32_t uid, uint32_t gid, uint32_t at_flags,
                                       Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "fchownat", {place.start}, [&mount, &caller, &leave, place, uid, gid, at_flags] {
    return chown_at(mount, caller, place, uid, gid, at_flags, leave);
  });
}

Task<Result<void>> Mount::sys_fchown(Caller& caller, OpenFile& file, uint32_t uid, uint32_t gid) {
  MountImpl& mount = impl(*this);
  return run(mount, caller, "fchown", chown_file(mount, caller, file, uid, gid));
}

Task<Result<void>> Mount::sys_truncate(Caller& caller, Place place, uint64_t size, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "truncate", {place.start},
                  [&mount, &caller, &leave, place, size] { return truncate_at(mount, caller, place, size, leave); });
}

Task<Result<void>> Mount::sys_ftruncate(Caller& caller, OpenFile& file, uint64_t size) {
  MountImpl& mount = impl(*this);
  return run(mount, caller, "ftruncate", truncate_file(mount, caller, file, size));
}

Task<Result<void>> Mount::sys_utimensat(Caller& caller, Place place, Timespec atime, Timespec mtime, uint32_t at_flags,
                                        Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "utimensat", {place.start}, [&mount, &caller, &leave, place, atime, mtime, at_flags] {
    return utimens_at(mount, caller, place, atime, mtime, at_flags, leave);
  });
}

Task<Result<void>> Mount::sys_futimens(Caller& caller, OpenFile& file, Timespec atime, Timespec mtime) {
  MountImpl& mount = impl(*this);
  return run(mount, caller, "futimens", utimens_file(mount, caller, file, atime, mtime));
}

}  // namespace fusewire::syscall
