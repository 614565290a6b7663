// Rules of programs that lie on the file system: who may run them, and what may be done to one that runs.
#include <linux/openat2.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

// What an exec that is made in a child fails with; 0: it runs, and has ended.
int error_of_exec(const std::function<void()>& exec) {
  int ends[2];
  must(pipe2(ends, O_CLOEXEC), "pipe");
  const pid_t child = fork();
  if (child == 0) {
    exec();
    const int error = errno;
    _exit(write(ends[1], &error, sizeof error) == sizeof error ? 0 : 1);
  }
  close(ends[1]);
  const Fd from(ends[0]);
  int error = 0, status = 0;
  must(read(from, &error, sizeof error), "read");
  must(waitpid(child, &status, 0), "waitpid");
  return error;
}

int error_of_running(const std::string& path) {
  return error_of_exec([&] { execl(path.c_str(), path.c_str(), static_cast<char*>(nullptr)); });
}

void must_not_run(int error, int wanted, const std::string& what) {
  expect_equal(std::string(strerror(error)), std::string(strerror(wanted)), what);
}

void copy_program(const Place& p, const std::string& from, std::string_view name) {
  const Fd in(open(from.c_str(), O_RDONLY | O_CLOEXEC)), out(p.open(name, O_WRONLY | O_CREAT | O_EXCL, 0755));
  char buffer[65536];
  for (long n; (n = must(read(in, buffer, sizeof buffer), "read " + from)) > 0;) must(write(out, buffer, n), "write");
}

void make_script(const Place& p, std::string_view name, const std::string& interpreter) {
  p.write_file(name, "#!" + interpreter + "\n");
  must(chmod(p.path(name).c_str(), 0755), "chmod");
}

bool is_no_exec(const Place& p) {
  struct statvfs fs;
  must(statvfs(p.root().c_str(), &fs), "statvfs");
  return (fs.f_flag & ST_NOEXEC) != 0;
}
void needs_exec(const Place& p) {
  if (is_no_exec(p)) throw Skip{"mounted noexec"};
}
void needs_no_exec(const Place& p) {
  if (!is_no_exec(p)) throw Skip{"not mounted noexec"};
}

void a_noexec_mount_runs_nothing(const Place& p) {
  needs_no_exec(p);
  copy_program(p, "/bin/true", "program");
  make_script(p, "script", "/bin/sh");
  must_not_run(error_of_running(p.path("program")), EACCES, "a program");
  must_not_run(error_of_running(p.path("script")), EACCES, "a script");
  const Fd program(p.open("program", O_RDONLY)), path(p.open("program", O_PATH)), top(p.open(".", O_PATH));
  char name[] = "program";
  char* const arguments[] = {name, nullptr};
  for (const int fd : {int{program}, int{path}}) {
    const int error = error_of_exec([&] { fexecve(fd, arguments, environ); });
    must_not_run(error, EACCES, "a program by its descriptor");
  }
  const int at = error_of_exec([&] { syscall(SYS_execveat, int{top}, "program", arguments, environ, 0); });
  must_not_run(at, EACCES, "a program below a descriptor");
  must_fail(access(p.path("program").c_str(), X_OK), EACCES, "access");
  must_fail(faccessat(top, "program", X_OK, AT_EACCESS), EACCES, "faccessat");
  must(access(p.root().c_str(), X_OK), "access of the directory");
}

void an_interpreter_on_a_noexec_mount_does_not_run(const Place& p) {
  needs_no_exec(p);
  copy_program(p, "/bin/sh", "sh");
  char elsewhere[] = "/tmp/script.XXXXXX";
  const int fd = mkstemp(elsewhere);
  must(fd, "mkstemp");
  const std::string text = "#!" + p.path("sh") + "\n";
  const bool written = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int mode = fchmod(fd, 0755);
  close(fd);
  const int error = error_of_running(elsewhere);
  unlink(elsewhere);
  expect(written && mode == 0, "the script");
  must_not_run(error, EACCES, "a script elsewhere");
}

