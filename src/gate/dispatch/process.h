// What the dispatcher knows of the process it stands in. A child that shares the memory but is another process (vfork,
// CLONE_VM) has its own record, found by its pid, so that its cwd, rings and descriptors never mix with its parent's.
//
// Thread rule: plain fields are written by the call that changes them (chdir, umask); everything that two threads may
// change at once is atomic. Only a change of the working directory is locked, for a few system calls: a signal handler
// may enter in the middle of any other call.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gate/dispatch/descriptors.h"
#include "gate/dispatch/file_size.h"
#include "gate/dispatch/kept_shadows.h"
#include "gate/dispatch/mapped_views.h"
#include "gate/dispatch/own_descriptors.h"
#include "gate/dispatch/rings.h"
#include "gate/dispatch/views.h"
#include "gate/gate.h"
#include "gate/text.h"

namespace fusewire::gate {

// A virtual working directory: an open directory of a mount, kept by a descriptor. The real one is then a directory in
// which there is nothing and nothing can be made. It is changed by CwdChange alone, and read by virtual_cwd.
struct VirtualCwd {
  std::atomic<uint32_t> version{0};  // odd while it changes, and the real one with it
  std::atomic<int> fd{-1};           // -1: the cwd is native
  std::atomic<uint32_t> connection{0};
  std::atomic<uint64_t> token{0};
};

// A root directory in a mount: an open directory, kept by a descriptor. The real root is then an empty directory.
struct VirtualRoot {
  std::atomic<int> fd{-1};  // -1: the root is native
  std::atomic<uint32_t> connection{0};
  std::atomic<uint64_t> token{0};
};

// A change of the working directory, one thread at a time. Others wait meanwhile: a few system calls long.
class CwdChange {
 public:
  explicit CwdChange(VirtualCwd& cwd);
  ~CwdChange();
  CwdChange(const CwdChange&) = delete;

 private:
  VirtualCwd& cwd_;
};

// What every process of the namespace has from its parent, and every image from the last one (leader_protocol.h).
enum class Inherited : uint8_t { line, mount_table, gate_file, proc };
inline constexpr size_t inherited_count = 4;

inline constexpr uint32_t unknown_umask = UINT32_MAX;

struct Process {
  std::atomic<int> pid{0};
  Process* next = nullptr;         // records are never freed, and serve again
  std::atomic<int> awaited_by{0};  // the process whose thread waits for this guest, and ends it; 0: nobody
  uint64_t generation = 0;         // of two with one pid, the later one lives
  uint64_t start_time = 0;         // of the process as first seen, in clock ticks since boot; 0: not seen yet
  std::atomic<uint32_t> umask{unknown_umask};
  std::atomic<uint32_t> root{0};  // of roots.h
  Views views;
  FileSizeLimit file_size;
  VirtualCwd cwd;
  VirtualRoot virtual_root;
  std::atomic<int> inherited[inherited_count] = {-1, -1, -1, -1};  // places
  Rings rings;
  MappedViews mapped_views;
  OwnDescriptors descriptors;
  std::atomic<OwnDescriptors*> shared_descriptors{nullptr};  // in place of `descriptors`, when others share them
  RaisedState limit;
  KeptShadows kept_shadows;
};

// Whether any descriptor of any process in this memory can be a shadow, or a device, and whether any stands in a
// virtual directory. Never cleared: while clear, calls need not look.
struct Possible {
  std::atomic<bool> virtual_file{false};
  std::atomic<bool> device{false};
  std::atomic<bool> virtual_cwd{false};
  std::atomic<bool> virtual_root{false};
  std::atomic<int> lowest_internal{INT32_MAX};  // no descriptor of the gate's has ever had a lower number
  std::atomic<bool> own_cwds{false};            // threads with a cwd of their own (unshare)
  std::atomic<bool> file_mapping{false};        // of a file of a mount
  std::atomic<bool> no_exec_mapping{false};     // of a file that may not be executed
};
extern Possible possible;
// The process may hold a device from now on.
void device_is_possible();
// A descriptor of the gate's has this number.
void has_internal(int fd);
// What the entry may pass on by itself, by these and by whether refusals are reported.
void set_descriptors_at_entry();

// Whether no guest is in this memory.
bool is_alone_in_memory();
// The number of the calling thread; no system call where it is the only one.
int thread_number();
// The record of the calling process; never fails.
Process& process();

// Whether the process stands in a mount; then where.
bool virtual_cwd(const Process& p, VirtualFile& where);
// Whether fd may be one of the gate's at all; costs no system call.
inline bool may_be_internal(int fd) { return fd >= possible.lowest_internal.load(std::memory_order_relaxed); }
inline int inherited_descriptor(const Process& p, Inherited which) {
  return number_at(p, p.inherited[static_cast<size_t>(which)].load());
}

// The namespace's directory, absolute.
const char* namespace_directory();
void set_namespace_directory(const char* directory);  // it stays
// dir + "/" + name
inline PathText in_namespace(std::string_view name) {
  PathText path;
  path.add(namespace_directory()).add('/').add(name);
  return path;
}

// First use in this image.
void process_start();
void read_umask(Process& p);
// In the child of fork; parent: the record of the process that forked.
void process_after_fork(Process& parent, bool shares_descriptors);

// A guest is a process that shares this memory and is no thread of ours. Its record is made before it runs, a copy of
// its parent's; the kernel writes its number into `pid`, or it claims one that waits for a number.
Process* prepare_guest(const GuestPlan& plan);
// It has left this memory, or was never made.
void end_guest(Process& guest);
// The calling process is about to end: what it has in shared tables goes with it.
void process_exits();

}  // namespace fusewire::gate
