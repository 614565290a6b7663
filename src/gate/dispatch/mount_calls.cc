// mount and umount of FUSE types, which the leader does; all others are the host kernel's.
#include <sys/mount.h>

#include "abi/mount_rules.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/path_engine.h"
#include "gate/dispatch/places.h"
#include "gate/dispatch/roots.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::LeaderOperation;
using abi::LeaderRequest;

constexpr uint32_t names_source = MS_BIND | MS_MOVE;  // else mount(2) ignores the source, or it is no path
constexpr uint32_t changes_sharing = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;
constexpr uint32_t changes_old = names_source | MS_REMOUNT | changes_sharing;
constexpr char not_in_mounts[] = "only FUSE file systems and what they hold are mounted here";

const char* pointer(long argument) { return reinterpret_cast<const char*>(argument); }

// N of the option "fd=N" in mount(2)'s data; -1 when there is none.
int device_option(std::string_view options) {
  while (!options.empty()) {
    const size_t comma = options.find(',');
    std::string_view option = options.substr(0, comma);
    if (option.starts_with("fd=")) {
      option.remove_prefix(3);
      size_t digits = 0;
      const auto fd = static_cast<int>(parse_decimal(option, &digits));
      return digits != 0 && digits == option.size() ? fd : -1;
    }
    if (comma == std::string_view::npos) break;
    options.remove_prefix(comma + 1);
  }
  return -1;
}

// Copies a string argument into a request's field; a null pointer is an empty one.
template <size_t room>
long copy_field(char (&field)[room], long from) {
  if (from == 0) return 0;
  const long n = copy_string_from_program(field, pointer(from), room);
  return n < 0 ? n : 0;
}

// An O_PATH descriptor, close-on-exec.
long open_point(long path, long flags = 0) {
  CallFrame open{};
  open.nr = SYS_openat;
  open.arg[0] = AT_FDCWD;
  open.arg[1] = path;
  open.arg[2] = O_PATH | O_CLOEXEC | flags;
  const long point = call_openat(open);
  return point == pass_on ? native::call(open) : point;
}

// What point, a descriptor of the mount point, is: its path and mode, and where it stands.
long look_at_point(int point, PathText& path, LeaderRequest& request) {
  VirtualFile file;
  struct stat native_status;
  if (!is_virtual(point, file)) {
    const long r = native::fstat(point, &native_status);
    request.value[0] = native_status.st_mode;
    if (r == 0) describe_point(point, request);
    return r == 0 ? native::descriptor_path(point, path) : r;
  }
  abi::Stat status{};
  long r = file_status(file, SYS_mount, status);
  request.value[0] = status.mode;
  if (r == 0) r = path_in_mount(file, path, request.mount);
  // On the root of a mount the next one stands for all who come to it, whatever they have open.
  if (r == 0 && path.view() != "/") request.token = file.token;
  return r == 0 ? path_of_file(file, path) : r;
}

// Linux get_tree_bdev: the source of fuseblk is a block device.
long check_block_device(const char* source) {
  struct stat st;
  const long r = raw_syscall(SYS_newfstatat, AT_FDCWD, native::of(source), native::of(&st), 0);
  if (r < 0) return r;
  return S_ISBLK(st.st_mode) ? 0 : -ENOTBLK;
}

long mount_on(int point, const CallFrame& f, LeaderRequest& request) {
  PathText path;
  long r = look_at_point(point, path, request);
  if (r < 0) return r;
  if (!set_field(request.path, in_namespaces_root(path.view()).view())) return -ENAMETOOLONG;
  r = copy_field(request.source, f.arg[0]);
  if (r == 0) r = copy_field(request.options, f.arg[4]);
  if (r == -ENAMETOOLONG) return refuse(-EINVAL, "mount", path.view(), "the source or the options are too long");
  if (r == 0 && abi::is_block_fuse_type({request.type, text_length(request.type)}))
    r = check_block_device(request.source);
  if (r < 0) return r;
  const int device = device_option({request.options, text_length(request.options)});
  VirtualFile unused;
  if (identify(device, unused) != Descriptor::device) {
    return refuse(-EINVAL, "mount", path.view(), "the option fd= names no FUSE device of this namespace");
  }
  request.flags = abi::without_magic(static_cast<uint32_t>(f.arg[3]));
  return ask_leader(request, device, nullptr);
}

