// Files for execve and for the loader. A file of a mount is read whole into a memfd of its own: the image must not
// change under the program, and must outlive the mount.
#include "abi/mount_rules.h"
#include "gate/dispatch/execute_access.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/memory_files.h"
#include "gate/dispatch/path_engine.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/process_links.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;
using abi::io_bytes_max;

// The helpers that daemons mount by. Ours takes their place whatever is installed, and goes by argv[0].
bool is_mount_helper(std::string_view path) {
  const std::string_view name = last_component(path);
  return name == "fusermount" || name == "fusermount3" || name == "mergerfs-fusermount";
}

long copy_whole(VirtualFile file, MemoryFile& to) {
  for (uint64_t offset = 0;;) {
    RingCall call(file.connection, CallNumber::read, SYS_execve);
    if (call.error() != 0) return call.error();
    call.set_file(file.token);
    call.set_arg(0, static_cast<int64_t>(offset));
    call.set_arg(1, io_bytes_max);
    const long n = call.run();
    if (n < 0) return n;
    if (n == 0) return to.resize(offset);
    const auto data = call.result_data(static_cast<size_t>(n));
    if (const long r = to.put(data.data(), data.size(), offset); r < 0) return r;
    offset += data.size();
  }
}

// The descriptor of a copy of all its bytes, or -errno.
long copy_to_memory(VirtualFile file, const PathText& path) {
  const long size = regular_size(file, SYS_execve, -EACCES);
  if (size < 0) return size;
  MemoryFile copy(mapping_name(path.view()).c_str(), static_cast<uint64_t>(size), 0);
  if (copy.fd() < 0) return copy.fd();
  const long r = copy_whole(file, copy);
  return r < 0 ? r : copy.release();
}

struct Request {
  int dirfd;
  const char* path;
  long at_flags;
  bool execute;
  char* resolved;
  size_t room;
  ProgramFile& file;
};

// Set-id bits and capabilities, where the mount does not say that they count for nothing.
long look_at_rights(VirtualFile file, ProgramFile& program) {
  const long opened = file_call(file, CallNumber::getfl, SYS_execve, {1});
  if (opened < 0 || ((opened >> abi::mount_flags_shift) & abi::mount_flag::nosuid) != 0) return 0;
  abi::Stat st;
  if (const long r = file_status(file, SYS_execve, st); r < 0) return r;
  program.mode = st.mode;
  program.uid = st.uid;
  program.gid = st.gid;
  RingCall call(file.connection, CallNumber::fgetxattr, SYS_execve);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  call.set_path1("");
  call.set_path2("security.capability");
  program.capabilities = call.run() > 0;
  return 0;
}

// Reads the open file into a fresh memfd. Of a program the open file is held on to: the memfd and it stay open over
// execve, for the next image. No FLUSH: Linux closes such a file without a close(2).
long take_over(VirtualFile file, int opened, const Request& q) {
  char* const resolved = q.resolved;
  PathText path;
  long r = path_of_file(file, path);
  if (r >= 0 && resolved != nullptr && path.length() >= q.room) r = -ENAMETOOLONG;
  const bool is_program = resolved != nullptr;
  if (r >= 0 && is_program) r = look_at_rights(file, q.file);
  const long copy = r < 0 ? r : copy_to_memory(file, path);
  if (copy >= 0) native::fstat(static_cast<int>(copy), &q.file.status);
  if (is_program && copy >= 0) {
    q.file.held = opened;
  } else {
    native::close(opened);
  }
  if (copy < 0) return copy;
  if (resolved != nullptr) __builtin_memcpy(resolved, path.c_str(), path.length() + 1);
  return copy;
}

// What /proc/self/exe shall say of a native file. Where /proc is missing, the path is what it was called.
long name_native(int fd, const char* path, char* resolved, size_t room) {
  PathText full;
  if (native::descriptor_path(fd, full) != 0) {
    char first = 0;
    copy_from_program(&first, path, 1);
    if (first != '/' && native::getcwd(full.data(), path_room) > 0) {
      full.set_length(text_length(full.data()));
      if (full.back() != '/') full.add('/');
    }
    PathText given;
    const long n = copy_string_from_program(given.data(), path, path_room);
    given.set_length(n < 0 ? 0 : static_cast<size_t>(n));
    full.add(given.view());
  }
  if (full.overflowed() || full.length() >= room) return -ENAMETOOLONG;
  __builtin_memcpy(resolved, full.c_str(), full.length() + 1);
  return 0;
}

// The file that a descriptor stands for, to be read: opened anew, or where /proc is missing the descriptor's own.
long open_itself(int fd) {
  const long r = native::OwnFile::descriptor(fd).open(O_RDONLY | O_CLOEXEC);
  return r == -ENOENT ? native::fcntl(fd, F_DUPFD_CLOEXEC) : r;
}

