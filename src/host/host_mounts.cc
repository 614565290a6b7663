// The host's work on mounts: of the whole file system, of parts of it (bind mounts), and on its directories.
#include <sys/stat.h>

#include <algorithm>
#include <fstream>

#include "abi/mount_rules.h"
#include "host/host_process.h"
#include "kernel/mount_options.h"

namespace fusewire::host {
namespace {

namespace mount_flag = abi::mount_flag;
namespace umount_flag = abi::umount_flag;

bool is_within(const MountBounds& bounds, const kernel::MountOptions& options) {
  if (!bounds.bounded) return true;
  return options.user_id == bounds.user_id && options.group_id == bounds.group_id &&
         (!options.allow_other || bounds.may_allow_other);
}

// covered: the mode of the mount point; 0: not known (Linux graft_tree).
bool may_cover(uint32_t covered, uint32_t mode) { return covered == 0 || S_ISDIR(covered) == S_ISDIR(mode); }

HostMessage describe(const kernel::MountOptions& options, uint32_t flags) {
  HostMessage message = reply(0);
  message.flags = flags;
  message.read_only = options.read_only;
  message.allow_other = options.allow_other;
  message.default_permissions = options.default_permissions;
  message.max_read = options.max_read;
  message.user_id = options.user_id, message.group_id = options.group_id;
  return message;
}

// Of this machine; Linux's own where that is not told.
uint64_t lease_break_time() {
  uint64_t seconds = 45;
  std::ifstream("/proc/sys/fs/lease-break-time") >> seconds;
  return seconds * 1'000'000'000;
}

}  // namespace

HostMessage HostProcess::mount(const HostRequest& request) {
  if (mount_ && !unmounting_) return mount_again(request);
  if (mount_ || !device_) return reply(-ENOTCONN);
  const kernel::Result<kernel::ParsedMountData> parsed = kernel::parse_mount_data(request.text, request.value[1] != 0);
  if (!parsed) return reply(error_of(parsed.error()));
  if (!is_within(request.bounds, parsed->options)) return reply(-EPERM);
  if (!may_cover(request.value[2], parsed->options.rootmode)) return reply(-ENOTDIR);
  kernel::MountOptions options = parsed->options;
  options.read_only = options.read_only || (request.flags & mount_flag::read_only) != 0;
  options.transport_max_write = SocketDoor::max_write(start_.device_buffer);
  options.privileged_daemon = request.value[0] == 0;
  options.no_devices = !options.privileged_daemon;

  kernel::Connection::Entry entry(*connection_);
  if (const kernel::Result<void> mounted = connection_->mount(options); !mounted)
    return reply(error_of(mounted.error()));
  const kernel::Result<syscall::Mount*> mount = syscall::Mount::create(*connection_, request.dev);
  if (!mount) {
    connection_->unmount();
    return reply(error_of(mount.error()));
  }
  mount_ = *mount;
  const uint32_t flags = request.flags & mount_flag::kept;
  if (const kernel::Result<void> added = mount_->add_mount(request.mount, nullptr, flags); !added) {
    mount_->unmount();
    mount_ = nullptr;
    return reply(error_of(added.error()));
  }
  mounts_ = 1;
  calls_.set_mount(mount_);
  files_.set_mount(mount_);
  special_.set_mount(mount_);
  watches_.set_mount(mount_);
  mount_->set_lease_holders(&files_, lease_break_time());
  return describe(options, flags);
}

// The options are those of the first mount, whatever is asked for; the flags are each mount's own.
HostMessage HostProcess::mount_again(const HostRequest& request) {
  const kernel::Result<kernel::ParsedMountData> parsed = kernel::parse_mount_data(request.text, request.value[1] != 0);
  if (!parsed) return reply(error_of(parsed.error()));
  const kernel::MountOptions& options = connection_->options();
  if (!is_within(request.bounds, options)) return reply(-EPERM);
  if (!may_cover(request.value[2], options.rootmode)) return reply(-ENOTDIR);
  kernel::Connection::Entry entry(*connection_);
  return mounted(mount_->add_mount(request.mount, nullptr, request.flags & mount_flag::kept), request.mount);
}

HostMessage HostProcess::mounted(const kernel::Result<void>& added, uint32_t mount) {
  if (!added) return reply(error_of(added.error()));
  ++mounts_;
  HostMessage message = describe(connection_->options(), mount_->mount_flags(mount));
  message.value = mount_->is_of_part(mount) ? 1 : 0;
  return message;
}

// Linux clone_mnt.
HostMessage HostProcess::bind(const HostRequest& request) {
  if (!mount_ || unmounting_) return reply(-ENOTCONN);
  if (request.token == 0) {
    kernel::Connection::Entry entry(*connection_);
    return mounted(mount_->copy_mount(request.mount, request.in), request.mount);
  }
  RegisteredFile* root = files_.use(request.token);
  if (!root) return reply(-ENOENT);
  HostMessage message = reply(-ENOTDIR);
  if (may_cover(request.value[2], root->file->inode->attr.mode)) {
    kernel::Connection::Entry entry(*connection_);
    const uint32_t flags = mount_->mount_flags(root->file->mount);
    message = mounted(mount_->add_mount(request.mount, root->file, flags), request.mount);
  }
  files_.unuse(*root);
  return message;
}

int32_t HostProcess::attach_copy(const HostRequest& request) {
  if (!mount_ || unmounting_) return -ENOENT;
  kernel::Connection::Entry entry(*connection_);
  const kernel::Result<void> attached = mount_->attach_copy(request.mount, request.value[0], request.in);
  return attached ? 0 : error_of(attached.error());
}

bool HostProcess::is_busy_in(uint32_t mount) {
  files_.take_events();
  bool busy = calls_.any_in(mount);
  files_.for_each([&](const syscall::OpenFile& file) { busy = busy || file.mount == mount; });
  return busy;
}

int32_t HostProcess::umount(const HostRequest& request) {
  const uint32_t flags = request.flags;
  if (!mount_) return -EINVAL;
  // Linux fuse_umount_begin: the connection ends whether or not the mount can.
  if (flags & umount_flag::force) {
    abort();
    calls_.answer_finished();
  }
  const bool last = mounts_ <= 1;
  if (!(flags & umount_flag::detach) && (last ? is_busy() : is_busy_in(request.mount))) return -EBUSY;
  if ((flags & umount_flag::expire) && expiry_mark_ != calls_.begun()) {
    expiry_mark_ = calls_.begun();
    return -EAGAIN;
  }
  kernel::Connection::Entry entry(*connection_);
  mount_->remove_mount(request.mount);
  if (!last) --mounts_;
  unmounting_ = last;
  return 0;
}

HostMessage HostProcess::attach(const HostRequest& request) {
  if (!mount_ || unmounting_) return reply(-ENOENT);
  RegisteredFile* point = request.token != 0 ? files_.use(request.token) : nullptr;
  if (request.token != 0 && !point) return reply(-ENOENT);
  kernel::Result<uint32_t> attached;
  {
    kernel::Connection::Entry entry(*connection_);
    attached = mount_->attach(request.mount, point ? point->file : nullptr, request.in);
  }
  if (point) files_.unuse(*point);
  HostMessage message = reply(attached ? 0 : error_of(attached.error()));
  if (attached && *attached != 0) {
    message.error = -EEXIST;
    message.value = *attached;
  }
  return message;
}

int32_t HostProcess::detach(uint32_t mount) {
  if (!mount_) return 0;
  kernel::Connection::Entry entry(*connection_);
  mount_->detach(mount);
  return 0;
}

// Linux do_remount and do_reconfigure_mnt: read-only may be the mount's, the file system's, or both.
HostMessage HostProcess::remount(const HostRequest& request) {
  if (!mount_) return reply(-EINVAL);
  const bool mount_alone = (request.flags & mount_flag::bind) != 0;
  const uint32_t flags = request.flags & mount_flag::kept;
  const bool of_mount = (flags & mount_flag::read_only) != 0;
  files_.take_events();
  if (mount_alone) {
    const bool was_read_only = (mount_->mount_flags(request.mount) & mount_flag::read_only) != 0;
    if (of_mount && !was_read_only && files_.any_writable(request.mount)) return reply(-EBUSY);
    kernel::Connection::Entry entry(*connection_);
    mount_->set_mount_flags(request.mount, flags);
    return describe(connection_->options(), flags);
  }
  const kernel::Result<bool> parsed = kernel::parse_remount_data(request.text, of_mount);
  if (!parsed) return reply(error_of(parsed.error()));
  if (request.flags & mount_flag::mandatory_locks) return reply(-EINVAL);
  if (*parsed && !connection_->options().read_only && files_.any_writable()) return reply(-EBUSY);
  kernel::Connection::Entry entry(*connection_);
  connection_->set_read_only(*parsed);
  mount_->set_mount_flags(request.mount, flags);
  mount_->shrink();
  return describe(connection_->options(), flags);
}

}  // namespace fusewire::host
