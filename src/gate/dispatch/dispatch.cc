// The table: system call number to handler; and what the machinery tells the dispatcher at starts, forks and execs.
#include "abi/leader_protocol.h"
#include "abi/ring.h"
#include "gate/dispatch/descriptor_calls.h"
#include "gate/dispatch/descriptors.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/roots.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

constexpr size_t table_size = 512;
constexpr int stale_tries_max = 100;  // a forged shadow has a token that never was

struct Table {
  Handler handler[table_size] = {};
};

// Numbers that this system's headers may not know yet.
constexpr int cachestat_number = 451, fchmodat2_number = 452;
constexpr int setxattrat_number = 463, getxattrat_number = 464, listxattrat_number = 465, removexattrat_number = 466;
constexpr int refused_numbers[] = {SYS_acct,
                                   SYS_swapon,
                                   SYS_fanotify_mark,
                                   428 /* open_tree */,
                                   433 /* fspick */,
                                   442 /* mount_setattr */,
                                   468 /* file_getattr */,
                                   469 /* file_setattr */};

constexpr Table make_table() {
  Table t;
  auto& h = t.handler;
  h[SYS_open] = call_open, h[SYS_creat] = call_creat, h[SYS_openat] = call_openat, h[SYS_openat2] = call_openat2;

  h[SYS_stat] = call_stat, h[SYS_lstat] = call_lstat, h[SYS_fstat] = call_fstat;
  h[SYS_newfstatat] = call_newfstatat, h[SYS_statx] = call_statx;
  h[SYS_statfs] = call_statfs, h[SYS_fstatfs] = call_fstatfs;
  h[SYS_access] = call_access, h[SYS_faccessat] = call_faccessat, h[SYS_faccessat2] = call_faccessat2;
  h[SYS_readlink] = call_readlink, h[SYS_readlinkat] = call_readlinkat;

  h[SYS_mkdir] = call_mkdir, h[SYS_mkdirat] = call_mkdirat, h[SYS_mknod] = call_mknod, h[SYS_mknodat] = call_mknodat;
  h[SYS_symlink] = call_symlink, h[SYS_symlinkat] = call_symlinkat;
  h[SYS_unlink] = call_unlink, h[SYS_unlinkat] = call_unlinkat, h[SYS_rmdir] = call_rmdir;
  h[SYS_rename] = call_rename, h[SYS_renameat] = call_renameat, h[SYS_renameat2] = call_renameat2;
  h[SYS_link] = call_link, h[SYS_linkat] = call_linkat;

  h[SYS_chmod] = call_chmod, h[SYS_fchmod] = call_fchmod, h[SYS_fchmodat] = call_fchmodat;
  h[fchmodat2_number] = call_fchmodat2;
  h[SYS_chown] = call_chown, h[SYS_lchown] = call_lchown, h[SYS_fchown] = call_fchown;
  h[SYS_fchownat] = call_fchownat;
  h[SYS_truncate] = call_truncate, h[SYS_ftruncate] = call_ftruncate;
  h[SYS_utime] = call_utime, h[SYS_utimes] = call_utimes, h[SYS_futimesat] = call_futimesat;
  h[SYS_utimensat] = call_utimensat;

  h[SYS_setxattr] = call_setxattr, h[SYS_lsetxattr] = call_lsetxattr, h[SYS_fsetxattr] = call_fsetxattr;
  h[SYS_getxattr] = call_getxattr, h[SYS_lgetxattr] = call_lgetxattr, h[SYS_fgetxattr] = call_fgetxattr;
  h[SYS_listxattr] = call_listxattr, h[SYS_llistxattr] = call_llistxattr, h[SYS_flistxattr] = call_flistxattr;
  h[SYS_removexattr] = call_removexattr, h[SYS_lremovexattr] = call_lremovexattr;
  h[SYS_fremovexattr] = call_fremovexattr;
  h[setxattrat_number] = call_setxattrat, h[getxattrat_number] = call_getxattrat;
  h[listxattrat_number] = call_listxattrat, h[removexattrat_number] = call_removexattrat;

  h[SYS_read] = call_read, h[SYS_readv] = call_readv, h[SYS_pread64] = call_pread64, h[SYS_preadv] = call_preadv;
  h[SYS_preadv2] = call_preadv2;
  h[SYS_write] = call_write, h[SYS_writev] = call_writev, h[SYS_pwrite64] = call_pwrite64;
  h[SYS_pwritev] = call_pwritev, h[SYS_pwritev2] = call_pwritev2;
  h[SYS_lseek] = call_lseek, h[SYS_getdents] = call_getdents, h[SYS_getdents64] = call_list_directory;
  h[SYS_fsync] = call_fsync, h[SYS_fdatasync] = call_fdatasync, h[SYS_syncfs] = call_syncfs;
  h[SYS_sync_file_range] = call_sync_file_range, h[SYS_fallocate] = call_fallocate;
  h[SYS_fadvise64] = call_fadvise64, h[SYS_readahead] = call_readahead, h[cachestat_number] = call_cachestat;

  h[SYS_sendfile] = call_sendfile, h[SYS_copy_file_range] = call_copy_file_range;
  h[SYS_splice] = call_splice, h[SYS_tee] = call_tee, h[SYS_vmsplice] = call_vmsplice;
  h[SYS_poll] = call_poll, h[SYS_select] = call_select, h[SYS_pselect6] = call_select;
  h[SYS_io_submit] = call_io_submit, h[SYS_io_getevents] = call_io_getevents;
  h[SYS_io_destroy] = call_io_destroy, h[SYS_io_uring_setup] = call_io_uring_setup;

  h[SYS_fcntl] = call_fcntl, h[SYS_flock] = call_flock, h[SYS_ioctl] = call_ioctl;
  h[SYS_mmap] = call_mmap, h[SYS_mremap] = call_mremap, h[SYS_mprotect] = call_mprotect,
  h[SYS_pkey_mprotect] = call_mprotect;

  h[SYS_dup] = call_dup;
  h[SYS_close] = call_close, h[SYS_close_range] = call_close_range, h[SYS_dup2] = call_dup2, h[SYS_dup3] = call_dup3;
  h[SYS_pidfd_getfd] = call_pidfd_getfd;
  h[SYS_exit_group] = call_exit_group;

  h[SYS_unshare] = call_unshare, h[SYS_setns] = call_setns, h[SYS_exit] = call_exit;
  h[SYS_getrlimit] = call_getrlimit, h[SYS_setrlimit] = call_setrlimit, h[SYS_prlimit64] = call_prlimit64;
  h[SYS_chroot] = call_chroot;
  h[SYS_chdir] = call_chdir, h[SYS_fchdir] = call_fchdir, h[SYS_getcwd] = call_getcwd, h[SYS_umask] = call_umask;
  for (const int nr : {SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setgroups, SYS_setresuid, SYS_setresgid,
                       SYS_setfsuid, SYS_setfsgid, SYS_capset}) {
    h[nr] = call_set_credentials;
  }

  h[SYS_mount] = call_mount, h[SYS_umount2] = call_umount2, h[SYS_fsopen] = call_fsopen;
  h[SYS_pivot_root] = call_pivot_root, h[429] = call_move_mount;
  h[SYS_bind] = call_bind, h[SYS_connect] = call_connect, h[SYS_accept] = call_accept, h[SYS_accept4] = call_accept4;
  h[SYS_getsockname] = call_getsockname, h[SYS_getpeername] = call_getpeername;
  h[SYS_recvfrom] = call_recvfrom, h[SYS_recvmsg] = call_recvmsg, h[SYS_recvmmsg] = call_recvmmsg;
  h[SYS_sendto] = call_sendto, h[SYS_sendmsg] = call_sendmsg, h[SYS_sendmmsg] = call_sendmmsg;
  h[SYS_inotify_add_watch] = call_inotify_add_watch;
  h[SYS_name_to_handle_at] = call_name_to_handle_at, h[SYS_open_by_handle_at] = call_open_by_handle_at;
  for (const int nr : refused_numbers) h[nr] = call_refused_on_mounts;
  return t;
}

