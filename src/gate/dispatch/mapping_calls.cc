// mmap of a file of a mount. The bytes as they are now are put into a memfd of the mapping's own, and that is mapped,
// so that faults, SIGBUS behind the end and fork are the host kernel's. A mapping that is shared and only read shows
// the file as it was when it was made.
#include <sys/mman.h>

#include "abi/types.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/paths.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;
using abi::io_bytes_max;

constexpr long page_size = 4096;
constexpr unsigned memfd_cloexec = 1, memfd_allow_sealing = 2;
constexpr int add_seals = 1033, seal_future_write = 16;  // F_ADD_SEALS, F_SEAL_FUTURE_WRITE

// A descriptor for the length of a call.
class OwnDescriptor {
 public:
  explicit OwnDescriptor(int fd) : fd_(fd) {}
  ~OwnDescriptor() {
    if (fd_ >= 0) native::close(fd_);
  }
  OwnDescriptor(const OwnDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

// One piece of the file into the memfd, from the ring's memory. The bytes copied, 0 at the end.
long copy_piece(VirtualFile file, int to, long offset, long bytes) {
  RingCall call(file.connection, CallNumber::read, SYS_mmap);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  call.set_arg(0, offset);
  call.set_arg(1, bytes);
  const long n = call.run();
  if (n <= 0) return n;
  return raw_syscall(SYS_pwrite64, to, native::of(call.result_data(static_cast<size_t>(n)).data()), n, offset);
}

long size_now(VirtualFile file) {
  RingCall call(file.connection, CallNumber::fstat, SYS_mmap);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  call.set_arg(0, STATX_BASIC_STATS);
  if (const long r = call.run(); r < 0) return r;
  abi::Stat st;
  __builtin_memcpy(&st, call.result_data(sizeof st).data(), sizeof st);
  return S_ISREG(st.mode) ? static_cast<long>(st.size) : -ENODEV;
}

// The memfd gets the file's length, and its bytes within [offset, offset + length).
long fill(VirtualFile file, int memory, long offset, long length) {
  const long size = size_now(file);
  if (size < 0) return size;
  if (const long r = raw_syscall(SYS_ftruncate, memory, size); r < 0) return r;
  const long end = length > size - offset ? size : offset + length;
  while (offset < end) {
    const long left = end - offset;
    const long n = copy_piece(file, memory, offset, left < long{io_bytes_max} ? left : long{io_bytes_max});
    if (n < 0) return n;
    if (n == 0) break;
    offset += n;
  }
  return 0;
}

// The memfd's name, which /proc/self/maps shows: "fusewire-mapping:" and the end of the file's path.
Text<250> mapping_name(VirtualFile file) {
  Text<250> name;
  name.add("fusewire-mapping:");
  PathText path;
  if (path_of_file(file, path) < 0) return name;
  const size_t room = 249 - name.length();
  const std::string_view whole = path.view();
  return name.add(whole.size() < room ? whole : whole.substr(whole.size() - room + 1)), name;
}

long map_copy(const CallFrame& f, VirtualFile file) {
  const OwnDescriptor memory(native::memfd_create(mapping_name(file).c_str(), memfd_cloexec | memfd_allow_sealing));
  if (memory.get() < 0) return memory.get();
  if (const long r = fill(file, memory.get(), f.arg[5], f.arg[1]); r < 0) return r;
  // Nobody can make a shared mapping writable later: it would not write the file.
  if (const long r = native::fcntl(memory.get(), add_seals, seal_future_write); r < 0) return r;
  return raw_syscall(SYS_mmap, f.arg[0], f.arg[1], f.arg[2], f.arg[3], memory.get(), f.arg[5]);
}

}  // namespace

long call_mmap(const CallFrame& f) {
  VirtualFile file;
  const auto fd = static_cast<int>(f.arg[4]);
  const long flags = f.arg[3];
  if ((flags & MAP_ANONYMOUS) != 0 || !is_virtual(fd, file)) return pass_on;
  const long offset = f.arg[5], length = f.arg[1];
  if (offset % page_size != 0) return -EINVAL;
  const long opened = file_call(file, CallNumber::getfl, f.nr);
  if (opened < 0) return opened;
  if ((opened & O_PATH) != 0) return -EBADF;
  if (length == 0) return -EINVAL;
  if (offset < 0 || length < 0 || length > INT64_MAX - offset) return length < 0 ? -ENOMEM : -EOVERFLOW;
  const long access = opened & O_ACCMODE;
  if (access != O_RDONLY && access != O_RDWR) return -EACCES;
  if ((flags & MAP_TYPE) != MAP_PRIVATE && (f.arg[2] & PROT_WRITE) != 0) {
    if (access != O_RDWR) return -EACCES;
    return refuse(-ENODEV, "mmap", "MAP_SHARED", "writable shared mappings are not served in mounts yet");
  }
  return map_copy(f, file);
}

}  // namespace fusewire::gate
