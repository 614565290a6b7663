// Between the types of file_system.h and the structs of the wire.
#pragma once

#include "daemon/file_system.h"
#include "wire/protocol.h"

namespace fusewire::daemon {

inline uint32_t directory_type(uint32_t mode) { return (mode & 0170000) >> 12; }

wire::Attr to_wire(const Attributes& attributes);
wire::EntryOut to_wire(const Entry& entry);
wire::AttrOut to_wire(const AttributesFor& attributes);
wire::OpenOut to_wire(const Opened& opened);
wire::StatfsOut to_wire(const FileSystemStatus& status);
AttributeChange from_wire(const wire::SetattrIn& in);
FileLock from_wire(const wire::FileLock& lock);
wire::FileLock to_wire(const FileLock& lock);

}  // namespace fusewire::daemon
