#include "kernel/notify.h"

#include "kernel/attributes.h"
#include "kernel/superblock.h"
#include "wire/bytes.h"
#include "wire/dirent.h"

namespace fusewire::kernel {

namespace {

using Bytes = std::span<const std::byte>;

// The name behind a fixed part: exactly this long, its NUL the payload's end.
Result<std::string_view> name_behind(Bytes payload, size_t fixed, uint32_t length, uint32_t limit) {
  if (length > limit) return error(Errno::enametoolong);
  if (payload.size() != fixed + length + 1) return error(Errno::einval);
  return wire::text_of(payload.subspan(fixed, length));
}

bool is_name_of_file(std::string_view name) {
  return wire::name_fits(name) && wire::index_of(name, 0) == std::string_view::npos && name != "." && name != "..";
}

// The cached name that a notification is about; its directory counts as changed. ENOENT when the cache has no such
// directory or name, ENOTDIR when the parent is none.
Result<Ref<Dentry>> changed_name(Superblock& sb, uint64_t parent_nodeid, std::string_view name) {
  Inode* parent = sb.find_inode(parent_nodeid);
  if (!parent) return error(Errno::enoent);
  if (!parent->is_dir()) return error(Errno::enotdir);
  if (!parent->newest_alias) return error(Errno::enoent);
  Ref<Dentry> dentry = sb.find_dentry(*parent->newest_alias, name);
  if (!dentry) return error(Errno::enoent);
  directory_changed(*parent);
  return dentry;
}

}  // namespace

Result<void> Notify::notify(wire::NotifyCode code, Bytes payload) {
  switch (code) {
    case wire::NotifyCode::inval_inode:
      return inval_inode(payload);
    case wire::NotifyCode::inval_entry:
      return inval_entry(payload);
    case wire::NotifyCode::delete_entry:
      return delete_entry(payload);
    case wire::NotifyCode::store:
      return store(payload);
    case wire::NotifyCode::retrieve:
      return retrieve(payload);
    case wire::NotifyCode::prune:
      return prune(payload);
    // Nobody polls here, so no handle is known; an unknown one is no error in Linux either.
    case wire::NotifyCode::poll:
      return {};
    default:
      return error(Errno::einval);
  }
}

Result<void> Notify::inval_inode(Bytes payload) {
  if (payload.size() != sizeof(wire::NotifyInvalInodeOut)) return error(Errno::einval);
  const auto out = wire::load<wire::NotifyInvalInodeOut>(payload);
  Inode* inode = sb_.find_inode(out.ino);
  if (!inode) return error(Errno::enoent);
  inode->attr_version = sb_.connection.next_attr_version();
  invalidate_attributes(*inode);
  if (out.off >= 0) sb_.drop_link_text(*inode);
  listener_.inode_changed(*inode, out.off >= 0);
  return {};
}

Result<void> Notify::inval_entry(Bytes payload) {
  if (payload.size() < sizeof(wire::NotifyInvalEntryOut)) return error(Errno::einval);
  const auto out = wire::load<wire::NotifyInvalEntryOut>(payload);
  TRY(name, name_behind(payload, sizeof(out), out.namelen, sb_.name_max()));
  const auto dentry = changed_name(sb_, out.parent, name);
  if (dentry) {
    sb_.expire(**dentry);
    if ((out.flags & wire::expire_only) == 0) sb_.invalidate(**dentry);
  }
  Inode* parent = sb_.find_inode(out.parent);
  const bool changed = (out.flags & wire::expire_only) == 0 && is_name_of_file(name);
  if (parent && parent->is_dir() && changed) listener_.name_changed(*parent, name);
  if (!dentry) return error(dentry.error());
  return {};
}

Result<void> Notify::delete_entry(Bytes payload) {
  if (payload.size() < sizeof(wire::NotifyDeleteOut)) return error(Errno::einval);
  const auto out = wire::load<wire::NotifyDeleteOut>(payload);
  TRY(name, name_behind(payload, sizeof(out), out.namelen, sb_.name_max()));
  TRY(dentry, changed_name(sb_, out.parent, name));
  // The name goes whatever follows (K213a).
  sb_.expire(*dentry);
  sb_.invalidate(*dentry);
  if (out.child == 0 || !dentry->inode) return {};
  if (dentry->inode->nodeid != out.child) return error(Errno::enoent);
  if (dentry->inode->is_dir() && dentry->first_child()) return error(Errno::enotempty);
  if (dentry->inode->is_dir()) dentry->inode->dead = true;
  dentry->inode->attr.nlink = 0;
  sb_.changed(*dentry->inode);
  listener_.name_deleted(*sb_.find_inode(out.parent), name, *dentry->inode);
  return {};
}

// K213: the size grows, but is asked again, since the daemon's wins.
Result<void> Notify::store(Bytes payload) {
  if (payload.size() < sizeof(wire::NotifyStoreOut)) return error(Errno::einval);
  const auto out = wire::load<wire::NotifyStoreOut>(payload);
  if (payload.size() - sizeof(out) != out.size) return error(Errno::einval);
  Inode* inode = sb_.find_inode(out.nodeid);
  if (!inode) return error(Errno::enoent);
  if (!inode->is_reg()) return error(Errno::einval);
  if (out.offset > abi::max_file_size || out.size > abi::max_file_size - out.offset) return error(Errno::efbig);
  file_written(*inode, out.offset + out.size);
  return {};
}

// K214: nothing cached is answered too, with size 0.
Result<void> Notify::retrieve(Bytes payload) {
  if (payload.size() != sizeof(wire::NotifyRetrieveOut)) return error(Errno::einval);
  const auto out = wire::load<wire::NotifyRetrieveOut>(payload);
  if (!sb_.find_inode(out.nodeid)) return error(Errno::enoent);
  wire::NotifyRetrieveIn in{};
  in.offset = out.offset;
  Args args;
  args.opcode = wire::Opcode::notify_reply;
  args.nodeid = out.nodeid;
  args.noreply = true;
  args.add_in(in);
  return sb_.connection.send_notify_reply(args, out.notify_unique);
}

Result<void> Notify::prune(Bytes payload) {
  if (payload.size() < sizeof(wire::NotifyPruneOut)) return error(Errno::einval);
  const auto out = wire::load<wire::NotifyPruneOut>(payload);
  const size_t bytes = payload.size() - sizeof(out);
  if (bytes != size_t{out.count} * sizeof(uint64_t)) return error(Errno::einval);
  for (size_t i = 0; i < out.count; ++i) {
    const auto nodeid = wire::load<uint64_t>(payload, sizeof(out) + i * sizeof(uint64_t));
    if (Inode* inode = sb_.find_inode(nodeid)) sb_.prune_aliases(*inode);
  }
  return {};
}

}  // namespace fusewire::kernel
