#include "leader/needed_calls.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace fusewire::leader {
namespace {

constexpr long none = -1;
uint32_t futex_word = 0;

constexpr std::string_view descriptors = "descriptors and memory";
constexpr std::string_view names = "the namespace's directory and the paths of programs";
constexpr std::string_view sockets = "programs, daemons and the namespace's processes talk over sockets";
constexpr std::string_view ring = "programs call the kernel's half and sleep until it answers";
constexpr std::string_view processes = "the leader starts and ends processes";
constexpr std::string_view signals = "the gate catches system calls by a signal";
constexpr std::string_view host = "a mount's host process waits for programs and the daemon";
constexpr std::string_view closes = "a mount's host process learns from it when a file is closed";
constexpr std::string_view programs = "the gate loads programs";

const NeededCall calls[] = {
    {"access", SYS_access, {0, 0}, true, names},
    {"bind", SYS_bind, {none}, true, sockets},
    {"chmod", SYS_chmod, {0, 0}, true, names},
    {"clone", SYS_clone, {0x800 /* CLONE_SIGHAND alone: EINVAL */}, true, processes},
    {"close", SYS_close, {none}, true, descriptors},
    {"connect", SYS_connect, {none}, true, sockets},
    {"epoll_create1", SYS_epoll_create1, {none}, true, host},
    {"epoll_ctl", SYS_epoll_ctl, {none, 0, none}, true, host},
    {"epoll_wait", SYS_epoll_wait, {none, 0, 1, 0}, true, host},
    {"eventfd2", SYS_eventfd2, {0, none}, true, "a program rings its mount's host process by it"},
    {"execve", SYS_execve, {0, 0, 0}, true, processes},
    {"fallocate", SYS_fallocate, {none, 0, 0, 1}, true, "the mount table's room is reserved"},
    {"fchmod", SYS_fchmod, {none, 0}, true, descriptors},
    {"fcntl", SYS_fcntl, {none, F_GETFD}, true, descriptors},
    {"flock", SYS_flock, {none, 0}, true, "the place of the namespaces is locked while one is made"},
    {"fstat", SYS_fstat, {none, 0}, true, descriptors},
    {"ftruncate", SYS_ftruncate, {none, 0}, true, descriptors},
    {"futex", SYS_futex, {reinterpret_cast<intptr_t>(&futex_word), FUTEX_WAKE_PRIVATE, 1}, true, ring},
    {"getcwd", SYS_getcwd, {0, 0}, true, names},
    {"getdents64", SYS_getdents64, {none, 0, 0}, true, names},
    {"getegid", SYS_getegid, {}, true, "whose namespace it is"},
    {"geteuid", SYS_geteuid, {}, true, "whose namespace it is"},
    {"getgid", SYS_getgid, {}, true, "whose namespace it is"},
    {"getpid", SYS_getpid, {}, true, processes},
    {"getsockname", SYS_getsockname, {none, 0, 0}, true, sockets},
    {"getsockopt", SYS_getsockopt, {none, 0, 0, 0, 0}, true, sockets},
    {"gettid", SYS_gettid, {}, true, signals},
    {"getuid", SYS_getuid, {}, true, "whose namespace it is"},
    {"inotify_add_watch", SYS_inotify_add_watch, {none, 0, 0}, true, closes},
    {"inotify_init1", SYS_inotify_init1, {none}, true, closes},
    {"inotify_rm_watch", SYS_inotify_rm_watch, {none, 0}, false, "host processes keep watches of closed files"},
    {"kill", SYS_kill, {0, none}, false, "a namespace that ends cannot end its processes"},
    {"listen", SYS_listen, {none, 1}, true, sockets},
    {"lseek", SYS_lseek, {none, 0, 0}, false, "none"},
    {"memfd_create", SYS_memfd_create, {0, 0}, true, "memory that programs and host processes share"},
    {"mkdir", SYS_mkdir, {0, 0}, true, names},
    {"mmap", SYS_mmap, {1, 0, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, none, 0}, true, programs},
    {"mprotect", SYS_mprotect, {1, 1, PROT_NONE}, true, programs},
    {"munmap", SYS_munmap, {1, 1}, false, "memory is not given back"},
    {"newfstatat", SYS_newfstatat, {none, 0, 0, none}, true, names},
    {"openat", SYS_openat, {none, 0, 0, 0}, true, names},
    {"poll", SYS_poll, {0, 0, 0}, true, host},
    {"prctl", SYS_prctl, {none, 0, 0, 0, 0}, true, signals},
    {"pread64", SYS_pread64, {none, 0, 0, 0}, true, programs},
    {"read", SYS_read, {none, 0, 0}, true, descriptors},
    {"readlinkat", SYS_readlinkat, {none, 0, 0, 0}, true, names},
    {"recvmsg", SYS_recvmsg, {none, 0, 0}, true, sockets},
    {"rt_sigaction", SYS_rt_sigaction, {none, 0, 0, 8}, true, signals},
    {"rt_sigprocmask", SYS_rt_sigprocmask, {none, 0, 0, 8}, true, signals},
    {"rt_tgsigqueueinfo", SYS_rt_tgsigqueueinfo, {none, none, 0, 0}, true, signals},
    {"sched_getaffinity", SYS_sched_getaffinity, {0, 0, 0}, false, "programs sleep at once, as on a single processor"},
    {"sched_yield", SYS_sched_yield, {}, true, ring},
    {"sendmsg", SYS_sendmsg, {none, 0, 0}, true, sockets},
    {"setsockopt", SYS_setsockopt, {none, 0, 0, 0, 0}, true, sockets},
    {"signalfd4", SYS_signalfd4, {none, 0, 8, none}, true, processes},
    {"socket", SYS_socket, {none, 0, 0}, true, sockets},
    {"socketpair", SYS_socketpair, {none, 0, 0, 0}, true, sockets},
    {"stat", SYS_stat, {0, 0}, true, names},
    {"unlink", SYS_unlink, {0}, true, names},
    {"wait4", SYS_wait4, {none, 0, none, 0}, true, processes},
    {"write", SYS_write, {none, 0, 0}, true, descriptors},

    {"clone3",
     SYS_clone3,
     {0, 0},
     false,
     "EPERM from it is taken for an answer by the C library: programs cannot start threads then"},
    {"close_range", SYS_close_range, {1, 0, 0}, false, "descriptors are closed one by one"},
    {"copy_file_range",
     SYS_copy_file_range,
     {none, 0, none, 0, 0, none},
     false,
     "programs copy by reading and writing"},
    {"execveat", SYS_execveat, {none, 0, 0, 0, none}, false, "the gate is executed by its name in /proc"},
    {"faccessat2",
     SYS_faccessat2,
     {none, 0, none, none},
     false,
     "the right to execute a file is found out in another way, which sees no access control lists where a program runs "
     "with another user's rights"},
    {"getrandom", SYS_getrandom, {0, 0, none}, false, "/dev/urandom is read"},
    {"openat2", SYS_openat2, {none, 0, 0, 0}, false, "paths are walked component by component: slower"},
    {"pidfd_open", SYS_pidfd_open, {none, none}, false, "none"},
    {"renameat2", SYS_renameat2, {none, 0, none, 0, none}, false, "programs cannot exchange two files"},
    {"seccomp", SYS_seccomp, {none, 0, 0}, false, "none while Syscall User Dispatch works"},
    {"statx", SYS_statx, {none, 0, none, none, 0}, false, "programs use older calls"},
};

bool is_refusal(int error) { return error == EPERM || error == ENOSYS || error == EACCES; }

}  // namespace

std::span<const NeededCall> needed_calls() { return calls; }

int try_call(const NeededCall& call) {
  const long* a = call.argument;
  const long result = ::syscall(call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
  return result < 0 && is_refusal(errno) ? errno : 0;
}

RefusedCall first_refused() {
  for (const NeededCall& call : calls) {
    if (!call.required) continue;
    if (const int error = try_call(call); error != 0) return {&call, error};
  }
  return {};
}

std::string refusal_text(const RefusedCall& refused) {
  return fmt::format(
      "the system call {} is refused here ({}), by a container's or sandbox's filter or an old kernel; nothing can run "
      "in "
      "a namespace without it: {}. Allow it in the container's seccomp profile; `fusewire doctor` lists all that are "
      "refused",
      refused.call->name, std::strerror(refused.error), refused.call->use);
}

}  // namespace fusewire::leader
