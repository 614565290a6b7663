// Rules of what an open file answers beside its bytes: ioctls of every file system, fcntl's questions, mappings, and
// what the kernel asks of a call's descriptors before it looks at the rest.
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/fiemap.h>

#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

char* const bad_memory = reinterpret_cast<char*>(1);

// Linux struct space_resv and its ioctls (linux/falloc.h).
struct Reservation {
  short type, whence;
  long long start, length;
  int sysid;
  unsigned pid;
  int padding[4];
};
constexpr unsigned long reserve = _IOW('X', 40, Reservation), unreserve = _IOW('X', 43, Reservation);

Reservation range(short whence, long long start, long long length) {
  Reservation r{};
  r.whence = whence;
  r.start = start;
  r.length = length;
  return r;
}

void no_file_is_a_clone_of_another(const Place& p) {
  p.write_file("f", "text");
  p.write_file("g", "");
  Fd from(p.open("f", O_RDONLY)), to(p.open("g", O_RDWR)), directory(p.open(".", O_RDONLY | O_DIRECTORY));
  Fd elsewhere(::open("/dev/null", O_RDWR | O_CLOEXEC)), path(p.open("f", O_PATH));
  must_fail(ioctl(to, FICLONE, 999), EBADF, "FICLONE of no descriptor");
  must_fail(ioctl(to, FICLONE, int{path}), EBADF, "FICLONE of an O_PATH descriptor");
  must_fail(ioctl(to, FICLONE, int{elsewhere}), EXDEV, "FICLONE of another file system");
  must_fail(ioctl(to, FICLONE, int{directory}), EISDIR, "FICLONE of a directory");
  must_fail(ioctl(from, FICLONE, int{from}), EBADF, "FICLONE to what is read only");
  must_fail(ioctl(to, FICLONE, int{from}), EOPNOTSUPP, "FICLONE");
  file_clone_range of{.src_fd = from, .src_offset = 0, .src_length = 0, .dest_offset = 0};
  must_fail(ioctl(to, FICLONERANGE, &of), EOPNOTSUPP, "FICLONERANGE");
  must_fail(ioctl(to, FICLONERANGE, bad_memory), EFAULT, "FICLONERANGE of bad memory");
  file_dedupe_range same{};
  must_fail(ioctl(from, FIDEDUPERANGE, &same), EOPNOTSUPP, "FIDEDUPERANGE");
  must_fail(ioctl(directory, FIDEDUPERANGE, &same), EISDIR, "FIDEDUPERANGE of a directory");
  same.reserved1 = 1;
  must_fail(ioctl(from, FIDEDUPERANGE, &same), EINVAL, "FIDEDUPERANGE with a reserved field");
}

void room_is_reserved_and_given_back_as_xfs_did(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT)), reader(p.open("f", O_RDONLY));
  must(pwrite(fd, "0123456789", 10, 0), "pwrite");
  Reservation of = range(SEEK_SET, 0, 100);
  must_fail(ioctl(reader, reserve, &of), EBADF, "of a file that is read only");
  if (ioctl(fd, reserve, &of) != 0 && errno == EOPNOTSUPP) throw Skip{"no fallocate"};
  expect_equal<long>(p.status("f").st_size, 10, "size of what keeps it");
  of = range(SEEK_END, -4, 2);
  must(ioctl(fd, unreserve, &of), "a hole from the end");
  expect_equal(p.read_file("f"),
               std::string("012345\0\0"
                           "89",
                           10),
               "content");
  must(lseek(fd, 1, SEEK_SET), "lseek");
  of = range(SEEK_CUR, 0, 1);
  must(ioctl(fd, unreserve, &of), "a hole from the position");
  expect_equal(p.read_file("f"),
               std::string("0\0"
                           "2345\0\0"
                           "89",
                           10),
               "content");
  of = range(3, 0, 1);
  must_fail(ioctl(fd, reserve, &of), EINVAL, "whence");
  of = range(SEEK_SET, 0, 0);
  must_fail(ioctl(fd, reserve, &of), EINVAL, "no length");
  must_fail(ioctl(fd, reserve, bad_memory), EFAULT, "bad memory");
}

void extents_are_not_told(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  struct fiemap map {};
  must_fail(ioctl(fd, FS_IOC_FIEMAP, &map), EOPNOTSUPP, "FIEMAP");
  must_fail(ioctl(fd, FS_IOC_FIEMAP, bad_memory), EOPNOTSUPP, "FIEMAP with bad memory");
}

