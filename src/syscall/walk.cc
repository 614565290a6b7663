#include "syscall/walk.h"

#include "kernel/directory.h"
#include "kernel/file.h"
#include "kernel/permissions.h"

namespace fusewire::syscall {

namespace abi = kernel::abi;
using kernel::Dentry;
using kernel::error;
using kernel::Inode;
using kernel::Ref;

namespace {

// linux/openat2.h: RESOLVE_*. Magic links are the gate's.
namespace resolve_flag {
constexpr uint32_t no_xdev = 1, no_symlinks = 4, beneath = 8, in_root = 16;
}

std::string_view without_leading_slashes(std::string_view path) {
  while (!path.empty() && path.front() == '/') path.remove_prefix(1);
  return path;
}

void copy_text(char* to, std::string_view text) {
  if (!text.empty()) __builtin_memcpy(to, text.data(), text.size());
}

bool only_slashes(std::string_view path) { return without_leading_slashes(path).empty(); }

}  // namespace

kernel::Mounts::Start start_of(kernel::Superblock& sb, const Place& place) {
  if (place.start) return {place.start->dentry.get(), place.start->mount};
  return sb.mounts.start(place.mount, sb.root());
}

Walk::Walk(kernel::Superblock& sb, Caller& caller, const Place& place, Leave& leave)
    : sb_(sb),
      caller_(caller),
      leave_(leave),
      from_(start_of(sb, place)),
      mount_(from_.mount),
      at_(from_.dentry ? *from_.dentry : sb.root()),
      start_(at_),
      root_(sb.mounts.root(mount_, sb.root())),
      resolve_(place.resolve),
      rest_(place.path),
      from_file_(place.start != nullptr),
      too_long_(place.path.size() >= abi::path_max) {}

Walk::~Walk() {
  if (own_) kmalloc().free(own_, own_bytes_);
}

Walk::Component Walk::first_component(std::string_view path) {
  size_t length = 0;
  while (length < path.size() && path[length] != '/') ++length;
  // Not substr: it throws, which libc would have to bring.
  return {{path.data(), length}, {path.data() + length, path.size() - length}};
}

Task<Result<Last>> Walk::to_last() {
  if (too_long_) co_return error(Errno::enametoolong);
  if (rest_.empty() && !started_ && from_file_) co_return error(Errno::enoent);
  // An absolute path from an open file means the whole name space, not this mount.
  if (!started_ && from_file_ && rest_.front() == '/' && !has(resolve_flag::in_root))
    co_return error(leave_with({}, rest_, LeaveTo::root).error());
  started_ = true;
  const bool slash = !rest_.empty() && rest_.front() == '/';
  rest_ = without_leading_slashes(rest_);
  if (rest_.empty()) co_return Last{LastKind::nothing, {}, slash};
  for (;;) {
    // Who comes out of what is mounted there neither needs a directory below it nor a right on it.
    if (!from_.on_way_up || at_.get() != start_.get()) {
      if (!at_->inode->is_dir()) co_return error(Errno::enotdir);
      auto allowed = kernel::permission_now(*at_->inode, caller_, abi::may_exec);
      if (!allowed) {
        Ref<Inode> directory(*at_->inode);
        allowed = co_await kernel::permission(*directory, caller_, abi::may_exec);
      }
      if (!*allowed) co_return error(allowed->error());
    }
    const Component component = first_component(rest_);
    if (only_slashes(component.behind)) {
      Last last{LastKind::name, component.name, !component.behind.empty()};
      if (component.name == ".") last.kind = LastKind::dot;
      if (component.name == "..") last.kind = LastKind::dotdot;
      co_return last;
    }
    if (!enter_now(component)) {
      auto entered = co_await enter(component);
      if (!entered) co_return error(entered.error());
    }
    rest_ = without_leading_slashes(rest_);
  }
}

// A hit never sleeps: of a cached directory on which nothing is mounted no coroutine need be made. false: enter().
bool Walk::enter_now(Component component) {
  if (component.name == "." || component.name == "..") return false;
  Dentry* found = kernel::lookup_now(sb_, caller_, *at_, component.name, kernel::lookup_flag::none);
  if (!found || !found->inode || !found->inode->is_dir() || mounted_on(*found) != 0) return false;
  rest_ = component.behind;
  at_ = Ref<Dentry>(*found);
  return true;
}

// A component that is not the last. rest_ is what follows it, or a symlink's text in front of that.
Task<Result<void>> Walk::enter(Component component) {
  if (component.name == ".") {
    rest_ = component.behind;
    co_return Result<void>();
  }
  if (component.name == "..") {
    auto gone = go_up(component.behind);
    co_return gone;
  }
  Ref<Dentry> directory = at_;
  auto found = co_await kernel::lookup(sb_, caller_, *directory, component.name, kernel::lookup_flag::none);
  if (!found) co_return error(found.error());
  Inode* inode = (*found)->inode;
  if (!inode) co_return error(Errno::enoent);
  rest_ = component.behind;
  if (inode->is_lnk()) {
    Ref<Dentry> link = *found;
    auto followed = co_await follow(*link->inode);
    co_return followed;
  }
  if (const uint32_t mount = mounted_on(**found)) co_return leave_into(mount, rest_);
  if (!inode->is_dir()) co_return error(Errno::enotdir);
  at_ = *found;
  co_return Result<void>();
}

Result<void> Walk::go_up(std::string_view behind) {
  if (at_.get() == start_.get() && has(resolve_flag::beneath)) return error(Errno::exdev);
  if (at_.get() == start_.get() && has(resolve_flag::in_root)) {
    rest_ = behind;
    return {};
  }
  if (at_.get() == caller_.root && mount_ == caller_.root_mount) {
    rest_ = behind;
    return {};
  }
  if (is_at_root() && sb_.mounts.is_removed(mount_)) {
    rest_ = behind;
    return {};
  }
  if (is_at_root()) return leave_with({}, without_leading_slashes(behind), LeaveTo::parent);
  // path_connected: a directory that was moved out of what the mount shows has no way up in it.
  if (!root_->is_root() && !kernel::is_at_or_below(*at_->parent, *root_)) return error(Errno::enoent);
  at_ = Ref<Dentry>(*at_->parent);
  rest_ = behind;
  if (const uint32_t mount = mounted_on(*at_)) return leave_into(mount, behind);
  return {};
}

// The link's text replaces the component: rest_ becomes text + what stood behind the component.
Task<Result<void>> Walk::follow(Inode& link) {
  if (++links_ > fusewire::abi::symlinks_max || has(resolve_flag::no_symlinks)) co_return error(Errno::eloop);
  Ref<Inode> hold(link);
  const size_t behind = rest_.size();
  const size_t bytes = abi::page_size + behind + 1;
  auto* text = static_cast<char*>(kmalloc().alloc(bytes));
  if (!text) co_return error(Errno::enomem);
  auto length = co_await kernel::read_link(sb_, caller_, link, std::span<char>(text, abi::page_size));
  if (!length || *length == 0) {
    kmalloc().free(text, bytes);
    co_return error(length ? Errno::enoent : length.error());
  }
  if (text[0] == '/' && has(resolve_flag::in_root)) at_ = start_;
  if (text[0] == '/' && !has(resolve_flag::in_root)) {
    auto left = leave_with({text, *length}, rest_, LeaveTo::root);
    kmalloc().free(text, bytes);
    co_return left;
  }
  copy_text(text + *length, rest_);
  if (own_) kmalloc().free(own_, own_bytes_);
  own_ = text;
  own_bytes_ = bytes;
  rest_ = {text, *length + behind};
  co_return Result<void>();
}

Task<Result<void>> Walk::follow_last(Dentry& link) {
  // What stands behind the last component is its slashes.
  const Component component = first_component(rest_);
  rest_ = component.behind.empty() ? "" : "/";
  auto followed = co_await follow(*link.inode);
  co_return followed;
}

Result<void> Walk::leave_into(uint32_t mount, std::string_view rest) {
  if (has(resolve_flag::no_xdev)) return error(Errno::exdev);
  rest = without_leading_slashes(rest);
  if (rest.size() > leave_.storage.size()) return error(Errno::enametoolong);
  copy_text(leave_.storage.data(), rest);
  leave_.length = rest.size();
  leave_.to = LeaveTo::mount;
  leave_.mount = mount;
  leave_.links = links_;
  return error(Errno::eleave);
}

Result<void> Walk::leave_with(std::string_view front, std::string_view rest, LeaveTo to) {
  if (has(resolve_flag::no_xdev | resolve_flag::beneath | resolve_flag::in_root)) return error(Errno::exdev);
  const size_t length = front.size() + rest.size();
  if (length > leave_.storage.size()) return error(Errno::enametoolong);
  copy_text(leave_.storage.data(), front);
  copy_text(leave_.storage.data() + front.size(), rest);
  leave_.length = length;
  leave_.to = to;
  leave_.mount = mount_;
  leave_.links = links_;
  if (length == 0 && !leave_.storage.empty()) {
    // The directory of the mount point itself.
    leave_.storage[0] = '.';
    leave_.length = 1;
  }
  return error(Errno::eleave);
}

Task<Result<Ref<Dentry>>> Walk::lookup_last(Last last, uint32_t flags) {
  if (last.kind == LastKind::nothing || last.kind == LastKind::dot) co_return at_;
  if (last.kind == LastKind::dotdot) {
    auto gone = go_up({});
    if (!gone) co_return error(gone.error());
    co_return at_;
  }
  if (Dentry* known = kernel::lookup_now(sb_, caller_, *at_, last.name, flags)) co_return Ref<Dentry>(*known);
  Ref<Dentry> directory = at_;
  auto found = co_await kernel::lookup(sb_, caller_, *directory, last.name, flags);
  co_return found;
}

Task<Result<Ref<Dentry>>> Walk::to_end(bool follow_symlink) {
  for (;;) {
    auto last = co_await to_last();
    if (!last) co_return error(last.error());
    auto found = co_await lookup_last(*last, kernel::lookup_flag::none);
    if (!found) co_return error(found.error());
    Ref<Dentry> dentry = *found;
    if (!dentry->inode) co_return error(Errno::enoent);
    const uint32_t mount = last->kind == LastKind::name ? mounted_on(*dentry) : 0;
    if (mount != 0) co_return error(leave_into(mount, {}).error());
    if (dentry->inode->is_lnk() && (follow_symlink || last->trailing_slash)) {
      auto followed = co_await follow_last(*dentry);
      if (!followed) co_return error(followed.error());
      continue;
    }
    if (last->trailing_slash && !dentry->inode->is_dir()) co_return error(Errno::enotdir);
    co_return dentry;
  }
}

}  // namespace fusewire::syscall
