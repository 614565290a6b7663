#include "kernel/lookup.h"

#include "kernel/attributes.h"
#include "kernel/superblock.h"

namespace fusewire::kernel {

namespace {

Task<Result<size_t>> send_lookup(Superblock& sb, Caller& caller, Dentry& dentry, wire::EntryOut& out) {
  Args args;
  args.opcode = wire::Opcode::lookup;
  args.nodeid = dentry.parent->inode->nodeid;
  args.add_in_name(dentry.name());
  args.add_out_bytes(entry_reply(sb, out), false);
  auto sent = co_await sb.connection.send(args, caller);
  co_return sent;
}

void advise_readdirplus(Inode& directory) {
  if (directory.advise_readdirplus) return;
  directory.advise_readdirplus = true;
  directory.sb.changed(directory);
}

// A cached dentry whose attributes came with READDIRPLUS is used: the next READDIR shall be one again (K192).
void note_use(Dentry& dentry) {
  if (!dentry.inode || !dentry.inode->made_by_readdirplus) return;
  dentry.inode->made_by_readdirplus = false;
  dentry.sb().changed(*dentry.inode);
  if (dentry.parent) advise_readdirplus(*dentry.parent->inode);
}

// Whether it may be used without a question to the daemon.
bool is_good(Superblock& sb, const Caller& caller, const Dentry& dentry, uint32_t flags) {
  const bool wanted_anew = caller.revalidate || (flags & (lookup_flag::exclusive | lookup_flag::rename_target)) != 0;
  if (dentry.epoch != sb.connection.epoch() || (dentry.inode && dentry.inode->bad) || wanted_anew) return false;
  return dentry.valid_until >= sb.now();
}

// fuse_dentry_revalidate: true when the dentry may be used.
Task<Result<bool>> revalidate(Superblock& sb, Caller& caller, Dentry& dentry, uint32_t flags) {
  Inode* inode = dentry.inode;
  if (dentry.epoch != sb.connection.epoch()) co_return false;
  if (inode && inode->bad) co_return false;
  if (is_good(sb, caller, dentry, flags)) {
    note_use(dentry);
    sb.used(dentry);
    co_return true;
  }
  if (!inode) co_return false;
  Ref<Inode> hold(*inode);
  // The request borrows its name, and this dentry may get another one before the daemon has read it.
  auto asked = sb.make_dentry(*dentry.parent, dentry.name());
  if (!asked) co_return error(asked.error());
  const uint64_t attr_version = sb.connection.attr_version();
  wire::EntryOut out{};
  auto sent = co_await send_lookup(sb, caller, **asked, out);
  if (!sent) {
    const bool passes = sent.error() == Errno::enomem || sent.error() == Errno::eintr;
    if (passes) co_return error(sent.error());
    co_return false;
  }
  if (out.nodeid == 0) co_return false;
  if (out.nodeid != inode->nodeid) {
    sb.connection.queue_forget(out.nodeid, 1);
    co_return false;
  }
  inode->count_lookup();
  if (!valid_attr(out.attr) || inode->stale(out.generation, out.attr.mode)) co_return false;
  const uint64_t valid_until = sb.deadline(out.attr_valid, out.attr_valid_nsec);
  change_attributes(*inode, out.attr, nullptr, valid_until, attr_version, 0);
  sb.set_timeout(dentry, out);
  // It may have been unlinked or renamed while the daemon answered.
  co_return dentry.hashed&& dentry.inode == inode;
}

// fuse_lookup: asks the daemon.
Task<Result<Ref<Dentry>>> lookup_fresh(Superblock& sb, Caller& caller, Dentry& parent, std::string_view name) {
  auto made = sb.make_dentry(parent, name);
  if (!made) co_return error(made.error());
  Dentry& dentry = **made;
  const uint64_t attr_version = sb.connection.attr_version();
  const uint64_t evict_counter = sb.connection.evict_counter();
  wire::EntryOut out{};
  auto sent = co_await send_lookup(sb, caller, dentry, out);
  if (!sent && sent.error() == Errno::enoent) co_return *made;
  if (!sent) co_return error(sent.error());
  if (out.nodeid == 0) {
    sb.set_timeout(dentry, out);
    sb.hash_negative(dentry);
    co_return *made;
  }
  if (!valid_attr(out.attr)) co_return error(Errno::eio);
  auto inode = sb.get_inode(out, attr_version, evict_counter);
  if (!inode) co_return error(inode.error());
  if (out.nodeid == wire::root_id) co_return error(Errno::eio);
  auto found = sb.splice(dentry, **inode);
  if (!found) co_return error(found.error());
  sb.set_timeout(**found, out);
  (*found)->epoch = dentry.epoch;
  if (parent.inode) advise_readdirplus(*parent.inode);
  co_return *found;
}

}  // namespace

std::span<std::byte> entry_reply(Superblock& sb, wire::EntryOut& out) {
  const size_t size = sb.minor() < 9 ? wire::compat_entry_out_size : sizeof(out);
  return std::as_writable_bytes(std::span(&out, 1)).first(size);
}

Dentry* lookup_now(Superblock& sb, const Caller& caller, Dentry& parent, std::string_view name, uint32_t flags) {
  if (name.size() > sb.name_max() || !parent.inode || parent.inode->bad || parent.inode->dead) return nullptr;
  const Ref<Dentry> dentry = sb.find_dentry(parent, name);
  if (!dentry || !is_good(sb, caller, *dentry, flags)) return nullptr;
  note_use(*dentry);
  sb.used(*dentry);
  return dentry.get();
}

Task<Result<Ref<Dentry>>> lookup_cached(Superblock& sb, Caller& caller, Dentry& parent, std::string_view name,
                                        uint32_t flags) {
  Ref<Dentry> dentry = sb.find_dentry(parent, name);
  if (!dentry) co_return dentry;
  auto valid = co_await revalidate(sb, caller, *dentry, flags);
  if (!valid) co_return error(valid.error());
  if (*valid) co_return dentry;
  sb.invalidate(*dentry);
  co_return Ref<Dentry>();
}

Task<Result<Ref<Dentry>>> lookup(Superblock& sb, Caller& caller, Dentry& parent, std::string_view name,
                                 uint32_t flags) {
  if (name.size() > sb.name_max()) co_return error(Errno::enametoolong);
  if (!parent.inode || parent.inode->bad) co_return error(Errno::eio);
  if (parent.inode->dead) co_return error(Errno::enoent);
  Ref<Inode> directory(*parent.inode);
  auto cached = co_await lookup_cached(sb, caller, parent, name, flags);
  if (!cached) co_return error(cached.error());
  if (*cached) co_return *cached;
  SleepLock::Guard hold;
  if (!(flags & lookup_flag::locked)) {
    // Without parallel_dirops the daemon sees one lookup of a directory at a time (K078).
    const bool parallel = sb.has(wire::init_flag::parallel_dirops);
    if (parallel) {
      auto guard = co_await directory->lock.shared(sb.ready(), caller);
      if (!guard) co_return error(guard.error());
      hold = std::move(*guard);
    } else {
      auto guard = co_await directory->lock.exclusive(sb.ready(), caller);
      if (!guard) co_return error(guard.error());
      hold = std::move(*guard);
    }
    if (directory->dead) co_return error(Errno::enoent);
    // Another may have looked it up while this one waited for the lock.
    cached = co_await lookup_cached(sb, caller, parent, name, flags);
    if (!cached) co_return error(cached.error());
    if (*cached) co_return *cached;
  }
  auto found = co_await lookup_fresh(sb, caller, parent, name);
  co_return found;
}

}  // namespace fusewire::kernel