constexpr Table table = make_table();

// Calls on one descriptor. Those by which a descriptor comes and goes look for themselves.
constexpr int on_descriptor[] = {SYS_read,         SYS_readv,     SYS_pread64,    SYS_preadv,    SYS_preadv2,
                                 SYS_write,        SYS_writev,    SYS_pwrite64,   SYS_pwritev,   SYS_pwritev2,
                                 SYS_lseek,        SYS_getdents,  SYS_getdents64, SYS_fstat,     SYS_fstatfs,
                                 SYS_fsync,        SYS_fdatasync, SYS_syncfs,     SYS_ftruncate, SYS_fallocate,
                                 SYS_fchmod,       SYS_fchown,    SYS_fsetxattr,  SYS_fgetxattr, SYS_flistxattr,
                                 SYS_fremovexattr, SYS_fcntl,     SYS_flock,      SYS_ioctl,     SYS_dup};

constexpr auto make_descriptor_calls() {
  struct {
    bool contains[table_size] = {};
  } calls;
  for (const int nr : on_descriptor) calls.contains[nr] = true;
  return calls;
}

constexpr auto descriptor_calls = make_descriptor_calls();

// Calls that a shadow answers with EBADF, having done nothing; judge.cc has them begin anew then. Which argument is the
// descriptor.
struct NativeFirstCall {
  int16_t nr;
  int8_t argument;
};
constexpr NativeFirstCall native_first_calls[] = {
    {SYS_read, 0},      {SYS_readv, 0},     {SYS_pread64, 0},   {SYS_preadv, 0},    {SYS_preadv2, 0},
    {SYS_write, 0},     {SYS_writev, 0},    {SYS_pwrite64, 0},  {SYS_pwritev, 0},   {SYS_pwritev2, 0},
    {SYS_lseek, 0},     {SYS_getdents, 0},  {SYS_fsync, 0},     {SYS_fdatasync, 0}, {SYS_syncfs, 0},
    {SYS_ftruncate, 0}, {SYS_fallocate, 0}, {SYS_fadvise64, 0}, {SYS_mmap, 4},      {SYS_sync_file_range, 0}};

