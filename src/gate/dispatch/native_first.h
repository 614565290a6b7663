// Native first (D11): a call by path is made natively at once, and its result is judged. While what the mounts cover
// are empty directories or nothing, a native walk through a mount point comes to that directory itself, to nothing, or
// out of it again. So success with another object is the truth, and so is an error that a walk without symlinks meets
// too: paths with the name of a mount point in them are not tried at all. What is left unsure is walked as paths.h has
// it. A mount or umount at the same time comes before or after.
//
// Thread rule: any thread.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>

#include "gate/gate.h"
#include "gate/text.h"

namespace fusewire::gate {

struct PathArgument;

// The path of a call, its directory being native.
struct NativeLook {
  NativeLook(const CallFrame& frame, const PathArgument& argument);
  NativeLook(int directory, std::string_view path);

  bool allowed = false;  // that a native attempt is judged
  bool absolute = false;
  bool in_proc = false;  // a name on the way is /proc's, whose links are not what they read
  int dirfd = AT_FDCWD;
  Text<256> text;

 private:
  void look();
};

// Where a walk of the kernel without symlinks ends, of a path in the gate's memory: 0 or -errno, ELOOP when it meets
// one.
long walk_without_symlinks(int dirfd, const char* path, bool follow);
// Errors that say where a walk ended: something is not there, is no directory, or may not be searched.
inline bool ends_a_walk(long error) { return error == -ENOENT || error == -ENOTDIR || error == -EACCES; }

// A result that tells nothing.
inline constexpr long unsure = -4002;

// The calls. The kernel's result when that is the true one, or unsure.
long stat_first(const NativeLook& look, long at_flags, struct stat& st);
long statx_first(const NativeLook& look, long at_flags, long mask, struct statx& st);
long access_first(const NativeLook& look, long mode, long at_flags);
// It may sleep, in the open of a fifo or a device: pass_on then, or EINTR, as interrupted_sleep has it. pass_on also
// when the native open is the right one and was not made.
long open_first(const NativeLook& look, uint64_t flags, uint64_t mode);
// The text's length; room: that of `to`.
long readlink_first(const NativeLook& look, char* to, size_t room);
// l…xattr, which tell no identity and follow no symlink at the end. call: with its path at arg[0].
long xattr_first(const NativeLook& look, const CallFrame& call);

// Whether the walk comes to no mount, so that the call may be passed on. follow: a symlink at the end is followed.
// makes: the name is new as a rule.
bool is_native_path(const NativeLook& look, bool follow, bool makes);

}  // namespace fusewire::gate
