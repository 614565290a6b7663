// Rules of who one is: names are judged by the calling thread's file system ids, groups and capabilities; what is open
// goes on. The calls are raw where glibc would change all threads.
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <grp.h>

#include <initializer_list>
#include <thread>

#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

constexpr uid_t somebody = 54321;
constexpr gid_t some_group = 54322;

void needs_root() {
  if (geteuid() != 0) throw Skip{"needs root"};
}

// Runs body in a child, which may change its ids. body's failures are the rule's.
void in_child(const std::function<void()>& body) {
  int told[2];
  must(pipe(told), "pipe");
  const pid_t child = fork();
  if (child == 0) {
    std::string failure;
    try {
      body();
    } catch (const Failure& failed) {
      failure = failed.what.empty() ? "failed" : failed.what;
    }
    (void)!write(told[1], failure.data(), failure.size());
    _exit(failure.empty() ? 0 : 1);
  }
  ::close(told[1]);
  char text[512];
  const ssize_t n = read(told[0], text, sizeof text);
  ::close(told[0]);
  int status = -1;
  must(waitpid(child, &status, 0), "waitpid");
  expect(n <= 0, std::string(text, n > 0 ? static_cast<size_t>(n) : 0));
  expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child's wait status is " + std::to_string(status));
}

// Another user, without groups and without capabilities.
void become(uid_t uid, gid_t gid) {
  must(setgroups(0, nullptr), "setgroups");
  must(setresgid(gid, gid, gid), "setresgid");
  must(setresuid(uid, uid, uid), "setresuid");
}

void reachable_by_others(const Place& p) {
  needs_root();
  try {
    in_child([&] {
      become(somebody, some_group);
      must(access(p.root().c_str(), X_OK), "access");
    });
  } catch (const Failure&) {
    throw Skip{"the directory is not open to other users"};
  }
}

// As somebody, with these capabilities alone.
void become_with(std::initializer_list<unsigned> capabilities) {
  must(prctl(PR_SET_KEEPCAPS, 1), "PR_SET_KEEPCAPS");
  become(somebody, some_group);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (const unsigned each : capabilities) {
    data[each / 32].effective |= 1u << each % 32;
    data[each / 32].permitted |= 1u << each % 32;
  }
  must(syscall(SYS_capset, &header, data), "capset");
}

int opened(const Place& p, std::string_view name, int flags) {
  const int fd = ::open(p.path(name).c_str(), flags | O_CLOEXEC);
  if (fd >= 0) ::close(fd);
  return fd;
}

void expect_owner(const Place& p, std::string_view name, uid_t uid, gid_t gid) {
  expect_equal<long>(p.status(name).st_uid, uid, "owner of " + std::string(name));
  expect_equal<long>(p.status(name).st_gid, gid, "group of " + std::string(name));
}

// Runs body in a thread; its failure is the caller's.
void in_thread(const std::function<void()>& body) {
  std::string failure;
  std::thread([&] {
    try {
      body();
    } catch (const Failure& failed) {
      failure = failed.what.empty() ? "failed" : failed.what;
    }
  }).join();
  expect(failure.empty(), failure);
}

void each_thread_makes_files_with_its_own_ids(const Place& p) {
  reachable_by_others(p);
  must(chmod(p.root().c_str(), 0777), "chmod");
  const auto make = [&](uid_t uid, gid_t gid) {
    in_thread([&, uid, gid] {
      setfsgid(gid);
      setfsuid(uid);
      for (int i = 0; i < 10; ++i) {
        const std::string name = std::to_string(uid) + "-" + std::to_string(i);
        ::close(p.open(name, O_CREAT | O_EXCL | O_WRONLY));
        expect_owner(p, name, uid, gid);
      }
      p.mkdir("d" + std::to_string(uid));
      expect_owner(p, "d" + std::to_string(uid), uid, gid);
    });
  };
  std::thread other;
  std::string failure;
  other = std::thread([&] {
    try {
      make(somebody, some_group);
    } catch (const Failure& failed) {
      failure = failed.what;
    }
  });
  try {
    make(somebody + 1, some_group + 1);
  } catch (...) {
    other.join();
    throw;
  }
  other.join();
  expect(failure.empty(), failure);
  p.write_file("f", "x");
  expect_owner(p, "f", geteuid(), getegid());
}