constexpr auto make_native_first() {
  struct {
    int8_t argument[table_size] = {};  // + 1; 0: none of them
  } calls;
  for (const NativeFirstCall& call : native_first_calls)
    calls.argument[call.nr] = static_cast<int8_t>(call.argument + 1);
  return calls;
}

constexpr auto native_first_table = make_native_first();

bool is_made_natively_first(const CallFrame& frame) {
  const int argument = native_first_table.argument[frame.nr];
  if (argument == 0 || possible.device.load(std::memory_order_relaxed)) return false;
  return !is_expected_virtual(static_cast<int>(frame.arg[argument - 1]));
}

// The gate's own descriptors are not open to the program.
bool is_on_internal(const CallFrame& frame) {
  if (!descriptor_calls.contains[frame.nr]) return false;
  const auto fd = static_cast<int>(frame.arg[0]);
  return may_be_internal(fd) && is_internal(process(), fd);
}

// The state handed from image to image: words, as before_exec writes them. Those of what every process has from its
// parent come first, in the order of Inherited.
constexpr std::string_view inherited_words[inherited_count] = {abi::line_word, abi::table_word, abi::gate_word,
                                                               abi::proc_word};
constexpr std::string_view umask_word = "umask:", cwd_word = "cwd:", virtual_root_word = "in:",
                           virtual_word = "virtual", device_word = "device";
constexpr std::string_view closing_word = "closing:";
// The last one, since a path may hold anything.
constexpr std::string_view root_word = "root:";

bool native_setid = false;

// The number behind a word's name; -1: it is another word.
int number_of(std::string_view word, std::string_view name) {
  if (!word.starts_with(name)) return -1;
  word.remove_prefix(name.size());
  size_t digits = 0;
  const auto number = static_cast<int>(parse_decimal(word, &digits));
  return digits != 0 && digits == word.size() ? number : -1;
}

// A virtual directory's descriptor from the last image; fd -1: there is none.
bool takes_directory(int fd, VirtualFile& file) {
  if (fd < 0) return false;
  possible.virtual_file = true;
  if (!is_virtual(fd, file)) return false;
  adopt_internal(process(), fd);
  return true;
}

void take_word(std::string_view word) {
  if (word == virtual_word) possible.virtual_file = true;
  if (word == device_word) device_is_possible();
  if (word == abi::native_setid_word) native_setid = true;
  if (const int view = number_of(word, abi::view_word); view > 0) process().views.enter(static_cast<uint32_t>(view));
  Process& p = process();
  if (const int umask = number_of(word, umask_word); umask >= 0) p.umask = static_cast<uint32_t>(umask);
  VirtualFile file;
  if (const int fd = number_of(word, cwd_word); takes_directory(fd, file)) {
    p.cwd.connection = file.connection;
    p.cwd.token = file.token;
    p.cwd.fd = fd;
    possible.virtual_cwd = true;
  }
  if (const int fd = number_of(word, virtual_root_word); takes_directory(fd, file)) {
    p.virtual_root.connection = file.connection;
    p.virtual_root.token = file.token;
    p.virtual_root.fd = fd;
    possible.virtual_root = true;
  }
}

template <class Take>
void for_each_word(std::string_view text, Take take) {
  while (!text.empty()) {
    const size_t space = text.find(' ');
    take(text.substr(0, space));
    if (space == std::string_view::npos) return;
    text.remove_prefix(space + 1);
  }
}

void take_inherited(std::string_view words, bool first) {
  Process& p = process();
  for_each_word(words, [&](std::string_view word) {
    for (size_t i = 0; i < inherited_count; i++) {
      const int fd = number_of(word, inherited_words[i]);
      if (fd < 0) continue;
      p.inherited[i] = first ? keep_own(p, fd, false) : adopt_internal(p, fd);
    }
  });
}

}  // namespace