void thawing_what_is_not_frozen_fails(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  must_fail(ioctl(fd, FITHAW, 0), geteuid() == 0 ? EINVAL : EPERM, "FITHAW");
  must(mkfifo(p.path("p").c_str(), 0600), "mkfifo");
  Fd fifo(p.open("p", O_RDWR | O_NONBLOCK));
  must_fail(ioctl(fifo, FITHAW, 0), geteuid() == 0 ? EINVAL : EPERM, "FITHAW of a fifo");
}

void an_open_tells_whether_it_made_the_file(const Place& p) {
  constexpr int created_query = 1028;  // F_CREATED_QUERY
  Fd made(p.open("f", O_RDWR | O_CREAT));
  const long r = fcntl(made, created_query, 0);
  if (r < 0 && errno == EINVAL) throw Skip{"the kernel has no F_CREATED_QUERY"};
  expect_equal<long>(r, 1, "the one that made it");
  Fd again(p.open("f", O_RDWR | O_CREAT)), path(p.open("f", O_PATH));
  expect_equal<long>(must(fcntl(again, created_query, 0), "fcntl"), 0, "one that found it");
  expect_equal<long>(must(fcntl(path, created_query, 0), "fcntl of an O_PATH descriptor"), 0, "a path");
}

void unknown_open_flags_leave_no_trace(const Place& p) {
  p.write_file("f", "");
  constexpr long unknown = 0x40000000;
  Fd fd(static_cast<int>(must(syscall(SYS_open, p.path("f").c_str(), O_RDONLY | unknown | O_CLOEXEC, 0), "open")));
  expect_equal<long>(must(fcntl(fd, F_GETFL), "F_GETFL") & unknown, 0, "the unknown flag");
}

void mandatory_locks_of_flock_are_no_locks(const Place& p) {
  p.write_file("f", "");
  Fd one(p.open("f", O_RDWR)), other(p.open("f", O_RDWR));
  must(flock(one, LOCK_MAND | LOCK_WRITE), "flock");
  must(flock(other, LOCK_EX | LOCK_NB), "another's lock");
}

void a_mapping_is_shared_or_private(const Place& p) {
  p.write_file("f", "text");
  Fd fd(p.open("f", O_RDONLY));
  const auto map = [&](void* at, int protection, int flags) {
    void* mapped = mmap(at, 4096, protection, flags, fd, 0);
    if (mapped == MAP_FAILED) return -1;
    munmap(mapped, 4096);
    return 0;
  };
  must_fail(map(nullptr, PROT_READ, 0), EINVAL, "neither");
  must_fail(map(nullptr, PROT_READ | PROT_WRITE, 4), EINVAL, "neither, to write");
  must_fail(map(nullptr, PROT_READ | PROT_WRITE, MAP_SHARED), EACCES, "shared to write what is read only");
  must_fail(map(bad_memory, PROT_READ, MAP_PRIVATE | MAP_FIXED), EINVAL, "at an address that is no page's");
  must(map(nullptr, PROT_READ | PROT_WRITE, MAP_PRIVATE), "private to write");
  Fd writer(p.open("f", O_WRONLY));
  void* mapped = mmap(nullptr, 4096, PROT_READ, 4, writer, 0);
  must_fail(mapped == MAP_FAILED ? -1 : 0, EINVAL, "neither, of what is write only");
}

// A mapping that cannot grow has to say so: what appears is the file.
void a_mapping_that_grows_shows_the_file(const Place& p) {
  std::string text(3 * 4096, 'a');
  text.replace(4096, 4096, 4096, 'b');
  p.write_file("f", text);
  Fd fd(p.open("f", O_RDONLY));
  void* mapped = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
  expect(mapped != MAP_FAILED, "mmap");
  void* grown = mremap(mapped, 4096, 2 * 4096, MREMAP_MAYMOVE);
  if (grown == MAP_FAILED) {
    must_fail(-1, ENOMEM, "mremap");
    munmap(mapped, 4096);
    throw Skip{"mappings of files do not grow"};
  }
  expect_equal<long>(static_cast<const char*>(grown)[4096], 'b', "the second page");
  munmap(grown, 2 * 4096);
}

