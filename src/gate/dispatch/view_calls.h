// Calls answered out of a connection's view (abi/view.h) in place of the host: without a system call, and only where
// the host would answer the same.
// Thread rule: any thread.
#pragma once

#include <cstdint>

#include "abi/types.h"
#include "abi/view.h"
#include "gate/dispatch/paths.h"

namespace fusewire::gate {

// The host is to be asked.
inline constexpr long not_known = -4003;

// A stat or statx(2) of where a path leads to. mask: STATX_ bits. exact: statx. 0, -ENOENT or not_known.
long known_stat(const Where& where, bool exact, long at_flags, uint32_t mask, abi::Stat& stat);
// fstat(2) of a file whose inode has this row (known_inode). 0 or not_known.
long known_fstat(const VirtualFile& file, uint64_t row, uint32_t mask, abi::Stat& stat);
// access(2): 0, -ENOENT or not_known. mask: R_OK, W_OK, X_OK.
long known_access(const Where& where, long at_flags, uint32_t mask);
// An open that makes nothing: -ENOENT or not_known.
long known_missing(const Where& where, uint64_t open_flags);
// The start of a relative path has this row, as the host says.
void learn_start(const Where& where, uint64_t row);
// readlink(2): the text's length, -ENOENT or not_known.
long known_link(const Where& where, char (&text)[abi::view_chunk_bytes]);

}  // namespace fusewire::gate
