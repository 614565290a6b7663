// The process's own state: working directory, umask, credentials.
#include <linux/sched.h>

#include "abi/leader_protocol.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/path_engine.h"
#include "gate/dispatch/places.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/process_links.h"
#include "gate/dispatch/roots.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

void leave_virtual_cwd(Process& p) {
  const int old = p.cwd.fd.exchange(-1);
  if (old >= 0) forget_internal(p, old);
}

bool has_threads() {
  struct stat st;
  constexpr unsigned links_of_one_thread = 3;
  const long r = raw_syscall(SYS_stat, native::of("/proc/self/task"), native::of(&st));
  return r < 0 || st.st_nlink > links_of_one_thread;
}

// A directory that is removed already: not even root can make a file in it. Who cannot make one in the namespace's
// directory (another user, a process after chroot) gets one from the leader.
// Its name says for which directory it stands.
long enter_nowhere(VirtualFile file) {
  const PathText path = in_namespace(nowhere_name(file).view());
  raw_syscall(SYS_mkdir, native::of(path.c_str()), 0500);
  raw_syscall(SYS_chmod, native::of(path.c_str()), 0500);  // whatever the umask is
  int directory = native::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    raw_syscall(SYS_rmdir, native::of(path.c_str()));
  } else {
    abi::LeaderRequest request;
    start_request(request, abi::LeaderOperation::open_void);
    set_field(request.path, nowhere_name(file).view());
    if (const long r = ask_leader(request, -1, &directory); r < 0) return r;
  }
  if (directory < 0) return -EMFILE;
  const long r = raw_syscall(SYS_fchdir, directory);
  native::close(directory);
  return r;
}

// The directory opened becomes the cwd; the real one is then an empty directory, so that a call that is not ours cannot
// reach a wrong file by a relative path.
long enter_virtual_cwd(RingCall& call, long result) {
  possible.virtual_file = true;
  const long opened = opened_descriptor(call, result, false);
  if (opened < 0) return opened;
  if (possible.own_cwds && has_threads()) {
    native::close(static_cast<int>(opened));
    return refuse(-EOPNOTSUPP, "chdir", "", "a thread alone cannot have its working directory in a mount");
  }
  Process& p = process();
  const int fd = keep_internal(p, static_cast<int>(opened), false);
  // Other threads look from now on.
  possible.virtual_cwd = true;
  const CwdChange change(p.cwd);
  const long moved = enter_nowhere({call.connection(), call.opened_token()});
  if (moved < 0) {
    forget_internal(p, fd);
    return moved;
  }
  leave_virtual_cwd(p);
  p.cwd.connection = call.connection();
  p.cwd.token = call.opened_token();
  p.cwd.fd = fd;
  return 0;
}

// The real root becomes the directory that stands for it; the working directory stays.
long make_nowhere_the_root(VirtualFile root) {
  const long here = with_room(process(), [] { return long{native::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)}; });
  long r = here < 0 ? here : enter_nowhere(root);
  if (r == 0) r = raw_syscall(SYS_chroot, native::of("."));
  // The directory that stands for it is closed to those who may not change their root.
  if (r == -EACCES) r = -EPERM;
  if (here < 0) return r;
  const long back = raw_syscall(SYS_fchdir, here);
  native::close(static_cast<int>(here));
  return r < 0 ? r : back;
}

long enter_virtual_root(RingCall& call, long result) {
  possible.virtual_file = true;
  const long opened = opened_descriptor(call, result, false);
  if (opened < 0) return opened;
  Process& p = process();
  const int fd = keep_internal(p, static_cast<int>(opened), false);
  if (fd < 0) return fd;
  const CwdChange change(p.cwd);
  const long r = make_nowhere_the_root({call.connection(), call.opened_token()});
  if (r < 0) {
    forget_internal(p, fd);
    return r;
  }
  leave_virtual_root(p);
  p.virtual_root.connection = call.connection();
  p.virtual_root.token = call.opened_token();
  p.virtual_root.fd = fd;
  possible.virtual_root = true;
  return 0;
}

long change_root_natively(const CallFrame& f, const Where& where) {
  if (where.rewritten) return change_root(where.text.c_str());
  PathText path;
  const long n = copy_string_from_program(path.data(), reinterpret_cast<const char*>(f.arg[0]), path_room);
  if (n < 0) return n;
  path.set_length(static_cast<size_t>(n));
  return change_root(path.c_str());
}

// A native chdir or fchdir. seen: the version of the cwd when the call was looked at; it may have changed since.
long change_natively(const CallFrame& f, uint32_t seen) {
  if (!possible.virtual_cwd) return native::call(f);
  Process& p = process();
  const CwdChange change(p.cwd);
  if (p.cwd.version != seen + 1) return abi::stale_token;
  const long r = native::call(f);
  if (r == 0) leave_virtual_cwd(p);
  return r;
}

