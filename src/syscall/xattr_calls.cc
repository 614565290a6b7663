// Extended attributes by path and by open file (Linux fs/xattr.c).
#include "kernel/xattr.h"

#include "kernel/permissions.h"
#include "syscall/mount_impl.h"

namespace fusewire::syscall {

namespace {

// A name with its NUL. Linux answers ERANGE for one that is empty or too long.
class XattrName {
 public:
  static Result<XattrName> from(std::string_view text) {
    if (text.empty() || text.size() > kernel::xattr_name_max) return error(Errno::erange);
    XattrName name;
    name.length_ = text.size();
    __builtin_memcpy(name.text_, text.data(), text.size());
    return name;
  }
  std::string_view text() const { return {text_, length_}; }

 private:
  char text_[kernel::xattr_name_max + 1] = {};
  size_t length_ = 0;
};

Result<void> only_errno(const Result<XattrName>& name) {
  if (!name) return error(name.error());
  return {};
}

bool starts_with(std::string_view name, std::string_view prefix) {
  return name.size() >= prefix.size() && name.substr(0, prefix.size()) == prefix;
}

constexpr std::string_view capability = "security.capability";

// xattr_permission.
Task<Result<void>> may_use(Inode& inode, Caller& caller, std::string_view name, uint32_t mask) {
  const bool writes = (mask & abi::may_write) != 0;
  const Errno refusal = writes ? Errno::eperm : Errno::enodata;
  // cap_inode_setxattr, cap_inode_removexattr; the capability has checks of its own in either.
  if (writes && starts_with(name, "security.") && name != capability && !caller.may(kernel::Capability::sys_admin))
    co_return error(Errno::eperm);
  if (starts_with(name, "security.") || starts_with(name, "system.")) co_return Result<void>();
  if (starts_with(name, "trusted.")) {
    if (!caller.may(kernel::Capability::sys_admin)) co_return error(refusal);
    co_return Result<void>();
  }
  if (starts_with(name, "user.")) {
    if (!inode.is_reg() && !inode.is_dir()) co_return error(refusal);
    const bool sticky = inode.is_dir() && (inode.checked_mode() & abi::s_isvtx);
    const bool owner = caller.may_as_owner(inode.attr.uid);
    if (sticky && writes && !owner) co_return error(Errno::eperm);
  }
  auto allowed = co_await kernel::permission(inode, caller, mask);
  co_return allowed;
}

Result<XattrName> checked_value(std::string_view text, size_t size, uint32_t flags) {
  if (flags & ~(abi::xattr_create | abi::xattr_replace)) return error(Errno::einval);
  if (size > kernel::xattr_size_max) return error(Errno::e2big);
  return XattrName::from(text);
}

// cap_convert_nscap: nobody sets capabilities that are none, and only who has CAP_SETFCAP sets any.
Result<void> check_capability(const Caller& caller, std::string_view name, std::span<const std::byte> value) {
  if (name != capability || value.empty()) return {};
  constexpr size_t size_of_version[] = {0, 0, 20, 24};
  const auto version = value.size() >= sizeof(uint32_t) ? static_cast<size_t>(value[3]) : 0;
  if (version < 2 || version > 3 || value.size() != size_of_version[version]) return error(Errno::einval);
  if (!caller.may(kernel::Capability::setfcap)) return error(Errno::eperm);
  return {};
}

// posix_acl_from_xattr, before anybody is asked whether there are ACLs at all.
Result<void> check_acl(std::string_view name, std::span<const std::byte> value) {
  constexpr size_t header_size = 4;
  constexpr uint32_t known_version = 2;
  const bool is_acl = name == "system.posix_acl_access" || name == "system.posix_acl_default";
  if (!is_acl || value.empty()) return {};
  if (value.size() < header_size) return error(Errno::einval);
  uint32_t version = 0;
  __builtin_memcpy(&version, value.data(), sizeof version);
  return version == known_version ? Result<void>() : error(Errno::eopnotsupp);
}

Task<Result<void>> set_on(Inode& inode, Caller& caller, std::string_view text, std::span<const std::byte> value,
                          uint32_t flags) {
  CO_TRY(name, checked_value(text, value.size(), flags));
  CO_TRY_VOID(check_capability(caller, text, value));
  CO_TRY_VOID(check_acl(text, value));
  auto allowed = co_await may_use(inode, caller, name.text(), abi::may_write);
  if (!allowed) co_return allowed;
  auto guard = co_await inode.lock.exclusive(inode.sb.ready(), caller);
  if (!guard) co_return error(guard.error());
  auto done = co_await kernel::set_xattr(inode, caller, name.text(), value, flags);
  co_return done;
}

// ERANGE for the largest buffer there can be: no retry with a larger one will help.
Result<size_t> size_or_too_big(Result<size_t> got, size_t room) {
  if (!got && got.error() == Errno::erange && room >= kernel::xattr_size_max) return error(Errno::e2big);
  return got;
}

Task<Result<size_t>> get_from(Inode& inode, Caller& caller, std::string_view text, std::span<std::byte> value) {
  CO_TRY(name, XattrName::from(text));
  auto allowed = co_await may_use(inode, caller, name.text(), abi::may_read);
  if (!allowed) co_return error(allowed.error());
  auto got = co_await kernel::get_xattr(inode, caller, name.text(), value);
  co_return size_or_too_big(got, value.size());
}

Task<Result<void>> remove_from(Inode& inode, Caller& caller, std::string_view text) {
  CO_TRY(name, XattrName::from(text));
  auto allowed = co_await may_use(inode, caller, name.text(), abi::may_write);
  if (!allowed) co_return allowed;
  if (name.text() == capability && !caller.may(kernel::Capability::setfcap)) co_return error(Errno::eperm);
  auto guard = co_await inode.lock.exclusive(inode.sb.ready(), caller);
  if (!guard) co_return error(guard.error());
  auto done = co_await kernel::remove_xattr(inode, caller, name.text());
  co_return done;
}

Task<Result<Ref<Dentry>>> target(MountImpl& mount, Caller& caller, Place place, uint32_t at_flags, Leave& leave) {
  if (at_flags & ~(abi::at_symlink_nofollow | abi::at_empty_path)) co_return error(Errno::einval);
  auto found = co_await resolve(mount, caller, place, at_flags, leave);
  co_return found;
}

void tell(const MountImpl& mount, Dentry& dentry, File* file) {
  if (mount.events) mount.events->changed(dentry, Change::attributes, file);
}

Task<Result<void>> set_at(MountImpl& mount, Caller& caller, Place place, std::string_view name,
                          std::span<const std::byte> value, uint32_t flags, uint32_t at_flags, Leave& leave) {
  // Arguments are looked at before the path, as Linux does.
  CO_TRY_VOID(only_errno(checked_value(name, value.size(), flags)));
  auto found = co_await target(mount, caller, place, at_flags, leave);
  if (!found) co_return error(found.error());
  if (mount.is_read_only(place)) co_return error(Errno::erofs);
  Ref<Inode> inode(*(*found)->inode);
  auto done = co_await set_on(*inode, caller, name, value, flags);
  if (done) tell(mount, **found, nullptr);
  co_return done;
}

Task<Result<size_t>> get_at(MountImpl& mount, Caller& caller, Place place, std::string_view name,
                            std::span<std::byte> value, uint32_t at_flags, Leave& leave) {
  CO_TRY_VOID(only_errno(XattrName::from(name)));
  auto found = co_await target(mount, caller, place, at_flags, leave);
  if (!found) co_return error(found.error());
  Ref<Inode> inode(*(*found)->inode);
  auto got = co_await get_from(*inode, caller, name, value);
  co_return got;
}

Task<Result<size_t>> list_at(MountImpl& mount, Caller& caller, Place place, std::span<char> list, uint32_t at_flags,
                             Leave& leave) {
  auto found = co_await target(mount, caller, place, at_flags, leave);
  if (!found) co_return error(found.error());
  Ref<Inode> inode(*(*found)->inode);
  auto got = co_await kernel::list_xattr(*inode, caller, list);
  co_return size_or_too_big(got, list.size());
}

Task<Result<void>> remove_at(MountImpl& mount, Caller& caller, Place place, std::string_view name, uint32_t at_flags,
                             Leave& leave) {
  CO_TRY_VOID(only_errno(XattrName::from(name)));
  auto found = co_await target(mount, caller, place, at_flags, leave);
  if (!found) co_return error(found.error());
  if (mount.is_read_only(place)) co_return error(Errno::erofs);
  Ref<Inode> inode(*(*found)->inode);
  auto done = co_await remove_from(*inode, caller, name);
  if (done) tell(mount, **found, nullptr);
  co_return done;
}

Task<Result<void>> set_file(MountImpl& mount, File& file, Caller& caller, std::string_view name,
                            std::span<const std::byte> value, uint32_t flags) {
  FileUse use(file);
  if (file.is_path()) co_return error(Errno::ebadf);
  if (mount.is_read_only(file.mount)) co_return error(Errno::erofs);
  auto done = co_await set_on(*file.inode, caller, name, value, flags);
  if (done) tell(mount, *file.dentry, &file);
  co_return done;
}

Task<Result<size_t>> get_file(File& file, Caller& caller, std::string_view name, std::span<std::byte> value) {
  FileUse use(file);
  if (file.is_path()) co_return error(Errno::ebadf);
  auto got = co_await get_from(*file.inode, caller, name, value);
  co_return got;
}

Task<Result<size_t>> list_file(File& file, Caller& caller, std::span<char> list) {
  FileUse use(file);
  if (file.is_path()) co_return error(Errno::ebadf);
  auto got = co_await kernel::list_xattr(*file.inode, caller, list);
  co_return size_or_too_big(got, list.size());
}

Task<Result<void>> remove_file(MountImpl& mount, File& file, Caller& caller, std::string_view name) {
  FileUse use(file);
  if (file.is_path()) co_return error(Errno::ebadf);
  if (mount.is_read_only(file.mount)) co_return error(Errno::erofs);
  auto done = co_await remove_from(*file.inode, caller, name);
  if (done) tell(mount, *file.dentry, &file);
  co_return done;
}

}  // namespace

Task<Result<void>> Mount::sys_setxattr(Caller& caller, Place place, std::string_view name,
                                       std::span<const std::byte> value, uint32_t flags, uint32_t at_flags,
                                       Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "setxattr", {place.start},
                  [&mount, &caller, &leave, place, name, value, flags, at_flags] {
                    return set_at(mount, caller, place, name, value, flags, at_flags, leave);
                  });
}

