// RLIMIT_FSIZE, which the half judges by (file_size.h), is looked at anew. RLIMIT_NOFILE: the program sees and sets its
// own, which leaves the gate a few numbers above (own_descriptors.h).
#include <sys/resource.h>

#include "gate/dispatch/handlers.h"
#include "gate/dispatch/own_descriptors.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

long read_limit(long to) {
  const NumberLimit shown = shown_limit();
  const rlimit limit{shown.soft, shown.hard};
  return copy_to_program(reinterpret_cast<void*>(to), &limit, sizeof limit);
}

long write_limit(long from) {
  rlimit limit;
  if (copy_from_program(&limit, reinterpret_cast<void*>(from), sizeof limit) != 0) return -EFAULT;
  return set_shown_limit({limit.rlim_cur, limit.rlim_max});
}

// Made natively; what is known of the limit is then as old as the change.
long change_file_size(const CallFrame& f) {
  const long r = native::call(f);
  process().file_size.look();
  return r;
}

}  // namespace

long call_getrlimit(const CallFrame& f) { return f.arg[0] == RLIMIT_NOFILE ? read_limit(f.arg[1]) : pass_on; }

long call_setrlimit(const CallFrame& f) {
  if (static_cast<uint32_t>(f.arg[0]) == RLIMIT_FSIZE) return change_file_size(f);
  return f.arg[0] == RLIMIT_NOFILE ? write_limit(f.arg[1]) : pass_on;
}

long call_prlimit64(const CallFrame& f) {
  if (static_cast<uint32_t>(f.arg[1]) == RLIMIT_FSIZE && f.arg[2] != 0) return change_file_size(f);
  const auto pid = static_cast<int>(f.arg[0]);
  if (f.arg[1] != RLIMIT_NOFILE || (pid != 0 && pid != native::getpid())) return pass_on;
  // As the kernel: the new limit is read first, the old one told last.
  const NumberLimit before = shown_limit();
  if (f.arg[2] != 0) {
    if (const long r = write_limit(f.arg[2]); r < 0) return r;
  }
  const rlimit old{before.soft, before.hard};
  if (f.arg[3] == 0) return 0;
  return copy_to_program(reinterpret_cast<void*>(f.arg[3]), &old, sizeof old);
}

}  // namespace fusewire::gate
