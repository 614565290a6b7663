// Rules of what is looked at first: descriptor, flags, path, memory; and of calls between two file systems.
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

constexpr long nowhere = 8;

// Two pages of which the second may not be touched.
class HalfBuffer {
 public:
  HalfBuffer() : map_(mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    mprotect(static_cast<char*>(map_) + page, page, PROT_NONE);
  }
  ~HalfBuffer() { munmap(map_, 2 * page); }
  HalfBuffer(const HalfBuffer&) = delete;
  char* end(size_t bytes) { return static_cast<char*>(map_) + page - bytes; }

 private:
  static constexpr size_t page = 4096;
  void* map_;
};

void access_mode_three_neither_reads_nor_writes(const Place& p) {
  p.write_file("f", "text");
  Fd fd(p.open("f", O_ACCMODE));
  char byte = 0;
  must_fail(read(fd, &byte, 1), EBADF, "read");
  must_fail(pwrite(fd, &byte, 1, 0), EBADF, "pwrite");
  must_fail(ftruncate(fd, 0), EINVAL, "ftruncate");
  must_fail(fallocate(fd, 0, 0, 1), EBADF, "fallocate");
  must_fail(flock(fd, LOCK_SH | LOCK_NB), EBADF, "flock");
  expect_equal<long>(must(fcntl(fd, F_GETFL), "F_GETFL") & O_ACCMODE, O_ACCMODE, "access mode");
}

void only_directories_have_entries(const Place& p) {
  p.write_file("f", "");
  char entries[1000];
  Fd writer(p.open("f", O_WRONLY)), path(p.open(".", O_PATH | O_DIRECTORY));
  must_fail(syscall(SYS_getdents64, int{writer}, entries, sizeof entries), ENOTDIR, "getdents64 of a file");
  must_fail(syscall(SYS_getdents64, int{path}, entries, sizeof entries), EBADF, "getdents64 of a path");
}

void wrong_open_flags_come_before_the_path(const Place& p) {
  must_fail(open("", O_CREAT | O_DIRECTORY, 0600), EINVAL, "O_CREAT with O_DIRECTORY");
  must_fail(open(p.path("missing").c_str(), O_TMPFILE | O_RDONLY, 0600), EINVAL, "O_TMPFILE with O_RDONLY");
}

void openat2_is_strict(const Place& p) {
  const auto error_of = [&](uint64_t flags, uint64_t mode) {
    open_how how{};
    how.flags = flags;
    how.mode = mode;
    return syscall(SYS_openat2, AT_FDCWD, p.path("missing").c_str(), &how, sizeof how);
  };
  must_fail(error_of(1ull << 40, 0), EINVAL, "unknown flag");
  must_fail(error_of(O_RDONLY, 0644), EINVAL, "mode of what is not made");
  must_fail(error_of(O_CREAT, 0200644), EINVAL, "mode with more than permissions");
  must_fail(error_of(O_PATH | O_RDWR, 0), EINVAL, "O_PATH with an access mode");
  must_fail(error_of(O_RDONLY, 0), ENOENT, "sound flags");
}

void dots_cannot_be_made_exclusively(const Place& p) {
  p.mkdir("d");
  must_fail(open(p.path("d/.").c_str(), O_CREAT | O_EXCL, 0600), EEXIST, "O_EXCL of .");
  must_fail(open(p.path("d/..").c_str(), O_CREAT | O_EXCL, 0600), EEXIST, "O_EXCL of ..");
  must_fail(open(p.path("d/.").c_str(), O_CREAT, 0600), EISDIR, "O_CREAT of .");
  must_fail(open(p.path("d/").c_str(), O_CREAT | O_EXCL, 0600), EISDIR, "O_EXCL of a name with a slash");
}

void directories_do_no_direct_io(const Place& p) {
  must_fail(open(p.root().c_str(), O_RDONLY | O_DIRECT), EINVAL, "open with O_DIRECT");
  Fd fd(p.open(".", O_RDONLY | O_DIRECTORY));
  must_fail(fcntl(fd, F_SETFL, O_DIRECT), EINVAL, "F_SETFL of O_DIRECT");
}

