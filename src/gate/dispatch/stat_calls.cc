// Looking at files: stat, statfs, access, readlink.
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "abi/types.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/native_first.h"
#include "gate/dispatch/path_engine.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/process_links.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;

void* pointer(long argument) { return reinterpret_cast<void*>(argument); }

template <class T>
T result_of(const RingCall& call) {
  T value{};
  __builtin_memcpy(&value, call.result_data(sizeof value).data(), sizeof value);
  return value;
}

long give_stat(const abi::Stat& from, long to) {
  struct stat st {};
  st.st_dev = from.dev;
  st.st_ino = from.ino;
  st.st_nlink = from.nlink;
  st.st_mode = from.mode;
  st.st_uid = from.uid;
  st.st_gid = from.gid;
  st.st_rdev = from.rdev;
  st.st_size = static_cast<off_t>(from.size);
  st.st_blksize = from.blksize;
  st.st_blocks = static_cast<blkcnt_t>(from.blocks);
  st.st_atim = {from.atime, from.atime_nsec};
  st.st_mtim = {from.mtime, from.mtime_nsec};
  st.st_ctim = {from.ctime, from.ctime_nsec};
  return copy_to_program(pointer(to), &st, sizeof st);
}

long give_stat(const RingCall& call, long result, long to) {
  return result < 0 ? result : give_stat(result_of<abi::Stat>(call), to);
}

// What statx(2) tells of every file, and of FUSE's.
constexpr uint64_t known_attributes = STATX_ATTR_AUTOMOUNT | STATX_ATTR_MOUNT_ROOT | STATX_ATTR_DAX;

long give_statx(const abi::Stat& from, long to) {
  struct statx st {};
  st.stx_mask = from.mask;
  st.stx_attributes_mask = known_attributes;
  st.stx_attributes = from.is_root ? STATX_ATTR_MOUNT_ROOT : 0;
  st.stx_blksize = from.blksize;
  st.stx_nlink = from.nlink;
  st.stx_uid = from.uid;
  st.stx_gid = from.gid;
  st.stx_mode = static_cast<uint16_t>(from.mode);
  st.stx_ino = from.ino;
  st.stx_size = from.size;
  st.stx_blocks = from.blocks;
  st.stx_atime = {from.atime, from.atime_nsec, {}};
  st.stx_mtime = {from.mtime, from.mtime_nsec, {}};
  st.stx_ctime = {from.ctime, from.ctime_nsec, {}};
  st.stx_btime = {from.btime, from.btime_nsec, {}};
  st.stx_rdev_major = major(from.rdev);
  st.stx_rdev_minor = minor(from.rdev);
  st.stx_dev_major = major(from.dev);
  st.stx_dev_minor = minor(from.dev);
  return copy_to_program(pointer(to), &st, sizeof st);
}

long give_statx(const RingCall& call, long result, long to) {
  return result < 0 ? result : give_statx(result_of<abi::Stat>(call), to);
}

long give_statfs(const RingCall& call, long result, long to) {
  if (result < 0) return result;
  const auto from = result_of<abi::Statfs>(call);
  struct statfs st {};
  st.f_type = static_cast<long>(from.type);
  st.f_bsize = static_cast<long>(from.bsize);
  st.f_blocks = from.blocks;
  st.f_bfree = from.bfree;
  st.f_bavail = from.bavail;
  st.f_files = from.files;
  st.f_ffree = from.ffree;
  st.f_namelen = static_cast<long>(from.namelen);
  st.f_frsize = static_cast<long>(from.frsize);
  st.f_flags = static_cast<long>(from.flags);
  return copy_to_program(pointer(to), &st, sizeof st);
}

bool knows(long at_flags) {
  return (at_flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)) == 0;
}

long stat_path(const CallFrame& f, PathArgument argument, long at_flags, long to) {
  if (!knows(at_flags)) return -EINVAL;
  argument.how = how_of(at_flags);
  struct stat st;
  const long first = stat_first(NativeLook(f, argument), at_flags, st);
  if (first != unsure) return first < 0 ? first : copy_to_program(pointer(to), &st, sizeof st);
  return path_call(
      f, argument, CallNumber::statx, {0, at_flags},
      [](RingCall& call) {
        call.set_arg(1, STATX_BASIC_STATS);
        return 0L;
      },
      [to](RingCall& call, long result) { return give_stat(call, result, to); }, pass_natively,
      [at_flags, to](const Where& where) {
        abi::Stat known;
        const long r = known_stat(where, false, at_flags, STATX_BASIC_STATS, known);
        return r == 0 ? give_stat(known, to) : r;
      });
}

long stat_file(const CallFrame& f, VirtualFile file, long to) {
  const auto fd = static_cast<int>(f.arg[0]);
  abi::Stat known;
  if (known_fstat(file, known_inode(fd, file.token), STATX_BASIC_STATS, known) == 0) return give_stat(known, to);
  RingCall call(file.connection, CallNumber::fstat, f.nr);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  call.set_arg(0, STATX_BASIC_STATS);
  const long r = call.run();
  if (r == 0 && call.inode_row() != 0) learn_inode(fd, file.token, call.inode_row());
  return give_stat(call, r, to);
}

