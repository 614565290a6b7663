#include "syscall/mount.h"

#include "kernel/attributes.h"
#include "kernel/locks.h"
#include "kernel/permissions.h"
#include "syscall/mount_impl.h"

namespace fusewire::syscall {

template <typename T>
Task<T> run(MountImpl& mount, Caller& caller, const char* name, Task<T> body) {
  Call call(mount, caller, name);
  kernel::Connection& connection = mount.sb.connection;
  if (!connection.initialized()) {
    auto ready = co_await connection.wait_initialized(caller);
    if (!ready) {
      T failed = error(ready.error());
      call.returned(failed);
      co_return failed;
    }
  }
  auto result = co_await body;
  call.returned(result);
  co_return result;
}
template Task<Result<void>> run(MountImpl&, Caller&, const char*, Task<Result<void>>);
template Task<Result<uint32_t>> run(MountImpl&, Caller&, const char*, Task<Result<uint32_t>>);
template Task<Result<uint64_t>> run(MountImpl&, Caller&, const char*, Task<Result<uint64_t>>);
template Task<Result<OpenFile*>> run(MountImpl&, Caller&, const char*, Task<Result<OpenFile*>>);
template Task<Result<Stat>> run(MountImpl&, Caller&, const char*, Task<Result<Stat>>);
template Task<Result<Statfs>> run(MountImpl&, Caller&, const char*, Task<Result<Statfs>>);
template Task<Result<Lock>> run(MountImpl&, Caller&, const char*, Task<Result<Lock>>);

MountImpl::MountImpl(kernel::Connection& connection, Superblock& superblock)
    : sb(superblock), notify_(superblock, *this) {
  sb.idle_listener = this;
  connection.set_notify_target(&notify_);
}

void MountImpl::inode_changed(Inode& inode, bool contents) {
  if (!events || !inode.newest_alias) return;
  events->changed(*inode.newest_alias, contents ? Change::contents : Change::attributes, nullptr);
}

void MountImpl::name_changed(Inode& directory, std::string_view name) {
  if (events) events->doubted(directory, name);
}

void MountImpl::name_deleted(Inode& directory, std::string_view name, Inode& child) {
  if (events) events->removed(directory, name, child);
}

Result<void> MountImpl::reachable(const Place& place) const {
  if (place.start) return {};
  if (unmounted_ || !sb.mounts.start(place.mount, sb.root()).dentry) return error(Errno::enotconn);
  return {};
}

void MountImpl::unmount() {
  unmounted_ = true;
  sb.end_view();
  sb.mounts.clear();
  free_if_unused();
}

void MountImpl::file_opened(File& file, uint32_t through) {
  file.mount = through;
  sb.mounts.opened(through);
  ++open_files_;
}

bool MountImpl::is_read_only(uint32_t through) const {
  return sb.read_only() || (sb.mounts.flags(through) & fusewire::abi::mount_flag::read_only) != 0;
}

void MountImpl::file_released(File& file) {
  if (events) events->used(file, Use::closed);
  sb.mounts.closed(file.mount);
  --open_files_;
  ++calls_;
  file.unuse();
  call_ended();
}

void MountImpl::call_ended() {
  if (--calls_ == 0) sb.mounts.sweep();
  free_if_unused();
}

// The connection ends last, so that RELEASEs still reach the daemon (K042).
void MountImpl::free_if_unused() {
  if (!unmounted_ || calls_ != 0 || open_files_ != 0 || sb.releasing != 0) return;
  kernel::Connection& connection = sb.connection;
  sb.idle_listener = nullptr;
  connection.set_notify_target(nullptr);
  sb.destroy();
  this->~MountImpl();
  connection.kmalloc().free(this, sizeof(MountImpl));
  connection.unmount();
}

Call::Call(MountImpl& mount, const Caller& caller, const char* name) : mount_(mount), caller_(caller), name_(name) {
  mount_.call_began();
  kernel::Connection& connection = mount_.sb.connection;
  if (connection.tracing()) connection.trace_call(kernel::TraceStep::call, name_, caller_, 0);
}

Call::~Call() {
  kernel::Connection& connection = mount_.sb.connection;
  if (connection.tracing()) connection.trace_call(kernel::TraceStep::returned, name_, caller_, error_);
  mount_.call_ended();
}

Result<Mount*> Mount::create(kernel::Connection& connection, uint64_t dev) {
  TRY(sb, Superblock::create(connection, dev));
  void* memory = connection.kmalloc().alloc(sizeof(MountImpl));
  if (!memory) {
    sb->destroy();
    return error(Errno::enomem);
  }
  return ::new (memory) MountImpl(connection, *sb);
}

Result<void> Mount::add_mount(uint32_t mount, OpenFile* root, uint32_t flags) {
  MountImpl& self = impl(*this);
  if (self.is_unmounted()) return error(Errno::enotconn);
  return self.sb.mounts.add(mount, root ? *root->dentry : self.sb.root(), flags);
}

Result<void> Mount::copy_mount(uint32_t mount, uint32_t other) {
  Superblock& sb = impl(*this).sb;
  const kernel::Mounts::Start root = sb.mounts.start(other, sb.root());
  if (impl(*this).is_unmounted() || !root.dentry) return error(Errno::enotconn);
  return sb.mounts.add(mount, *root.dentry, sb.mounts.flags(other));
}

bool Mount::is_of_part(uint32_t mount) const {
  Superblock& sb = static_cast<const MountImpl&>(*this).sb;
  return !sb.mounts.root(mount, sb.root()).is_root();
}

void Mount::remove_mount(uint32_t mount) {
  MountImpl& self = impl(*this);
  self.call_began();
  self.sb.mounts.remove(mount);
  self.call_ended();
}

void Mount::set_mount_flags(uint32_t mount, uint32_t flags) { impl(*this).sb.mounts.set_flags(mount, flags); }

uint32_t Mount::mount_flags(uint32_t mount) const {
  return static_cast<const MountImpl&>(*this).sb.mounts.flags(mount);
}

Result<uint32_t> Mount::attach(uint32_t mount, OpenFile* point, uint32_t in) {
  MountImpl& self = impl(*this);
  if (self.is_unmounted()) return error(Errno::enotconn);
  const kernel::Mounts::Start root = self.sb.mounts.start(in, self.sb.root());
  if (!point && !root.dentry) return error(Errno::enoent);
  Dentry& dentry = point ? *point->dentry : *root.dentry;
  if (!dentry.is_root() && !dentry.hashed) return error(Errno::enoent);
  const uint32_t where = in != 0 || !point ? in : point->mount;
  if (const uint32_t there = self.sb.mounts.mounted_on(where, dentry)) return there;
  TRY_VOID(self.sb.mounts.attach(where, dentry, mount));
  return uint32_t{0};
}

Result<void> Mount::attach_copy(uint32_t copy, uint32_t mount, uint32_t in) {
  Superblock& sb = impl(*this).sb;
  const kernel::Mounts::Start point = sb.mounts.start(mount | fusewire::abi::mount_point, sb.root());
  const kernel::Mounts::Start root = sb.mounts.start(in, sb.root());
  if (!point.dentry || !root.dentry || !kernel::is_at_or_below(*point.dentry, *root.dentry))
    return error(Errno::enoent);
  return sb.mounts.attach(in, *point.dentry, copy);
}

uint32_t Mount::mount_of(const Place& place) const {
  return start_of(static_cast<const MountImpl&>(*this).sb, place).mount;
}

void Mount::detach(uint32_t mount) { impl(*this).sb.mounts.detach(mount); }

void Mount::unmount() { impl(*this).unmount(); }
Result<void> Mount::start_view(kernel::ViewMemory& memory) {
  if (impl(*this).is_unmounted()) return error(Errno::enotconn);
  return impl(*this).sb.start_view(memory);
}
bool Mount::may_see_view(const Caller& caller) const {
  Superblock& sb = static_cast<const MountImpl&>(*this).sb;
  return !sb.connection.options().allow_other && kernel::admitted(sb, caller) && caller.uid == caller.euid &&
         caller.gid == caller.egid && caller.lower == nullptr && caller.root == nullptr;
}
bool Mount::view_agrees() { return impl(*this).sb.view_agrees(); }
size_t Mount::cached_names() const { return static_cast<const MountImpl&>(*this).sb.dentries_hashed(); }
size_t Mount::cached_inodes() const { return static_cast<const MountImpl&>(*this).sb.inodes_in_use(); }
kernel::View* Mount::view() { return impl(*this).sb.view; }

void Mount::shrink() { impl(*this).sb.shrink(impl(*this).sb.root()); }
void Mount::release(OpenFile& file) { impl(*this).file_released(file); }
void Mount::release_locks(uint64_t lock_owner) { kernel::drop_owner_locks(impl(*this).sb, lock_owner); }
kernel::Connection& Mount::connection() { return impl(*this).sb.connection; }
Kmalloc& Mount::kmalloc() { return impl(*this).sb.kmalloc(); }
uint64_t Mount::dev() const { return static_cast<const MountImpl&>(*this).sb.dev; }
size_t Mount::open_files() const { return static_cast<const MountImpl&>(*this).open_files(); }

Task<Result<Ref<Dentry>>> resolve(MountImpl& mount, Caller& caller, Place place, uint32_t at_flags, Leave& leave) {
  CO_TRY_VOID(mount.reachable(place));
  if (place.path.empty() && (at_flags & abi::at_empty_path)) co_return Ref<Dentry>(*start_of(mount.sb, place).dentry);
  Walk walk(mount.sb, caller, place, leave);
  auto found = co_await walk.to_end((at_flags & abi::at_symlink_nofollow) == 0);
  co_return found;
}

Stat stat_of(const MountImpl& mount, const kernel::Attributes& shown) {
  const wire::Attr& attr = shown.attr;
  Stat stat{};
  stat.ino = attr.ino;
  stat.size = attr.size;
  stat.blocks = attr.blocks;
  stat.dev = mount.sb.dev;
  stat.mode = attr.mode;
  stat.nlink = attr.nlink;
  stat.uid = attr.uid;
  stat.gid = attr.gid;
  stat.rdev = attr.rdev;
  stat.blksize = kernel::shown_block_size(attr);
  stat.mask = shown.mask;
  stat.atime = static_cast<int64_t>(attr.atime);
  stat.mtime = static_cast<int64_t>(attr.mtime);
  stat.ctime = static_cast<int64_t>(attr.ctime);
  stat.btime = shown.btime.tv_sec;
  stat.atime_nsec = attr.atimensec;
  stat.mtime_nsec = attr.mtimensec;
  stat.ctime_nsec = attr.ctimensec;
  stat.btime_nsec = shown.btime.tv_nsec;
  return stat;
}

// From the last component to the front, as d_path does it.
Result<size_t> Mount::sys_path(const Place& place, std::span<char> path, uint32_t& mount, bool from_top) {
  constexpr std::string_view deleted = " (deleted)";
  Superblock& sb = impl(*this).sb;
  const kernel::Mounts::Start start = start_of(sb, place);
  const Dentry* at = start.dentry;
  if (!at) return error(Errno::enoent);
  mount = start.mount;
  const Dentry* const root = from_top ? &sb.root() : &sb.mounts.root(start.mount, sb.root());
  const auto ends = [root](const Dentry* d) { return d == root || d->is_root(); };
  size_t length = 0;
  for (const Dentry* d = at; !ends(d); d = d->parent) length += 1 + d->name().size();
  if (length == 0) length = 1;
  const bool gone = !at->is_root() && !at->hashed;
  const size_t whole = length + (gone ? deleted.size() : 0);
  if (whole > path.size()) return error(Errno::erange);
  path[0] = '/';
  size_t end = length;
  for (const Dentry* d = at; !ends(d); d = d->parent) {
    end -= d->name().size();
    __builtin_memcpy(path.data() + end, d->name().data(), d->name().size());
    path[--end] = '/';
  }
  if (gone) __builtin_memcpy(path.data() + length, deleted.data(), deleted.size());
  return whole;
}

}  // namespace fusewire::syscall