void a_file_of_a_noexec_mount_is_not_mapped_to_be_executed(const Place& p) {
  needs_no_exec(p);
  p.write_file("f", "x");
  const Fd file(p.open("f", O_RDONLY));
  void* at = mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
  must_fail(at == MAP_FAILED ? -1 : 0, EPERM, "mmap");
  at = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, file, 0);
  expect(at != MAP_FAILED, "mmap to read");
  const int writable = mprotect(at, 4096, PROT_READ | PROT_WRITE);
  const int executable = mprotect(at, 4096, PROT_READ | PROT_EXEC);
  const int error = errno;
  munmap(at, 4096);
  must(writable, "mprotect to write the copy");
  errno = error;
  must_fail(executable, EACCES, "mprotect to execute");
  void* memory = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const int other = mprotect(memory, 4096, PROT_READ | PROT_EXEC);
  munmap(memory, 4096);
  must(other, "mprotect of other memory");
}

void a_program_runs_from_where_it_lies(const Place& p) {
  needs_exec(p);
  copy_program(p, "/bin/true", "program");
  must_not_run(error_of_running(p.path("program")), 0, "a program");
  must(chmod(p.path("program").c_str(), 0644), "chmod");
  must_not_run(error_of_running(p.path("program")), EACCES, "without the right");
}

// A program that runs until it goes away.
class Running {
 public:
  Running(const std::string& path, std::vector<const char*> arguments) {
    int ends[2];
    must(pipe2(ends, O_CLOEXEC), "pipe");
    arguments.insert(arguments.begin(), path.c_str());
    arguments.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      execv(path.c_str(), const_cast<char* const*>(arguments.data()));
      _exit(write(ends[1], "", 1) == 1 ? 1 : 2);
    }
    close(ends[1]);
    const Fd from(ends[0]);
    char byte;
    expect(read(from, &byte, 1) == 0, "the program starts: " + path);
  }
  ~Running() { end(); }
  Running(const Running&) = delete;
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
};

void must_be_busy(const Place& p, std::string_view name) {
  const std::string path = p.path(name);
  for (const int flags : {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDWR | O_CREAT, O_WRONLY | O_TRUNC}) {
    must_fail(open(path.c_str(), flags | O_CLOEXEC, 0755), ETXTBSY, "open to write, flags " + std::to_string(flags));
  }
  must_fail(truncate(path.c_str(), 0), ETXTBSY, "truncate");
}

void a_running_program_is_not_written(const Place& p) {
  needs_exec(p);
  copy_program(p, "/bin/sleep", "program");
  const off_t size = p.status("program").st_size;
  Running running(p.path("program"), {"1000"});
  must_be_busy(p, "program");
  expect(p.status("program").st_size == size, "the program's size");
  const Fd reader(p.open("program", O_RDONLY));
  must(p.rename("program", "moved"), "rename");
  must_be_busy(p, "moved");
  must(chmod(p.path("moved").c_str(), 0700), "chmod");
  running.end();
  const Fd writer(p.open("moved", O_RDWR | O_TRUNC));
}

void a_program_is_busy_until_its_last_process_ends(const Place& p) {
  needs_exec(p);
  copy_program(p, "/bin/sleep", "program");
  Running one(p.path("program"), {"1000"}), two(p.path("program"), {"1000"});
  one.end();
  must_be_busy(p, "program");
  two.end();
  const Fd writer(p.open("program", O_RDWR));
}