// statx(2) of a descriptor, likewise; or unsure.
long statx_descriptor(const CallFrame& f, int fd) {
  if (is_known_native(fd)) return pass_on;
  struct statx st;
  const long mask = f.arg[3] | STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_INO;
  const long r = raw_syscall(f.nr, f.arg[0], f.arg[1], f.arg[2], mask, native::of(&st));
  if (r < 0) return r;
  return stands_for_virtual(identity_of(st)) ? unsure : copy_to_program(pointer(f.arg[4]), &st, sizeof st);
}

// fstat(2). A native file's answer is that of the very look which found it native: a second one might meet a shadow.
long stat_descriptor(const CallFrame& f, int fd, long to) {
  VirtualFile file;
  struct stat st;
  if (has_virtual_inode(fd, file, st)) return stat_file(f, file, to);
  return st.st_mode == 0 ? pass_on : copy_to_program(pointer(to), &st, sizeof st);
}

// A native look at a descriptor, which a shadow would answer too: if that has come here meanwhile, begin anew.
long look_natively(const CallFrame& f) {
  VirtualFile file;
  const long r = native::call(f);
  return is_virtual(static_cast<int>(f.arg[0]), file) ? long{abi::stale_token} : r;
}

bool is_empty(long path) {
  char first = 1;
  return copy_from_program(&first, pointer(path), 1) == 0 && first == 0;
}

// glibc's fstat is newfstatat(fd, "", AT_EMPTY_PATH): no path to be walked.
bool is_plain_fstat(long path, long at_flags) { return (at_flags & AT_EMPTY_PATH) != 0 && is_empty(path); }

long access_path(const CallFrame& f, PathArgument argument, long mode, long at_flags) {
  if ((mode & ~(R_OK | W_OK | X_OK)) != 0) return -EINVAL;
  if ((at_flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) return -EINVAL;
  argument.how = how_of(at_flags);
  if (const long first = access_first(NativeLook(f, argument), mode, at_flags); first != unsure) return first;
  return path_call(
      f, argument, CallNumber::faccessat, {1, at_flags},
      [mode](RingCall& call) {
        call.set_arg(0, mode);
        return 0L;
      },
      plain_result, pass_natively,
      [=](const Where& where) { return known_access(where, at_flags, static_cast<uint32_t>(mode)); });
}

long give_text(std::string_view text, long to, long room) {
  if (room <= 0) return -EINVAL;
  const size_t n = text.size() < static_cast<size_t>(room) ? text.size() : static_cast<size_t>(room);
  return copy_to_program(pointer(to), text.data(), n) != 0 ? -EFAULT : static_cast<long>(n);
}

// What readlink_first says.
bool give_native_text(const CallFrame& f, const PathArgument& argument, long to, long room, long& result) {
  PathText text;
  result = readlink_first(NativeLook(f, argument), text.data(), path_room - 1);
  if (result == unsure) return false;
  if (result >= 0) result = give_text({text.data(), static_cast<size_t>(result)}, to, room);
  return true;
}

// An own link of /proc that must not be read as the host kernel shows it.
long read_magic(const Where& where, long to, long room) {
  if (where.magic == Magic::exe) return give_text({exe_path(), text_length(exe_path())}, to, room);
  PathText path;
  if (where.magic == Magic::program)
    return program_of(where.process.view(), path) ? give_text(path.view(), to, room) : pass_on;
  const long r = path_of_file(where.start, path);
  return r < 0 ? r : give_text(path.view(), to, room);
}

// A link of /proc may be reached by other names than those that the walk knows: what it says tells.
long readlink_natively(const CallFrame& f, const PathArgument& argument, const Where& where, long to, long room) {
  const long passed = pass_natively(f, argument, where);
  if (passed != pass_on || !possible.virtual_file) return passed;
  const long n = native::call(f);
  Text<128> text;
  VirtualFile file;
  if (n <= 0 || n > 127 ||
      copy_from_program(text.data(), reinterpret_cast<const char*>(to), static_cast<size_t>(n)) != 0)
    return n;
  text.set_length(static_cast<size_t>(n));
  PathText path;
  if (!parse_shadow_link(text.view(), file) || path_of_file(file, path) < 0) return n;
  return give_text(path.view(), to, room);
}

long known_readlink(const Where& where, long to, long room) {
  char text[abi::view_chunk_bytes];
  const long length = known_link(where, text);
  return length <= 0 ? length : give_text({text, static_cast<size_t>(length)}, to, room);
}

long readlink_path(const CallFrame& f, PathArgument argument, long to, long room) {
  if (room <= 0) return -EINVAL;
  argument.how = {.follow = false, .empty_path = true};
  const bool of_start = is_empty(f.arg[argument.path_index]);
  if (long given; give_native_text(f, argument, to, room, given)) return given;
  Where where;
  long r = resolve_argument(f, argument, where);
  Leaves leaves;
  while (r == 0) {
    if (where.magic != Magic::none) return read_magic(where, to, room);
    if (!where.is_virtual) return readlink_natively(f, argument, where, to, room);
    if (const long k = known_readlink(where, to, room); k != not_known) return k;
    RingCall call(where.start.connection, CallNumber::readlinkat, f.nr);
    if (call.error() != 0) return call.error();
    r = place_path(call, where, of_start ? start_itself : AtFlags{});
    call.set_arg(0, room < static_cast<long>(path_room) ? room : static_cast<long>(path_room));
    if (r == 0) r = call.run();
    if (r >= 0) return give_text({call.result_data(path_room).data(), static_cast<size_t>(r)}, to, room);
    if (r != left_mount) return r;
    r = follow_leave(call, argument.how, leaves, where);
  }
  return r;
}

}  // namespace