long open_native(const Request& q, const Where& where) {
  const char* path = where.rewritten ? where.text.c_str() : q.path;
  const int dirfd = where.rewritten ? AT_FDCWD : q.dirfd;
  const bool nofollow = (q.at_flags & AT_SYMLINK_NOFOLLOW) != 0;
  if (q.execute) {
    if (const long r = may_execute(dirfd, path, q.at_flags); r < 0) return r;
  }
  char first = 0;
  copy_from_program(&first, path, 1);
  const bool itself = first == 0 && (q.at_flags & AT_EMPTY_PATH) != 0;
  const long fd = itself ? open_itself(dirfd)
                         : raw_syscall(SYS_openat, dirfd, native::of(path),
                                       O_RDONLY | O_CLOEXEC | O_NONBLOCK | (nofollow ? O_NOFOLLOW : 0));
  if (fd < 0) return fd;
  long r = native::fstat(static_cast<int>(fd), &q.file.status);
  if (r == 0 && !S_ISREG(q.file.status.st_mode)) r = -EACCES;
  if (r == 0 && q.resolved != nullptr) r = name_native(static_cast<int>(fd), path, q.resolved, q.room);
  if (r == 0) return fd;
  native::close(static_cast<int>(fd));
  return r;
}

long open_virtual(const Request& q, const CallFrame& frame, bool& is_virtual_file) {
  const PathArgument argument{
      0, 1, {.follow = (q.at_flags & AT_SYMLINK_NOFOLLOW) == 0, .empty_path = (q.at_flags & AT_EMPTY_PATH) != 0}};
  Where where;
  long r = resolve_argument(frame, argument, where);
  Leaves leaves;
  while (r == 0) {
    is_virtual_file = where.is_virtual;
    if (!where.is_virtual) return open_native(q, where);
    VirtualFile file;
    {
      RingCall call(where.start.connection, CallNumber::open_exec, frame.nr);
      if (call.error() != 0) return call.error();
      r = place_path(call, where, {});
      call.set_arg(0, argument.how.follow ? 0 : O_NOFOLLOW);
      if (r == 0) r = call.run();
      if (r == left_mount) {
        r = follow_leave(call, argument.how, leaves, where);
        continue;
      }
      r = opened_descriptor(call, r, true);
      file = {call.connection(), call.opened_token()};
    }
    return r < 0 ? r : take_over(file, static_cast<int>(r), q);
  }
  return r;
}

// The directory that the path starts from may be another one by the time its token is used.
long open_surely(const Request& q, const CallFrame& frame, bool& is_virtual_file) {
  for (int tries = 0; tries < 100; tries++) {
    const uint32_t seen = process().cwd.version;
    const long r = open_virtual(q, frame, is_virtual_file);
    if (r != abi::stale_token && (r != -ENOENT || process().cwd.version == seen)) return r;
  }
  return -ENOENT;
}

// The program `fusewire`, which the leader runs from, wherever that file is.
long open_drop_in(char* resolved, size_t room, ProgramFile& file) {
  abi::LeaderRequest request;
  start_request(request, abi::LeaderOperation::open_drop_in);
  int fd = -1;
  long r = ask_leader(request, -1, &fd);
  if (r == 0 && fd < 0) r = -EMFILE;
  if (r == 0) r = name_native(fd, "/proc/self/exe", resolved, room);
  if (r == 0) r = native::fstat(fd, &file.status);
  if (r == 0) return fd;
  if (fd >= 0) native::close(fd);
  return r;
}

}  // namespace

int open_for_exec(int dirfd, const char* path, int at_flags, char* resolved, size_t room, ProgramFile& file) {
  file = {};
  const Request q{dirfd, path, at_flags, true, resolved, room, file};
  const CallFrame frame{SYS_execveat, {dirfd, native::of(path), 0, 0, 0, 0}};
  PathText text;
  const long n = copy_string_from_program(text.data(), path, path_room);
  if (n < 0) return static_cast<int>(n);
  text.set_length(static_cast<size_t>(n));
  long r = -ENOENT;
  if (is_mount_helper(text.view())) r = open_drop_in(resolved, room, file);
  // The kernel's own execve needs no descriptor.
  if (r < 0) r = with_room(process(), [&] { return open_surely(q, frame, file.is_virtual); });
  if (r < 0) return static_cast<int>(r);
  file.fd = static_cast<int>(r);
  return 0;
}

int open_for_load(const char* path, bool check, ProgramFile& file) {
  file = {};
  const CallFrame frame{SYS_execveat, {AT_FDCWD, native::of(path), 0, 0, 0, 0}};
  const Request q{AT_FDCWD, path, 0, check, nullptr, 0, file};
  const long r = with_room(process(), [&] { return open_surely(q, frame, file.is_virtual); });
  if (r < 0) return static_cast<int>(r);
  file.fd = static_cast<int>(r);
  return 0;
}

void hold_program(int held) {
  if (held >= 0) keep_own(process(), held, true);
}

}  // namespace fusewire::gate