void a_new_thread_has_the_ids_of_its_maker(const Place& p) {
  reachable_by_others(p);
  must(chmod(p.root().c_str(), 0777), "chmod");
  in_thread([&] {
    setfsuid(somebody);
    p.write_file("f", "x");
    in_thread([&] { p.write_file("g", "x"); });
    setfsuid(0);
    p.write_file("h", "x");
  });
  for (const char* name : {"f", "g"}) expect_equal<long>(p.status(name).st_uid, somebody, name);
  expect_equal<long>(p.status("h").st_uid, 0, "h");
}

void names_are_judged_by_the_file_system_ids(const Place& p) {
  needs_root();
  p.write_file("f", "x");
  must(chmod(p.path("f").c_str(), 0600), "chmod");
  in_thread([&] {
    setfsuid(somebody);
    must_fail(opened(p, "f", O_RDONLY), EACCES, "open as somebody");
    must_fail(::unlink(p.path("f").c_str()), EACCES, "unlink as somebody");
    setfsuid(0);
    must(opened(p, "f", O_RDONLY), "open as root again");
  });
}

void one_thread_changes_its_user_and_the_others_stay(const Place& p) {
  needs_root();
  p.write_file("f", "x");
  must(chmod(p.path("f").c_str(), 0600), "chmod");
  in_thread([&] {
    must(syscall(SYS_setresuid, -1, somebody, -1), "setresuid");
    must_fail(opened(p, "f", O_RDONLY), EACCES, "open by the thread");
    in_thread([&] { must_fail(opened(p, "f", O_RDONLY), EACCES, "open by its child"); });
  });
  must(opened(p, "f", O_RDONLY), "open by another thread");
}

// glibc's functions change all threads, each by a call of its own.
void a_process_changes_its_user_with_all_threads(const Place& p) {
  needs_the_systems_own_threads();
  needs_root();
  p.write_file("f", "x");
  must(chmod(p.path("f").c_str(), 0600), "chmod");
  in_child([&] {
    int go[2], went[2];
    must(pipe(go), "pipe"), must(pipe(went), "pipe");
    std::string failure;
    std::thread other([&] {
      char byte = 0;
      (void)!write(went[1], &byte, opened(p, "f", O_RDONLY) >= 0 ? 1 : 0);
      (void)!read(go[0], &byte, 1);
      if (opened(p, "f", O_RDONLY) >= 0 || errno != EACCES) failure = "the other thread opens it";
    });
    char byte;
    must(read(went[0], &byte, 1), "read");
    must(setresuid(somebody, somebody, somebody), "setresuid");
    must_fail(opened(p, "f", O_RDONLY), EACCES, "open");
    (void)!write(go[1], &byte, 1);
    other.join();
    expect(failure.empty(), failure);
  });
}

void what_is_open_goes_on_after_a_change_of_user(const Place& p) {
  needs_root();
  const Fd fd(p.open("f", O_RDWR | O_CREAT, 0600));
  in_child([&] {
    become(somebody, some_group);
    char text[8];
    expect_equal<long>(must(write(fd, "hello", 5), "write"), 5, "written");
    expect_equal<long>(must(pread(fd, text, sizeof text, 1), "pread"), 4, "read");
    must(lseek(fd, 0, SEEK_SET), "lseek");
    must(fsync(fd), "fsync");
    must(fcntl(fd, F_GETFL), "F_GETFL");
    struct flock lock {};
    lock.l_type = F_WRLCK;
    must(fcntl(fd, F_SETLK, &lock), "F_SETLK");
    must(ftruncate(fd, 2), "ftruncate");
    const Fd copy(dup(fd));
    must(read(copy, text, 1), "read of a copy");
  });
  expect_equal<long>(p.status("f").st_size, 2, "size");
}

