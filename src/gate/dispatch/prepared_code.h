// Code of files that was rewritten in advance (abi/mount_table.h, PreparedCode): which file has some, and what
// /proc/PID/maps shall say of it.
#pragma once

#include <cstdint>

#include "abi/mount_table.h"
#include "gate/dispatch/process_links.h"

namespace fusewire::gate {

// Of the namespace's table; its entries never change.
void use_prepared_codes(const abi::MountTable& table);

// Whether any process of the namespace may have some mapped.
bool code_is_prepared();

// The prepared code that the line tells of, nullptr: another mapping. *offset: in the file whose code it is.
const abi::PreparedCode* prepared_code_of(const MapsLine& line, uint64_t& offset);

}  // namespace fusewire::gate