// By the path that was given: the mount may be seen at others too.
void set_twin_place(long argument, LeaderRequest& request) {
  PathText path;
  const long n = copy_string_from_program(path.data(), pointer(argument), path_room);
  path.set_length(n > 0 ? static_cast<size_t>(n) : 0);
  VirtualFile cwd;
  const bool is_in_mount = !path.view().starts_with('/') && virtual_start(AT_FDCWD, cwd);
  if (is_in_mount && path_of_file(cwd, path) != 0) path.clear();
  request.value[1] = static_cast<uint32_t>(twin_place_of(path.view()));
}

long mount_fuse(const CallFrame& f, LeaderRequest& request) {
  const long point = open_point(f.arg[1]);
  if (point < 0) return point;
  set_twin_place(f.arg[1], request);
  const long r = mount_on(static_cast<int>(point), f, request);
  native::close(static_cast<int>(point));
  return r;
}

long refuse_virtual(const CallFrame& f, int path_index, const char* why) {
  if (f.arg[path_index] == 0) return 0;
  Where where;
  const long r = resolve(AT_FDCWD, pointer(f.arg[path_index]), {}, where);
  if (r < 0) return r == -EFAULT ? r : 0;
  return where.is_virtual ? refuse(-EPERM, "mount", where.text.view(), why) : 0;
}

// The mount whose root an open file is; EINVAL.
long mount_of_root(VirtualFile file, uint32_t& mount) {
  PathText path;
  const long r = path_in_mount(file, path, mount);
  if (r < 0) return r;
  return path.view() == "/" ? 0 : -EINVAL;
}

// The mount whose root a virtual place is, or what covers it (Linux handle_lookup_down). A root that is named from
// outside is found without its host, which may have ended. follow: O_NOFOLLOW or 0.
long name_mount(long argument, long follow, const Where& where, LeaderRequest& request) {
  const bool is_start = where.text.empty() || where.text.view() == ".";
  long r = 0;
  if (is_start && where.start.token == 0) {
    request.mount = where.start.mount;
  } else if (is_start) {
    r = mount_of_root(where.start, request.mount);
  } else {
    const long point = open_point(argument, follow);
    if (point < 0) return point;
    VirtualFile file;
    r = is_virtual(static_cast<int>(point), file) ? mount_of_root(file, request.mount) : -EINVAL;
    // It must not keep the mount busy.
    native::close(static_cast<int>(point));
  }
  request.mount = top_mount(request.mount).mount;
  return r == 0 && request.mount == 0 ? -EINVAL : r;
}

// mount(2) of what is mounted already, its flags or how it is shared. False: the target is native, and the call is the
// host kernel's, unless result is an error.
bool change_mount(const CallFrame& f, uint32_t flags, long& result) {
  Where where;
  result = resolve(AT_FDCWD, pointer(f.arg[1]), {}, where);
  if (result < 0) return true;
  if (!where.is_virtual) return false;
  LeaderRequest request;
  start_request(request, LeaderOperation::remount);
  request.mount_namespace = own_mount_namespace();
  result = name_mount(f.arg[1], 0, where, request);
  // Nothing in this namespace is told of mounts elsewhere: shared, private and slave mounts are alike.
  if (result < 0 || (flags & MS_REMOUNT) == 0) return true;
  result = copy_field(request.options, f.arg[4]);
  if (result == -ENAMETOOLONG) result = -EINVAL;
  request.flags = flags;
  set_twin_place(f.arg[1], request);
  if (result == 0) result = ask_leader(request, -1, nullptr);
  return true;
}

// The source of MS_BIND and MS_MOVE: a descriptor of it. mode: of what it is.
long look_at_source(int source, bool moves, LeaderRequest& request, uint32_t& mode) {
  VirtualFile file;
  if (!is_virtual(source, file)) return refuse(-EPERM, "mount", "MS_BIND", "nothing native is put into a mount");
  PathText path;
  abi::Stat status{};
  long r = file_status(file, SYS_mount, status);
  if (r == 0) r = path_in_mount(file, path, request.source_mount);
  if (r < 0) return r;
  if (moves && path.view() != "/") return -EINVAL;
  mode = status.mode;
  request.source_token = file.token;
  r = path_of_file(file, path);
  return r == 0 && !set_field(request.options, path.view()) ? -ENAMETOOLONG : r;
}

long show_at(int source, int point, bool moves, LeaderRequest& request) {
  PathText path;
  uint32_t mode = 0;
  long r = look_at_source(source, moves, request, mode);
  if (r == 0) r = look_at_point(point, path, request);
  if (r < 0) return r;
  if (moves && S_ISDIR(mode) != S_ISDIR(request.value[0])) return -EINVAL;
  if (!set_field(request.path, in_namespaces_root(path.view()).view())) return -ENAMETOOLONG;
  return ask_leader(request, -1, nullptr);
}