void a_file_open_to_be_written_is_not_run(const Place& p) {
  needs_exec(p);
  copy_program(p, "/bin/true", "program");
  make_script(p, "script", "/bin/sh");
  for (const std::string name : {"program", "script"}) {
    const Fd one(p.open(name, O_RDWR));
    {
      const Fd other(p.open(name, O_WRONLY));
      must_not_run(error_of_running(p.path(name)), ETXTBSY, name + " with two writers");
    }
    must_not_run(error_of_running(p.path(name)), ETXTBSY, name + " with one");
  }
  must_not_run(error_of_running(p.path("program")), 0, "a program written no more");
  must_not_run(error_of_running(p.path("script")), 0, "a script written no more");
}

void a_running_script_is_written(const Place& p) {
  needs_exec(p);
  p.write_file("script", "#!/bin/sh\nread line < \"$1\"\n");
  must(chmod(p.path("script").c_str(), 0755), "chmod");
  char name[] = "/tmp/fifo.XXXXXX";
  must(mkdtemp(name) == nullptr ? -1 : 0, "mkdtemp");
  const std::string fifo = std::string(name) + "/fifo";
  must(mkfifo(fifo.c_str(), 0600), "mkfifo");
  {
    Running running(p.path("script"), {fifo.c_str()});
    const Fd other_end(open(fifo.c_str(), O_WRONLY | O_CLOEXEC));  // it reads by now
    const Fd writer(p.open("script", O_RDWR));
  }
  unlink(fifo.c_str());
  rmdir(name);
}

void who_executes_another_program_frees_the_first(const Place& p) {
  needs_exec(p);
  copy_program(p, "/bin/sh", "sh");
  int ends[2];
  must(pipe(ends), "pipe");
  {
    // The shell becomes cat, which ends when this pipe does.
    const std::string line = "exec cat <&" + std::to_string(ends[0]) + " " + std::to_string(ends[1]) + ">&-";
    const pid_t child = fork();
    if (child == 0) {
      execl(p.path("sh").c_str(), "sh", "-c", line.c_str(), static_cast<char*>(nullptr));
      _exit(1);
    }
    close(ends[0]);
    char link[64], target[4096];
    snprintf(link, sizeof link, "/proc/%d/comm", child);
    for (std::string comm; comm != "cat\n";) {
      const Fd file(open(link, O_RDONLY | O_CLOEXEC));
      const long n = read(file, target, sizeof target);
      comm.assign(target, n > 0 ? static_cast<size_t>(n) : 0);
      usleep(1000);
    }
    const int opened = open(p.path("sh").c_str(), O_RDWR | O_CLOEXEC);
    const int error = errno;
    close(ends[1]);
    waitpid(child, nullptr, 0);
    errno = error;
    must(opened, "open to write");
    close(opened);
  }
}

