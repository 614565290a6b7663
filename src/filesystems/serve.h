// The built-in daemons, as the fusewire program starts them.
#pragma once

#include <expected>
#include <string>

#include "filesystems/memfs.h"

namespace fusewire::filesystems {

struct ServeOptions {
  std::string mount_point;
  bool foreground = false;
  std::string options;   // as after -o: of the file system (below) and of the mount (daemon/mount.h), with commas
  unsigned threads = 0;  // 0: as many as help on this machine
};

// Options of memfs: size=BYTES (k, m, g, or % of the memory), nr_inodes=N, mode=OCTAL, uid=N, gid=N,
// entry_timeout=SECONDS, attr_timeout=SECONDS, negative_timeout=SECONDS. What is not of memfs is put into rest.
// The error is a sentence for a person.
std::expected<MemFsOptions, std::string> parse_memfs_options(std::string_view options, std::string& rest);

// Mounts an empty MemFs and serves it. The exit status: 0; 1 after a message on stderr; 2 for options that make no
// sense. Returns as daemon::serve does.
int serve_memfs(const ServeOptions& options);

}  // namespace fusewire::filesystems
