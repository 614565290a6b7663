// The measured program: does operations between marks (marks.h), by system calls of its own, so that the counts are
// nobody's libc's. A static program: what it starts begins with few pages.
// usage: counters_client DIR FORGETFUL WARM_UP TIMES OPERATION...   (FORGETFUL: DIR on a mount that may cache no name)
//        counters_client --list
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <iterator>
#include <string>

#include "marks.h"

namespace {

using fusewire::counters::Mark;

constexpr size_t page = 4096;
constexpr int entries = 64;  // of the directory that is listed

std::string dir, forgetful;
int held = -1, other_end = -1;  // what the operation uses all the time
uint64_t faults = 0;            // of the last program started
char buffer[32 * page];

// One site for all, with instructions behind it that can be moved: as libc's wrappers look.
[[gnu::noinline]] long call(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = 0;
  asm volatile("syscall\n\tcmp $0xfffffffffffff001, %%rax"
               : "=a"(result)
               : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory", "cc");
  return result;
}
template <class T>
long address(const T* p) {
  return reinterpret_cast<long>(p);
}
long address(const std::string& s) { return address(s.c_str()); }

const char* doing = "start";
long require(bool good, long result) {
  if (good) return result;
  fprintf(stderr, "counters_client: %s: %s\n", doing, result < 0 ? strerror(static_cast<int>(-result)) : "unexpected");
  exit(1);
}
long good(long result) { return require(result >= 0, result); }
void fails(int error, long result) { require(result == -error, result); }

void mark(Mark what, uint64_t value = 0) {
  call(SYS_getppid, static_cast<long>(fusewire::counters::mark_magic), static_cast<long>(what),
       static_cast<long>(value));
}

std::string in(const std::string& where, const char* name) { return where + "/" + name; }
long opened(const std::string& path, int flags) {
  return good(call(SYS_openat, AT_FDCWD, address(path), flags | O_CLOEXEC, 0644));
}
void closed(long fd) { good(call(SYS_close, fd)); }
long stat_of(long at, const std::string& path, int flags = 0) {
  struct stat status;
  return call(SYS_newfstatat, at, address(path), address(&status), flags);
}
void make_file(const std::string& path, size_t bytes, int mode = 0644) {
  const long fd = good(call(SYS_openat, AT_FDCWD, address(path), O_WRONLY | O_CREAT | O_CLOEXEC, mode));
  for (size_t done = 0; done < bytes;) {
    done += static_cast<size_t>(good(call(SYS_write, fd, address(buffer), static_cast<long>(page))));
  }
  closed(fd);
}
void unlinked(const std::string& path) { good(call(SYS_unlinkat, AT_FDCWD, address(path), 0)); }

std::string there, there_uncached, missing, missing_uncached, deep, link_to_there, link_miss, listed, numbered, program;

void name_all() {
  there = in(dir, "there");
  there_uncached = in(forgetful, "there");
  missing = in(dir, "missing");
  missing_uncached = in(forgetful, "missing");
  deep = in(dir, "a/b/c/there");
  link_to_there = in(dir, "link");
  link_miss = in(dir, "link-to-a/missing");
  listed = in(dir, "listed");
  numbered = in(dir, "new");
  program = in(dir, "true");
}

void copy_program() {
  const long from = opened("/bin/true", O_RDONLY), to = opened(program, O_WRONLY | O_CREAT | O_TRUNC);
  good(call(SYS_fchmod, to, 0755));
  for (long n; (n = good(call(SYS_read, from, address(buffer), sizeof buffer))) > 0;) {
    require(call(SYS_write, to, address(buffer), n) == n, -EIO);
  }
  closed(from);
  closed(to);
}

void make_all() {
  make_file(there, 16 * page);
  if (forgetful != dir) make_file(there_uncached, 16 * page);
  for (const char* d : {"a", "a/b", "a/b/c", "listed"}) good(call(SYS_mkdirat, AT_FDCWD, address(in(dir, d)), 0755));
  make_file(deep, 0);
  good(call(SYS_symlinkat, address("there"), AT_FDCWD, address(link_to_there)));
  good(call(SYS_symlinkat, address("a"), AT_FDCWD, address(in(dir, "link-to-a"))));
  for (int i = 0; i < entries; i++) make_file(in(listed, ("entry-" + std::to_string(i)).c_str()), 0);
  copy_program();
}

// Children -------------------------------------------------------------------------------------------------------

void reap(long child) {
  rusage usage{};
  int status = 0;
  require(call(SYS_wait4, child, address(&status), 0, address(&usage)) == child, -ECHILD);
  require(WIFEXITED(status) && WEXITSTATUS(status) == 0, -ENOEXEC);
  faults = static_cast<uint64_t>(usage.ru_minflt);
}

// Where every variable is on the stack, a child in this memory leaves none of its parent's changed.
[[gnu::noinline]] long clone_and(unsigned long flags, const char* path) {
  const char* const arguments[] = {path, nullptr};
  const char* const environment[] = {nullptr};
  if ((flags & CLONE_VM) == 0) {
    const long child = good(call(SYS_clone, static_cast<long>(flags)));
    if (child == 0) {
      if (path != nullptr) call(SYS_execve, address(path), address(arguments), address(environment));
      call(SYS_exit_group, path != nullptr);
    }
    return child;
  }
  const pid_t child = vfork();
  if (child == 0) {
    call(SYS_execve, address(path), address(arguments), address(environment));
    _exit(1);
  }
  return good(child);
}
void start_fork(int) { reap(clone_and(SIGCHLD, "/bin/true")); }
void start_vfork(int) { reap(clone_and(CLONE_VM | CLONE_VFORK | SIGCHLD, "/bin/true")); }
void start_there(int) { reap(clone_and(CLONE_VM | CLONE_VFORK | SIGCHLD, program.c_str())); }
void fork_exit(int) { reap(clone_and(SIGCHLD, nullptr)); }

// Operations -----------------------------------------------------------------------------------------------------

void hold(const std::string& path, int flags) { held = static_cast<int>(opened(path, flags)); }
void let_go() {
  for (int* fd : {&held, &other_end}) {
    if (*fd >= 0) closed(*fd);
    *fd = -1;
  }
}
std::string new_name(int i) { return numbered + std::to_string(i); }

void list(bool look) {
  const long fd = opened(listed, O_RDONLY | O_DIRECTORY);
  int seen = 0;
  for (long n; (n = good(call(SYS_getdents64, fd, address(buffer), sizeof buffer))) > 0;) {
    for (long at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      at += entry->d_reclen;
      if (entry->d_name[0] == '.') continue;
      seen++;
      if (look) good(stat_of(AT_FDCWD, in(listed, entry->d_name), AT_SYMLINK_NOFOLLOW));
    }
  }
  closed(fd);
  require(seen == entries, -EIO);
}

void open_close(const std::string& path, int flags = O_RDONLY) { closed(opened(path, flags)); }

void lock(short type) {
  struct flock f {};
  f.l_type = type;
  f.l_whence = SEEK_SET;
  good(call(SYS_fcntl, held, F_SETLK, address(&f)));
}

struct Operation {
  const char* name;
  const char* what;
  void (*once)(int i);              // what is counted
  void (*before)(int i) = nullptr;  // each time, not counted
  void (*after)(int i) = nullptr;   // each time, not counted
  void (*prepare)() = nullptr;      // at first
  bool is_slow = false;             // done less often
};
void to_dir() { good(call(SYS_chdir, address(dir))); }
void hold_dir() { hold(dir, O_RDONLY | O_DIRECTORY); }
void hold_file() { hold(there, O_RDWR); }
void hold_pipe() {
  int ends[2];
  good(call(SYS_pipe2, address(ends), O_CLOEXEC));
  held = ends[0], other_end = ends[1];
}

const Operation operations[] = {
    {"stat", "of a cached name", [](int) { good(stat_of(AT_FDCWD, there)); }},
    {"stat_deep", "a/b/c/name, cached", [](int) { good(stat_of(AT_FDCWD, deep)); }},
    {"stat_symlink", "of a symlink to it, cached", [](int) { good(stat_of(AT_FDCWD, link_to_there)); }},
    {"stat_relative", "from the working directory", [](int) { good(stat_of(AT_FDCWD, "there")); }, nullptr, nullptr,
     to_dir},
    {"stat_at", "from a directory's descriptor", [](int) { good(stat_of(held, "there")); }, nullptr, nullptr, hold_dir},
    {"stat_uncached", "of a name that may not be cached", [](int) { good(stat_of(AT_FDCWD, there_uncached)); }},
    {"stat_negative", "of a name known to be missing", [](int) { fails(ENOENT, stat_of(AT_FDCWD, missing)); }},
    {"stat_missing", "of a missing name, uncached", [](int) { fails(ENOENT, stat_of(AT_FDCWD, missing_uncached)); }},
    {"stat_link_missing", "of a missing name behind a symlink, cached",
     [](int) { fails(ENOENT, stat_of(AT_FDCWD, link_miss)); }},
    {"lstat", "of a cached name", [](int) { good(stat_of(AT_FDCWD, there, AT_SYMLINK_NOFOLLOW)); }},
    {"statx", "of a cached name",
     [](int) { good(call(SYS_statx, AT_FDCWD, address(there), 0, STATX_BASIC_STATS, address(buffer))); }},
    {"access", "R_OK of a cached name", [](int) { good(call(SYS_faccessat, AT_FDCWD, address(there), R_OK)); }},
    {"access_negative", "of a name known to be missing",
     [](int) { fails(ENOENT, call(SYS_faccessat, AT_FDCWD, address(missing), F_OK)); }},
    {"readlink", "of a cached symlink",
     [](int) { good(call(SYS_readlinkat, AT_FDCWD, address(link_to_there), address(buffer), page)); }},
    {"readlink_file", "of a cached file: EINVAL",
     [](int) { fails(EINVAL, call(SYS_readlinkat, AT_FDCWD, address(there), address(buffer), page)); }},
    {"getxattr", "user.none of a file that has none",
     [](int) { call(SYS_getxattr, address(there), address("user.none"), address(buffer), page); }},
    {"lgetxattr", "the same, of a symlink's target or itself",
     [](int) { call(SYS_lgetxattr, address(there), address("user.none"), address(buffer), page); }},
    {"chdir", "into it", [](int) { to_dir(); }},
    {"open_close", "to read, cached", [](int) { open_close(there); }},
    {"open_symlink_close", "through a symlink, cached", [](int) { open_close(link_to_there); }},
    {"open_at_close", "from a directory's descriptor",
     [](int) { closed(good(call(SYS_openat, held, address("there"), O_RDONLY | O_CLOEXEC))); }, nullptr, nullptr,
     hold_dir},
    {"open_path_close", "O_PATH", [](int) { open_close(there, O_PATH); }},
    {"open_dir_close", "O_DIRECTORY", [](int) { open_close(dir, O_RDONLY | O_DIRECTORY); }},
    {"open_negative", "of a name known to be missing",
     [](int) { fails(ENOENT, call(SYS_openat, AT_FDCWD, address(missing), O_RDONLY | O_CLOEXEC)); }},
    {"open_read_close", "with one read of 4 KiB",
     [](int) {
       const long fd = opened(there, O_RDONLY);
       good(call(SYS_read, fd, address(buffer), page));
       closed(fd);
     }},
    {"open_write_close", "O_TRUNC, with one write of 4 KiB",
     [](int) {
       const long fd = opened(in(dir, "written"), O_WRONLY | O_TRUNC | O_CREAT);
       good(call(SYS_write, fd, address(buffer), page));
       closed(fd);
     }},
    {"create_close", "O_EXCL", [](int i) { open_close(new_name(i), O_WRONLY | O_CREAT | O_EXCL); }, nullptr,
     [](int i) { unlinked(new_name(i)); }},
    {"pread", "4 KiB", [](int) { good(call(SYS_pread64, held, address(buffer), page, 0)); }, nullptr, nullptr,
     hold_file},
    {"pread_64k", "64 KiB", [](int) { good(call(SYS_pread64, held, address(buffer), 16 * page, 0)); }, nullptr, nullptr,
     hold_file},
    {"pwrite", "4 KiB", [](int) { good(call(SYS_pwrite64, held, address(buffer), page, 0)); }, nullptr, nullptr,
     hold_file},
    {"lseek", "SEEK_SET", [](int i) { good(call(SYS_lseek, held, i, SEEK_SET)); }, nullptr, nullptr, hold_file},
    {"fstat", "", [](int) { good(call(SYS_fstat, held, address(buffer))); }, nullptr, nullptr, hold_file},
    {"fcntl_getfl", "", [](int) { good(call(SYS_fcntl, held, F_GETFL)); }, nullptr, nullptr, hold_file},
    {"dup_close", "", [](int) { closed(good(call(SYS_fcntl, held, F_DUPFD_CLOEXEC, 0))); }, nullptr, nullptr,
     hold_file},
    {"lock_unlock", "F_SETLK, F_WRLCK and F_UNLCK",
     [](int) {
       lock(F_WRLCK);
       lock(F_UNLCK);
     },
     nullptr, nullptr, hold_file},
    {"ftruncate", "", [](int) { good(call(SYS_ftruncate, held, 16 * page)); }, nullptr, nullptr, hold_file},
    {"list_64", "open, getdents64 to the end, close of a directory of 64 names", [](int) { list(false); }},
    {"list_64_lstat", "the same with an lstat of each", [](int) { list(true); }, nullptr, nullptr, nullptr, true},
    {"unlink", "", [](int i) { unlinked(new_name(i)); }, [](int i) { make_file(new_name(i), 0); }},
    {"rename", "to a free name",
     [](int) { good(call(SYS_renameat2, AT_FDCWD, address(new_name(0)), AT_FDCWD, address(new_name(1)))); },
     [](int) { make_file(new_name(0), 0); }, [](int) { unlinked(new_name(1)); }},
    {"mkdir", "", [](int i) { good(call(SYS_mkdirat, AT_FDCWD, address(new_name(i)), 0755)); }, nullptr,
     [](int i) { good(call(SYS_unlinkat, AT_FDCWD, address(new_name(i)), AT_REMOVEDIR)); }},
    {"rmdir", "", [](int i) { good(call(SYS_unlinkat, AT_FDCWD, address(new_name(i)), AT_REMOVEDIR)); },
     [](int i) { good(call(SYS_mkdirat, AT_FDCWD, address(new_name(i)), 0755)); }},
    {"symlink", "", [](int i) { good(call(SYS_symlinkat, address("there"), AT_FDCWD, address(new_name(i)))); }, nullptr,
     [](int i) { unlinked(new_name(i)); }},
    {"link", "", [](int i) { good(call(SYS_linkat, AT_FDCWD, address(there), AT_FDCWD, address(new_name(i)), 0)); },
     nullptr, [](int i) { unlinked(new_name(i)); }},
    {"chmod", "", [](int) { good(call(SYS_fchmodat, AT_FDCWD, address(there), 0640)); }},
    {"utimensat", "now", [](int) { good(call(SYS_utimensat, AT_FDCWD, address(there), 0, 0)); }},
    {"statfs", "", [](int) { good(call(SYS_statfs, address(there), address(buffer))); }},
    {"mmap_munmap", "a page, read",
     [](int) {
       const long at = good(call(SYS_mmap, 0, page, PROT_READ, MAP_PRIVATE, held));
       *const_cast<volatile char*>(buffer) = *reinterpret_cast<const volatile char*>(at);
       good(call(SYS_munmap, at, page));
     },
     nullptr, nullptr, hold_file},
    {"poll_pipe", "nothing to read, no wait",
     [](int) {
       pollfd p{held, POLLIN, 0};
       good(call(SYS_poll, address(&p), 1, 0));
     },
     nullptr, nullptr, hold_pipe},
    {"futex_wake", "nobody waits", [](int) { good(call(SYS_futex, address(buffer), 1, 1)); }},
    {"getpid", "", [](int) { good(call(SYS_getpid)); }},
    {"start_fork", "/bin/true: fork, execve, wait4", start_fork, nullptr, nullptr, nullptr, true},
    {"start_vfork", "/bin/true: vfork, execve, wait4", start_vfork, nullptr, nullptr, nullptr, true},
    {"start_there", "a copy of /bin/true in the directory: vfork, execve, wait4", start_there, nullptr, nullptr,
     nullptr, true},
    {"fork_exit", "fork, _exit, wait4", fork_exit, nullptr, nullptr, nullptr, true},
};

void measure(const Operation& operation, uint64_t index, int warm_up, int times) {
  doing = operation.name;
  if (operation.is_slow) {
    warm_up = (warm_up + 7) / 8;
    times = (times + 7) / 8;
  }
  if (operation.prepare != nullptr) operation.prepare();
  for (int i = -warm_up; i < times; i++) {
    if (i == 0) mark(Mark::begin, index);
    if (operation.before != nullptr) operation.before(i + warm_up);
    faults = 0;
    mark(Mark::start);
    operation.once(i + warm_up);
    mark(Mark::stop, faults);
    if (operation.after != nullptr) operation.after(i + warm_up);
  }
  mark(Mark::end);
  let_go();
  good(call(SYS_chdir, address("/")));
}

const Operation* find(const char* name) {
  for (const Operation& operation : operations) {
    if (strcmp(operation.name, name) == 0) return &operation;
  }
  fprintf(stderr, "counters_client: no operation is called %s\n", name);
  exit(2);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "--list") == 0) {
    for (const Operation& operation : operations) printf("%s\t%s\n", operation.name, operation.what);
    return 0;
  }
  if (argc < 6) {
    fprintf(stderr, "usage: counters_client DIR FORGETFUL WARM_UP TIMES OPERATION...\n       counters_client --list\n");
    return 2;
  }
  mark(Mark::hello);
  dir = argv[1];
  forgetful = argv[2];
  name_all();
  make_all();
  // A short process does without what pays only for a long one.
  for (int i = 0; i < 256; i++) good(stat_of(AT_FDCWD, i % 2 == 0 ? dir : forgetful));
  for (int i = 5; i < argc; i++) measure(*find(argv[i]), static_cast<uint64_t>(i - 5), atoi(argv[3]), atoi(argv[4]));
  return 0;
}
