#include "kernel/view.h"

#include <new>

#include "kernel/attributes.h"
#include "kernel/superblock.h"

namespace fusewire::kernel {

namespace {

namespace view_inode = layout::view_inode;
namespace view_flag = layout::view_flag;
using layout::ViewInode;
using layout::ViewMount;
using layout::ViewName;

uint32_t flags_of(const Inode& inode) {
  uint32_t flags = 0;
  if (inode.bad) flags |= view_inode::bad;
  if (inode.dead) flags |= view_inode::dead;
  if (inode.made_by_readdirplus) flags |= view_inode::counts;
  if (inode.advise_readdirplus) flags |= view_inode::advised;
  if (inode.has_btime) flags |= view_inode::has_btime;
  if (inode.sb.root().inode == &inode) flags |= view_inode::root;
  return flags;
}

ViewInode contents_of(const Inode& inode) {
  const wire::Attr& attr = inode.attr;
  ViewInode row{};
  row.valid_until = inode.attr_valid_until;
  row.doubtful = inode.inval_mask;
  row.flags = flags_of(inode);
  row.mode = attr.mode, row.uid = attr.uid, row.gid = attr.gid, row.nlink = attr.nlink;
  row.ino = attr.ino, row.size = attr.size, row.blocks = attr.blocks;
  row.atime = static_cast<int64_t>(attr.atime);
  row.mtime = static_cast<int64_t>(attr.mtime);
  row.ctime = static_cast<int64_t>(attr.ctime);
  row.atime_nsec = attr.atimensec, row.mtime_nsec = attr.mtimensec, row.ctime_nsec = attr.ctimensec;
  row.rdev = attr.rdev;
  row.blksize = shown_block_size(attr);
  return row;
}

}  // namespace

Result<View*> View::create(Superblock& sb, ViewMemory& memory) {
  void* at = sb.kmalloc().alloc(sizeof(View));
  if (!at) return error(Errno::enomem);
  auto* view = ::new (at) View(sb, memory);
  Host& host = sb.connection.host();
  if (!view->rows_.format(host.random(), host.random())) {
    view->~View();
    sb.kmalloc().free(at, sizeof(View));
    return error(Errno::enomem);
  }
  view->publish_header();
  sb.connection.set_publisher(view);
  return view;
}

void View::destroy() {
  rows_.set_flags(flags() | view_flag::ended);
  sb_.connection.set_publisher(nullptr);
  dentries_.take([](Dentry&) {});
  inodes_.take([](Inode&) {});
  Kmalloc& kmalloc = sb_.kmalloc();
  this->~View();
  kmalloc.free(this, sizeof(View));
}

void View::forget(Dentry& dentry) {
  dentries_.remove(dentry);
  if (dentry.view_row != 0) rows_.drop_name(dentry.view_row, dentry.name());
  dentry.view_row = 0;
}

void View::forget(Inode& inode) {
  inodes_.remove(inode);
  if (inode.view_row != 0) rows_.drop_inode(inode.view_row);
  inode.view_row = 0;
}

// Names after the inodes that they lead to; what went is gone already. So nobody sees a file by two names that it never
// had at once.
void View::publish() {
  publish_header();
  inodes_.take([this](Inode& inode) { publish(inode); });
  dentries_.take([this](Dentry& dentry) { publish(dentry); });
}

uint64_t View::flags() const {
  Connection& connection = sb_.connection;
  uint64_t flags = 0;
  if (sb_.default_permissions()) flags |= view_flag::default_permissions;
  if (sb_.read_only()) flags |= view_flag::read_only;
  if (connection.learned_enosys().access) flags |= view_flag::no_access;
  if (connection.learned_enosys().statx) flags |= view_flag::no_statx;
  return flags;
}

void View::publish_header() {
  if (rows_.epoch() != sb_.connection.epoch()) rows_.set_epoch(sb_.connection.epoch());
  if (const uint64_t now = flags(); rows_.flags() != now) rows_.set_flags(now);
  if (mounts_version_ != sb_.mounts.version()) publish_mounts();
}

void View::publish_mounts() {
  mounts_version_ = sb_.mounts.version();
  const Mounts::Start first = sb_.mounts.start(0, sb_.root());
  ViewMount table[layout::view_mounts]{};
  size_t count = 0;
  const auto add = [&](uint32_t number, Dentry& root, uint32_t flags) {
    if (count < layout::view_mounts && root.inode) table[count++] = {row_of(*root.inode), number, flags};
  };
  add(0, *first.dentry, sb_.mounts.flags(first.mount));
  sb_.mounts.for_each([&](uint32_t number, Dentry& root, uint32_t flags) { add(number, root, flags); });
  rows_.set_mounts([&](size_t i) { return table[i]; });
}

uint64_t View::row_of(Inode& inode) {
  if (inode.view_row != 0) return rows_.handle_of(inode.view_row);
  const uint64_t handle = rows_.add_inode(contents_of(inode), inode.link_text());
  inode.view_row = layout::view_cell_of(handle);
  return handle;
}

void View::publish(Inode& inode) {
  rows_.write_inode(rows_.handle_of(inode.view_row), contents_of(inode), inode.link_text());
}

// What nobody may believe for a moment needs no row.
bool View::is_worth_it(const Dentry& dentry) const {
  return dentry.hashed && !dentry.is_root() && dentry.valid_until != 0 && dentry.epoch == sb_.connection.epoch() &&
         dentry.name().size() <= ViewName::text_max;
}

ViewName View::contents_of_name(const Dentry& dentry) {
  ViewName row{};
  if (is_worth_it(dentry)) row.parent = row_of(*dentry.parent->inode);
  if (row.parent != 0 && dentry.inode) row.child = row_of(*dentry.inode);
  if (dentry.inode && row.child == 0) row.parent = 0;
  row.valid_until = dentry.valid_until;
  row.epoch = dentry.epoch;
  row.flags = dentry.mounted() != 0 ? layout::view_name::mounted_on : 0;
  return row;
}

void View::publish(Dentry& dentry) {
  const ViewName row = contents_of_name(dentry);
  if (row.parent == 0) return forget(dentry);
  if (dentry.view_row == 0)
    dentry.view_row = rows_.add_name(row, dentry.name());
  else
    rows_.change_name(dentry.view_row, row);
}

bool View::agrees(const Dentry& dentry) {
  if (dentry.view_row == 0 || dentry.epoch != sb_.connection.epoch()) return true;
  return dentry.hashed && rows_.has_name(dentry.view_row, contents_of_name(dentry), dentry.name());
}

bool View::agrees(const Inode& inode) const {
  return inode.view_row == 0 || rows_.has_inode(rows_.handle_of(inode.view_row), contents_of(inode), inode.link_text());
}

}  // namespace fusewire::kernel
