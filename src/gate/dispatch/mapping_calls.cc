// mmap of a file of a mount. The bytes as they are now are put into a memfd of the mapping's own, and that is mapped,
// so that faults, SIGBUS behind the end and fork are the host kernel's. A mapping that is shared and only read shows
// the file as it was when it was made.
#include <sys/mman.h>

#include "abi/mount_rules.h"
#include "abi/types.h"
#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/memory_files.h"
#include "gate/dispatch/paths.h"
#include "gate/dispatch/prepared_code.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/process_links.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;
using abi::io_bytes_max;

constexpr long page_size = 4096;
constexpr unsigned memfd_cloexec = 1, memfd_allow_sealing = 2;
constexpr int add_seals = 1033, seal_future_write = 16;  // F_ADD_SEALS, F_SEAL_FUTURE_WRITE

// One piece of the file, from the ring's memory. The bytes copied, 0 at the end.
long copy_piece(VirtualFile file, MemoryFile& to, long offset, long bytes) {
  RingCall call(file.connection, CallNumber::read, SYS_mmap);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  call.set_arg(0, offset);
  call.set_arg(1, bytes);
  const long n = call.run();
  if (n <= 0) return n;
  const auto data = call.result_data(static_cast<size_t>(n));
  const long r = to.put(data.data(), data.size(), static_cast<uint64_t>(offset));
  return r < 0 ? r : n;
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

// The file's length, and its bytes within [offset, offset + length).
long fill(VirtualFile file, MemoryFile& memory, long size, long offset, long length) {
  if (const long r = memory.resize(static_cast<uint64_t>(size)); r < 0) return r;
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

long map_copy(const CallFrame& f, VirtualFile file, bool no_exec) {
  PathText path;
  if (path_of_file(file, path) < 0) path.clear();
  const long size = size_now(file);
  if (size < 0) return size;
  MemoryFile memory(mapping_name(path.view(), no_exec).c_str(), static_cast<uint64_t>(size),
                    memfd_cloexec | memfd_allow_sealing);
  if (memory.fd() < 0) return memory.fd();
  if (const long r = fill(file, memory, size, f.arg[5], f.arg[1]); r < 0) return r;
  // Nobody can make a shared mapping writable later: it would not write the file.
  if (const long r = native::fcntl(memory.fd(), add_seals, seal_future_write); r < 0) return r;
  return raw_syscall(SYS_mmap, f.arg[0], f.arg[1], f.arg[2], f.arg[3], memory.fd(), f.arg[5]);
}

// Whether a mapping within the range has a name that is wanted. Without /proc none has.
bool maps(uint64_t low, uint64_t high, bool (*is_wanted)(std::string_view name)) {
  LineReader maps(native::OwnFile("maps"));
  MapsLine mapping;
  for (std::string_view line; maps.next(line);) {
    if (!read_maps_line(line, mapping) || mapping.low >= high || mapping.high <= low) continue;
    if (!mapping.name.empty() && is_wanted(mapping.name)) return true;
  }
  return false;
}

}  // namespace

// Prepared code takes the place of what the loader maps of a library over a mapping of the whole of it.
long map_native(const CallFrame& f) {
  const long sharing = f.arg[3] & (MAP_TYPE | MAP_FIXED);
  const bool is_code = f.arg[2] == (PROT_READ | PROT_EXEC) && sharing == (MAP_PRIVATE | MAP_FIXED);
  if (!is_code || !code_is_prepared() || f.arg[0] % page_size != 0) return pass_on;
  struct stat st;
  if (native::fstat(static_cast<int>(f.arg[4]), &st) < 0) return pass_on;
  const abi::PreparedCode* code = prepared_code(prepared_code_of(st));
  if (code == nullptr) return pass_on;
  const uint64_t bytes = (static_cast<uint64_t>(f.arg[1]) + page_size - 1) & ~uint64_t{page_size - 1};
  const bool is_mapped =
      map_prepared_for_loader(*code, static_cast<uint64_t>(f.arg[0]), bytes, static_cast<uint64_t>(f.arg[5]));
  return is_mapped ? f.arg[0] : pass_on;
}

long call_mmap(const CallFrame& f) {
  VirtualFile file;
  const auto fd = static_cast<int>(f.arg[4]);
  const long flags = f.arg[3];
  if ((flags & MAP_ANONYMOUS) != 0) return pass_on;
  if (!is_virtual(fd, file)) return map_native(f);
  const long offset = f.arg[5], length = f.arg[1];
  if (offset % page_size != 0) return -EINVAL;
  const long opened = file_call(file, CallNumber::getfl, f.nr, {1});
  if (opened < 0) return opened;
  const bool no_exec = ((opened >> abi::mount_flags_shift) & abi::mount_flag::noexec) != 0;
  if ((opened & O_PATH) != 0) return -EBADF;
  if (length == 0) return -EINVAL;
  if (offset < 0 || length < 0 || length > INT64_MAX - offset) return length < 0 ? -ENOMEM : -EOVERFLOW;
  if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0 && f.arg[0] % page_size != 0) return -EINVAL;
  const long sharing = flags & MAP_TYPE;
  const bool is_shared = sharing == MAP_SHARED || sharing == MAP_SHARED_VALIDATE;
  if (!is_shared && sharing != MAP_PRIVATE) return -EINVAL;
  const long access = opened & O_ACCMODE;
  const bool writes = is_shared && (f.arg[2] & PROT_WRITE) != 0;
  if (writes && access != O_RDWR) return -EACCES;
  if (access != O_RDONLY && access != O_RDWR) return -EACCES;
  if (no_exec && (f.arg[2] & PROT_EXEC) != 0) return -EPERM;
  if (writes) {
    return refuse(-ENODEV, "mmap", "MAP_SHARED", "writable shared mappings are not served in mounts yet");
  }
  possible.file_mapping = true;
  if (no_exec) possible.no_exec_mapping = true;
  return map_copy(f, file, no_exec);
}

long call_mprotect(const CallFrame& f) {
  if ((f.arg[2] & PROT_EXEC) == 0 || !possible.no_exec_mapping) return pass_on;
  const auto low = static_cast<uint64_t>(f.arg[0]);
  const uint64_t bytes = (static_cast<uint64_t>(f.arg[1]) + page_size - 1) & ~uint64_t{page_size - 1};
  // Linux clears VM_MAYEXEC of such mappings; the copy's own would allow it.
  return maps(low, low + bytes, [](std::string_view name) { return is_no_exec_name(name); }) ? -EACCES : pass_on;
}

// The copy holds what was mapped of the file, and zeros where the rest should be.
long call_mremap(const CallFrame& f) {
  const auto low = static_cast<uint64_t>(f.arg[0]), old_bytes = static_cast<uint64_t>(f.arg[1]);
  if (!possible.file_mapping || static_cast<uint64_t>(f.arg[2]) <= old_bytes) return pass_on;
  const auto is_copy = [](std::string_view name) { return find_mapping_name(name).length != 0; };
  if (!maps(low, low + (old_bytes == 0 ? page_size : old_bytes), is_copy)) return pass_on;
  return refuse(-ENOMEM, "mremap", "", "a mapping of a file in a mount does not grow");
}

}  // namespace fusewire::gate
