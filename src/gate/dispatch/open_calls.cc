// open(2) and its kin.
#include <linux/openat2.h>

#include "gate/dispatch/device_calls.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/own_descriptors.h"
#include "gate/dispatch/path_engine.h"
#include "gate/dispatch/proc_files.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

struct Open {
  PathArgument argument;
  uint64_t flags = 0;
  uint64_t mode = 0;
};

bool follows(uint64_t flags) { return (flags & O_NOFOLLOW) == 0 && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL); }

// Files that the namespace shows differently from the host kernel, by their usual names.
bool open_special(const char* path, uint64_t flags, long& result) {
  Text<64> name;
  const long n = copy_string_from_program(name.data(), path, 64);
  if (n <= 0) return false;
  name.set_length(static_cast<size_t>(n));
  if (!name.view().starts_with("/dev/") && !name.view().starts_with("/proc/") && name.view() != "/etc/mtab") {
    return false;
  }
  if (name.view() == "/dev/fuse") {
    result = open_device(flags);
    return true;
  }
  const ProcFile file = proc_file_named(name.view());
  if (file == ProcFile::none) return false;
  result = open_proc_file(file, name.c_str(), flags);
  return true;
}

// "name/" cannot be made, and O_CREAT says so before O_EXCL finds what is there already: of a mount point's name only
// the gate sees the slash.
bool demands_directory(const char* path) {
  PathText text;
  const long n = copy_string_from_program(text.data(), path, path_room);
  if (n <= 0) return false;
  text.set_length(static_cast<size_t>(n));
  const std::string_view name = last_component(text.view());
  return text.view().ends_with('/') && !name.empty() && name != "." && name != "..";
}

constexpr uint64_t tmpfile_flag = O_TMPFILE & ~O_DIRECTORY;  // __O_TMPFILE
constexpr uint64_t creating_flags = O_CREAT | tmpfile_flag;
// An open that may change something must not do so and then find no descriptor free.
constexpr uint64_t changing_flags = creating_flags | O_TRUNC;

// Opens the real fifo or device that fd, which ends here, leads to. It may sleep until the other side of a fifo opens.
long open_behind(int fd, uint64_t flags) {
  Process& p = process();
  const int held = keep_internal(p, fd, true);
  if (held < 0) return held;
  Text<40> link;
  link.add("/proc/self/fd/").add_decimal(held);
  const auto real_flags = static_cast<long>(flags & ~uint64_t{O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW});
  const long opened = raw_sleep(SYS_openat, AT_FDCWD, native::of(link.c_str()), real_flags, 0);
  forget_internal(p, held);
  return opened == -EINTR ? interrupted_sleep() : opened;
}

long open_path(const CallFrame& frame, Open open) {
  const auto* path = reinterpret_cast<const char*>(frame.arg[open.argument.path_index]);
  long special = 0;
  if (open_special(path, open.flags, special)) return special;
  open.argument.how.follow = follows(open.flags);
  int behind = -1;  // of a fifo or device
  const long opened = path_call(
      frame, open.argument, abi::CallNumber::openat, start_itself,
      [&](RingCall& call) {
        call.set_arg(0, static_cast<int64_t>(open.flags));
        call.set_arg(1, static_cast<int64_t>(open.mode));
        possible.virtual_file = true;
        return (open.flags & changing_flags) != 0 ? call.check_room_for_descriptor() : 0;
      },
      [&](RingCall& call, long result) {
        if (result == -EEXIST && demands_directory(path)) return -static_cast<long>(EISDIR);
        const bool special = result == abi::opened_special;
        result = opened_descriptor(call, result, special || (open.flags & O_CLOEXEC) != 0);
        if (special && result >= 0) behind = static_cast<int>(result);
        return result;
      });
  return behind >= 0 ? open_behind(behind, open.flags) : opened;
}

// build_open_flags: what is wrong with flags and mode comes before the path. openat2 is strict, the older calls drop
// what they do not know.
bool is_sane(uint64_t flags, uint64_t mode) {
  const bool creates = (flags & creating_flags) != 0;
  if (creates ? (mode & ~uint64_t{07777}) != 0 : mode != 0) return false;
  if ((flags & (O_DIRECTORY | O_CREAT)) == (O_DIRECTORY | O_CREAT)) return false;
  if ((flags & tmpfile_flag) == 0) return true;
  return (flags & O_DIRECTORY) != 0 && (flags & O_ACCMODE) != O_RDONLY;
}

constexpr uint64_t path_flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

bool is_sane_strictly(uint64_t flags, uint64_t mode) {
  constexpr uint64_t known = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |
                             O_ASYNC | O_DIRECT | 0100000 /* O_LARGEFILE */ | O_NOFOLLOW | O_NOATIME | O_CLOEXEC |
                             O_PATH | O_TMPFILE;
  if ((flags & ~known) != 0) return false;
  if ((flags & O_PATH) != 0 && (flags & ~path_flags) != 0) return false;
  return is_sane(flags, mode);
}

long open_loosely(const CallFrame& frame, Open open) {
  if ((open.flags & O_PATH) != 0) open.flags &= path_flags;
  if ((open.flags & creating_flags) == 0) open.mode = 0;
  return is_sane(open.flags, open.mode) ? open_path(frame, open) : -EINVAL;
}

uint64_t flags_of(long argument) { return static_cast<uint32_t>(argument); }
uint64_t mode_of(long argument) { return static_cast<uint64_t>(argument) & 07777; }

}  // namespace

long call_open(const CallFrame& f) {
  return open_loosely(f, {.argument = {-1, 0, {}}, .flags = flags_of(f.arg[1]), .mode = mode_of(f.arg[2])});
}

long call_creat(const CallFrame& f) {
  return open_path(f, {.argument = {-1, 0, {}}, .flags = O_CREAT | O_WRONLY | O_TRUNC, .mode = mode_of(f.arg[1])});
}

long call_openat(const CallFrame& f) {
  return open_loosely(f, {.argument = {0, 1, {}}, .flags = flags_of(f.arg[2]), .mode = mode_of(f.arg[3])});
}

long call_openat2(const CallFrame& f) {
  open_how how{};
  if (static_cast<size_t>(f.arg[3]) != sizeof how) return pass_on;
  if (copy_from_program(&how, reinterpret_cast<const void*>(f.arg[2]), sizeof how) != 0) return -EFAULT;
  if (!is_sane_strictly(how.flags, how.mode)) return -EINVAL;
  const PathArgument argument{0, 1, {.follow = follows(how.flags)}};
  if ((how.resolve & ~uint64_t{RESOLVE_NO_MAGICLINKS}) == 0) {
    return open_path(f, {.argument = argument, .flags = how.flags, .mode = how.mode});
  }
  Where where;
  const long r = resolve_argument(f, argument, where);
  if (r < 0) return r;
  if (where.is_virtual) return refuse(-ENOSYS, "openat2", where.text.view(), "RESOLVE_ flags are not served in mounts");
  return pass_on;
}

}  // namespace fusewire::gate
