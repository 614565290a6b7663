#include "gate/dispatch/native_first.h"

#include <linux/openat2.h>
#include <sys/sysmacros.h>

#include "gate/dispatch/descriptors.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/path_engine.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

// Whether the first name was a symlink when the namespace began (/bin, /lib): a walk without symlinks is then tried in
// vain.
bool starts_with_link(const NativeLook& look) {
  if (!look.absolute) return false;
  std::string_view name = look.text.view();
  while (name.starts_with('/')) name.remove_prefix(1);
  return is_link_in_root(name.substr(0, name.find('/')));
}

bool follows(long at_flags) { return (at_flags & AT_SYMLINK_NOFOLLOW) == 0; }

long fstatat(const NativeLook& look, const char* path, long at_flags, struct stat& st) {
  return raw_syscall(SYS_newfstatat, look.dirfd, native::of(path), native::of(&st), at_flags);
}

open_how how_without_symlinks(uint64_t flags, uint64_t mode) {
  open_how how{};
  how.flags = flags;
  how.mode = mode;
  how.resolve = RESOLVE_NO_SYMLINKS;
  return how;
}

long walk_without_symlinks(const NativeLook& look, bool follow) {
  return gate::walk_without_symlinks(look.dirfd, look.text.c_str(), follow);
}

// Not in a mount, not covered by one, and nothing that the gate shows differently: its own file, a shadow or what else
// stands for a file of a mount, and the removed directory that stands for a working directory in one.
bool is_plainly_native(const struct stat& st) {
  return st.st_nlink != 0 && !stands_for_virtual(st) && !may_be_covered(st.st_dev, st.st_ino);
}

// Errors that a virtual directory gives as a start, by what stands there natively.
bool may_be_of_start(const NativeLook& look, long error) {
  if (look.absolute) return false;
  if (look.dirfd != AT_FDCWD) return error == -ENOTDIR && possible.virtual_file;
  return error == -ENOENT && possible.virtual_cwd;
}

// A name that is not there, in a directory that is native, and no symlink that leads elsewhere.
bool is_missing_natively(const NativeLook& look, bool follow) {
  std::string_view path = look.text.view();
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return false;
  Text<256> parent;
  parent.assign(path.substr(0, slash + 1));
  struct stat st;
  if (fstatat(look, parent.c_str(), 0, st) != 0 || !is_plainly_native(st)) return false;
  return !follow || fstatat(look, look.text.c_str(), AT_SYMLINK_NOFOLLOW, st) == -ENOENT;
}

// Whether an error of the call made natively is the true one.
bool is_true_error(const NativeLook& look, bool follow, long error) {
  if (!ends_a_walk(error) || may_be_of_start(look, error)) return false;
  const long walked = starts_with_link(look) ? -ELOOP : walk_without_symlinks(look, follow);
  if (walked == error) return true;
  return walked == -ELOOP && error == -ENOENT && !look.in_proc && is_missing_natively(look, follow);
}

// Whether a stat proves the path native; then what it told.
bool is_proved(const NativeLook& look, bool follow, struct stat& st) {
  return fstatat(look, look.text.c_str(), follow ? 0 : AT_SYMLINK_NOFOLLOW, st) == 0 && is_plainly_native(st);
}

// Files of /proc, to which symlinks may lead (/etc/mtab), have contents of the gate's own.
bool may_be_of_proc(const struct stat& st) { return S_ISREG(st.st_mode) && st.st_size == 0 && major(st.st_dev) == 0; }

// The path leads by symlinks.
long open_by_links(const NativeLook& look, bool follow) {
  struct stat st;
  if (look.in_proc || !is_proved(look, follow, st) || may_be_of_proc(st) || S_ISCHR(st.st_mode)) return unsure;
  return pass_on;
}

// A signal came before the open or while it slept. Only fifos and devices let it sleep.
long open_after_signal(const NativeLook& look) {
  struct stat st;
  if (!is_proved(look, true, st)) return unsure;
  return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ? unsure : interrupted_sleep();
}

bool ends_in_name(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return !name.empty() && name != "." && name != "..";
}

}  // namespace

long walk_without_symlinks(int dirfd, const char* path, bool follow) {
  const open_how how = how_without_symlinks(O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW), 0);
  const long fd = raw_syscall(SYS_openat2, dirfd, native::of(path), native::of(&how), sizeof how);
  if (fd >= 0) native::close(static_cast<int>(fd));
  return fd < 0 ? fd : 0;
}

NativeLook::NativeLook(const CallFrame& frame, const PathArgument& argument) {
  if (!native_first()) return;
  if (argument.dirfd_index >= 0) dirfd = static_cast<int>(frame.arg[argument.dirfd_index]);
  const auto* path = reinterpret_cast<const char*>(frame.arg[argument.path_index]);
  const long n = copy_string_from_program(text.data(), path, 256);
  if (n <= 0) return;
  text.set_length(static_cast<size_t>(n));
  look();
}

NativeLook::NativeLook(int directory, std::string_view path) : dirfd(directory) {
  if (!native_first() || path.empty() || text.assign(path).overflowed()) return;
  look();
}