Task<Result<size_t>> Mount::sys_getxattr(Caller& caller, Place place, std::string_view name, std::span<std::byte> value,
                                         uint32_t at_flags, Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "getxattr", {place.start}, [&mount, &caller, &leave, place, name, value, at_flags] {
    return get_at(mount, caller, place, name, value, at_flags, leave);
  });
}

Task<Result<size_t>> Mount::sys_listxattr(Caller& caller, Place place, std::span<char> list, uint32_t at_flags,
                                          Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "listxattr", {place.start}, [&mount, &caller, &leave, place, list, at_flags] {
    return list_at(mount, caller, place, list, at_flags, leave);
  });
}

Task<Result<void>> Mount::sys_removexattr(Caller& caller, Place place, std::string_view name, uint32_t at_flags,
                                          Leave& leave) {
  MountImpl& mount = impl(*this);
  return run_path(mount, caller, "removexattr", {place.start}, [&mount, &caller, &leave, place, name, at_flags] {
    return remove_at(mount, caller, place, name, at_flags, leave);
  });
}

Task<Result<void>> Mount::sys_fsetxattr(Caller& caller, OpenFile& file, std::string_view name,
                                        std::span<const std::byte> value, uint32_t flags) {
  return run(impl(*this), caller, "fsetxattr", set_file(impl(*this), file, caller, name, value, flags));
}

Task<Result<size_t>> Mount::sys_fgetxattr(Caller& caller, OpenFile& file, std::string_view name,
                                          std::span<std::byte> value) {
  return run(impl(*this), caller, "fgetxattr", get_file(file, caller, name, value));
}

Task<Result<size_t>> Mount::sys_flistxattr(Caller& caller, OpenFile& file, std::span<char> list) {
  return run(impl(*this), caller, "flistxattr", list_file(file, caller, list));
}

Task<Result<void>> Mount::sys_fremovexattr(Caller& caller, OpenFile& file, std::string_view name) {
  return run(impl(*this), caller, "fremovexattr", remove_file(impl(*this), file, caller, name));
}

}  // namespace fusewire::syscall
