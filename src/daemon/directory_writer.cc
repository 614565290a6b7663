#include "daemon/directory_writer.h"

#include "daemon/convert.h"

namespace fusewire::daemon {

bool DirectoryWriter::add(std::string_view name, uint64_t ino, uint32_t mode, uint64_t next) {
  auto result = records_.add(ino, next, directory_type(mode), name);
  if (result == wire::AddResult::bad_name) bad_name_ = true;
  return result != wire::AddResult::full;
}

bool DirectoryPlusWriter::add(std::string_view name, const Entry& entry, uint64_t next) {
  auto result = records_.add(to_wire(entry), entry.attributes.ino, next, directory_type(entry.attributes.mode), name);
  if (result == wire::AddResult::bad_name) bad_name_ = true;
  return result != wire::AddResult::full;
}

}  // namespace fusewire::daemon