void supplementary_groups_give_the_groups_rights(const Place& p) {
  reachable_by_others(p);
  p.write_file("f", "x");
  must(chown(p.path("f").c_str(), 0, some_group + 7), "chown");
  must(chmod(p.path("f").c_str(), 0640), "chmod");
  in_child([&] {
    const gid_t groups[] = {some_group + 6, some_group + 7};
    must(setgroups(2, groups), "setgroups");
    must(setresgid(some_group, some_group, some_group), "setresgid");
    must(setresuid(somebody, somebody, somebody), "setresuid");
    must(opened(p, "f", O_RDONLY), "open for reading");
    must_fail(opened(p, "f", O_WRONLY), EACCES, "open for writing");
  });
  in_child([&] {
    become(somebody, some_group);
    must_fail(opened(p, "f", O_RDONLY), EACCES, "open without the group");
  });
}

void each_capability_gives_its_own_right(const Place& p) {
  reachable_by_others(p);
  p.write_file("f", "x");
  must(chmod(p.path("f").c_str(), 0600), "chmod");
  const std::string path = p.path("f");
  in_child([&] {
    become_with({CAP_DAC_READ_SEARCH});
    must(opened(p, "f", O_RDONLY), "open for reading");
    must_fail(opened(p, "f", O_WRONLY), EACCES, "open for writing");
    must_fail(chmod(path.c_str(), 0644), EPERM, "chmod");
  });
  in_child([&] {
    become_with({CAP_DAC_OVERRIDE});
    must(opened(p, "f", O_RDWR), "open for both");
    must_fail(chown(path.c_str(), somebody, some_group), EPERM, "chown");
    must_fail(chmod(path.c_str(), 0644), EPERM, "chmod");
  });
  in_child([&] {
    become_with({CAP_FOWNER});
    must_fail(opened(p, "f", O_RDONLY), EACCES, "open");
    must(chmod(path.c_str(), 0600), "chmod");
    must_fail(chown(path.c_str(), somebody, some_group), EPERM, "chown");
  });
  in_child([&] {
    become_with({CAP_CHOWN});
    must(chown(path.c_str(), 7, 8), "chown");
    must_fail(chmod(path.c_str(), 0644), EPERM, "chmod");
  });
}

void a_capability_put_away_gives_nothing(const Place& p) {
  reachable_by_others(p);
  p.write_file("f", "x");
  must(chmod(p.path("f").c_str(), 0600), "chmod");
  in_child([&] {
    become_with({CAP_DAC_OVERRIDE});
    must(opened(p, "f", O_RDONLY), "open");
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    must(syscall(SYS_capset, &header, data), "capset");
    must_fail(opened(p, "f", O_RDONLY), EACCES, "open afterwards");
  });
}

void access_asks_for_the_real_user(const Place& p) {
  reachable_by_others(p);
  p.write_file("f", "x");
  must(chmod(p.path("f").c_str(), 0600), "chmod");
  const std::string path = p.path("f");
  in_child([&] {
    must(setresuid(0, somebody, 0), "setresuid");
    must(access(path.c_str(), R_OK), "access of a real root");
    must_fail(faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS), EACCES, "access by the effective user");
    must_fail(opened(p, "f", O_RDONLY), EACCES, "open");
  });
  in_child([&] {
    must(setresuid(somebody, 0, 0), "setresuid");
    must_fail(access(path.c_str(), R_OK), EACCES, "access of a real somebody");
    must(opened(p, "f", O_RDONLY), "open by an effective root");
  });
}

