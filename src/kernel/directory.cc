#include "kernel/directory.h"

#include "kernel/attributes.h"
#include "kernel/lookup.h"
#include "kernel/superblock.h"

namespace fusewire::kernel {

namespace {

// EEXIST: what the cache said of the name was wrong (K082).
Result<void> failed_creation(Superblock& sb, Dentry& dentry, Errno e) {
  if (e == Errno::eexist && dentry.hashed) sb.invalidate(dentry);
  return error(e);
}

// create_new_entry: sends args, whose in arguments are the caller's, and takes the entry.
Task<Result<void>> create_entry(Superblock& sb, Caller& caller, Dentry& dentry, Args& args, uint32_t type) {
  wire::EntryOut out{};
  args.nodeid = dentry.parent->inode->nodeid;
  args.add_out_bytes(entry_reply(sb, out), false);
  Ref<Inode> directory(*dentry.parent->inode);
  auto sent = co_await sb.connection.send(args, caller);
  if (!sent) co_return failed_creation(sb, dentry, sent.error());
  auto made = instantiate(sb, dentry, out, type);
  if (!made) co_return error(made.error());
  directory_changed(*directory);
  co_return Result<void>();
}

// fuse_entry_unlinked (K080).
void entry_unlinked(Superblock& sb, Dentry& dentry) {
  Inode& inode = *dentry.inode;
  inode.attr_version = sb.connection.next_attr_version();
  if (inode.is_dir()) {
    inode.attr.nlink = 0;
    inode.dead = true;
  } else if (inode.attr.nlink > 0) {
    --inode.attr.nlink;
  }
  sb.expire(dentry);
  invalidate_attributes(inode, abi::statx_ctime);
}

Task<Result<size_t>> send_rename(Superblock& sb, Caller& caller, Dentry& from, Dentry& to, uint32_t flags) {
  const wire::Rename2In in{to.parent->inode->nodeid, flags, 0};
  Args args;
  args.opcode = flags ? wire::Opcode::rename2 : wire::Opcode::rename;
  args.nodeid = from.parent->inode->nodeid;
  const auto bytes = std::as_bytes(std::span(&in, 1));
  args.add_in_bytes(bytes.first(flags ? sizeof(wire::Rename2In) : sizeof(wire::RenameIn)));
  args.add_in_name(from.name());
  args.add_in_name(to.name());
  auto sent = co_await sb.connection.send(args, caller);
  co_return sent;
}

void renamed(Superblock& sb, Dentry& from, Dentry& to, uint32_t flags) {
  const bool exchange = (flags & abi::rename_exchange) != 0;
  invalidate_attributes(*from.inode, abi::statx_ctime);
  if (exchange) invalidate_attributes(*to.inode, abi::statx_ctime);
  directory_changed(*from.parent->inode);
  if (from.parent != to.parent) directory_changed(*to.parent->inode);
  if (!exchange && to.inode) entry_unlinked(sb, to);
  if (exchange) return sb.exchange(from, to);
  Ref<Dentry> new_parent(*to.parent);
  sb.move(from, *new_parent, to);
}

void keep_link_text(Superblock& sb, Inode& inode, std::string_view text) {
  if (!sb.has(wire::init_flag::cache_symlinks) || !inode.link_text().empty() || text.empty()) return;
  InodeExtra* extra = inode.make_extra();
  char* kept = extra ? static_cast<char*>(sb.kmalloc().alloc(text.size())) : nullptr;
  if (!kept) return;
  __builtin_memcpy(kept, text.data(), text.size());
  extra->link_text = kept;
  extra->link_length = static_cast<uint32_t>(text.size());
  sb.changed(inode);
}

}  // namespace

uint32_t masked(Superblock& sb, const Caller& caller, uint32_t mode) {
  return sb.has(wire::init_flag::dont_mask) ? mode : mode & ~(caller.umask & 0777);
}

Result<Ref<Dentry>> instantiate(Superblock& sb, Dentry& dentry, const wire::EntryOut& out, uint32_t type) {
  if (invalid_nodeid(out.nodeid) || !valid_attr(out.attr)) return error(Errno::eio);
  if (((out.attr.mode ^ type) & abi::s_ifmt) != 0) return error(Errno::eio);
  auto inode = sb.get_inode(out, 0, 0);
  if (!inode) return error(inode.error());
  // The negative dentry makes room for a new one of the same name: others may hold it as negative.
  sb.unhash(dentry);
  auto found = sb.splice(dentry, **inode);
  if (!found) return error(found.error());
  sb.set_timeout(**found, out);
  return found;
}

Task<Result<void>> make_node(Superblock& sb, Caller& caller, Dentry& dentry, uint32_t mode, uint32_t rdev) {
  wire::MknodIn in{};
  in.mode = masked(sb, caller, mode);
  in.rdev = rdev;
  in.umask = caller.umask;
  Args args;
  args.opcode = wire::Opcode::mknod;
  const auto bytes = std::as_bytes(std::span(&in, 1));
  args.add_in_bytes(bytes.first(sb.minor() < 12 ? wire::compat_mknod_in_size : sizeof(in)));
  args.add_in_name(dentry.name());
  auto made = co_await create_entry(sb, caller, dentry, args, mode);
  co_return made;
}

Task<Result<void>> make_directory(Superblock& sb, Caller& caller, Dentry& dentry, uint32_t mode) {
  wire::MkdirIn in{};
  in.mode = masked(sb, caller, mode);
  in.umask = caller.umask;
  Args args;
  args.opcode = wire::Opcode::mkdir;
  args.add_in(in);
  args.add_in_name(dentry.name());
  auto made = co_await create_entry(sb, caller, dentry, args, abi::s_ifdir);
  co_return made;
}

Task<Result<void>> make_symlink(Superblock& sb, Caller& caller, Dentry& dentry, std::string_view target) {
  Args args;
  args.opcode = wire::Opcode::symlink;
  args.add_in_name(dentry.name());
  args.add_in_name(target);
  auto made = co_await create_entry(sb, caller, dentry, args, abi::s_iflnk);
  co_return made;
}

Task<Result<void>> make_link(Superblock& sb, Caller& caller, Inode& inode, Dentry& dentry) {
  if (sb.connection.learned_enosys().link) co_return error(Errno::eperm);
  const wire::LinkIn in{inode.nodeid};
  Args args;
  args.opcode = wire::Opcode::link;
  args.add_in(in);
  args.add_in_name(dentry.name());
  auto made = co_await create_entry(sb, caller, dentry, args, inode.attr.mode);
  // Nobody knows whether it took place.
  if (!made && made.error() == Errno::eintr) invalidate_attributes(inode);
  if (made || made.error() != Errno::enosys) co_return made;
  sb.connection.learned_enosys().link = true;
  co_return error(Errno::eperm);
}

Task<Result<void>> remove_entry(Superblock& sb, Caller& caller, Dentry& dentry) {
  Ref<Inode> directory(*dentry.parent->inode);
  Args args;
  args.opcode = dentry.inode->is_dir() ? wire::Opcode::rmdir : wire::Opcode::unlink;
  args.nodeid = directory->nodeid;
  args.add_in_name(dentry.name());
  auto sent = co_await sb.connection.send(args, caller);
  if (sent) {
    directory_changed(*directory);
    entry_unlinked(sb, dentry);
    sb.invalidate(dentry);
    co_return Result<void>();
  }
  if (sent.error() == Errno::eintr || sent.error() == Errno::enoent) sb.invalidate(dentry);
  co_return error(sent.error());
}

Task<Result<void>> rename_entry(Superblock& sb, Caller& caller, Dentry& from, Dentry& to, uint32_t flags) {
  LearnedEnosys& learned = sb.connection.learned_enosys();
  if (flags && (learned.rename2 || sb.minor() < 23)) co_return error(Errno::einval);
  auto sent = co_await send_rename(sb, caller, from, to, flags);
  if (sent) {
    renamed(sb, from, to, flags);
    co_return Result<void>();
  }
  if (sent.error() == Errno::eintr || sent.error() == Errno::enoent) {
    // Nobody knows whether it took place (K081).
    sb.invalidate(from);
    if (to.inode) sb.invalidate(to);
  }
  if (!flags || sent.error() != Errno::enosys) co_return error(sent.error());
  learned.rename2 = true;
  co_return error(Errno::einval);
}

Task<Result<size_t>> read_link(Superblock& sb, Caller& caller, Inode& inode, std::span<char> storage) {
  if (inode.bad) co_return error(Errno::eio);
  if (const std::string_view text = inode.link_text(); !text.empty()) {
    __builtin_memcpy(storage.data(), text.data(), text.size());
    storage[text.size()] = '\0';
    co_return text.size();
  }
  Args args;
  args.opcode = wire::Opcode::readlink;
  args.nodeid = inode.nodeid;
  args.add_out_bytes(std::as_writable_bytes(storage.first(abi::page_size - 1)), true);
  auto sent = co_await sb.connection.send(args, caller);
  if (!sent) co_return error(sent.error());
  invalidate_attributes(inode, abi::statx_atime);
  size_t length = 0;
  while (length < *sent && storage[length] != '\0') ++length;
  storage[length] = '\0';
  keep_link_text(sb, inode, {storage.data(), length});
  co_return length;
}

}  // namespace fusewire::kernel