// Whatever the order of two threads that write it and two that run it: it runs, or somebody writes it.
void starting_and_writing_exclude_each_other(const Place& p) {
  needs_exec(p);
  copy_program(p, "/bin/true", "program");
  const std::string path = p.path("program");
  std::atomic<int> wrong{0}, ran{0}, wrote{0}, left{2};
  std::vector<std::thread> threads;
  for (int k = 0; k < 2; k++) {
    threads.emplace_back([&] {
      for (int i = 0; i < 15; i++) {
        const pid_t child = fork();
        if (child == 0) {
          execl(path.c_str(), "program", static_cast<char*>(nullptr));
          _exit(errno == ETXTBSY ? 100 : 101);
        }
        if (i % 5 == 4) kill(child, SIGKILL);
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) ran++;
        if (WIFEXITED(status) && WEXITSTATUS(status) > 100) wrong++;
      }
      left--;
    });
    threads.emplace_back([&] {
      while (left > 0) {
        const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
        if (fd < 0 && errno != ETXTBSY) wrong++;
        if (fd >= 0) close(fd), wrote++;
        usleep(2000);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  expect_equal<long>(wrong, 0, "other errors");
  must_not_run(error_of_running(path), 0, "the program in the end");
  const Fd writer(p.open("program", O_RDWR));
}

void a_failed_exec_changes_nothing(const Place& p) {
  needs_exec(p);
  p.write_file("kept", "text");
  make_script(p, "no_interpreter", p.path("missing"));
  p.write_file("no_program", "neither a program nor a script");
  p.write_file("no_right", "#!/bin/sh\n");
  for (const char* name : {"no_interpreter", "no_program"}) must(chmod(p.path(name).c_str(), 0755), "chmod");
  const Fd kept(p.open("kept", O_RDWR));
  struct flock lock {};
  lock.l_type = F_WRLCK;
  must(fcntl(kept, F_SETLK, &lock), "lock");
  char byte;
  must(read(kept, &byte, 1), "read");
  const auto fails = [&](const std::string& name, char* const* arguments, int wanted) {
    must_fail(execve(name.c_str(), arguments, environ), wanted, "execve of " + name);
  };
  char word[] = "word";
  char* const arguments[] = {word, nullptr};
  fails(p.path("no_interpreter"), arguments, ENOENT);
  fails(p.path("no_program"), arguments, ENOEXEC);
  fails(p.path("no_right"), arguments, EACCES);
  fails(p.path("missing"), arguments, ENOENT);
  fails(p.root(), arguments, EACCES);
  std::string long_word(200'000, 'x');
  char* const too_long[] = {word, long_word.data(), nullptr};
  fails("/bin/true", too_long, E2BIG);
  fails("/bin/true", reinterpret_cast<char* const*>(8), EFAULT);
  expect((fcntl(kept, F_GETFD) & FD_CLOEXEC) != 0, "close-on-exec");
  expect_equal<long>(must(lseek(kept, 0, SEEK_CUR), "lseek"), 1, "position");
  const int still_locked = error_of_exec([&] {
    lock.l_pid = 0;
    errno = fcntl(kept, F_GETLK, &lock) == 0 && lock.l_type == F_WRLCK ? 0 : EDOM;
  });
  expect_equal<long>(still_locked, 0, "the lock is held");
}

void a_successful_exec_drops_the_locks_of_files_that_it_closes(const Place& p) {
  needs_exec(p);
  p.write_file("f", "text");
  int ready[2], go[2];
  must(pipe(ready), "pipe");
  must(pipe(go), "pipe");
  const pid_t child = fork();
  if (child == 0) {
    const int fd = open(p.path("f").c_str(), O_RDWR | O_CLOEXEC);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    if (fcntl(fd, F_SETLK, &lock) != 0) _exit(1);
    const std::string line = "echo >&" + std::to_string(ready[1]) + "; read x <&" + std::to_string(go[0]);
    execl("/bin/sh", "sh", "-c", line.c_str(), static_cast<char*>(nullptr));
    _exit(1);
  }
  char byte;
  close(ready[1]);
  const bool started = read(ready[0], &byte, 1) == 1;
  const Fd fd(p.open("f", O_RDWR));
  struct flock lock {};
  lock.l_type = F_WRLCK;
  const int got = fcntl(fd, F_SETLK, &lock);
  kill(child, SIGKILL);
  close(go[1]);
  close(go[0]);
  close(ready[0]);
  waitpid(child, nullptr, 0);
  expect(started, "the program");
  must(got, "lock");
}

void descriptors_and_links_are_executed_as_told(const Place& p) {
  needs_exec(p);
  copy_program(p, "/bin/true", "program");
  must(symlink("program", p.path("link").c_str()), "symlink");
  const Fd program(p.open("program", O_RDONLY)), path(p.open("program", O_PATH)), top(p.open(".", O_PATH));
  char name[] = "program";
  char* const arguments[] = {name, nullptr};
  const auto at = [&](int fd, const char* file, int flags) {
    return error_of_exec([&] { syscall(SYS_execveat, fd, file, arguments, environ, flags); });
  };
  must_not_run(at(program, "", AT_EMPTY_PATH), 0, "an open file");
  must_not_run(at(path, "", AT_EMPTY_PATH), 0, "one opened with O_PATH");
  must_not_run(at(top, "link", 0), 0, "a link");
  must_not_run(at(top, "link", AT_SYMLINK_NOFOLLOW), ELOOP, "a link that is not followed");
  must_not_run(at(top, "program", AT_SYMLINK_NOFOLLOW), 0, "no link");
  must_not_run(at(program, "", 0), ENOENT, "no path");
  must_not_run(at(top, "program", 0x40000000), EINVAL, "an unknown flag");
  must_not_run(at(top, "", AT_EMPTY_PATH), EACCES, "a directory");
}

// load_elf_binary opens the interpreter as execve does.
void an_interpreter_without_the_right_is_not_loaded(const Place& p) {
  needs_exec(p);
  const std::string usual = "/lib64/ld-linux-x86-64.so.2";
  copy_program(p, "/bin/true", "original");
  std::string program = p.read_file("original");
  const size_t at = program.find(usual);
  if (at == std::string::npos) throw Skip{"/bin/true has another interpreter"};
  copy_program(p, usual, "interpreter");
  std::string name = "/tmp/fw-int-" + std::to_string(getpid());
  must(symlink(std::filesystem::absolute(p.path("interpreter")).c_str(), name.c_str()), "symlink");
  name.resize(usual.size());
  program.replace(at, usual.size(), name);
  p.write_file("program", program);
  must(chmod(p.path("program").c_str(), 0755), "chmod");
  const int with = error_of_running(p.path("program"));
  const int changed = chmod(p.path("interpreter").c_str(), 0644);
  const int without = error_of_running(p.path("program"));
  unlink(name.c_str());
  must(changed, "chmod");
  must_not_run(with, 0, "with the right");
  must_not_run(without, EACCES, "without it");
}

int open_restricted(int top, const std::string& path, uint64_t resolve, uint64_t flags = O_RDONLY) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve;
  return static_cast<int>(syscall(SYS_openat2, top, path.c_str(), &how, sizeof how));
}

void openat2_keeps_to_its_restrictions(const Place& p) {
  p.write_file("file", "x");
  p.mkdir("inner");
  p.write_file("inner/file", "y");
  must(symlink("../file", p.path("inner/up").c_str()), "symlink");
  must(symlink("file", p.path("inner/link").c_str()), "symlink");
  must(symlink("/file", p.path("inner/absolute").c_str()), "symlink");
  const Fd inner(p.open("inner", O_PATH | O_DIRECTORY)), file(p.open("file", O_RDONLY));
  const auto opens = [&](const char* path, uint64_t resolve, const char* what, uint64_t flags = O_RDONLY) {
    close(static_cast<int>(must(open_restricted(inner, path, resolve, flags), what)));
  };
  const auto fails = [&](const char* path, uint64_t resolve, int wanted, const char* what) {
    must_fail(open_restricted(inner, path, resolve), wanted, what);
  };
  opens("file", RESOLVE_BENEATH, "a name beneath");
  opens("link", RESOLVE_BENEATH, "a link that stays beneath");
  opens("../inner/file", RESOLVE_NO_SYMLINKS, "up and down again");
  fails("../file", RESOLVE_BENEATH, EXDEV, "a way up");
  fails("up", RESOLVE_BENEATH, EXDEV, "a link that leads up");
  fails("absolute", RESOLVE_BENEATH, EXDEV, "an absolute link");
  fails("/file", RESOLVE_BENEATH, EXDEV, "an absolute path");
  opens("/file", RESOLVE_IN_ROOT, "an absolute path in the root");
  opens("../../file", RESOLVE_IN_ROOT, "more ways up than there are");
  opens("absolute", RESOLVE_IN_ROOT, "an absolute link in the root");
  opens("up", RESOLVE_IN_ROOT, "a link that leads up in the root");
  fails("link", RESOLVE_NO_SYMLINKS, ELOOP, "a link");
  opens("link", RESOLVE_NO_SYMLINKS, "the link itself", O_PATH | O_NOFOLLOW);
  opens("file", RESOLVE_NO_XDEV, "on the same file system");
  fails("missing", RESOLVE_BENEATH, ENOENT, "nothing");
  fails("file", uint64_t{1} << 40, EINVAL, "an unknown flag");
  fails("file", RESOLVE_BENEATH | RESOLVE_IN_ROOT, EINVAL, "two roots");
  const std::string by_descriptor = "/proc/self/fd/" + std::to_string(int{file});
  must_fail(open_restricted(AT_FDCWD, by_descriptor, RESOLVE_NO_MAGICLINKS), ELOOP, "a magic link");
  const int cached = open_restricted(inner, "file", RESOLVE_CACHED);
  if (cached < 0) must_fail(cached, EAGAIN, "a cached name");
  close(cached);
  must_fail(open_restricted(inner, "new", RESOLVE_CACHED, O_CREAT | O_RDWR), EAGAIN, "making a cached name");
  expect(!p.exists("inner/new"), "nothing is made");
}

void openat2_takes_structures_of_other_sizes(const Place& p) {
  p.write_file("file", "x");
  const std::string path = p.path("file");
  struct {
    open_how how;
    uint64_t more[512];
  } large{};
  const auto with_size = [&](size_t bytes) { return syscall(SYS_openat2, AT_FDCWD, path.c_str(), &large, bytes); };
  large.how.flags = O_RDONLY | O_CLOEXEC;
  close(static_cast<int>(must(with_size(sizeof(open_how) + 8), "a larger one of zeros")));
  must_fail(with_size(sizeof(open_how) - 8), EINVAL, "a smaller one");
  must_fail(with_size(sizeof large), E2BIG, "more than a page");
  large.more[1] = 1;
  must_fail(with_size(sizeof(open_how) + 16), E2BIG, "a larger one that says something");
  must_fail(syscall(SYS_openat2, AT_FDCWD, path.c_str(), reinterpret_cast<void*>(8), sizeof(open_how)), EFAULT,
            "none at all");
}

}  // namespace

std::vector<Rule> execution_rules() {
  return {
      {"a_noexec_mount_runs_nothing", a_noexec_mount_runs_nothing},
      {"an_interpreter_on_a_noexec_mount_does_not_run", an_interpreter_on_a_noexec_mount_does_not_run},
      {"a_file_of_a_noexec_mount_is_not_mapped_to_be_executed", a_file_of_a_noexec_mount_is_not_mapped_to_be_executed},
      {"a_program_runs_from_where_it_lies", a_program_runs_from_where_it_lies},
      {"a_running_program_is_not_written", a_running_program_is_not_written},
      {"a_program_is_busy_until_its_last_process_ends", a_program_is_busy_until_its_last_process_ends},
      {"a_file_open_to_be_written_is_not_run", a_file_open_to_be_written_is_not_run},
      {"a_running_script_is_written", a_running_script_is_written},
      {"who_executes_another_program_frees_the_first", who_executes_another_program_frees_the_first},
      {"starting_and_writing_exclude_each_other", starting_and_writing_exclude_each_other},
      {"a_failed_exec_changes_nothing", a_failed_exec_changes_nothing},
      {"a_successful_exec_drops_the_locks_of_files_that_it_closes",
       a_successful_exec_drops_the_locks_of_files_that_it_closes},
      {"descriptors_and_links_are_executed_as_told", descriptors_and_links_are_executed_as_told},
      {"an_interpreter_without_the_right_is_not_loaded", an_interpreter_without_the_right_is_not_loaded},
      {"openat2_keeps_to_its_restrictions", openat2_keeps_to_its_restrictions},
      {"openat2_takes_structures_of_other_sizes", openat2_takes_structures_of_other_sizes},
  };
}

}  // namespace fusewire::conformance