long call_stat(const CallFrame& f) { return stat_path(f, {-1, 0, {}}, 0, f.arg[1]); }

long call_lstat(const CallFrame& f) { return stat_path(f, {-1, 0, {}}, AT_SYMLINK_NOFOLLOW, f.arg[1]); }

long call_fstat(const CallFrame& f) { return stat_descriptor(f, static_cast<int>(f.arg[0]), f.arg[1]); }

long call_newfstatat(const CallFrame& f) {
  const int dirfd = static_cast<int>(f.arg[0]);
  if (dirfd != AT_FDCWD && is_plain_fstat(f.arg[1], f.arg[3])) {
    return stat_descriptor(f, dirfd, f.arg[2]);
  }
  return stat_path(f, {0, 1, {}}, f.arg[3], f.arg[2]);
}

long call_statx(const CallFrame& f) {
  const bool two_syncs = (f.arg[2] & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE;
  if ((static_cast<uint32_t>(f.arg[3]) & STATX__RESERVED) != 0 || two_syncs) return -EINVAL;
  if (!knows(static_cast<int>(f.arg[2]))) return -EINVAL;
  // Linux 6.11: a null path with AT_EMPTY_PATH means the descriptor.
  if (f.arg[1] == 0 && (f.arg[2] & AT_EMPTY_PATH) != 0) {
    CallFrame empty = f;
    static const char nothing[1] = {0};
    empty.arg[1] = native::of(nothing);
    return call_statx(empty);
  }
  const int dirfd = static_cast<int>(f.arg[0]);
  if (dirfd != AT_FDCWD && is_plain_fstat(f.arg[1], f.arg[2])) {
    if (!possible.virtual_file) return pass_on;
    if (const long told = statx_descriptor(f, dirfd); told != unsure) return told;
  }
  const PathArgument argument{0, 1, how_of(f.arg[2])};
  struct statx st;
  const long first = statx_first(NativeLook(f, argument), f.arg[2], f.arg[3], st);
  if (first != unsure) return first < 0 ? first : copy_to_program(pointer(f.arg[4]), &st, sizeof st);
  return path_call(
      f, argument, CallNumber::statx, {0, f.arg[2]},
      [&](RingCall& call) {
        call.set_arg(1, static_cast<uint32_t>(f.arg[3]));
        return 0L;
      },
      [&](RingCall& call, long result) { return give_statx(call, result, f.arg[4]); }, pass_natively,
      [&](const Where& where) {
        abi::Stat known;
        const long r = known_stat(where, true, f.arg[2], static_cast<uint32_t>(f.arg[3]), known);
        return r == 0 ? give_statx(known, f.arg[4]) : r;
      });
}

long call_statfs(const CallFrame& f) {
  return path_call(f, {-1, 0, {}}, CallNumber::statfs, start_itself, no_fill,
                   [&](RingCall& call, long result) { return give_statfs(call, result, f.arg[1]); });
}

long call_fstatfs(const CallFrame& f) {
  VirtualFile file;
  if (!has_virtual_inode(static_cast<int>(f.arg[0]), file)) return possible.virtual_file ? look_natively(f) : pass_on;
  RingCall call(file.connection, CallNumber::fstatfs, f.nr);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  return give_statfs(call, call.run(), f.arg[1]);
}

long call_access(const CallFrame& f) { return access_path(f, {-1, 0, {}}, f.arg[1], 0); }
long call_faccessat(const CallFrame& f) { return access_path(f, {0, 1, {}}, f.arg[2], 0); }
long call_faccessat2(const CallFrame& f) { return access_path(f, {0, 1, {}}, f.arg[2], f.arg[3]); }

long call_readlink(const CallFrame& f) { return readlink_path(f, {-1, 0, {}}, f.arg[1], static_cast<int>(f.arg[2])); }

long call_readlinkat(const CallFrame& f) { return readlink_path(f, {0, 1, {}}, f.arg[2], static_cast<int>(f.arg[3])); }

}  // namespace fusewire::gate
