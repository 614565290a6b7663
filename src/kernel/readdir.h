// Reading directories: READDIR and READDIRPLUS into getdents64's records (K190-K194, K064; Linux readdir.c).
// Nothing is cached: each call sends one request, and what does not fit is read again from its offset.
// Thread rule: under the connection lock. The caller holds a use of the file.
#pragma once

#include <cstddef>
#include <span>

#include "kernel/caller.h"
#include "kernel/file.h"
#include "kernel/task.h"

namespace fusewire::kernel {

// Fills `to` with struct linux_dirent64; 0 at the end. ENOTDIR, EINVAL when not even one record fits, EIO for names
// that no directory can hold (K191).
Task<Result<size_t>> read_directory(File& file, Caller& caller, std::span<std::byte> to);

}  // namespace fusewire::kernel
