// The calls that the dispatcher knows, one handler each: done for the program, or passed on natively.
// A handler gets the program's registers and returns the raw result. Thread rule: dispatch_call's.
#pragma once

#include "gate/gate.h"

namespace fusewire::gate {

using Handler = long (*)(const CallFrame&);

// open_calls.cc
long call_open(const CallFrame&);
long call_creat(const CallFrame&);
long call_openat(const CallFrame&);
long call_openat2(const CallFrame&);

// stat_calls.cc
long call_stat(const CallFrame&);
long call_lstat(const CallFrame&);
long call_fstat(const CallFrame&);
long call_newfstatat(const CallFrame&);
long call_statx(const CallFrame&);
long call_statfs(const CallFrame&);
long call_fstatfs(const CallFrame&);
long call_access(const CallFrame&);
long call_faccessat(const CallFrame&);
long call_faccessat2(const CallFrame&);
long call_readlink(const CallFrame&);
long call_readlinkat(const CallFrame&);

// name_calls.cc: making, removing and moving names
long call_mkdir(const CallFrame&);
long call_mkdirat(const CallFrame&);
long call_mknod(const CallFrame&);
long call_mknodat(const CallFrame&);
long call_symlink(const CallFrame&);
long call_symlinkat(const CallFrame&);
long call_unlink(const CallFrame&);
long call_unlinkat(const CallFrame&);
long call_rmdir(const CallFrame&);
long call_rename(const CallFrame&);
long call_renameat(const CallFrame&);
long call_renameat2(const CallFrame&);
long call_link(const CallFrame&);
long call_linkat(const CallFrame&);

// attribute_calls.cc: mode, owner, size, times
long call_chmod(const CallFrame&);
long call_fchmod(const CallFrame&);
long call_fchmodat(const CallFrame&);
long call_fchmodat2(const CallFrame&);
long call_chown(const CallFrame&);
long call_lchown(const CallFrame&);
long call_fchown(const CallFrame&);
long call_fchownat(const CallFrame&);
long call_truncate(const CallFrame&);
long call_ftruncate(const CallFrame&);
long call_utime(const CallFrame&);
long call_utimes(const CallFrame&);
long call_futimesat(const CallFrame&);
long call_utimensat(const CallFrame&);

// xattr_calls.cc
long call_setxattr(const CallFrame&);
long call_lsetxattr(const CallFrame&);
long call_fsetxattr(const CallFrame&);
long call_getxattr(const CallFrame&);
long call_lgetxattr(const CallFrame&);
long call_fgetxattr(const CallFrame&);
long call_listxattr(const CallFrame&);
long call_llistxattr(const CallFrame&);
long call_flistxattr(const CallFrame&);
long call_removexattr(const CallFrame&);
long call_lremovexattr(const CallFrame&);
long call_fremovexattr(const CallFrame&);
long call_setxattrat(const CallFrame&);
long call_getxattrat(const CallFrame&);
long call_listxattrat(const CallFrame&);
long call_removexattrat(const CallFrame&);

// file_calls.cc: the bytes of an open file, and its state
long call_read(const CallFrame&);
long call_write(const CallFrame&);
long call_readv(const CallFrame&);
long call_writev(const CallFrame&);
long call_pread64(const CallFrame&);
long call_pwrite64(const CallFrame&);
long call_preadv(const CallFrame&);
long call_pwritev(const CallFrame&);
long call_preadv2(const CallFrame&);
long call_pwritev2(const CallFrame&);
long call_lseek(const CallFrame&);
long call_getdents(const CallFrame&);
long call_getdents64(const CallFrame&);
long call_fsync(const CallFrame&);
long call_fdatasync(const CallFrame&);
long call_syncfs(const CallFrame&);
long call_sync_file_range(const CallFrame&);
long call_fallocate(const CallFrame&);
long call_fadvise64(const CallFrame&);
long call_readahead(const CallFrame&);
long call_cachestat(const CallFrame&);

// copy_calls.cc: data from descriptor to descriptor
long call_sendfile(const CallFrame&);
long call_copy_file_range(const CallFrame&);
long call_splice(const CallFrame&);
long call_tee(const CallFrame&);
long call_vmsplice(const CallFrame&);
long call_io_submit(const CallFrame&);
long call_io_getevents(const CallFrame&);
long call_io_destroy(const CallFrame&);
// In the child of fork.
void forget_asynchronous_failures();

// control_calls.cc
long call_fcntl(const CallFrame&);
long call_flock(const CallFrame&);
long call_ioctl(const CallFrame&);

// mapping_calls.cc
long call_mmap(const CallFrame&);
long map_native(const CallFrame&);  // of a descriptor that is no mount's file
long call_mprotect(const CallFrame&);
long call_mremap(const CallFrame&);

// descriptor_calls.cc: descriptors that come and go
long call_dup(const CallFrame&);
long call_list_directory(const CallFrame&);
long call_close(const CallFrame&);
long call_close_range(const CallFrame&);
long call_dup2(const CallFrame&);
long call_dup3(const CallFrame&);
long call_pidfd_getfd(const CallFrame&);
long call_exit_group(const CallFrame&);

// process_calls.cc: working directory, umask, credentials
long call_chroot(const CallFrame&);
long call_chdir(const CallFrame&);
long call_fchdir(const CallFrame&);
long call_getcwd(const CallFrame&);
long call_umask(const CallFrame&);
long call_getrlimit(const CallFrame&);
long call_setrlimit(const CallFrame&);
long call_prlimit64(const CallFrame&);
long call_unshare(const CallFrame&);
long call_set_credentials(const CallFrame&);
long call_setns(const CallFrame&);
long call_pivot_root(const CallFrame&);
long call_move_mount(const CallFrame&);
long call_exit(const CallFrame&);

// polling_calls.cc
long call_select(const CallFrame&);

// device_calls.cc
long call_poll(const CallFrame&);

// mount_calls.cc
long call_mount(const CallFrame&);
long call_umount2(const CallFrame&);
long call_fsopen(const CallFrame&);

// socket_calls.cc: local sockets by path
long call_bind(const CallFrame&);
long call_connect(const CallFrame&);
long call_accept(const CallFrame&);
long call_accept4(const CallFrame&);
long call_getsockname(const CallFrame&);
long call_getpeername(const CallFrame&);
long call_recvfrom(const CallFrame&);
long call_recvmsg(const CallFrame&);
long call_recvmmsg(const CallFrame&);
long call_sendto(const CallFrame&);
long call_sendmsg(const CallFrame&);
long call_sendmmsg(const CallFrame&);

// handle_calls.cc
long call_name_to_handle_at(const CallFrame&);
long call_open_by_handle_at(const CallFrame&);

// watch_calls.cc
long call_inotify_add_watch(const CallFrame&);

// refused_calls.cc: what is not served on virtual files
long call_refused_on_mounts(const CallFrame&);
long call_io_uring_setup(const CallFrame&);

}  // namespace fusewire::gate