void the_cache_of_an_open_file_is_counted(const Place& p) {
  constexpr long number = 451;  // cachestat
  p.write_file("f", "text");
  Fd fd(p.open("f", O_RDWR)), path(p.open("f", O_PATH));
  uint64_t range[2] = {0, 4096}, pages[5] = {};
  const long r = syscall(number, int{fd}, range, pages, 0);
  if (r < 0 && (errno == ENOSYS || errno == EPERM)) throw Skip{"no cachestat"};
  must(r, "cachestat");
  expect(pages[0] + pages[3] <= 1, "pages of a file of one");
  must_fail(syscall(number, int{fd}, bad_memory, pages, 0), EFAULT, "bad memory");
  must_fail(syscall(number, int{fd}, range, pages, 1), EINVAL, "flags");
  must_fail(syscall(number, int{path}, range, pages, 0), EBADF, "an O_PATH descriptor");
}

void the_watches_descriptor_comes_before_the_path(const Place& p) {
  must_fail(inotify_add_watch(999, p.path("missing").c_str(), IN_ACCESS), EBADF, "no descriptor");
  must_fail(inotify_add_watch(999, bad_memory, IN_ACCESS), EBADF, "no descriptor, and bad memory");
}

void both_descriptors_of_a_copy_come_before_its_offsets(const Place& p) {
  p.write_file("f", "text");
  Fd fd(p.open("f", O_RDWR)), path(p.open("f", O_PATH));
  auto* nowhere = reinterpret_cast<off64_t*>(bad_memory);
  must_fail(copy_file_range(fd, nowhere, 999, nullptr, 1, 0), EBADF, "copy_file_range to no descriptor");
  must_fail(copy_file_range(path, nowhere, fd, nullptr, 1, 0), EBADF, "copy_file_range from an O_PATH descriptor");
  must_fail(copy_file_range(999, nullptr, fd, nullptr, 1, 1), EBADF, "copy_file_range with a flag");
  int pipe_ends[2];
  must(pipe2(pipe_ends, O_CLOEXEC), "pipe2");
  Fd reader(pipe_ends[0]), writer(pipe_ends[1]);
  must_fail(splice(path, nowhere, writer, nullptr, 1, 0), EBADF, "splice from an O_PATH descriptor");
}

void whiteouts_are_made_without_privilege(const Place& p) {
  must(mknod(p.path("w").c_str(), S_IFCHR, 0), "mknod");
  const struct stat st = p.status("w");
  expect(S_ISCHR(st.st_mode) && st.st_rdev == 0, "a whiteout");
  if (geteuid() != 0) must_fail(mknod(p.path("d").c_str(), S_IFCHR, 1), EPERM, "mknod of a device");
}

// exec(2)'s errno.
int execution(const Place& p, std::string_view name) {
  const pid_t child = fork();
  if (child == 0) {
    char* const arguments[] = {const_cast<char*>("x"), nullptr};
    execve(p.path(name).c_str(), arguments, arguments + 1);
    _exit(errno);
  }
  int status = 0;
  must(waitpid(child, &status, 0), "waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void a_script_without_an_interpreters_name_names_the_working_directory(const Place& p) {
  const auto script = [&](std::string_view name, std::string_view text) {
    p.write_file(name, text);
    must(chmod(p.path(name).c_str(), 0755), "chmod");
    return execution(p, name);
  };
  expect_equal(script("ends", "#!"), EACCES, "the file ends");
  expect_equal(script("zero", std::string_view("#! \0x\n", 6)), EACCES, "a zero byte");
  expect_equal(script("line", "#! \t\n"), ENOEXEC, "the line ends");
}

}  // namespace

#define RULE(name) \
  Rule { #name, name }
std::vector<Rule> descriptor_rules() {
  return {RULE(no_file_is_a_clone_of_another),
          RULE(room_is_reserved_and_given_back_as_xfs_did),
          RULE(extents_are_not_told),
          RULE(thawing_what_is_not_frozen_fails),
          RULE(an_open_tells_whether_it_made_the_file),
          RULE(unknown_open_flags_leave_no_trace),
          RULE(mandatory_locks_of_flock_are_no_locks),
          RULE(a_mapping_is_shared_or_private),
          RULE(a_mapping_that_grows_shows_the_file),
          RULE(the_cache_of_an_open_file_is_counted),
          RULE(the_watches_descriptor_comes_before_the_path),
          RULE(both_descriptors_of_a_copy_come_before_its_offsets),
          RULE(whiteouts_are_made_without_privilege),
          RULE(a_script_without_an_interpreters_name_names_the_working_directory)};
}

}  // namespace fusewire::conformance
