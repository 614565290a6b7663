// The ioctls that Linux answers itself for every file of a file system that has nothing to say to them (fs/ioctl.c
// do_vfs_ioctl, file_ioctl): preallocation as XFS had it, clones, deduplication, extents, freezing.
#pragma once

#include "gate/dispatch/descriptors.h"
#include "gate/gate.h"

namespace fusewire::gate {

// The call's result; pass_on: the ioctl is another one, and the daemon's to answer. Of a virtual file, which f.arg[0]
// names.
long common_ioctl(const CallFrame& f, VirtualFile file);

// A clone from a file of a mount to a native one: EXDEV. pass_on: it is none.
long clone_to_native(const CallFrame& f);

}  // namespace fusewire::gate