// setns(2) as `fusewire run` makes it within the namespace (leader_protocol.h). The answer to view_open comes on the
// socket, to the program.
bool view_call(const CallFrame& f, long& result) {
  if (static_cast<int>(f.arg[0]) != -1) return false;
  const auto kind = static_cast<int>(f.arg[1]);
  if (kind == abi::view_open) {
    abi::LeaderRequest request;
    start_request(request, abi::LeaderOperation::open_view);
    result = send_to_leader(request, -1);
    return true;
  }
  if (kind != abi::view_enter) return false;
  result = process().views.enter(static_cast<uint32_t>(f.arg[2])) ? 0 : -ENOSPC;
  if (result == 0 && (f.arg[3] & abi::view_native_setid) != 0) let_set_id_programs_leave();
  return true;
}

}  // namespace

long call_chdir(const CallFrame& f) {
  const uint32_t seen = process().cwd.version & ~1u;
  return path_call(
      f, {-1, 0, {}}, abi::CallNumber::chdir, start_itself, no_fill,
      [](RingCall& call, long result) { return enter_virtual_cwd(call, result); },
      [seen](const CallFrame& frame, const PathArgument& path, const Where& where) {
        return change_natively(with_path(frame, path, where), seen);
      });
}

long call_fchdir(const CallFrame& f) {
  VirtualFile file;
  const auto fd = static_cast<int>(f.arg[0]);
  if (may_be_internal(fd) && is_internal(process(), fd)) return -EBADF;
  const uint32_t seen = process().cwd.version & ~1u;
  if (!is_virtual(fd, file)) {
    const long r = change_natively(f, seen);
    return r == -ENOTDIR && is_virtual(fd, file) ? long{abi::stale_token} : r;
  }
  RingCall call(file.connection, abi::CallNumber::chdir, f.nr);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  call.set_path1(".");
  return enter_virtual_cwd(call, call.run());
}

long call_chroot(const CallFrame& f) {
  return path_call(
      f, {-1, 0, {}}, abi::CallNumber::chdir, start_itself, no_fill,
      [](RingCall& call, long result) { return enter_virtual_root(call, result); },
      [](const CallFrame& frame, const PathArgument&, const Where& where) {
        return change_root_natively(frame, where);
      });
}

long call_getcwd(const CallFrame& f) {
  if (!possible.virtual_cwd) return pass_on;
  VirtualFile cwd;
  if (!virtual_cwd(process(), cwd)) {
    const long r = native::call(f);
    return virtual_cwd(process(), cwd) ? long{abi::stale_token} : r;
  }
  PathText path;
  const long r = path_of_file(cwd, path);
  if (r < 0) return r;
  if (path.view().ends_with(" (deleted)")) return -ENOENT;
  const size_t bytes = path.length() + 1;
  if (bytes > static_cast<size_t>(f.arg[1])) return -ERANGE;
  const int copied = copy_to_program(reinterpret_cast<void*>(f.arg[0]), path.c_str(), bytes);
  return copied != 0 ? -EFAULT : static_cast<long>(bytes);
}

long call_umask(const CallFrame& f) {
  const long old = native::call(f);
  process().umask = static_cast<uint32_t>(f.arg[0]) & 0777;
  return old;
}

// Linux 5.6. Children have another CLOCK_MONOTONIC then, by which nothing in a view ends when it should.
constexpr long clone_new_time = 0x80;

// A virtual cwd is the process's. A thread that gets one of its own would share it, and lead others to wrong files.
long call_unshare(const CallFrame& f) {
  if ((f.arg[0] & CLONE_FILES) != 0) give_up_shadows(process());
  if ((f.arg[0] & CLONE_NEWUSER) != 0) retire_rings(process());
  if ((f.arg[0] & clone_new_time) != 0) use_no_views(process());
  if ((f.arg[0] & CLONE_NEWNS) != 0 && !has_threads()) return leave_mount_namespace(f);
  if ((f.arg[0] & (CLONE_FS | CLONE_NEWNS)) == 0 || !has_threads()) return pass_on;
  if (possible.virtual_cwd && process().cwd.fd >= 0) {
    return refuse(-EPERM, "unshare", "CLONE_FS", "the threads' working directory is in a mount");
  }
  possible.own_cwds = true;
  return pass_on;
}

// Hosts believe what the kernel says of a client's socket and its thread, at the time of the first call. Of several
// threads each has credentials of its own; glibc's functions change those of all, one after the other.
long call_set_credentials(const CallFrame& f) {
  Process& p = process();
  const bool threads = has_threads();
  if (threads) keep_rings_by_identity(p);
  const long r = native::call(f);
  if (r < 0) return r;
  if (threads)
    identity_changed(p);
  else
    retire_rings(p);
  return r;
}

// Into another user namespace: its capabilities are others. Only a process of one thread goes there.
long call_setns(const CallFrame& f) {
  if (long result; view_call(f, result)) return result;
  const long r = native::call(f);
  if (r < 0) return pass_on;
  retire_rings(process());
  return native_mounts_changed(r);  // it may have come into another mount namespace
}

// Its number may be another thread's.
long call_exit(const CallFrame&) {
  forget_thread(process());
  return pass_on;
}

}  // namespace fusewire::gate
