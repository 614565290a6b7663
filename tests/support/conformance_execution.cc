// Rules of programs that lie on the file system: who may run them, and what may be done to one that runs.
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

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

}  // namespace

std::vector<Rule> execution_rules() {
  return {
      {"a_noexec_mount_runs_nothing", a_noexec_mount_runs_nothing},
      {"an_interpreter_on_a_noexec_mount_does_not_run", an_interpreter_on_a_noexec_mount_does_not_run},
      {"a_file_of_a_noexec_mount_is_not_mapped_to_be_executed", a_file_of_a_noexec_mount_is_not_mapped_to_be_executed},
      {"a_program_runs_from_where_it_lies", a_program_runs_from_where_it_lies},
  };
}

}  // namespace fusewire::conformance
