// File handles of files in mounts: nodeid and generation, as fuse_encode_fh has it (Linux fs/fhandle.c,
// fs/fuse/inode.c).
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/path_engine.h"
#include "gate/dispatch/proc_files.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

constexpr long handle_fid = 0x200, unique_id = 0x001, connectable = 0x002;  // AT_HANDLE_*
constexpr int inode_type = 0x81, inode_and_parent_type = 0x82, no_type = 0xff;
constexpr int is_connectable = 0x10000, is_directory = 0x20000;
constexpr uint32_t words_max = 6;

struct Header {  // struct file_handle
  uint32_t bytes;
  int32_t type;
};
struct Handle {
  Header header;
  uint32_t word[words_max];
};
constexpr uint32_t bytes_max = 128;  // MAX_HANDLE_SZ

void put(uint32_t* to, uint64_t nodeid, uint32_t generation) {
  to[0] = static_cast<uint32_t>(nodeid >> 32);
  to[1] = static_cast<uint32_t>(nodeid);
  to[2] = generation;
}

long give_mount_id(VirtualFile file, long flags, long to) {
  const uint64_t id = mount_number(file);
  const auto narrow = static_cast<int>(id);
  const bool wide = (flags & unique_id) != 0;
  return copy_to_program(reinterpret_cast<void*>(to), wide ? static_cast<const void*>(&id) : &narrow,
                         wide ? sizeof id : sizeof narrow);
}

// do_sys_name_to_handle.
long give_handle(const CallFrame& f, const abi::FileHandle& from, VirtualFile file) {
  const long flags = f.arg[4];
  if (from.can_be_opened == 0 && (flags & handle_fid) == 0) return -EOPNOTSUPP;
  Handle handle;
  auto* to = reinterpret_cast<Handle*>(f.arg[2]);
  if (copy_from_program(&handle.header, &to->header, sizeof handle.header) != 0) return -EFAULT;
  if (handle.header.bytes > bytes_max) return -EINVAL;
  const uint32_t room = handle.header.bytes / 4;
  const bool with_parent = (flags & connectable) != 0 && from.is_directory == 0;
  const uint32_t words = with_parent ? 6 : 3;
  put(handle.word, from.nodeid, from.generation);
  put(handle.word + 3, from.parent_nodeid, from.parent_generation);
  handle.header = {words * 4, with_parent ? inode_and_parent_type : inode_type};
  if ((flags & connectable) != 0) handle.header.type |= is_connectable | (from.is_directory != 0 ? is_directory : 0);
  const bool fits = room >= words;
  if (!fits) handle.header.type = no_type;
  if (give_mount_id(file, flags, f.arg[3]) != 0) return -EFAULT;
  if (copy_to_program(to, &handle, sizeof handle.header + (fits ? words * 4 : 0)) != 0) return -EFAULT;
  return fits ? 0 : -EOVERFLOW;
}

bool virtual_anchor(int fd, VirtualFile& file) {
  if (fd != AT_FDCWD) return is_virtual(fd, file);
  return possible.virtual_cwd && virtual_cwd(process(), file);
}

// What of a handle fuse_fh_to_dentry needs; false: no handle of FUSE's.
bool parse(const Handle& handle, uint64_t& nodeid, uint32_t& generation) {
  const int type = handle.header.type & 0xffff;
  if (type != inode_type && type != inode_and_parent_type) return false;
  if (handle.header.bytes < (type == inode_type ? 12 : 24)) return false;
  nodeid = uint64_t{handle.word[0]} << 32 | handle.word[1];
  generation = handle.word[2];
  return true;
}

long open_handle(const CallFrame& f, VirtualFile anchor, bool& behind) {
  Handle handle{};
  const auto* from = reinterpret_cast<const Handle*>(f.arg[1]);
  if (copy_from_program(&handle.header, &from->header, sizeof handle.header) != 0) return -EFAULT;
  if (handle.header.bytes == 0 || handle.header.bytes > bytes_max) return -EINVAL;
  const int user_flags = handle.header.type & ~0xffff;
  if (handle.header.type < 0 || (user_flags & ~(is_connectable | is_directory)) != 0) return -EINVAL;
  if (static_cast<int>(f.arg[0]) != AT_FDCWD) {
    if (const long r = unless_path(anchor, f.nr, 0); r < 0) return r;
  }
  const uint32_t bytes = handle.header.bytes < sizeof handle.word ? handle.header.bytes : sizeof handle.word;
  if (copy_from_program(handle.word, from->word, bytes) != 0) return -EFAULT;
  uint64_t nodeid = 0;  // nobody's: stale
  uint32_t generation = 0;
  parse(handle, nodeid, generation);
  RingCall call(anchor.connection, abi::CallNumber::open_handle, f.nr);
  if (call.error() != 0) return call.error();
  call.set_arg(0, static_cast<int64_t>(nodeid));
  call.set_arg(1, generation);
  call.set_arg(2, static_cast<uint32_t>(f.arg[2]));
  possible.virtual_file = true;
  const long r = call.run();
  behind = r == abi::opened_special;
  return opened_descriptor(call, r, behind || (f.arg[2] & O_CLOEXEC) != 0);
}

}  // namespace

long call_name_to_handle_at(const CallFrame& f) {
  const long flags = f.arg[4];
  constexpr long known = AT_SYMLINK_FOLLOW | AT_EMPTY_PATH | handle_fid | unique_id | connectable;
  const bool excluded = (flags & connectable) != 0 && (flags & (handle_fid | AT_EMPTY_PATH)) != 0;
  if ((flags & ~known) != 0 || excluded) return pass_on;  // the kernel's to refuse, or an older one's
  const bool follow = (flags & AT_SYMLINK_FOLLOW) != 0;
  const How how{.follow = follow, .empty_path = (flags & AT_EMPTY_PATH) != 0};
  const long at_flags = (follow ? 0 : AT_SYMLINK_NOFOLLOW) | (flags & AT_EMPTY_PATH);
  VirtualFile file;
  return path_call(
      f, {0, 1, how}, abi::CallNumber::file_handle, {0, at_flags},
      [&](RingCall& call) {
        file.connection = call.connection();
        return 0L;
      },
      [&](RingCall& call, long result) {
        if (result < 0) return result;
        abi::FileHandle handle;
        __builtin_memcpy(&handle, call.result_data(sizeof handle).data(), sizeof handle);
        return give_handle(f, handle, file);
      });
}

long call_open_by_handle_at(const CallFrame& f) {
  VirtualFile anchor;
  const auto fd = static_cast<int>(f.arg[0]);
  if (!virtual_anchor(fd, anchor)) return pass_on;
  bool behind = false;
  const long opened = open_handle(f, anchor, behind);
  return behind && opened >= 0 ? open_behind(static_cast<int>(opened), static_cast<uint64_t>(f.arg[2])) : opened;
}

}  // namespace fusewire::gate