void NativeLook::look() {
  absolute = text.view().starts_with('/');
  if (possible.virtual_root && process().virtual_root.fd >= 0) return;
  if (!absolute && dirfd == AT_FDCWD && possible.virtual_cwd && process().cwd.fd >= 0) return;
  VirtualFile start;
  if (!absolute && dirfd != AT_FDCWD && is_known_virtual(dirfd, start)) return;
  std::string_view rest = text.view();
  while (!rest.empty()) {
    const std::string_view name = rest.substr(0, rest.find('/'));
    rest.remove_prefix(name.size() < rest.size() ? name.size() + 1 : name.size());
    if (name.empty() || name == "." || name == "..") continue;
    if (may_be_mount_name(name)) return;
    in_proc |= name == "proc";
  }
  allowed = true;
}

long stat_first(const NativeLook& look, long at_flags, struct stat& st) {
  if (!look.allowed) return unsure;
  const long known = at_flags & (AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT);
  const long r = fstatat(look, look.text.c_str(), known, st);
  if (r == 0) return is_plainly_native(st) ? 0 : unsure;
  return is_true_error(look, follows(at_flags), r) ? r : unsure;
}

long statx_first(const NativeLook& look, long at_flags, long mask, struct statx& st) {
  if (!look.allowed) return unsure;
  const long r = raw_syscall(SYS_statx, look.dirfd, native::of(look.text.c_str()), at_flags & ~long{AT_EMPTY_PATH},
                             mask | STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_INO, native::of(&st));
  if (r < 0) return is_true_error(look, follows(at_flags), r) ? r : unsure;
  return is_plainly_native(identity_of(st)) ? 0 : unsure;
}

long access_first(const NativeLook& look, long mode, long at_flags) {
  if (!look.allowed) return unsure;
  const bool plain = at_flags == 0;
  const long r = plain ? raw_syscall(SYS_faccessat, look.dirfd, native::of(look.text.c_str()), mode)
                       : raw_syscall(SYS_faccessat2, look.dirfd, native::of(look.text.c_str()), mode,
                                     at_flags & ~long{AT_EMPTY_PATH});
  if (r < 0 && is_true_error(look, follows(at_flags), r)) return r;
  struct stat st;
  return is_proved(look, follows(at_flags), st) ? r : unsure;
}

long open_first(const NativeLook& look, uint64_t flags, uint64_t mode) {
  constexpr uint64_t creating = O_CREAT | (O_TMPFILE & ~O_DIRECTORY);
  constexpr uint64_t known = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |
                             O_ASYNC | O_DIRECT | 0100000 /* O_LARGEFILE */ | O_DIRECTORY | O_NOFOLLOW | O_NOATIME |
                             O_CLOEXEC | O_PATH | O_TMPFILE;
  if (!look.allowed) return unsure;
  const bool follow = (flags & O_NOFOLLOW) == 0;
  const bool changes = (flags & (creating | O_TRUNC)) != 0;
  if (starts_with_link(look)) return changes ? unsure : open_by_links(look, follow);
  const open_how how = how_without_symlinks(flags & known, (flags & creating) != 0 ? mode : 0);
  const uint32_t begun = look_begins();
  const long fd = raw_sleep(SYS_openat2, look.dirfd, native::of(look.text.c_str()), native::of(&how), sizeof how);
  if (fd >= 0) {
    opened_native(static_cast<int>(fd), begun);
    return fd;
  }
  switch (fd) {
    case -EINTR:
      return open_after_signal(look);
    case -ELOOP:
      return changes ? unsure : open_by_links(look, follow);
    // The kernel, or a container, has no openat2; or the call itself is refused.
    case -ENOSYS:
    case -EPERM:
    case -EINVAL:
    case -E2BIG:
    case -EAGAIN:
      return unsure;
    default:
      return may_be_of_start(look, fd) ? unsure : fd;
  }
}

long readlink_first(const NativeLook& look, char* to, size_t room) {
  if (!look.allowed || look.in_proc || look.text.view().starts_with("/dev/")) return unsure;
  const long n =
      raw_syscall(SYS_readlinkat, look.dirfd, native::of(look.text.c_str()), native::of(to), static_cast<long>(room));
  if (n < 0) return n == -EINVAL || is_true_error(look, false, n) ? n : unsure;
  const std::string_view text(to, static_cast<size_t>(n));
  // A relative path may start in /proc; the texts of its own links there are absolute.
  if (text.starts_with('/') && !look.absolute) return unsure;
  const bool is_ours = text.starts_with("/memfd:") || text.starts_with(namespace_directory());
  return is_ours ? unsure : n;
}

long xattr_first(const NativeLook& look, const CallFrame& call) {
  if (!look.allowed || look.in_proc || !ends_in_name(look.text.view())) return unsure;
  const long r = native::call(call);
  const bool says_where = ends_a_walk(r) || r == -ELOOP;
  return !says_where || is_true_error(look, false, r) ? r : unsure;
}

bool is_native_path(const NativeLook& look, bool follow, bool makes) {
  if (!look.allowed || look.in_proc) return false;
  if (makes && !starts_with_link(look)) {
    const long walked = walk_without_symlinks(look, follow);
    if (walked == 0) return true;
    if (ends_a_walk(walked) && !may_be_of_start(look, walked)) return true;
  }
  struct stat st;
  const long r = fstatat(look, look.text.c_str(), follow ? 0 : AT_SYMLINK_NOFOLLOW, st);
  if (r < 0) return is_true_error(look, follow, r);
  // A symlink may be one of /proc's, which a relative path or another symlink leads to.
  return is_plainly_native(st) && !(S_ISLNK(st.st_mode) && major(st.st_dev) == 0);
}

}  // namespace fusewire::gate
