#include "kernel/attributes.h"

#include "kernel/file.h"
#include "kernel/permissions.h"
#include "kernel/superblock.h"
#include "kernel/xattr.h"

namespace fusewire::kernel {

namespace {

constexpr uint32_t last_nanosecond = 999'999'999;

uint32_t sane_nanoseconds(uint32_t value) { return value < last_nanosecond ? value : last_nanosecond; }

wire::Attr sane(wire::Attr attr) {
  attr.atimensec = sane_nanoseconds(attr.atimensec);
  attr.mtimensec = sane_nanoseconds(attr.mtimensec);
  attr.ctimensec = sane_nanoseconds(attr.ctimensec);
  return attr;
}

wire::Attr attr_of(const wire::Statx& statx) {
  wire::Attr attr{};
  attr.ino = statx.ino;
  attr.size = statx.size;
  attr.blocks = statx.blocks;
  attr.atime = static_cast<uint64_t>(statx.atime.tv_sec);
  attr.mtime = static_cast<uint64_t>(statx.mtime.tv_sec);
  attr.ctime = static_cast<uint64_t>(statx.ctime.tv_sec);
  attr.atimensec = statx.atime.tv_nsec;
  attr.mtimensec = statx.mtime.tv_nsec;
  attr.ctimensec = statx.ctime.tv_nsec;
  attr.mode = statx.mode;
  attr.nlink = statx.nlink;
  attr.uid = statx.uid;
  attr.gid = statx.gid;
  // new_encode_dev, as the other replies carry a device number.
  attr.rdev = (statx.rdev_minor & 0xff) | (statx.rdev_major << 8) | ((statx.rdev_minor & ~0xffu) << 12);
  attr.blksize = statx.blksize;
  return attr;
}

void doubt(Inode& inode, uint32_t mask) { inode.inval_mask = static_cast<uint16_t>(mask); }

// fuse_change_attributes_common: all but the size.
void take_attributes(Inode& inode, const wire::Attr& attr, const wire::Statx* statx, uint64_t valid_until,
                     uint64_t evict_counter) {
  Connection& connection = inode.sb.connection;
  // An inode that is new because another of this nodeid was evicted meanwhile must not trust the reply (K092).
  const bool trusted = evict_counter == 0 || inode.attr_version != 0 || evict_counter == connection.evict_counter();
  if (trusted) doubt(inode, inode.inval_mask & ~abi::statx_basic_stats);
  inode.attr_version = connection.next_attr_version();
  inode.attr_valid_until = valid_until;
  const uint64_t size = inode.attr.size;
  const uint32_t type = inode.type();
  inode.attr = sane(attr);
  inode.attr.size = size;
  if (type != 0) inode.attr.mode = (attr.mode & ~abi::s_ifmt) | type;
  inode.no_security_xattr = false;
  inode.sb.changed(inode);
  if (!statx) return;
  doubt(inode, inode.inval_mask & ~abi::statx_btime);
  if (!(statx->mask & abi::statx_btime)) return;
  // Without memory it is not known, and asked for again.
  InodeExtra* extra = inode.make_extra();
  if (!extra) return doubt(inode, inode.inval_mask | abi::statx_btime);
  inode.has_btime = true;
  extra->btime = statx->btime;
  extra->btime.tv_nsec = sane_nanoseconds(statx->btime.tv_nsec);
}

Attributes cached(const Inode& inode) {
  Attributes shown;
  shown.attr = inode.attr;
  shown.mask = abi::statx_basic_stats;
  if (inode.has_btime) {
    shown.btime = inode.extra->btime;
    shown.mask |= abi::statx_btime;
  }
  return shown;
}

bool needs_daemon(Inode& inode, uint32_t mask, Sync sync) {
  if (mask == 0 || sync == Sync::never) return false;
  if (sync == Sync::force) return true;
  return (mask & inode.inval_mask) != 0 || inode.attr_valid_until < inode.sb.now();
}

Result<void> check_statx(Inode& inode, const wire::Statx& statx) {
  wire::Attr probe{};
  probe.mode = (statx.mask & abi::statx_type) ? statx.mode : inode.attr.mode;
  probe.size = (statx.mask & abi::statx_size) ? statx.size : 0;
  if (valid_attr(probe) && ((probe.mode ^ inode.attr.mode) & abi::s_ifmt) == 0) return {};
  inode.sb.make_bad(inode);
  return error(Errno::eio);
}

Task<Result<void>> do_statx(Inode& inode, Caller& caller, Attributes& shown) {
  Superblock& sb = inode.sb;
  const uint64_t attr_version = sb.connection.attr_version();
  wire::StatxIn in{};
  in.sx_mask = abi::statx_basic_stats | abi::statx_btime;
  wire::StatxOut out{};
  Args args;
  args.opcode = wire::Opcode::statx;
  args.nodeid = inode.nodeid;
  args.add_in(in).add_out(out);
  auto sent = co_await sb.connection.send(args, caller);
  if (!sent) co_return error(sent.error());
  CO_TRY_VOID(check_statx(inode, out.stat));
  const wire::Attr attr = attr_of(out.stat);
  if ((out.stat.mask & abi::statx_basic_stats) == abi::statx_basic_stats) {
    const uint64_t valid_until = sb.deadline(out.attr_valid, out.attr_valid_nsec);
    change_attributes(inode, attr, &out.stat, valid_until, attr_version, 0);
  }
  shown.attr = sane(attr);
  shown.btime = out.stat.btime;
  shown.btime.tv_nsec = sane_nanoseconds(out.stat.btime.tv_nsec);
  shown.mask = (out.stat.mask & (abi::statx_basic_stats | abi::statx_btime)) | abi::statx_type;
  co_return Result<void>();
}

void fill_times(wire::SetattrIn& in, const SetAttributes& set) {
  in.atime = static_cast<uint64_t>(set.atime.tv_sec);
  in.atimensec = set.atime.tv_nsec;
  in.mtime = static_cast<uint64_t>(set.mtime.tv_sec);
  in.mtimensec = set.mtime.tv_nsec;
}

wire::SetattrIn message_of(Inode& inode, Caller& caller, const SetAttributes& set) {
  wire::SetattrIn in{};
  in.valid = set.valid;
  if (set.valid & wire::fattr::mode) in.mode = set.mode;
  if (set.valid & wire::fattr::uid) in.uid = set.uid;
  if (set.valid & wire::fattr::gid) in.gid = set.gid;
  if (set.valid & (wire::fattr::atime | wire::fattr::mtime)) fill_times(in, set);
  const bool killpriv_v2 = inode.sb.has(wire::init_flag::handle_killpriv_v2);
  if (set.valid & wire::fattr::size) {
    in.size = set.size;
    in.valid |= wire::fattr::lockowner;
    in.lock_owner = inode.sb.scrambled_owner(caller.lock_owner);
    if (killpriv_v2 && !caller.may(Capability::fsetid)) in.valid |= wire::fattr::kill_suidgid;
  }
  if (killpriv_v2 && !inode.is_dir() && (set.valid & (wire::fattr::uid | wire::fattr::gid)))
    in.valid |= wire::fattr::kill_suidgid;
  if (set.file && !set.opened_with_trunc) {
    in.valid |= wire::fattr::fh;
    in.fh = set.file->fh;
  }
  return in;
}

// fuse_do_setattr.
Task<Result<void>> do_setattr(Inode& inode, Caller& caller, const SetAttributes& set) {
  Superblock& sb = inode.sb;
  const bool truncates = (set.valid & wire::fattr::size) != 0;
  if (truncates && set.size > inode.attr.size && !is_size_allowed(caller, set.size)) co_return error(Errno::efbig);
  const bool done_by_open = set.opened_with_trunc && set.file && set.file->has_handle;
  if (truncates && done_by_open && sb.has(wire::init_flag::atomic_o_trunc)) {
    inode.attr.size = 0;
    sb.changed(inode);
    co_return Result<void>();
  }
  const wire::SetattrIn in = message_of(inode, caller, set);
  wire::AttrOut out{};
  Args args;
  args.opcode = wire::Opcode::setattr;
  args.nodeid = inode.nodeid;
  args.add_in(in);
  args.add_out_bytes(attr_reply(sb, out), false);
  const uint64_t attr_version = sb.connection.attr_version();
  if (truncates) inode.size_unstable = true;
  auto sent = co_await sb.connection.send(args, caller);
  if (truncates) inode.size_unstable = false;
  if (!sent) {
    if (sent.error() == Errno::eintr) invalidate_attributes(inode);
    co_return error(sent.error());
  }
  if (!valid_attr(out.attr) || ((out.attr.mode ^ inode.attr.mode) & abi::s_ifmt) != 0) {
    sb.make_bad(inode);
    co_return error(Errno::eio);
  }
  const bool late = inode.attr_version > attr_version;
  take_attributes(inode, out.attr, nullptr, late ? 0 : sb.deadline(out.attr_valid, out.attr_valid_nsec), 0);
  inode.attr.size = out.attr.size;
  if (inode.is_dir() && (set.valid & wire::fattr::mode) && inode.newest_alias && !inode.newest_alias->is_root())
    sb.expire(*inode.newest_alias);
  co_return Result<void>();
}

}  // namespace

std::span<std::byte> attr_reply(Superblock& sb, wire::AttrOut& out) {
  const size_t size = sb.minor() < 9 ? wire::compat_attr_out_size : sizeof(out);
  return std::as_writable_bytes(std::span(&out, 1)).first(size);
}

bool valid_attr(const wire::Attr& attr) {
  const uint32_t type = attr.mode & abi::s_ifmt;
  const bool known = type == abi::s_ifreg || type == abi::s_ifdir || type == abi::s_iflnk || type == abi::s_ifchr ||
                     type == abi::s_ifblk || type == abi::s_ififo || type == abi::s_ifsock;
  return known && attr.size <= abi::max_file_size;
}

void change_attributes(Inode& inode, const wire::Attr& attr, const wire::Statx* statx, uint64_t valid_until,
                       uint64_t attr_version, uint64_t evict_counter) {
  if (attr_version != 0 && inode.attr_version > attr_version) return;
  if (inode.size_unstable) return;
  take_attributes(inode, attr, statx, valid_until, evict_counter);
  inode.attr.size = attr.size;
}

void invalidate_attributes(Inode& inode, uint32_t mask) {
  doubt(inode, inode.inval_mask | mask);
  inode.sb.changed(inode);
}

void directory_changed(Inode& directory) { invalidate_attributes(directory); }

void file_written(Inode& inode, uint64_t end) {
  inode.attr_version = inode.sb.connection.next_attr_version();
  if (end > inode.attr.size) inode.attr.size = end;
  invalidate_attributes(inode, abi::statx_modsize);
}

wire::StatxTime current_time(Superblock& sb) {
  const uint64_t now = sb.connection.host().wall_clock();
  const uint32_t granularity = sb.connection.negotiated().time_gran;
  uint32_t nanoseconds = static_cast<uint32_t>(now % 1'000'000'000);
  if (granularity > 1) nanoseconds -= nanoseconds % granularity;
  return {static_cast<int64_t>(now / 1'000'000'000), nanoseconds, 0};
}

Task<Result<void>> do_getattr(Inode& inode, Caller& caller, const File* file, Attributes* shown) {
  Superblock& sb = inode.sb;
  const uint64_t attr_version = sb.connection.attr_version();
  wire::GetattrIn in{};
  if (file && inode.is_reg()) {
    in.getattr_flags = wire::getattr_fh;
    in.fh = file->fh;
  }
  wire::AttrOut out{};
  Args args;
  args.opcode = wire::Opcode::getattr;
  args.nodeid = inode.nodeid;
  args.add_in(in);
  args.add_out_bytes(attr_reply(sb, out), false);
  auto sent = co_await sb.connection.send(args, caller);
  if (!sent) co_return error(sent.error());
  if (!valid_attr(out.attr) || ((out.attr.mode ^ inode.attr.mode) & abi::s_ifmt) != 0) {
    sb.make_bad(inode);
    co_return error(Errno::eio);
  }
  change_attributes(inode, out.attr, nullptr, sb.deadline(out.attr_valid, out.attr_valid_nsec), attr_version, 0);
  if (shown) {
    shown->attr = sane(out.attr);
    shown->mask = abi::statx_basic_stats;
  }
  co_return Result<void>();
}

Task<Result<Attributes>> get_attributes(Inode& inode, Caller& caller, uint32_t request_mask, Sync sync) {
  Superblock& sb = inode.sb;
  if (inode.bad) co_return error(Errno::eio);
  if (!admitted(sb, caller)) {
    if (request_mask == 0) co_return Attributes();
    co_return error(Errno::eacces);
  }
  Attributes shown;
  uint32_t mask = request_mask & (abi::statx_basic_stats | abi::statx_btime);
  if (sb.connection.learned_enosys().statx) mask &= abi::statx_basic_stats;
  if (needs_daemon(inode, mask, sync) && (mask & abi::statx_btime)) {
    auto asked = co_await do_statx(inode, caller, shown);
    if (asked) co_return shown;
    if (asked.error() != Errno::enosys) co_return error(asked.error());
    sb.connection.learned_enosys().statx = true;
    mask &= abi::statx_basic_stats;
  }
  if (!needs_daemon(inode, mask, sync)) co_return cached(inode);
  auto asked = co_await do_getattr(inode, caller, nullptr, &shown);
  if (!asked) co_return error(asked.error());
  co_return shown;
}

Task<Result<void>> update_attributes(Inode& inode, Caller& caller, const File* file, uint32_t mask) {
  if (!needs_daemon(inode, mask, Sync::as_needed)) co_return Result<void>();
  auto asked = co_await do_getattr(inode, caller, file, nullptr);
  co_return asked;
}

// notify_change, fuse_setattr, fuse_do_setattr, in their order: a refusal comes after the question for
// security.capability.
Task<Result<void>> set_attributes(Inode& inode, Caller& caller, SetAttributes& set) {
  Superblock& sb = inode.sb;
  if (inode.bad) co_return error(Errno::eio);
  auto guard = co_await inode.lock.exclusive(sb.ready(), caller);
  if (!guard) co_return error(guard.error());
  auto touchable = co_await may_touch(inode, caller, set);
  if (!touchable) co_return touchable;
  const bool sets_size = (set.valid & wire::fattr::size) != 0;
  const bool takes_privileges = !inode.is_dir() && (set.changes_owner || (sets_size && !inode.no_security_xattr));
  bool has_capability = false;
  if (takes_privileges) {
    auto has = co_await has_security_capability(inode, caller);
    if (!has) co_return error(has.error());
    has_capability = *has;
  }
  if (!admitted(sb, caller)) co_return error(Errno::eacces);
  auto cleared = co_await clear_set_id(inode, caller, set);
  if (!cleared) co_return cleared;
  CO_TRY_VOID(may_set_attributes(inode, caller, set));
  if (has_capability) {
    auto removed = co_await remove_xattr(inode, caller, "security.capability");
    if (!removed) co_return removed;
  }
  auto done = co_await do_setattr(inode, caller, set);
  co_return done;
}

// A change of owner always clears the set-id bits, a change of size only when the caller may not keep them. Unless the
// daemon does it itself (K116), the mode is asked for anew and sent along (K117).
Task<Result<void>> clear_set_id(Inode& inode, Caller& caller, SetAttributes& set) {
  Superblock& sb = inode.sb;
  const bool sets_size = (set.valid & wire::fattr::size) != 0;
  const bool clears =
      set.changes_owner || (sets_size && !caller.may(Capability::fsetid) && has_set_id(inode.attr.mode));
  if (inode.is_dir() || !clears) co_return Result<void>();
  if (sb.has(wire::init_flag::handle_killpriv) || sb.has(wire::init_flag::handle_killpriv_v2)) co_return Result<void>();
  const File* file = set.opened_with_trunc ? nullptr : set.file;
  auto fresh = co_await do_getattr(inode, caller, file, nullptr);
  if (!fresh || !has_set_id(inode.attr.mode)) co_return fresh;
  set.valid |= wire::fattr::mode;
  set.mode = without_set_id(inode.attr.mode);
  co_return Result<void>();
}

Task<Result<void>> remove_privileges(Inode& inode, Caller& caller) {
  if (inode.no_security_xattr) co_return Result<void>();
  const bool killpriv_v2 = inode.sb.has(wire::init_flag::handle_killpriv_v2);
  const bool set_id = has_set_id(inode.attr.mode) && !caller.may(Capability::fsetid);
  auto has = co_await has_security_capability(inode, caller);
  if (!has) co_return error(has.error());
  if (*has) {
    auto removed = co_await remove_xattr(inode, caller, "security.capability");
    if (!removed) co_return removed;
  }
  if (!*has && !set_id && killpriv_v2) inode.no_security_xattr = true;
  if (!set_id) co_return Result<void>();
  // A SETATTR of nothing, where the daemon clears the bits itself: its reply brings the new mode.
  SetAttributes set;
  if (!killpriv_v2 && !inode.sb.has(wire::init_flag::handle_killpriv)) {
    auto fresh = co_await do_getattr(inode, caller, nullptr, nullptr);
    if (!fresh) co_return fresh;
    set.mode = without_set_id(inode.attr.mode);
    set.valid = has_set_id(inode.attr.mode) ? wire::fattr::mode : 0;
  }
  auto done = co_await do_setattr(inode, caller, set);
  co_return done;
}

}  // namespace fusewire::kernel