void bytes_before_bad_memory_are_written(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  HalfBuffer buffer;
  std::memcpy(buffer.end(5), "hello", 5);
  expect_equal(must(write(fd, buffer.end(5), 9), "write"), 5L, "written");
  expect_equal(must(lseek(fd, 0, SEEK_CUR), "lseek"), 5L, "position");
  must_fail(write(fd, buffer.end(0), 9), EFAULT, "write of nothing but bad memory");
  expect_equal(p.read_file("f"), std::string("hello"), "content");
}

void bytes_that_find_no_memory_are_not_read(const Place& p) {
  p.write_file("f", "0123456789");
  Fd fd(p.open("f", O_RDONLY));
  HalfBuffer buffer;
  expect_equal(must(read(fd, buffer.end(4), 8), "read"), 4L, "read");
  expect_equal(must(lseek(fd, 0, SEEK_CUR), "lseek"), 4L, "position");
  must_fail(read(fd, buffer.end(0), 8), EFAULT, "read into bad memory");
  expect_equal(must(lseek(fd, 0, SEEK_CUR), "lseek"), 4L, "position after EFAULT");
}

void entries_that_find_no_memory_are_read_again(const Place& p) {
  p.write_file("f", "");
  Fd fd(p.open(".", O_RDONLY | O_DIRECTORY));
  must_fail(syscall(SYS_getdents64, int{fd}, nowhere, 1000), EFAULT, "getdents64");
  char entries[1000];
  expect(must(syscall(SYS_getdents64, int{fd}, entries, sizeof entries), "getdents64 again") > 0, "entries");
}

void the_descriptor_comes_before_the_memory(const Place& p) {
  p.write_file("f", "text");
  Fd reader(p.open("f", O_RDONLY)), path(p.open("f", O_PATH));
  must_fail(syscall(SYS_pwrite64, int{reader}, nowhere, 1, 0), EBADF, "pwrite");
  must_fail(syscall(SYS_writev, int{reader}, nowhere, 5000), EBADF, "writev");
  must_fail(syscall(SYS_fcntl, int{path}, F_GETLK, nowhere), EBADF, "F_GETLK");
  must_fail(ioctl(path, FIOCLEX), EBADF, "FIOCLEX");
  Fd directory(p.open(".", O_PATH | O_DIRECTORY));
  int bytes = 0;
  must_fail(ioctl(directory, FIONREAD, &bytes), EBADF, "FIONREAD");
  must_fail(isatty(path) - 1, EBADF, "TCGETS");
  must_fail(flock(path, LOCK_SH | LOCK_NB), EBADF, "flock");
  must_fail(flock(path, 3), EINVAL, "flock of no known kind");
  must_fail(syscall(SYS_fadvise64, int{path}, 0, 0, 99), EBADF, "fadvise");
  must_fail(syscall(SYS_readv, int{path}, nowhere, 0), EBADF, "readv");
  must_fail(sync_file_range(path, 0, 0, 8), EBADF, "sync_file_range");
}

void nothing_can_be_read_of_a_directory_into_no_vector(const Place& p) {
  Fd fd(p.open(".", O_RDONLY | O_DIRECTORY));
  expect_equal(must(readv(fd, nullptr, 0), "readv"), 0L, "readv of no vector");
  char byte = 0;
  must_fail(read(fd, &byte, 0), EISDIR, "read of no byte");
  must_fail(pread(fd, &byte, 1, INT64_MAX), EINVAL, "pread beyond all offsets");
}

void times_are_looked_at_after_the_path(const Place& p) {
  const timespec wrong[] = {{0, -1}, {0, 0}}, neither[] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
  p.write_file("f", "");
  must_fail(utimensat(AT_FDCWD, p.path("missing").c_str(), wrong, 0), ENOENT, "wrong time of a missing file");
  must_fail(utimensat(AT_FDCWD, p.path("f").c_str(), wrong, 0), EINVAL, "wrong time");
  must(utimensat(AT_FDCWD, p.path("missing").c_str(), neither, 0x10), "neither time, of a missing file");
  Fd path(p.open("f", O_PATH));
  must_fail(syscall(SYS_utimensat, int{path}, nullptr, wrong, 0), EBADF, "wrong time of a path");
}