// mount(2) that shows at another place what is mounted already. False: source and target are native, and the call is
// the host kernel's, unless result is an error.
bool show_elsewhere(const CallFrame& f, uint32_t flags, long& result) {
  if (f.arg[0] == 0) return false;
  Where target, source;
  result = resolve(AT_FDCWD, pointer(f.arg[1]), {}, target);
  if (result == 0) result = resolve(AT_FDCWD, pointer(f.arg[0]), {}, source);
  if (result < 0) return true;
  const long point = open_point(f.arg[1]);
  const long from = point < 0 ? point : open_point(f.arg[0]);
  VirtualFile unused;
  const bool is_native = !target.is_virtual && !source.is_virtual;
  const bool is_ours = !is_native || (point >= 0 && is_virtual(static_cast<int>(point), unused)) ||
                       (from >= 0 && is_virtual(static_cast<int>(from), unused));
  const bool moves = (flags & MS_BIND) == 0;
  LeaderRequest request;
  start_request(request, moves ? LeaderOperation::move : LeaderOperation::bind);
  request.mount_namespace = own_mount_namespace();
  request.flags = flags;
  set_twin_place(f.arg[1], request);
  result = from;
  if (is_ours && from >= 0) result = show_at(static_cast<int>(from), static_cast<int>(point), moves, request);
  if (from >= 0) native::close(static_cast<int>(from));
  if (point >= 0) native::close(static_cast<int>(point));
  if (!is_ours) result = pass_on;
  return is_ours;
}

}  // namespace

long call_mount(const CallFrame& f) {
  LeaderRequest request;
  start_request(request, LeaderOperation::mount);
  request.mount_namespace = own_mount_namespace();
  const long n = f.arg[2] == 0 ? 0 : copy_string_from_program(request.type, pointer(f.arg[2]), sizeof request.type);
  if (n == -EFAULT) return n;
  const uint32_t flags = abi::without_magic(static_cast<uint32_t>(f.arg[3]));
  if ((flags & abi::mount_flag::no_user) != 0) return pass_on;
  if ((flags & changes_old) == 0 && n > 0 && abi::is_fuse_type({request.type, static_cast<size_t>(n)}))
    return mount_fuse(f, request);
  long r = pass_on;
  if ((flags & (MS_REMOUNT | changes_sharing)) != 0 && change_mount(f, flags, r)) return r;
  if ((flags & MS_REMOUNT) == 0 && (flags & names_source) != 0 && show_elsewhere(f, flags, r)) return r;
  r = refuse_virtual(f, 1, not_in_mounts);
  return r < 0 ? r : native_mounts_changed(native::call(f));
}

long call_umount2(const CallFrame& f) {
  const auto flags = static_cast<uint32_t>(f.arg[1]);
  if ((flags & ~abi::umount_flag::known) != 0) return -EINVAL;
  Where where;
  long r = resolve(AT_FDCWD, pointer(f.arg[0]), {.follow = (flags & UMOUNT_NOFOLLOW) == 0}, where);
  if (r < 0) return r;
  if (!where.is_virtual) {
    r = pass_natively(f, {}, where);
    return native_mounts_changed(r == pass_on ? native::call(f) : r);
  }
  LeaderRequest request;
  start_request(request, LeaderOperation::umount);
  request.mount_namespace = own_mount_namespace();
  r = name_mount(f.arg[0], (flags & UMOUNT_NOFOLLOW) != 0 ? O_NOFOLLOW : 0, where, request);
  if (r < 0) return r;
  // Linux can_umount.
  if ((flags & MNT_EXPIRE) != 0 && (flags & (MNT_FORCE | MNT_DETACH)) != 0) return -EINVAL;
  request.flags = flags;
  return ask_leader(request, -1, nullptr);
}

long call_pivot_root(const CallFrame& f) {
  long r = refuse_virtual(f, 0, "no mount becomes the root");
  if (r == 0) r = refuse_virtual(f, 1, "nothing is put into a mount");
  return r < 0 ? r : native_mounts_changed(native::call(f));
}

long call_move_mount(const CallFrame& f) {
  const long r = call_refused_on_mounts(f);
  return native_mounts_changed(r == pass_on ? native::call(f) : r);
}

// The new mount API is not served for FUSE: callers fall back to mount(2) on anything but EPERM.
long call_fsopen(const CallFrame& f) {
  char type[64];
  const long n = copy_string_from_program(type, pointer(f.arg[0]), sizeof type);
  return n > 0 && abi::is_fuse_type({type, static_cast<size_t>(n)}) ? -ENOSYS : pass_on;
}

}  // namespace fusewire::gate
