// The calls that go through the ring, one row each: what a call stands on, what data it may bring, who carries it out.
// Checks of a call (call_server.cc) and its start (call_runner.cc) read it; nobody else keeps such a list.
// A new call is a number (abi/ring.h, with its arguments), a row here, and a handler.
#pragma once

#include <cstdint>

#include "abi/ring.h"
#include "host/call_runner.h"

namespace fusewire::host {

using Number = kernel::Result<int64_t>;  // what a call returns: 0.. or an errno
using Handler = kernel::Task<Number> (*)(Call&);

// What a call starts from. A token that is nobody's is EBADF; 0 is the mount's root where a path follows.
enum class StandsOn : uint8_t {
  connection,  // nothing
  one_path,    // file + path1; path2 may hold a text or a name
  two_paths,   // file + path1 and file2 + path2
  two_files,   // file and file2, both open
  open_file,   // file
};

// Data that a call brings along.
struct BringsData {
  uint32_t max = 0;       // in bytes; more is `too_much`
  int32_t too_much = 22;  // EINVAL
  bool in_place = false;  // stays in the slot: only ever carried. Otherwise Call::data is a copy of it
};

struct CallInfo {
  abi::CallNumber number{};
  StandsOn on{};
  Handler handler = nullptr;
  BringsData data{};
};

// nullptr: no such call.
const CallInfo* find_call(abi::CallNumber number);

// call_paths.cc
kernel::Task<Number> run_openat(Call&);
kernel::Task<Number> run_open_exec(Call&);
kernel::Task<Number> run_chdir(Call&);
kernel::Task<Number> run_statx(Call&);
kernel::Task<Number> run_statfs(Call&);
kernel::Task<Number> run_readlinkat(Call&);
kernel::Task<Number> run_faccessat(Call&);
kernel::Task<Number> run_mkdirat(Call&);
kernel::Task<Number> run_mknodat(Call&);
kernel::Task<Number> run_symlinkat(Call&);
kernel::Task<Number> run_unlinkat(Call&);
kernel::Task<Number> run_renameat2(Call&);
kernel::Task<Number> run_linkat(Call&);
kernel::Task<Number> run_fchmodat(Call&);
kernel::Task<Number> run_fchownat(Call&);
kernel::Task<Number> run_truncate(Call&);
kernel::Task<Number> run_utimensat(Call&);
kernel::Task<Number> run_file_handle(Call&);
kernel::Task<Number> run_open_handle(Call&);

// call_files.cc
kernel::Task<Number> run_read(Call&);
kernel::Task<Number> run_write(Call&);
kernel::Task<Number> run_lseek(Call&);
kernel::Task<Number> run_getdents64(Call&);
kernel::Task<Number> run_fstat(Call&);
kernel::Task<Number> run_fstatfs(Call&);
kernel::Task<Number> run_ftruncate(Call&);
kernel::Task<Number> run_fchmod(Call&);
kernel::Task<Number> run_fchown(Call&);
kernel::Task<Number> run_futimens(Call&);
kernel::Task<Number> run_fsync(Call&);
kernel::Task<Number> run_fallocate(Call&);
kernel::Task<Number> run_copy(Call&);
kernel::Task<Number> run_flush(Call&);
kernel::Task<Number> run_owner(Call&);
kernel::Task<Number> run_lease(Call&);
kernel::Task<Number> run_getfl(Call&);
kernel::Task<Number> run_setfl(Call&);
kernel::Task<Number> run_setlk(Call&);
kernel::Task<Number> run_getlk(Call&);
kernel::Task<Number> run_flock(Call&);
kernel::Task<Number> run_path(Call&);
kernel::Task<Number> run_ioctl(Call&);
kernel::Task<Number> run_nop(Call&);
kernel::Task<Number> run_memory(Call&);
kernel::Task<Number> run_view(Call&);

// call_sockets.cc
kernel::Task<Number> run_bind_socket(Call&);
kernel::Task<Number> run_reach_socket(Call&);
kernel::Task<Number> run_socket_name(Call&);

// call_watches.cc
kernel::Task<Number> run_watch(Call&);
kernel::Task<Number> run_notify(Call&);

// call_xattrs.cc
kernel::Task<Number> run_setxattr(Call&);
kernel::Task<Number> run_getxattr(Call&);
kernel::Task<Number> run_listxattr(Call&);
kernel::Task<Number> run_removexattr(Call&);
kernel::Task<Number> run_fsetxattr(Call&);
kernel::Task<Number> run_fgetxattr(Call&);
kernel::Task<Number> run_flistxattr(Call&);
kernel::Task<Number> run_fremovexattr(Call&);

}  // namespace fusewire::host
