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

constexpr int call_fspick = 433, call_mount_setattr = 442, call_file_getattr = 468, call_file_setattr = 469;

// The calls of the mount API are unknown here, so that programs fall back on mount(2).
constexpr Refusal refusals[] = {
    {SYS_acct, {-1, 0, {}}, -EPERM, "acct"},
    // As of a file system that has no swap files.
    {SYS_swapon, {-1, 0, {}}, -EINVAL, "swapon"},
    // As of a file system without an id (fanotify_mark(2) names FUSE), so that programs use inotify.
    {SYS_fanotify_mark, {3, 4, {}}, -ENODEV, "fanotify_mark"},
    {SYS_open_tree, {0, 1, {.empty_path = true}}, -ENOSYS, "open_tree"},
    {SYS_move_mount, {2, 3, {.empty_path = true}}, -ENOSYS, "move_mount"},
    {call_fspick, {0, 1, {.empty_path = true}}, -ENOSYS, "fspick"},
    {call_mount_setattr, {0, 1, {.empty_path = true}}, -ENOSYS, "mount_setattr"},
    {call_file_getattr, {0, 1, {.empty_path = true}}, -ENOSYS, "file_getattr"},
    {call_file_setattr, {0, 1, {.empty_path = true}}, -ENOSYS, "file_setattr"},
};

}  // namespace

long call_refused_on_mounts(const CallFrame& f) {
  for (const Refusal& refusal : refusals) {
    if (refusal.nr != f.nr) continue;
    if (f.arg[refusal.path.path_index] == 0) return pass_on;
    Where where;
    const long r = resolve_argument(f, refusal.path, where);
    if (r < 0) return r;
    // Who may not swap at all is told that first.
    if (where.is_virtual && f.nr == SYS_swapon && raw_syscall(SYS_swapon, native::of(""), f.arg[1]) == -EPERM)
      return -EPERM;
    if (where.is_virtual) return refuse(refusal.error, refusal.name, where.text.view(), "not served in mounts");
    return pass_natively(f, refusal.path, where);
  }
  return pass_on;
}

// A ring would read and write virtual files past the gate, so there is none (programs fall back).
long call_io_uring_setup(const CallFrame&) {
  return refuse(-ENOSYS, "io_uring_setup", "", "a ring would pass the gate by; programs use other calls instead");
}

}  // namespace fusewire::gate
