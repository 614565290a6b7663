// docker_profile PROGRAM ARG...: runs the program as in a container of Docker's with its default profile and without
// added capabilities: the calls that the profile leaves out are EPERM (clone3 ENOSYS), clone(2) makes no namespaces.
// From moby's profiles/seccomp/default.json, for a process without CAP_SYS_ADMIN and its like.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <vector>

namespace {

constexpr unsigned refused[] = {SYS_acct,
                                SYS_add_key,
                                SYS_bpf,
                                SYS_clock_adjtime,
                                SYS_clock_settime,
                                SYS_create_module,
                                SYS_delete_module,
                                SYS_finit_module,
                                SYS_fsconfig,
                                SYS_fsmount,
                                SYS_fsopen,
                                SYS_fspick,
                                SYS_get_kernel_syms,
                                SYS_get_mempolicy,
                                SYS_init_module,
                                SYS_ioperm,
                                SYS_iopl,
                                SYS_kcmp,
                                SYS_kexec_file_load,
                                SYS_kexec_load,
                                SYS_keyctl,
                                SYS_lookup_dcookie,
                                SYS_mbind,
                                SYS_mount,
                                SYS_mount_setattr,
                                SYS_move_mount,
                                SYS_move_pages,
                                SYS_name_to_handle_at,
                                SYS_nfsservctl,
                                SYS_open_by_handle_at,
                                SYS_open_tree,
                                SYS_perf_event_open,
                                SYS_pivot_root,
                                SYS_process_madvise,
                                SYS_query_module,
                                SYS_quotactl,
                                SYS_reboot,
                                SYS_request_key,
                                SYS_set_mempolicy,
                                SYS_setdomainname,
                                SYS_sethostname,
                                SYS_setns,
                                SYS_settimeofday,
                                SYS_swapoff,
                                SYS_swapon,
                                SYS_syslog,
                                SYS_umount2,
                                SYS_unshare,
                                SYS_uselib,
                                SYS_userfaultfd,
                                SYS_ustat,
                                SYS_vhangup,
                                SYS__sysctl,
                                SYS_sysfs,
                                SYS_io_uring_setup,
                                SYS_io_uring_enter,
                                SYS_io_uring_register,
                                SYS_fanotify_init};

constexpr unsigned denied = SECCOMP_RET_ERRNO | EPERM;
constexpr unsigned new_namespaces =
    CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;

}  // namespace

int main(int count, char** argument) {
  if (count < 2) return 125;
  std::vector<sock_filter> filter{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, denied),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
  };
  for (const unsigned number : refused) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, denied));
  }
  filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3));
  filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])));
  filter.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, new_namespaces, 0, 1));
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, denied));
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 125;
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 125;
  ::execvp(argument[1], argument + 1);
  return 126;
}
