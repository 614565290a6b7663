// File I/O without a page cache: READ and WRITE go straight to the daemon, split by what was negotiated (K151-K160;
// Linux file.c). Without FOPEN_DIRECT_IO requests are whole pages and reads end at the known size, as through Linux's
// page cache; with it they are what the caller asked for.
// Thread rule: under the connection lock. The caller holds a use of the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/caller.h"
#include "kernel/file.h"
#include "kernel/task.h"

namespace fusewire::kernel {

// offset -1: at the file's position, which moves. A short count is the end of the file; an error after some bytes is
// told by the next call.
// rwf: RWF_ flags of preadv2 and pwritev2; EOPNOTSUPP for those that FUSE has no answer to (RWF_NOWAIT and kin).
Task<Result<size_t>> read_file(File& file, Caller& caller, std::span<std::byte> to, int64_t offset, uint32_t rwf = 0);
// O_APPEND writes at the end as the half knows it (K158). O_SYNC and O_DSYNC add an FSYNC (K159). The whole of it is
// one transfer under the inode's lock. EFBIG beyond the caller's file_size_limit; what crosses it is cut.
Task<Result<size_t>> write_file(File& file, Caller& caller, std::span<const std::byte> from, int64_t offset,
                                uint32_t rwf = 0);

// copy_file_range(2) between two files of one mount (K174).
Task<Result<size_t>> copy_file_range(File& from, File& to, Caller& caller, CopyRange range);

// What others than read and write need of them.
// generic_write_check_limits: how many of the bytes at offset may be written.
Result<size_t> count_within_limits(Caller& caller, uint64_t offset, size_t bytes);

}  // namespace fusewire::kernel
