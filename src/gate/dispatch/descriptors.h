// Which descriptor is virtual. The truth is the descriptor itself, since dup, fork, exec and SCM_RIGHTS move it
// natively: a shadow memfd carries connection and token in its name, a device is a socket bound to an address of the
// leader's.
//
// Thread rule: any thread, any signal handler; never sleeps.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string_view>

#include "gate/text.h"

namespace fusewire::gate {

// What an open file of a mount is known by.
struct VirtualFile {
  uint32_t connection = 0;
  uint64_t token = 0;
  uint32_t mount = 0;  // what it is seen through; 0: what its host knows of the open file
};

enum class Descriptor : uint8_t { native, virtual_file, device };

// Learns the device number of this kernel's memfds; before the first identify, when the mount table is there.
void descriptors_start();

// What fd is; file is filled for virtual_file. While the process can hold neither kind, no system call is made.
Descriptor identify(int fd, VirtualFile& file);
// The same, and what fstat(2) said of it; st.st_mode is 0 where it was not asked.
Descriptor identify(int fd, VirtualFile& file, struct stat& st);
inline bool is_virtual(int fd, VirtualFile& file) { return identify(fd, file) == Descriptor::virtual_file; }

// What tells a file from others, of what statx(2) told with STATX_TYPE, MODE, NLINK and INO.
struct stat identity_of(const struct statx& st);
// Whether what stat(2) told may be a shadow, or what stands behind a fifo or device of a mount; no system call.
bool stands_for_virtual(const struct stat& st);
// Whether fd stands for an inode of a mount: virtual, or an open fifo or device of a mount. The bytes of the latter are
// the kernel's own business, its attributes are the inode's.
bool has_virtual_inode(int fd, VirtualFile& file);
bool has_virtual_inode(int fd, VirtualFile& file, struct stat& st);

// "fusewire:<leader>:<connection>:<token>", of this namespace: the name of a shadow, or of what stands behind a fifo or
// a bound socket.
bool parse_shadow_name(std::string_view name, VirtualFile& file);
// "/memfd:fusewire:<connection>:<token> (deleted)", as /proc/<pid>/fd/<n> shows a shadow.
bool parse_shadow_link(std::string_view link, VirtualFile& file);

}  // namespace fusewire::gate
