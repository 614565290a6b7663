// Files of /proc that must show the namespace's mounts: made up when they are opened, the host kernel's text with ours.
#pragma once

#include <cstdint>
#include <string_view>

namespace fusewire::gate {

enum class ProcFile : uint8_t { none, mounts, mountinfo, filesystems };

// The file meant by a path as programs write it; none also when there is nothing to add.
ProcFile proc_file_named(std::string_view path);
// open(2) of it: a memfd with the whole text.
long open_proc_file(ProcFile file, const char* path, uint64_t flags);

}  // namespace fusewire::gate
