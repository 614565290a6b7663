// Runs a command in a new namespace: what `fusewire run` and `fusewire trace` do. In a process that stands in a
// namespace already, the new one is a view of that one (view.h).
#pragma once

#include <cstddef>
#include <expected>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "abi/mount_table.h"

namespace fusewire::leader {

// Serves the control file system (fusectl): called in a process of its own, a child of the leader, with the daemon's
// end of a device socket (one packet one message) that is mounted as connection 0 on /sys/fs/fuse/connections. table is
// the live mount table (read it as mount_table.h says); what it wants done it asks of the leader of `directory`
// (ask_leader). Returns, with the exit status, when the socket ends.
using ControlDaemon = std::function<int(int device_fd, const abi::MountTable& table, const std::string& directory)>;

struct RunOptions {
  std::vector<std::string> command;       // program and arguments; the program is searched in PATH as a shell does
  std::string trace_file;                 // JSON lines of every step are appended; empty: no tracing
  std::span<const std::byte> gate_image;  // the gate's file, as the program carries it
  std::string gate;                       // path of a gate to use in its place
  bool native_setid = false;              // programs with set-id bits run outside the namespace
  bool report = false;                    // what was refused is told on stderr at the end
  uint32_t view_after = abi::view_after_default;  // calls before a process maps a view; 0: it never does
  bool verbose = false;                   // leader and hosts tell what they do, on stderr
  ControlDaemon control_daemon;           // not set: no control file system
};

// The calling process becomes the namespace's leader until the command has ended and everything is cleaned up.
// The exit status for the shell: the command's (128 + signal when it was killed; 127 not found, 126 not executable),
// or a message for a person when the namespace could not be made.
std::expected<int, std::string> run(const RunOptions& options);

}  // namespace fusewire::leader