void wrong_flags_come_before_the_path(const Place& p) {
  const std::string missing = p.path("missing");
  must_fail(unlinkat(AT_FDCWD, missing.c_str(), 0x1000), EINVAL, "unlinkat");
  must_fail(renameat2(AT_FDCWD, missing.c_str(), AT_FDCWD, "/proc/x", 8), EINVAL, "renameat2");
  must_fail(linkat(AT_FDCWD, missing.c_str(), AT_FDCWD, "/proc/x", 0x100), EINVAL, "linkat");
  must_fail(fchownat(AT_FDCWD, "", 0, 0, 0x8000), EINVAL, "fchownat");
  must_fail(truncate("", -1), EINVAL, "truncate");
  struct statx st;
  must_fail(statx(AT_FDCWD, missing.c_str(), 0, 0x80000000, &st), EINVAL, "statx");
  must_fail(lsetxattr(missing.c_str(), "", "", 0, 4), EINVAL, "setxattr");
  must_fail(mknod(missing.c_str(), S_IFDIR | 0755, 0), EPERM, "mknod of a directory");
}

void readlink_of_nothing_needs_a_link(const Place& p) {
  Fd fd(p.open(".", O_PATH | O_DIRECTORY));
  char text[100];
  must_fail(readlinkat(fd, "", text, sizeof text), ENOENT, "readlinkat of a directory");
  must(symlink("target", p.path("l").c_str()), "symlink");
  Fd link(p.open("l", O_PATH | O_NOFOLLOW));
  must(unlink(p.path("l").c_str()), "unlink");
  expect_equal(must(readlinkat(link, "", text, sizeof text), "readlinkat of a link"), 6L, "length");
}

// /proc is another file system everywhere.
void both_walks_come_before_exdev(const Place& p) {
  p.write_file("f", "");
  must_fail(rename(p.path("f").c_str(), "/proc/x"), EXDEV, "rename out");
  must_fail(rename("/proc/x", p.path("x").c_str()), EXDEV, "rename in");
  must_fail(rename(p.path("missing/f").c_str(), "/proc/x"), ENOENT, "rename from a missing directory");
  must_fail(rename(p.path("f").c_str(), "/proc/missing/x"), ENOENT, "rename into a missing directory");
  must_fail(syscall(SYS_rename, p.path("f/f").c_str(), nowhere), ENOTDIR, "rename of a bad path to nowhere");
  must_fail(link(p.path("missing").c_str(), "/proc/x"), ENOENT, "link of a missing file");
  must_fail(link(p.path("f").c_str(), "/proc/self"), EEXIST, "link to what exists");
  must_fail(link("/proc/version", p.path("f").c_str()), EEXIST, "link of another file system to what exists");
}

void a_file_without_a_name_is_opened_by_its_descriptor(const Place& p) {
  p.write_file("f", "text");
  Fd fd(p.open("f", O_RDONLY));
  must(unlink(p.path("f").c_str()), "unlink");
  const std::string link = "/proc/self/fd/" + std::to_string(int{fd});
  Fd again(static_cast<int>(must(open(link.c_str(), O_RDWR | O_CLOEXEC), "open again")));
  must(pwrite(again, "next", 4, 0), "pwrite");
  char text[4];
  expect_equal(must(pread(fd, text, 4, 0), "pread"), 4L, "read");
  expect(std::memcmp(text, "next", 4) == 0, "one file");
  must(truncate(link.c_str(), 2), "truncate");
  struct stat st;
  must(fstat(fd, &st), "fstat");
  expect_equal<long>(st.st_size, 2, "size");
}

