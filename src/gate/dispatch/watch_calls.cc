// inotify on files of mounts. The watch lies on what the host mirrors the file by (host/watches.h), so that the rest is
// the kernel's: the descriptor, its queue, its other watches.
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/own_descriptors.h"
#include "gate/dispatch/path_engine.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

// Of linux/inotify.h, which clashes with the C library's fcntl.h.
constexpr uint32_t in_onlydir = 0x01000000, in_dont_follow = 0x02000000;

long add_watch(int inotify, const char* path, uint32_t mask) {
  return raw_syscall(SYS_inotify_add_watch, inotify, native::of(path), mask);
}

// The kernel looks at mask and descriptor first: what it says when no path is wrong with them.
long check(int inotify, uint32_t mask) {
  const long r = add_watch(inotify, "", mask);
  if (r == -ENOENT) return 0;
  VirtualFile file;
  return r == -EBADF && is_virtual(inotify, file) ? unless_path(file, SYS_inotify_add_watch, -EINVAL) : r;
}

long watch_mirror(RingCall& call, int inotify, uint32_t mask) {
  const int fd = call.take_descriptor(true);
  if (fd < 0) return fd;
  const int held = keep_internal(process(), fd, true);
  if (held < 0) return held;
  Text<40> link;
  link.add("/proc/self/fd/").add_decimal(held);
  const long r = add_watch(inotify, link.c_str(), mask & ~in_dont_follow);
  forget_internal(process(), held);
  return r;
}

}  // namespace

long call_inotify_add_watch(const CallFrame& f) {
  const auto inotify = static_cast<int>(f.arg[0]);
  const auto mask = static_cast<uint32_t>(f.arg[2]);
  const long r = path_call(
      f, {-1, 1, {.follow = (mask & in_dont_follow) == 0}}, abi::CallNumber::watch, start_itself,
      [&](RingCall& call) {
        call.set_arg(0, mask & (in_onlydir | in_dont_follow));
        return check(inotify, mask);
      },
      [&](RingCall& call, long result) { return result < 0 ? result : watch_mirror(call, inotify, mask); });
  if (r >= 0 || r == pass_on) return r;
  const long wrong = check(inotify, mask);
  return wrong < 0 ? wrong : r;
}

}  // namespace fusewire::gate
