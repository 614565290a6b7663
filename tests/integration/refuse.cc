// refuse --list: the system calls that Fusewire makes itself.
// refuse ERRNO CALL PROGRAM ARG...: runs the program where a container's filter answers that call with the errno
// (a number).
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "leader/needed_calls.h"

int main(int count, char** argument) {
  using fusewire::leader::NeededCall;
  const auto calls = fusewire::leader::needed_calls();
  if (count == 2 && std::string_view(argument[1]) == "--list") {
    for (const NeededCall& call : calls) std::printf("%s\n", call.name.data());
    return 0;
  }
  const auto call = std::ranges::find(calls, std::string_view(count > 3 ? argument[2] : ""), &NeededCall::name);
  if (call == calls.end()) return 125;
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call->number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(std::atoi(argument[1]))),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(filter), filter};
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 125;
  ::execvp(argument[3], argument + 3);
  return 126;
}
