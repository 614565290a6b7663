// Rules of attributes: modes, owners, times, extended attributes.
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#include <functional>

#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

constexpr uid_t nobody = 65534;

bool newer(const timespec& a, const timespec& b) {
  return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

// Clocks of file systems tick coarsely: waits until the clock has moved on beyond a tick.
void next_tick() {
  timespec start, now;
  clock_gettime(CLOCK_REALTIME_COARSE, &start);
  do {
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
  } while (now.tv_sec == start.tv_sec && now.tv_nsec == start.tv_nsec);
}

// Runs action as an ordinary user without groups; true when it said so.
bool as_nobody(const std::function<bool()>& action) {
  if (geteuid() != 0) throw Skip{"needs root"};
  pid_t child = fork();
  if (child == 0) {
    bool holds = setgid(nobody) == 0 && setuid(nobody) == 0 && action();
    _exit(holds ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void reachable_by_others(const Place& p) {
  if (geteuid() != 0) throw Skip{"needs root"};
  if (!as_nobody([&] { return access(p.root().c_str(), X_OK) == 0; })) {
    throw Skip{"the directory is not open to other users"};
  }
}

void chmod_changes_the_permission_bits(const Place& p) {
  p.write_file("f", "x");
  must(chmod(p.path("f").c_str(), 01751), "chmod");
  expect_equal<long>(p.status("f").st_mode, S_IFREG | 01751, "mode");
  p.mkdir("d");
  must(chmod(p.path("d").c_str(), 02770), "chmod of a directory");
  expect_equal<long>(p.status("d").st_mode, S_IFDIR | 02770, "mode of the directory");
}

void umask_is_taken_off_new_files(const Place& p) {
  umask(027);
  ::close(p.open("f", O_CREAT | O_WRONLY, 0666));
  p.mkdir("d", 0777);
  must(mkfifo(p.path("p").c_str(), 0666), "mkfifo");
  umask(022);
  expect_equal<long>(p.status("f").st_mode & 07777, 0640, "file");
  expect_equal<long>(p.status("d").st_mode & 07777, 0750, "directory");
  expect_equal<long>(p.status("p").st_mode & 07777, 0640, "fifo");
}

void a_new_file_may_be_written_whatever_its_mode(const Place& p) {
  Fd fd(p.open("f", O_CREAT | O_RDWR, 0));
  must(write(fd, "x", 1), "write");
  expect_equal<long>(p.status("f").st_mode & 07777, 0, "mode");
}

void chown_changes_owner_and_group(const Place& p) {
  if (geteuid() != 0) throw Skip{"needs root"};
  p.write_file("f", "x");
  must(chown(p.path("f").c_str(), 1234, 5678), "chown");
  must(chown(p.path("f").c_str(), static_cast<uid_t>(-1), 4321), "chown of the group");
  expect_equal<long>(p.status("f").st_uid, 1234, "uid");
  expect_equal<long>(p.status("f").st_gid, 4321, "gid");
  must(symlink("f", p.path("l").c_str()), "symlink");
  must(lchown(p.path("l").c_str(), 7, 8), "lchown");
  expect_equal<long>(p.status("l").st_uid, 7, "uid of the link");
  expect_equal<long>(p.status("f").st_uid, 1234, "uid of the file");
}

void chown_clears_set_id_bits(const Place& p) {
  if (geteuid() != 0) throw Skip{"needs root"};
  p.write_file("f", "x");
  must(chmod(p.path("f").c_str(), 06755), "chmod");
  must(chown(p.path("f").c_str(), 1, 1), "chown");
  expect_equal<long>(p.status("f").st_mode & 07777, 0755, "mode of a program");
  p.mkdir("d");
  must(chmod(p.path("d").c_str(), 06755), "chmod");
  must(chown(p.path("d").c_str(), 1, 1), "chown");
  expect_equal<long>(p.status("d").st_mode & 07777, 06755, "mode of a directory");
}

void a_write_by_another_clears_set_id_bits(const Place& p) {
  reachable_by_others(p);
  p.write_file("f", "x");
  must(chmod(p.path("f").c_str(), 06777), "chmod");
  expect(as_nobody([&] {
           int fd = ::open(p.path("f").c_str(), O_WRONLY);
           return fd >= 0 && write(fd, "y", 1) == 1;
         }),
         "write");
  expect_equal<long>(p.status("f").st_mode & 07777, 0777, "after a write");
  must(chmod(p.path("f").c_str(), 06777), "chmod");
  expect(as_nobody([&] { return truncate(p.path("f").c_str(), 0) == 0; }), "truncate");
  expect_equal<long>(p.status("f").st_mode & 07777, 0777, "after a truncation");
}

void a_write_by_root_keeps_set_id_bits(const Place& p) {
  if (geteuid() != 0) throw Skip{"needs root"};
  p.write_file("f", "x");
  must(chmod(p.path("f").c_str(), 06755), "chmod");
  Fd fd(p.open("f", O_WRONLY));
  must(write(fd, "y", 1), "write");
  expect_equal<long>(p.status("f").st_mode & 07777, 06755, "mode");
}

void setgid_directories_pass_their_group_on(const Place& p) {
  if (geteuid() != 0) throw Skip{"needs root"};
  p.mkdir("d");
  must(chown(p.path("d").c_str(), 0, 4242), "chown");
  must(chmod(p.path("d").c_str(), 02755), "chmod");
  p.write_file("d/f", "x");
  p.mkdir("d/e");
  expect_equal<long>(p.status("d/f").st_gid, 4242, "file's group");
  expect_equal<long>(p.status("d/e").st_gid, 4242, "directory's group");
  expect_equal<long>(p.status("d/e").st_mode & 07777, 02755, "directory's mode");
}

void permissions_bind_other_users(const Place& p) {
  reachable_by_others(p);
  p.write_file("secret", "x");
  must(chmod(p.path("secret").c_str(), 0600), "chmod");
  p.write_file("public", "x");
  expect(as_nobody([&] { return ::open(p.path("secret").c_str(), O_RDONLY) < 0 && errno == EACCES; }), "reading");
  expect(as_nobody([&] { return ::open(p.path("public").c_str(), O_RDONLY) >= 0; }), "reading what is public");
  expect(as_nobody([&] { return ::open(p.path("public").c_str(), O_WRONLY) < 0 && errno == EACCES; }), "writing");
  expect(as_nobody([&] { return unlink(p.path("public").c_str()) < 0 && errno == EACCES; }), "unlinking");
  expect(as_nobody([&] { return chmod(p.path("public").c_str(), 0777) < 0 && errno == EPERM; }), "chmod");
  expect(as_nobody([&] { return access(p.path("secret").c_str(), R_OK) < 0 && errno == EACCES; }), "access");
}

void the_sticky_bit_guards_names(const Place& p) {
  reachable_by_others(p);
  p.mkdir("d");
  must(chmod(p.path("d").c_str(), 01777), "chmod");
  p.write_file("d/f", "x");
  expect(as_nobody([&] { return unlink(p.path("d/f").c_str()) < 0 && errno == EPERM; }), "unlink of another's");
  expect(as_nobody([&] {
           int fd = ::open(p.path("d/own").c_str(), O_CREAT | O_WRONLY, 0600);
           return fd >= 0 && unlink(p.path("d/own").c_str()) == 0;
         }),
         "unlink of one's own");
}

void times_are_set_to_the_nanosecond(const Place& p) {
  p.write_file("f", "x");
  timespec times[2] = {{1'000'000'000, 123'456'789}, {2'000'000'000, 987'654'321}};
  must(utimensat(AT_FDCWD, p.path("f").c_str(), times, 0), "utimensat");
  auto status = p.status("f");
  expect(status.st_atim.tv_sec == 1'000'000'000 && status.st_atim.tv_nsec == 123'456'789, "atime");
  expect(status.st_mtim.tv_sec == 2'000'000'000 && status.st_mtim.tv_nsec == 987'654'321, "mtime");
  timespec only_mtime[2] = {{0, UTIME_OMIT}, {3'000'000'000, 0}};
  must(utimensat(AT_FDCWD, p.path("f").c_str(), only_mtime, 0), "UTIME_OMIT");
  status = p.status("f");
  expect(status.st_atim.tv_sec == 1'000'000'000 && status.st_mtim.tv_sec == 3'000'000'000, "one of them");
}

void a_write_moves_mtime_and_ctime(const Place& p) {
  p.write_file("f", "x");
  auto before = p.status("f");
  next_tick();
  Fd fd(p.open("f", O_WRONLY));
  must(write(fd, "y", 1), "write");
  auto after = p.status("f");
  expect(newer(after.st_mtim, before.st_mtim), "mtime");
  expect(newer(after.st_ctim, before.st_ctim), "ctime");
}

void chmod_moves_ctime_alone(const Place& p) {
  p.write_file("f", "x");
  auto before = p.status("f");
  next_tick();
  must(chmod(p.path("f").c_str(), 0600), "chmod");
  auto after = p.status("f");
  expect(newer(after.st_ctim, before.st_ctim), "ctime");
  expect(!newer(after.st_mtim, before.st_mtim), "mtime");
}

void a_new_name_moves_the_directorys_times(const Place& p) {
  auto before = p.status(".");
  next_tick();
  p.write_file("f", "x");
  auto made = p.status(".");
  expect(newer(made.st_mtim, before.st_mtim) && newer(made.st_ctim, before.st_ctim), "after create");
  next_tick();
  must(unlink(p.path("f").c_str()), "unlink");
  auto removed = p.status(".");
  expect(newer(removed.st_mtim, made.st_mtim), "after unlink");
}

void user_attributes_are_kept(const Place& p) {
  p.write_file("f", "x");
  std::string path = p.path("f");
  if (setxattr(path.c_str(), "user.one", "value", 5, 0) != 0 && errno == EOPNOTSUPP) throw Skip{"no user xattrs"};
  char buffer[64];
  expect_equal<long>(must(getxattr(path.c_str(), "user.one", nullptr, 0), "size"), 5, "size");
  expect_equal<long>(must(getxattr(path.c_str(), "user.one", buffer, sizeof buffer), "get"), 5, "length");
  expect_equal(std::string(buffer, 5), std::string("value"), "value");
  must_fail(getxattr(path.c_str(), "user.one", buffer, 3), ERANGE, "small buffer");
  must_fail(getxattr(path.c_str(), "user.two", buffer, sizeof buffer), ENODATA, "missing");
  must_fail(setxattr(path.c_str(), "user.one", "v", 1, XATTR_CREATE), EEXIST, "XATTR_CREATE");
  must_fail(setxattr(path.c_str(), "user.two", "v", 1, XATTR_REPLACE), ENODATA, "XATTR_REPLACE");
  must(setxattr(path.c_str(), "user.empty", "", 0, 0), "empty value");
  std::string list(static_cast<size_t>(must(listxattr(path.c_str(), nullptr, 0), "list size")), '\0');
  must(listxattr(path.c_str(), list.data(), list.size()), "list");
  expect(list.find(std::string("user.one\0", 9)) != std::string::npos, "listed");
  must(removexattr(path.c_str(), "user.one"), "remove");
  must_fail(removexattr(path.c_str(), "user.one"), ENODATA, "remove again");
}

struct XattrArguments {
  uint64_t value;
  uint32_t size, flags;
};

void xattr_calls_take_a_directory(const Place& p) {
  constexpr long setxattrat = 463, getxattrat = 464, listxattrat = 465, removexattrat = 466;
  p.write_file("f", "x");
  Fd directory(p.open("", O_RDONLY | O_DIRECTORY)), file(p.open("f", O_RDONLY));
  const XattrArguments set{reinterpret_cast<uint64_t>("value"), 5, 0};
  const long made = syscall(setxattrat, int(directory), "f", 0, "user.one", &set, sizeof set);
  if (made != 0 && (errno == ENOSYS || errno == EOPNOTSUPP)) throw Skip{"no such calls, or no user xattrs"};
  must(made, "setxattrat");
  char value[8] = {};
  const XattrArguments get{reinterpret_cast<uint64_t>(value), sizeof value, 0};
  expect_equal<long>(must(syscall(getxattrat, int(file), "", AT_EMPTY_PATH, "user.one", &get, sizeof get), "get"), 5,
                     "length");
  expect_equal(std::string(value), std::string("value"), "value");
  must_fail(syscall(getxattrat, int(directory), "f", 0x8000, "user.one", &get, sizeof get), EINVAL, "unknown flags");
  char names[64];
  const long listed = must(syscall(listxattrat, int(directory), "f", 0, names, sizeof names), "listxattrat");
  expect(std::string(names, static_cast<size_t>(listed)).find("user.one") != std::string::npos, "it is listed");
  must(syscall(removexattrat, int(directory), "f", 0, "user.one"), "removexattrat");
  must_fail(getxattr(p.path("f").c_str(), "user.one", value, sizeof value), ENODATA, "removed");
}

void large_attributes_are_kept(const Place& p) {
  p.write_file("f", "x");
  std::string value(20'000, 'v'), back(20'000, '\0');
  if (setxattr(p.path("f").c_str(), "user.big", value.data(), value.size(), 0) != 0) {
    if (errno == EOPNOTSUPP || errno == ENOSPC) throw Skip{"no large user xattrs"};
    must(-1, "setxattr");
  }
  must(getxattr(p.path("f").c_str(), "user.big", back.data(), back.size()), "getxattr");
  expect(back == value, "value");
}

void access_answers_for_the_real_user(const Place& p) {
  p.write_file("f", "x");
  must(chmod(p.path("f").c_str(), 0600), "chmod");
  must(access(p.path("f").c_str(), R_OK | W_OK), "read and write");
  must_fail(access(p.path("f").c_str(), X_OK), EACCES, "execute");
  must_fail(access(p.path("none").c_str(), F_OK), ENOENT, "missing");
}

void a_script_on_it_runs(const Place& p) {
  p.write_file("run", "#!/bin/sh\nexit 42\n");
  must(chmod(p.path("run").c_str(), 0755), "chmod");
  pid_t child = fork();
  if (child == 0) {
    execl(p.path("run").c_str(), "run", nullptr);
    _exit(errno == EACCES ? 99 : 98);
  }
  int status = 0;
  waitpid(child, &status, 0);
  expect(WIFEXITED(status), "exit");
  if (WEXITSTATUS(status) == 99) throw Skip{"mounted noexec"};
  expect_equal(WEXITSTATUS(status), 42, "status");
}

}  // namespace

#define RULE(name) \
  Rule { #name, name }
std::vector<Rule> attribute_rules() {
  return {RULE(chmod_changes_the_permission_bits),
          RULE(umask_is_taken_off_new_files),
          RULE(a_new_file_may_be_written_whatever_its_mode),
          RULE(chown_changes_owner_and_group),
          RULE(chown_clears_set_id_bits),
          RULE(a_write_by_another_clears_set_id_bits),
          RULE(a_write_by_root_keeps_set_id_bits),
          RULE(setgid_directories_pass_their_group_on),
          RULE(permissions_bind_other_users),
          RULE(the_sticky_bit_guards_names),
          RULE(times_are_set_to_the_nanosecond),
          RULE(a_write_moves_mtime_and_ctime),
          RULE(chmod_moves_ctime_alone),
          RULE(a_new_name_moves_the_directorys_times),
          RULE(user_attributes_are_kept),
          RULE(large_attributes_are_kept),
          RULE(xattr_calls_take_a_directory),
          RULE(access_answers_for_the_real_user),
          RULE(a_script_on_it_runs)};
}

}  // namespace fusewire::conformance
