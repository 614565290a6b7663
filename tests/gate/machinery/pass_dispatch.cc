// The smallest dispatcher: no virtual files, every call passed on. What is left is the machinery, tested alone.
#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>

#include "gate/gate.h"
#include "gate/machinery/base.h"

namespace fusewire::gate {

namespace {

constexpr int path_calls[] = {__NR_open,   __NR_openat, __NR_stat,  __NR_newfstatat, __NR_lstat,     __NR_access,
                              __NR_statx,  __NR_unlink, __NR_mkdir, __NR_readlink,   __NR_chdir,     __NR_faccessat2,
                              __NR_rename, __NR_getcwd, __NR_close, __NR_dup2,       __NR_readlinkat};
// These are passed on from inside the dispatcher, as its own virtual calls would sleep there.
bool is_made_inside(long nr) { return nr == __NR_close || nr == __NR_read; }

// A read of so many bytes meets a signal between its begin and its sleep.
constexpr long signalled_read = 4242;

bool is_own_exe(const char* program_pointer) {
  char path[32];
  return copy_string_from_program(path, program_pointer, sizeof path) > 0 && std::string_view(path) == "/proc/self/exe";
}

long read_exe_link(long to, long room) {
  const size_t length = text_length(exe_path());
  const size_t n = static_cast<size_t>(room) < length ? static_cast<size_t>(room) : length;
  return copy_to_program(reinterpret_cast<void*>(to), exe_path(), n) != 0 ? -EFAULT : static_cast<long>(n);
}

bool inside_reads = false;

constexpr int unnumbered = -2;
int own_number = 0;
std::atomic<int> guest_numbers[256];
std::atomic<int> guests{0};

}  // namespace

extern "C" {
uint8_t dispatch_table[512] = {};
uint32_t descriptors_at_entry = 0;
uint8_t expected_virtual[expected_descriptors] = {};
}

extern "C" long dispatch_call(const CallFrame& f) {
  if (f.nr == __NR_readlink && is_own_exe(reinterpret_cast<const char*>(f.arg[0]))) {
    return read_exe_link(f.arg[1], f.arg[2]);
  }
  if (f.nr == __NR_readlinkat && is_own_exe(reinterpret_cast<const char*>(f.arg[1]))) {
    return read_exe_link(f.arg[2], f.arg[3]);
  }
  if (!is_made_inside(f.nr)) return pass_on;
  if (f.nr != __NR_read || f.arg[2] != signalled_read) return raw_syscall(f.nr, f.arg[0], f.arg[1], f.arg[2]);
  raw_syscall(__NR_tgkill, raw_syscall(__NR_getpid), raw_syscall(__NR_gettid), 10 /* SIGUSR1 */);
  return raw_sleep(f.nr, f.arg[0], f.arg[1], f.arg[2]);
}

// EBADF is doubted twice, so that every such call of a test goes the judged way.
unsigned judged_results(const CallFrame&) { return judge_errors; }
long judge_call(const CallFrame&, long result, uint64_t times) {
  return result == -EBADF && times < 3 ? pass_on : result;
}

// A directory named …/inside makes read(2) sleep in the dispatcher, as a virtual file's would.
void dispatch_start(const char* directory, const char*) {
  for (const int nr : path_calls) dispatch_table[nr] = 1;
  inside_reads = std::string_view(directory).ends_with("/inside");
  dispatch_table[__NR_read] = inside_reads ? 1 : 0;
  // By the entry, and by the dispatcher where a file of a mount is expected.
  constexpr int from_here = 5;
  for (const int nr : {__NR_lseek, __NR_pread64}) dispatch_table[nr] = dispatched_by_descriptor;
  descriptors_at_entry = expected_descriptors;
  for (uint32_t fd = from_here; fd < expected_descriptors; fd++) expected_virtual[fd] = 1;
}

// A record is its process's number; unnumbered: the kernel has not told it.
void* dispatch_process() {
  if (guests == 0) return &own_number;
  const auto self = static_cast<int>(raw_syscall(__NR_getpid));
  for (auto& number : guest_numbers) {
    if (number == self) return &number;
  }
  return &own_number;
}
void dispatch_before_copying_descriptors() {}
void dispatch_before_sharing_descriptors() {}
void dispatch_after_fork(void*, bool) {
  guests = 0;
  for (auto& number : guest_numbers) number = 0;
}
int* dispatch_prepare_guest(const GuestPlan&) {
  for (auto& number : guest_numbers) {
    int free = 0;
    if (!number.compare_exchange_strong(free, unnumbered)) continue;
    guests++;
    return reinterpret_cast<int*>(&number);
  }
  return nullptr;
}
void dispatch_end_guest(int* guest) {
  release_stacks_of(guest);
  *reinterpret_cast<std::atomic<int>*>(guest) = 0;
  guests--;
}
size_t before_exec(char*, size_t, int& closing) { return closing = -1, 0; }

void hold_program(int) {}

int open_for_exec(int dirfd, const char* path, int at_flags, char* resolved, size_t room, ProgramFile& file) {
  file = {};
  if (std::string_view(path) == "/proc/self/exe") path = exe_path();
  if (const long r = raw_syscall(__NR_faccessat2, dirfd, argument(path), 1, AT_EACCESS | at_flags); r < 0) {
    return static_cast<int>(r);
  }
  int fd;
  if (path[0] == 0) {
    Text<40> own;
    own.add("/proc/self/fd/").add_decimal(dirfd);
    fd = static_cast<int>(raw_syscall(__NR_openat, AT_FDCWD, argument(own.c_str()), O_RDONLY | O_CLOEXEC));
  } else {
    fd = static_cast<int>(raw_syscall(__NR_openat, dirfd, argument(path), O_RDONLY | O_CLOEXEC));
  }
  if (fd < 0) return fd;
  Text<40> link;
  link.add("/proc/self/fd/").add_decimal(fd);
  const long n = raw_syscall(__NR_readlink, argument(link.c_str()), argument(resolved), static_cast<long>(room - 1));
  resolved[n > 0 ? n : 0] = 0;
  file.fd = fd;
  return static_cast<int>(raw_syscall(__NR_fstat, fd, argument(&file.status)));
}

int open_for_load(const char* path, bool, ProgramFile& file) {
  file = {};
  const long fd = raw_syscall(__NR_openat, AT_FDCWD, argument(path), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return static_cast<int>(fd);
  file.fd = static_cast<int>(fd);
  return static_cast<int>(raw_syscall(__NR_fstat, fd, argument(&file.status)));
}

int prepared_code_of(const struct stat&) { return -1; }
const abi::PreparedCode* prepared_code(int) { return nullptr; }

int gate_descriptor() { return -1; }
void log_line(const char*) {}
void tell_once(const char*) {}
bool set_id_programs_leave() { return false; }

}  // namespace fusewire::gate
