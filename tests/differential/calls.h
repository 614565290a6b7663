// The calls, by kind. Each action draws its arguments, makes one system call (never through libc's own checks), and
// writes what can be seen of it.
#pragma once

#include <span>

#include "world.h"

namespace fusewire::differential {

std::span<const Choice> open_calls();
std::span<const Choice> data_calls();        // read, write, lseek, truncate, mmap
std::span<const Choice> name_calls();        // mkdir, link, rename, unlink, getdents, chdir
std::span<const Choice> attribute_calls();   // stat, access, chmod, chown, utimens, xattrs
std::span<const Choice> descriptor_calls();  // dup, fcntl, locks, ioctl, poll, close

}  // namespace fusewire::differential
