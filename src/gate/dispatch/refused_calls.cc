// Calls that are not served on virtual files: they fail clearly, and say so in the namespace's log.
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/path_engine.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

struct Refusal {
  long nr;
  PathArgument path;
  long error;
  const char* name;
};

constexpr int call_fspick = 433, call_mount_setattr = 442, call_setxattrat = 463, call_getxattrat = 464;
constexpr int call_listxattrat = 465, call_removexattrat = 466, call_file_getattr = 468, call_file_setattr = 469;

constexpr Refusal refusals[] = {
    {SYS_chroot, {-1, 0, {}}, -EPERM, "chroot"},
    {SYS_pivot_root, {-1, 0, {}}, -EPERM, "pivot_root"},
    {SYS_acct, {-1, 0, {}}, -EPERM, "acct"},
    {SYS_swapon, {-1, 0, {}}, -EPERM, "swapon"},
    {SYS_inotify_add_watch, {-1, 1, {}}, -ENOSYS, "inotify_add_watch"},
    {SYS_fanotify_mark, {3, 4, {}}, -ENOSYS, "fanotify_mark"},
    {SYS_name_to_handle_at, {0, 1, {.follow = false, .empty_path = true}}, -EOPNOTSUPP, "name_to_handle_at"},
    {SYS_open_tree, {0, 1, {.empty_path = true}}, -EPERM, "open_tree"},
    {SYS_move_mount, {2, 3, {.empty_path = true}}, -EPERM, "move_mount"},
    {call_fspick, {0, 1, {.empty_path = true}}, -EPERM, "fspick"},
    {call_mount_setattr, {0, 1, {.empty_path = true}}, -EPERM, "mount_setattr"},
    {call_setxattrat, {0, 1, {.empty_path = true}}, -ENOSYS, "setxattrat"},
    {call_getxattrat, {0, 1, {.empty_path = true}}, -ENOSYS, "getxattrat"},
    {call_listxattrat, {0, 1, {.empty_path = true}}, -ENOSYS, "listxattrat"},
    {call_removexattrat, {0, 1, {.empty_path = true}}, -ENOSYS, "removexattrat"},
    {call_file_getattr, {0, 1, {.empty_path = true}}, -ENOSYS, "file_getattr"},
    {call_file_setattr, {0, 1, {.empty_path = true}}, -ENOSYS, "file_setattr"},
};

// bind and connect of a local socket by a path.
long local_socket(const CallFrame& f, const char* name) {
  sockaddr_un address{};
  const auto length = static_cast<uint32_t>(f.arg[2]);
  constexpr size_t path_at = offsetof(sockaddr_un, sun_path);
  if (length <= path_at || length > sizeof address) return pass_on;
  if (copy_from_program(&address, reinterpret_cast<const void*>(f.arg[1]), length) != 0) return -EFAULT;
  if (address.sun_family != AF_UNIX || address.sun_path[0] == 0) return pass_on;
  Text<sizeof address.sun_path + 1> path;
  size_t n = 0;
  while (n < length - path_at && address.sun_path[n] != 0) n++;
  path.assign({address.sun_path, n});
  Where where;
  const long r = resolve(AT_FDCWD, path.c_str(), {}, where);
  if (r < 0) return r;
  if (where.is_virtual) return refuse(-EOPNOTSUPP, name, path.view(), "sockets in mounts are not served");
  if (!where.rewritten) return pass_on;
  if (where.text.length() >= sizeof address.sun_path) return -ENAMETOOLONG;
  __builtin_memcpy(address.sun_path, where.text.c_str(), where.text.length() + 1);
  return raw_syscall(f.nr, f.arg[0], native::of(&address), sizeof address);
}

}  // namespace

long call_refused_on_mounts(const CallFrame& f) {
  for (const Refusal& refusal : refusals) {
    if (refusal.nr != f.nr) continue;
    if (f.arg[refusal.path.path_index] == 0) return pass_on;
    Where where;
    const long r = resolve_argument(f, refusal.path, where);
    if (r < 0) return r;
    if (where.is_virtual) return refuse(refusal.error, refusal.name, where.text.view(), "not served in mounts");
    return pass_natively(f, refusal.path, where);
  }
  return pass_on;
}

long call_bind(const CallFrame& f) { return local_socket(f, "bind"); }
long call_connect(const CallFrame& f) { return local_socket(f, "connect"); }

// A ring would read and write virtual files past the gate, so there is none (programs fall back).
long call_io_uring_setup(const CallFrame&) {
  return refuse(-ENOSYS, "io_uring_setup", "", "a ring would pass the gate by; programs use other calls instead");
}

}  // namespace fusewire::gate