void what_is_sent_follows_the_access_modes(const Place& p) {
  p.write_file("from", "text");
  p.write_file("to", "");
  Fd from(p.open("from", O_RDONLY)), to(p.open("to", O_WRONLY)), append(p.open("to", O_WRONLY | O_APPEND));
  must_fail(sendfile(from, from, nullptr, 1), EBADF, "to what is read only");
  must_fail(sendfile(to, to, nullptr, 1), EBADF, "from what is write only");
  must_fail(sendfile(append, from, nullptr, 1), EINVAL, "appending");
  off_t beyond = INT64_MAX;
  must_fail(sendfile(from, from, &beyond, 5), EINVAL, "from beyond all offsets");
  expect_equal(must(sendfile(to, from, nullptr, 10), "sendfile"), 4L, "sent");
}

void advice_and_ranges_are_checked(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  expect_equal(posix_fadvise(fd, 0, 0, 99), EINVAL, "unknown advice");
  must_fail(sync_file_range(fd, 0, 0, 8), EINVAL, "unknown flag");
  must_fail(sync_file_range(fd, -1, 0, 0), EINVAL, "negative offset");
  must_fail(fallocate(fd, FALLOC_FL_INSERT_RANGE, 4096, INT64_MAX), EFBIG, "range beyond all offsets");
}

void ioctls_of_every_file_are_known(const Place& p) {
  p.write_file("f", "text");
  Fd fd(p.open("f", O_RDONLY));
  int value = 0;
  must(ioctl(fd, FIOASYNC, &value), "FIOASYNC off");
  must(ioctl(fd, FIGETBSZ, &value), "FIGETBSZ");
  expect(value > 0, "a block size");
  expect_equal<long>(must(fcntl(fd, F_GETLEASE), "F_GETLEASE"), F_UNLCK, "lease");
  must(fcntl(fd, F_SETFL, O_ASYNC | O_APPEND), "F_SETFL");
  expect_equal<long>(must(fcntl(fd, F_GETFL), "F_GETFL") & (O_ASYNC | O_APPEND), O_APPEND, "flags");
}

void a_directory_can_be_locked_from_its_end(const Place& p) {
  Fd fd(p.open(".", O_RDONLY | O_DIRECTORY));
  struct flock lock {};
  lock.l_type = F_RDLCK;
  lock.l_whence = SEEK_END;
  must(fcntl(fd, F_SETLK, &lock), "F_SETLK");
  lock.l_type = F_UNLCK;
  must_fail(fcntl(fd, F_GETLK, &lock), EINVAL, "F_GETLK of F_UNLCK");
}

void a_mapped_file_is_still_the_file(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  must(pwrite(fd, "some text", 9, 0), "pwrite");
  void* map = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
  expect(map != MAP_FAILED && std::memcmp(map, "some text", 9) == 0, "what is mapped");
  munmap(map, 4096);
  must(ftruncate(fd, 4), "ftruncate");
  must(pwrite(fd, "more", 4, 4), "pwrite behind");
  expect_equal(p.read_file("f"), std::string("somemore"), "content");
  struct stat st;
  must(fstat(fd, &st), "fstat");
  expect_equal<long>(st.st_nlink, 1, "links");
}

void a_slash_behind_a_link_to_a_descriptor_demands_a_directory(const Place& p) {
  Fd file(p.open("f", O_RDWR | O_CREAT));
  Fd directory(p.open(".", O_RDONLY | O_DIRECTORY));
  must(symlink(("/proc/self/fd/" + std::to_string(file)).c_str(), p.path("to_file").c_str()), "symlink");
  must(symlink(("/proc/self/fd/" + std::to_string(directory)).c_str(), p.path("to_directory").c_str()), "symlink");
  must(access(p.path("to_file").c_str(), R_OK), "the file");
  must_fail(access(p.path("to_file/").c_str(), R_OK), ENOTDIR, "the file with a slash");
  must(access(p.path("to_directory/").c_str(), R_OK), "the directory with a slash");
  Fd elsewhere(open("/etc/passwd", O_RDONLY));
  must(symlink(("/proc/self/fd/" + std::to_string(elsewhere)).c_str(), p.path("to_another").c_str()), "symlink");
  must(access(p.path("to_another").c_str(), R_OK), "a file elsewhere");
  must_fail(access(p.path("to_another/").c_str(), R_OK), ENOTDIR, "a file elsewhere with a slash");
}