void chmod_by_who_is_not_in_the_group_drops_setgid(const Place& p) {
  reachable_by_others(p);
  p.write_file("f", "x");
  must(chown(p.path("f").c_str(), somebody, some_group + 7), "chown");
  const std::string path = p.path("f");
  in_child([&] {
    become(somebody, some_group);
    must(chmod(path.c_str(), 02755), "chmod");
  });
  expect_equal<long>(p.status("f").st_mode & 07777, 0755, "mode");
  in_child([&] {
    const gid_t group = some_group + 7;
    must(setgroups(1, &group), "setgroups");
    must(setresgid(some_group, some_group, some_group), "setresgid");
    must(setresuid(somebody, somebody, somebody), "setresuid");
    must(chmod(path.c_str(), 02755), "chmod");
  });
  expect_equal<long>(p.status("f").st_mode & 07777, 02755, "mode by a member");
}

void an_owner_gives_his_file_to_his_own_groups_alone(const Place& p) {
  reachable_by_others(p);
  p.write_file("f", "x");
  must(chown(p.path("f").c_str(), somebody, some_group), "chown");
  const std::string path = p.path("f");
  in_child([&] {
    const gid_t group = some_group + 7;
    must(setgroups(1, &group), "setgroups");
    must(setresgid(some_group, some_group, some_group), "setresgid");
    must(setresuid(somebody, somebody, somebody), "setresuid");
    must_fail(chown(path.c_str(), somebody, some_group + 8), EPERM, "to a group of others");
    must_fail(chown(path.c_str(), 0, static_cast<gid_t>(-1)), EPERM, "to another user");
    must(chown(path.c_str(), static_cast<uid_t>(-1), some_group + 7), "to a group of his");
  });
  expect_owner(p, "f", somebody, some_group + 7);
}

void a_program_started_as_another_user_is_that_user(const Place& p) {
  reachable_by_others(p);
  p.mkdir("d");
  must(chmod(p.path("d").c_str(), 0777), "chmod");
  p.write_file("f", "x");
  must(chmod(p.path("f").c_str(), 0600), "chmod");
  const pid_t child = fork();
  if (child == 0) {
    if (setgroups(0, nullptr) != 0 || setgid(some_group) != 0 || setuid(somebody) != 0) _exit(2);
    execl("/bin/sh", "sh", "-c", "echo x > \"$0/d/made\" && ! cat \"$0/f\" 2> /dev/null", p.root().c_str(), nullptr);
    _exit(3);
  }
  int status = -1;
  must(waitpid(child, &status, 0), "waitpid");
  expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "wait status " + std::to_string(status));
  expect_owner(p, "d/made", somebody, some_group);
}

void another_user_changes_no_root(const Place& p) {
  reachable_by_others(p);
  p.mkdir("d");
  in_child([&] {
    become(somebody, some_group);
    must_fail(chroot(p.path("d").c_str()), EPERM, "chroot");
    must(chdir(p.root().c_str()), "chdir");
    must_fail(chroot("d"), EPERM, "chroot from within");
    must_fail(chroot("missing"), ENOENT, "chroot to nothing");
    must(access("d", R_OK), "the working directory is the same");
  });
}

}  // namespace

#define RULE(name) \
  Rule { #name, name }
std::vector<Rule> credential_rules() {
  return {RULE(each_thread_makes_files_with_its_own_ids),
          RULE(a_new_thread_has_the_ids_of_its_maker),
          RULE(names_are_judged_by_the_file_system_ids),
          RULE(one_thread_changes_its_user_and_the_others_stay),
          RULE(a_process_changes_its_user_with_all_threads),
          RULE(what_is_open_goes_on_after_a_change_of_user),
          RULE(supplementary_groups_give_the_groups_rights),
          RULE(each_capability_gives_its_own_right),
          RULE(a_capability_put_away_gives_nothing),
          RULE(access_asks_for_the_real_user),
          RULE(chmod_by_who_is_not_in_the_group_drops_setgid),
          RULE(an_owner_gives_his_file_to_his_own_groups_alone),
          RULE(a_program_started_as_another_user_is_that_user),
          RULE(another_user_changes_no_root)};
}

}  // namespace fusewire::conformance
