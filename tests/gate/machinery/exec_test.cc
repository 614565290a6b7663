// Programs that are executed under the gate are what they are without it.
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

#include <cstring>
#include <thread>
#include <vector>

#include "subject.h"

extern char** environ;

namespace {

std::string read_file(const std::string& path) {
  std::string text;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  char part[4096];
  for (ssize_t n; fd >= 0 && (n = read(fd, part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(n));
  if (fd >= 0) close(fd);
  return text;
}

// What a child prints that execs; empty when it cannot.
std::string output_of(const std::function<void()>& exec) {
  int end[2];
  if (pipe2(end, O_CLOEXEC) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    dup2(end[1], 1);
    exec();
    _exit(errno);
  }
  close(end[1]);
  std::string text;
  char part[4096];
  for (ssize_t n; (n = read(end[0], part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(n));
  close(end[0]);
  waitpid(child, nullptr, 0);
  return text;
}

// The errno of an execve that fails.
int exec_error(const char* path, char* const* argv, char* const* envp = environ) {
  const int status = in_child([&] {
    execve(path, argv, envp);
    return errno;
  });
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The same program with another interpreter, whose name must not be longer.
std::string with_interpreter(std::string program, const std::string& name) {
  const std::string usual = "/lib64/ld-linux-x86-64.so.2";
  const size_t at = program.find(usual);
  EXPECT_NE(std::string::npos, at);
  EXPECT_LE(name.size(), usual.size());
  return program.replace(at, usual.size(), name + std::string(usual.size() - name.size(), '\0'));
}

}  // namespace

TEST(Exec, arguments_and_environment_arrive_exactly) {
  char a[] = "one argument", b[] = "", variable[] = "NAME=value with = and\nnewline";
  char* const arguments[] = {arg0, a, b, nullptr};
  char* const environment[] = {variable, nullptr};
  const std::string environment_seen = output_of([&] { execve("/usr/bin/env", one_argument, environment); });
  EXPECT_EQ(std::string(variable) + "\n", environment_seen);
  const std::string command_line = output_of([&] {
    char cat[] = "cat", file[] = "/proc/self/cmdline";
    char* const show[] = {cat, file, nullptr};
    execve("/bin/cat", show, environment);
  });
  EXPECT_EQ(std::string("cat\0/proc/self/cmdline\0", 23), command_line);
  const std::string three = output_of([&] {
    char sh[] = "sh", c[] = "-c", script[] = "echo $#:$0:$1:$2:";
    char* const run[] = {sh, c, script, arguments[0], arguments[1], arguments[2], nullptr};
    execve("/bin/sh", run, environment);
  });
  EXPECT_EQ("2:name:one argument::\n", three);
}

TEST(Exec, nothing_of_the_gate_shows_in_the_environment) {
  char* const nothing[] = {nullptr};
  EXPECT_EQ("", output_of([&] { execve("/usr/bin/env", one_argument, nothing); }));
  EXPECT_EQ(std::string::npos, read_file("/proc/self/environ").find("FUSEWIRE_GATE"));
}

TEST(Exec, the_auxiliary_vector_describes_the_program) {
  const auto* const headers = reinterpret_cast<const ElfW(Phdr)*>(getauxval(AT_PHDR));
  ASSERT_NE(nullptr, headers);
  bool found = false;
  uintptr_t bias = 0;
  for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++) {
    if (headers[i].p_type == PT_PHDR) bias = reinterpret_cast<uintptr_t>(headers) - headers[i].p_vaddr, found = true;
  }
  ASSERT_TRUE(found);
  const auto* const head = reinterpret_cast<const ElfW(Ehdr)*>(bias);
  EXPECT_EQ(0, memcmp(head->e_ident, ELFMAG, SELFMAG));
  EXPECT_EQ(getauxval(AT_ENTRY), bias + head->e_entry);
  EXPECT_NE(0u, getauxval(AT_BASE));
  EXPECT_NE(0u, getauxval(AT_SYSINFO_EHDR));
}

TEST(Exec, the_command_name_is_the_files) {
  const Directory directory;
  EXPECT_EQ("cat\n", output_of([] { execl("/bin/cat", "other name", "/proc/self/comm", nullptr); }));
  const std::string script = directory.file("a-script", "#!/bin/sh\nread name < /proc/$$/comm; echo $name\n");
  EXPECT_EQ("a-script\n", output_of([&] { execl(script.c_str(), "x", nullptr); }));
}

TEST(Exec, the_own_program_can_be_executed_again) {
  const std::string tests = output_of([] { execl("/proc/self/exe", "me", "--gtest_list_tests", nullptr); });
  EXPECT_NE(std::string::npos, tests.find("the_own_program_can_be_executed_again"));
  char link[4096];
  const ssize_t n = readlink("/proc/self/exe", link, sizeof link);
  ASSERT_GT(n, 0);
  EXPECT_NE(std::string::npos, std::string(link, static_cast<size_t>(n)).find("gate_machinery_tests"));
}

TEST(Exec, a_script_gets_its_interpreter_one_argument_and_its_path) {
  const Directory directory;
  const std::string show = directory.file("show", "#!/bin/sh\necho \"$0|$1|$2|$3|$#\"\n");
  const std::string plain = directory.file("plain", "#! " + show + "\n");
  EXPECT_EQ(show + "|" + plain + "|a||2\n", output_of([&] { execl(plain.c_str(), "ignored", "a", nullptr); }));
  const std::string with = directory.file("with", "#!" + show + " one  and the same\t \n");
  EXPECT_EQ(show + "|one  and the same|" + with + "|a|3\n",
            output_of([&] { execl(with.c_str(), "ignored", "a", nullptr); }));
  const std::string outer = directory.file("outer", "#!" + with + " outer");
  EXPECT_EQ(show + "|one  and the same|" + with + "|outer|5\n",
            output_of([&] { execl(outer.c_str(), "ignored", "a", nullptr); }));
}

TEST(Exec, scripts_nest_as_deep_as_linux_lets_them) {
  const Directory directory;
  std::string path = directory.file("0", "#!/bin/echo");
  for (int depth = 1; depth <= 3; depth++) path = directory.file(std::to_string(depth), "#!" + path);
  EXPECT_NE("", output_of([&] { execl(path.c_str(), "x", nullptr); }));
  for (int depth = 4; depth <= 6; depth++) path = directory.file(std::to_string(depth), "#!" + path);
  EXPECT_EQ(ELOOP, exec_error(path.c_str(), one_argument));
}

TEST(Exec, what_cannot_be_executed_says_why_and_harms_nothing) {
  const Directory directory;
  EXPECT_EQ(ENOENT, exec_error("/nonexistent", one_argument));
  EXPECT_EQ(ENOENT, exec_error("", one_argument));
  EXPECT_EQ(ENOTDIR, exec_error("/etc/passwd/x", one_argument));
  EXPECT_EQ(EACCES, exec_error("/etc", one_argument));
  EXPECT_EQ(EACCES, exec_error(directory.file("not-executable", "#!/bin/sh\n", 0644).c_str(), one_argument));
  EXPECT_EQ(ENOEXEC, exec_error(directory.file("text", "echo hello\n").c_str(), one_argument));
  EXPECT_EQ(ENOEXEC, exec_error(directory.file("empty", "").c_str(), one_argument));
  EXPECT_EQ(ENOEXEC, exec_error(directory.file("blank", "#!  \n").c_str(), one_argument));
  EXPECT_EQ(ENOEXEC, exec_error(directory.file("cut", "#!/" + std::string(300, 'x')).c_str(), one_argument));
  EXPECT_EQ(ENOENT, exec_error(directory.file("lost", "#!/nonexistent\n").c_str(), one_argument));
  EXPECT_EQ(ENOEXEC, exec_error(directory.file("elf", std::string("\x7f") + "ELF").c_str(), one_argument));
  const std::string program = read_file("/bin/true");
  EXPECT_EQ(ENOEXEC, exec_error(directory.file("cut-program", program.substr(0, 100)).c_str(), one_argument));
  EXPECT_EQ(ENOENT,
            exec_error(directory.file("no-loader", with_interpreter(program, "/nonexistent")).c_str(), one_argument));
  const std::string damaged = directory.file("l", std::string(200, 'x'));
  EXPECT_EQ(ELIBBAD,
            exec_error(directory.file("bad-loader", with_interpreter(program, damaged)).c_str(), one_argument));
  EXPECT_EQ(ENAMETOOLONG, exec_error(("/" + std::string(5000, 'x')).c_str(), one_argument));
  std::vector<char> huge(200 << 10, 'x');
  huge.back() = 0;
  char* const too_long[] = {arg0, huge.data(), nullptr};
  EXPECT_EQ(E2BIG, exec_error("/bin/true", too_long));
  std::vector<char*> many(200, huge.data() + (100 << 10));
  many.push_back(nullptr);
  EXPECT_EQ(E2BIG, exec_error("/bin/true", many.data()));
}

TEST(Exec, a_descriptor_can_be_executed) {
  const int fd = open("/bin/echo", O_RDONLY);
  EXPECT_EQ("by descriptor\n", output_of([&] {
              char text[] = "by descriptor";
              char* const arguments[] = {arg0, text, nullptr};
              syscall(SYS_execveat, fd, "", arguments, environ, AT_EMPTY_PATH);
            }));
  close(fd);
  const int bin = open("/bin", O_PATH | O_DIRECTORY);
  EXPECT_EQ("relative\n", output_of([&] {
              char text[] = "relative";
              char* const arguments[] = {arg0, text, nullptr};
              syscall(SYS_execveat, bin, "echo", arguments, environ, 0);
            }));
  close(bin);
  EXPECT_EQ(-1, syscall(SYS_execveat, AT_FDCWD, "/bin/true", one_argument, environ, 0x40000000));
  EXPECT_EQ(EINVAL, errno);
}

TEST(Exec, a_script_in_a_descriptor_that_closes_is_lost) {
  const Directory directory;
  const std::string path = directory.file("s", "#!/bin/cat\n");
  for (const int flag : {0, O_CLOEXEC}) {
    const int fd = open(path.c_str(), O_RDONLY | flag);
    const std::string text = output_of([&] { syscall(SYS_execveat, fd, "", one_argument, environ, AT_EMPTY_PATH); });
    EXPECT_EQ(flag == 0 ? "#!/bin/cat\n" : "", text);
    close(fd);
  }
}

TEST(Exec, no_descriptor_of_the_gate_is_left_open) {
  const std::string list = output_of([] {
    for (int fd = 3; fd < 1024; fd++) close(fd);
    execl("/bin/ls", "ls", "/proc/self/fd", nullptr);
  });
  EXPECT_EQ("0\n1\n2\n3\n", list);
}

TEST(Exec, ignored_signals_stay_ignored_and_handled_ones_do_not) {
  for (const int signal : {SIGUSR1, SIGSEGV, SIGBUS, SIGSYS}) {
    const std::string status = output_of([&] {
      ::signal(signal, SIG_IGN);
      ::signal(SIGUSR2, [](int) {});
      execl("/bin/sh", "sh", "-c", ("kill -" + std::to_string(signal) + " $$; echo alive").c_str(), nullptr);
    });
    EXPECT_EQ("alive\n", status) << signal;
  }
}

TEST(Exec, a_setuid_program_gets_its_rights) {
  if (geteuid() != 0) GTEST_SKIP() << "making one takes root";
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) GTEST_SKIP() << "no privileges can be gained here";
  const Directory directory;
  const std::string id = directory.file("id", read_file("/usr/bin/id"));
  ASSERT_EQ(0, chown(id.c_str(), 65534, 65534));
  ASSERT_EQ(0, chmod(id.c_str(), 04755));
  EXPECT_EQ("65534\n", output_of([&] { execl(id.c_str(), "id", "-u", nullptr); }));
}

TEST(Exec, threads_end_when_one_execs) {
  const std::string text = output_of([] {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) threads.emplace_back([] { pause(); });
    std::thread([] { execl("/bin/echo", "echo", "alone", nullptr); }).join();
  });
  EXPECT_EQ("alone\n", text);
}
