// Shadows that a process keeps when it closes a file, for the next one that it opens. Making a shadow costs the host
// ten system calls and the process two; one that is kept costs none, and one to give it a number
// (host/file_registry.h).
//
// It is kept only where nobody else can have a descriptor of it: the number was opened by this process, and since then
// nothing has copied it. So whatever copies descriptors (dup, fork, SCM_RIGHTS, exec, pidfd_getfd) gives up the shadows
// that stand for open files first: those files go on as all others do. What is kept is one of the gate's own
// descriptors: it closes on exec, a child of fork closes it, and with the process it ends.
//
// Thread rule: shadows are kept and served only where one thread is in this memory, with signals held back. Any thread
// may give them up.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gate/dispatch/descriptors.h"

namespace fusewire::gate {

struct Process;

struct KeptShadow {
  enum State : uint32_t {
    none,
    opened,   // stands for a file that is open; nothing is kept yet
    kept,     // stands for nothing
    serving,  // is kept, and stands for a file that is open
  };
  std::atomic<uint32_t> state{none};
  std::atomic<int> fd{-1};  // the program's number
  int place = -1;           // in the own descriptors, of a kept or serving one
  VirtualFile file;         // that it stands for
  uint64_t name = 0;        // the token in its name
};

struct KeptShadows {
  uint32_t closed = 0;  // files that were closed before any shadow was kept
  bool never = false;
  KeptShadow shadow[4];
};

// ---- an open

// The name of a kept shadow to be offered to the connection's host with an open; 0: there is none.
uint64_t shadow_to_offer(Process& p, uint32_t connection);
// It stands for the file that was opened: a number for the program, or -errno, and the file is closed.
long serve_shadow(Process& p, uint64_t name, const VirtualFile& file, bool close_on_exec);
// The host does not know it as one that is kept.
void drop_shadow(Process& p, uint64_t name);
// A file came with a descriptor of its own.
void opened_alone(Process& p, int fd, const VirtualFile& file);

// ---- its end

// Closes fd where nobody else can have a descriptor of its file: the host flushes and releases the file in one call,
// and the shadow is kept. false: it was not that, and nothing was done. watched: the connection whose host is to see
// the close before it returns, where that has not happened; else it is left alone.
bool close_alone(Process& p, int fd, long& result, uint32_t& watched);
// Others are about to have a descriptor of what stands at fd, or it goes in another way.
void give_up_shadow_at(Process& p, int fd);
// Of all of them.
void give_up_shadows(Process& p);
// Processes with memory of their own share the descriptors from now on.
void keep_no_shadows(Process& p);
// In the child of fork. close: it has copies of what its parent keeps.
void forget_kept_shadows(Process& p, bool close);

}  // namespace fusewire::gate
