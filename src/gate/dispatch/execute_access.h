// Whether a native file may be executed.
#pragma once

namespace fusewire::gate {

// As execve(2) asks, with the effective user: 0 or -errno. dirfd, path and at_flags (AT_SYMLINK_NOFOLLOW,
// AT_EMPTY_PATH) as faccessat2(2) takes them. Also where a container's filter refuses faccessat2, with whatever errno.
long may_execute(int dirfd, const char* path, long at_flags);

}  // namespace fusewire::gate
