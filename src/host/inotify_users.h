// Which inodes the inotify descriptors of all processes watch, as far as /proc shows it to us.
#pragma once

#include <cstdint>
#include <optional>
#include <set>

namespace fusewire::host {

// By st_ino, whatever the file system. nullopt: there is no /proc to ask.
std::optional<std::set<uint64_t>> watched_inodes();

}  // namespace fusewire::host