constinit uint8_t dispatch_table[table_size] = {};

long dispatch_call(const CallFrame& frame) {
  const Handler handler = frame.nr >= 0 && frame.nr < long{table_size} ? table.handler[frame.nr] : nullptr;
  if (handler == nullptr) return pass_on;
  tell_what_follows(frame.nr);
  if (is_on_internal(frame)) return -EBADF;
  if (is_made_natively_first(frame)) return frame.nr == SYS_mmap ? map_native(frame) : pass_on;
  // The number, or the directory, has got another file since it was looked at: nothing was done.
  for (int tries = 0; tries < stale_tries_max; tries++) {
    const long r = handler(frame);
    if (r != abi::stale_token) return r;
    forget_known_descriptors();
  }
  return -EBADF;
}

void dispatch_start(const char* directory, const char* inherited) {
  for (size_t i = 0; i < table_size; i++) {
    dispatch_table[i] = table.handler[i] != nullptr ? 1 : 0;
    if (native_first_table.argument[i] == 1) dispatch_table[i] = dispatched_by_descriptor;
  }
  set_namespace_directory(directory);
  process_start();
  std::string_view words = inherited == nullptr ? std::string_view() : std::string_view(inherited);
  if (const size_t at = words.find(root_word); at != std::string_view::npos) {
    inherit_root(process(), words.substr(at + root_word.size()));
    words = words.substr(0, at);
  }
  const bool first = inherited == nullptr || words.starts_with(abi::first_word);
  if (first) reserve_numbers();
  take_inherited(words, first);
  // Without the table nothing is mounted for this program; that is no reason for it not to run.
  (void)map_mounts(inherited_descriptor(process(), Inherited::mount_table));
  descriptors_start();
  for_each_word(words, take_word);
  if (process().umask == unknown_umask) read_umask(process());
  set_descriptors_at_entry();
  for_each_word(words, [](std::string_view word) {
    if (const int fd = number_of(word, closing_word); fd >= 0) flush_kept(fd);
  });
}

bool set_id_programs_leave() { return native_setid; }
void let_set_id_programs_leave() { native_setid = true; }

int gate_descriptor() { return inherited_descriptor(process(), Inherited::gate_file); }

void* dispatch_process() { return &process(); }

void dispatch_before_copying_descriptors() { give_up_shadows(process()); }

void dispatch_before_sharing_descriptors() {
  keep_no_shadows(process());
  share_known_descriptors(true);
  share_own_descriptors(process());
}

void dispatch_after_fork(void* parent, bool shares_descriptors) {
  process_after_fork(*static_cast<Process*>(parent), shares_descriptors);
  forget_known_descriptors();
  share_known_descriptors(shares_descriptors);
  forget_asynchronous_failures();
}

int* dispatch_prepare_guest(const GuestPlan& plan) {
  Process* guest = prepare_guest(plan);
  return guest == nullptr ? nullptr : reinterpret_cast<int*>(&guest->pid);
}

void dispatch_end_guest(int* guest) { end_guest(*reinterpret_cast<Process*>(guest)); }

size_t before_exec(char* to, size_t room, int& closing) {
  Text<exec_state_room> text;
  const int cwd = possible.virtual_cwd ? process().cwd.fd.load() : -1;
  const Process& p = process();
  for (size_t i = 0; i < inherited_count; i++) {
    if (const int fd = number_at(p, p.inherited[i]); fd >= 0) text.add(inherited_words[i]).add_decimal(fd).add(' ');
  }
  text.add(umask_word).add_decimal(p.umask.load()).add(' ');
  if (cwd >= 0) text.add(cwd_word).add_decimal(cwd).add(' ');
  if (const int root = p.virtual_root.fd; root >= 0) text.add(virtual_root_word).add_decimal(root).add(' ');
  if (possible.virtual_file) text.add(virtual_word).add(' ');
  if (possible.device) text.add(device_word).add(' ');
  if (native_setid) text.add(abi::native_setid_word).add(' ');
  for (uint32_t i = 0; i < p.views.depth; i++) text.add(abi::view_word).add_decimal(p.views.id[i]).add(' ');
  closing = keep_closing();
  if (closing >= 0) text.add(closing_word).add_decimal(closing).add(' ');
  if (const std::string_view root = root_of(p); !root.empty()) text.add(root_word).add(root);
  if (text.overflowed() || text.length() >= room) return 0;
  __builtin_memcpy(to, text.c_str(), text.length() + 1);
  return text.length();
}

}  // namespace fusewire::gate
