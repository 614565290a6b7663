// What the dispatcher knows of the process it stands in. A child that shares the memory but is another process (vfork,
// CLONE_VM) has its own record, found by its pid, so that its cwd, rings and descriptors never mix with its parent's.
//
// Thread rule: plain fields are written by the call that changes them (chdir, umask); everything that two threads may
// change at once is atomic. Nothing here is ever locked: a signal handler may enter in the middle of any call.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gate/dispatch/client.h"
#include "gate/text.h"

namespace fusewire::gate {

// A virtual working directory: an open directory of a mount, kept by a descriptor. The real one is then `void`.
struct VirtualCwd {
  std::atomic<int> fd{-1};  // -1: the cwd is native
  uint32_t connection = 0;
  uint64_t token = 0;
};

inline constexpr size_t internal_room = 64;

struct Process {
  std::atomic<int> pid{0};
  std::atomic<uint32_t> umask{022};
  VirtualCwd cwd;
  // The mount table, for an image of a user who may not open it; -1: the user has not changed. Survives exec.
  std::atomic<int> mount_table{-1};
  Rings rings;
  std::atomic<int> internal[internal_room];  // descriptors the program must not touch: number + 1, 0: none
};

// Whether any descriptor of any process in this memory can be a shadow, or a device, and whether any stands in a
// virtual directory. Never cleared: while clear, calls need not look.
struct Possible {
  std::atomic<bool> virtual_file{false};
  std::atomic<bool> device{false};
  std::atomic<bool> virtual_cwd{false};
  std::atomic<bool> internal{false};
  std::atomic<bool> own_cwds{false};  // threads with a cwd of their own (unshare)
};
extern Possible possible;

// The record of the calling process; never fails.
Process& process();

// No descriptor of the gate's lies below, unless there was no room.
inline constexpr int lowest_internal = 20;

// Moves fd out of the program's way (to 1000 and above where the limits allow) and protects it. The new number.
int keep_internal(Process& p, int fd, bool close_on_exec);
void adopt_internal(Process& p, int fd);   // protects fd where it is
void forget_internal(Process& p, int fd);  // and closes it
bool is_internal(const Process& p, int fd);
// Gives the number fd back to the program: what the gate holds there moves elsewhere.
void make_room_at(Process& p, int fd);

// The namespace's directory, absolute.
const char* namespace_directory();
void set_namespace_directory(const char* directory);
// dir + "/" + name
inline PathText in_namespace(std::string_view name) {
  PathText path;
  path.add(namespace_directory()).add('/').add(name);
  return path;
}

// First use in this image; after fork in the child.
void process_start();
void process_after_fork();
// A child that shares its parent's memory is about to leave it (exec, exit).
void release_process_record();

}  // namespace fusewire::gate
