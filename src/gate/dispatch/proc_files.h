// Files of /proc that must show the namespace's mounts, mapped and open files: made up when they are opened, the host
// kernel's text with ours. Of other processes those are, too, which the gate runs.
#pragma once

#include <cstdint>
#include <string_view>

#include "gate/dispatch/descriptors.h"

namespace fusewire::gate {

enum class ProcFile : uint8_t { none, mounts, mountinfo, mountstats, filesystems, maps, fdinfo };

struct ProcName {
  ProcFile file = ProcFile::none;
  VirtualFile open_file{};  // of fdinfo
};

// Whether a relative path may name one of them, so that it is worth a look at where it starts.
bool may_be_proc_file(bool starts_at_cwd, std::string_view path);
// The file meant by an absolute path as programs write it; none also when there is nothing to add.
ProcName proc_file_named(std::string_view path);
// open(2) of it: a memfd with the whole text.
long open_proc_file(const ProcName& name, const char* path, uint64_t flags);

// The id of a file's mount, as mountinfo shows it at this moment; 0: it is not shown.
uint64_t mount_number(VirtualFile file);

}  // namespace fusewire::gate
