// Where a path leads: to the native file system, or into a mount. The walk is the kernel's (symlinks, "..", magic links
// of /proc), done ahead of it only as far as needed to know; inside a mount the host walks on.
//
// Thread rule: any thread; no state but the Process's cwd.
#pragma once

#include <fcntl.h>

#include <cstdint>

#include "abi/types.h"
#include "gate/dispatch/descriptors.h"
#include "gate/text.h"

namespace fusewire::gate {

struct How {
  bool follow = true;       // the call follows a symlink in the last component
  bool empty_path = false;  // AT_EMPTY_PATH
  bool makes = false;       // the call makes the name
};
inline How how_of(long at_flags) {
  return {.follow = (at_flags & AT_SYMLINK_NOFOLLOW) == 0, .empty_path = (at_flags & AT_EMPTY_PATH) != 0};
}

// A link of a process's directory in /proc that is not what it reads.
enum class Magic : uint8_t {
  none,
  file,
  cwd,
  exe,      // this process's program
  program,  // another's
};

struct Where {
  bool is_virtual = false;
  // Native: text is the path to use instead of the original (absolute); else the original arguments stand.
  bool rewritten = false;
  // Virtual: an open file to start from, or token 0: the mount's root; then text is the rest of the path, relative,
  // "" for the start itself.
  VirtualFile start;
  int start_fd = -1;  // of a relative path: what names its start, a descriptor or AT_FDCWD
  // Native, last component not followed: what that link stands for (start is filled for file and cwd).
  Magic magic = Magic::none;
  Text<40> process;    // of Magic::program: its directory in /proc
  uint32_t again = 0;  // how often a walk met a mount that was just going
  PathText text;

  bool is_start() const { return is_virtual && text.empty(); }
  bool is_mount_root() const { return is_start() && start.token == 0; }
};

// Whether a relative path starts in a mount.
bool virtual_start(int dirfd, VirtualFile& start);
// The path of the native directory that a relative path starts in; "" is the root. false: it has none.
bool canonical_base(int dirfd, PathText& base);
// path: the program's or the gate's memory. 0, or -errno (EFAULT, ENOENT for "", ENAMETOOLONG, EBADF, ENOTDIR, ELOOP).
long resolve(int dirfd, const char* path, How how, Where& where);
// Goes on where a walk inside a mount left: mount and rest as the host said it. Then as resolve; 0 with `where` as it
// was when the walk is to be made anew.
long resolve_leave(abi::LeaveTo to, uint32_t mount, std::string_view rest, How how, Where& where);

// The canonical path of a virtual open file in this namespace's view: mount point + path in the mount. -errno.
long path_of_file(VirtualFile file, PathText& path);
// The same without the mount point: from the root of its mount, "/" first.
long path_in_mount(VirtualFile file, PathText& path, uint32_t& mount);
// Of a mount's root, from the file system's root: "/" first.
long path_of_root(uint32_t connection, uint32_t mount, PathText& path);
// The mount point's path; n: of several (places.h) the n-th, else the only one is the first. false: it is unmounted, or
// there are not so many.
bool mount_path_of(uint32_t mount, PathText& path, uint32_t n = 0);

}  // namespace fusewire::gate