void an_impossible_offset_comes_before_bad_memory(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  must_fail(syscall(SYS_pwrite64, int{fd}, nowhere, 4096, INT64_MAX), EINVAL, "pwrite");
  must_fail(syscall(SYS_pwrite64, int{fd}, nowhere, 4096, 0), EFAULT, "pwrite at the start");
  char some[100] = {};
  const iovec parts[] = {{some, sizeof some}, {reinterpret_cast<void*>(nowhere), 5000}};
  must_fail(pwritev(fd, parts, 2, INT64_MAX - 1000), EINVAL, "pwritev of memory that is bad in part");
}

void other_security_attributes_need_root(const Place& p) {
  if (geteuid() == 0) throw Skip{"runs as root"};
  p.write_file("f", "");
  must_fail(setxattr(p.path("f").c_str(), "security.some", "x", 1, 0), EPERM, "setxattr");
  must_fail(removexattr(p.path("f").c_str(), "security.capability"), EPERM, "removexattr");
  must_fail(setxattr(p.path("f").c_str(), "security.capability", "", 0, XATTR_REPLACE), ENODATA, "an empty one");
}

void whiteouts_need_no_privilege(const Place& p) {
  p.write_file("f", "");
  const int r = p.rename("f", "g", RENAME_WHITEOUT);
  if (r < 0 && errno == EINVAL) throw Skip{"no RENAME_WHITEOUT"};
  must(r, "renameat2");
  expect(S_ISCHR(p.status("f").st_mode), "a whiteout");
}

void a_socket_is_asked_for_permission_first(const Place& p) {
  must(mknod(p.path("s").c_str(), S_IFSOCK | 0200, 0), "mknod");
  must_fail(open(p.path("s").c_str(), O_RDONLY), geteuid() == 0 ? ENXIO : EACCES, "open to read");
  must_fail(open(p.path("s").c_str(), O_WRONLY), ENXIO, "open to write");
}

void capabilities_that_are_none_are_refused(const Place& p) {
  p.write_file("f", "");
  must_fail(setxattr(p.path("f").c_str(), "security.capability", "abc", 3, 0), EINVAL, "setxattr");
  must_fail(setxattr(p.path("f").c_str(), "system.posix_acl_access", "abc", 3, 0), EINVAL, "an ACL without header");
  must_fail(setxattr(p.path("f").c_str(), "system.posix_acl_access", "abcd", 4, 0), EOPNOTSUPP, "of another version");
}

}  // namespace

#define RULE(name) \
  Rule { #name, name }
std::vector<Rule> error_rules() {
  return {RULE(access_mode_three_neither_reads_nor_writes),
          RULE(only_directories_have_entries),
          RULE(wrong_open_flags_come_before_the_path),
          RULE(openat2_is_strict),
          RULE(dots_cannot_be_made_exclusively),
          RULE(directories_do_no_direct_io),
          RULE(bytes_before_bad_memory_are_written),
          RULE(an_impossible_offset_comes_before_bad_memory),
          RULE(a_slash_behind_a_link_to_a_descriptor_demands_a_directory),
          RULE(bytes_that_find_no_memory_are_not_read),
          RULE(entries_that_find_no_memory_are_read_again),
          RULE(the_descriptor_comes_before_the_memory),
          RULE(nothing_can_be_read_of_a_directory_into_no_vector),
          RULE(times_are_looked_at_after_the_path),
          RULE(wrong_flags_come_before_the_path),
          RULE(readlink_of_nothing_needs_a_link),
          RULE(both_walks_come_before_exdev),
          RULE(a_file_without_a_name_is_opened_by_its_descriptor),
          RULE(what_is_sent_follows_the_access_modes),
          RULE(advice_and_ranges_are_checked),
          RULE(ioctls_of_every_file_are_known),
          RULE(a_directory_can_be_locked_from_its_end),
          RULE(a_mapped_file_is_still_the_file),
          RULE(other_security_attributes_need_root),
          RULE(whiteouts_need_no_privilege),
          RULE(a_socket_is_asked_for_permission_first),
          RULE(capabilities_that_are_none_are_refused)};
}

}  // namespace fusewire::conformance
