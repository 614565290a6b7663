#include "gate/dispatch/file_size.h"

#include <signal.h>
#include <sys/resource.h>

#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

void FileSizeLimit::look() {
  rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
  raw_syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, 0, native::of(&limit));
  limit_.store(limit.rlim_cur, std::memory_order_relaxed);
}

// send_sig(SIGXFSZ, current, 0): SI_USER, from the process itself.
void send_file_size_signal() {
  siginfo_t info{};
  info.si_signo = SIGXFSZ;
  info.si_code = SI_USER;
  info.si_pid = native::getpid();
  info.si_uid = static_cast<uint32_t>(raw_syscall(SYS_getuid));
  const int pid = native::getpid(), tid = native::gettid();
  if (raw_syscall(SYS_rt_tgsigqueueinfo, pid, tid, SIGXFSZ, native::of(&info)) < 0)
    raw_syscall(SYS_tgkill, pid, tid, SIGXFSZ);
}

}  // namespace fusewire::gate
