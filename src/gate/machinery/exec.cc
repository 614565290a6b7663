// execve and execveat: finds out what is to be loaded, as the kernel would, and becomes the gate again with that.
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "gate/machinery/base.h"
#include "gate/machinery/elf.h"
#include "gate/machinery/machinery.h"
#include "gate/machinery/seccomp.h"
#include "gate/machinery/set_id.h"
#include "gate/machinery/start.h"

namespace fusewire::gate {

namespace {

constexpr size_t head_bytes = 256;  // BINPRM_BUF_SIZE: what the kernel looks at
constexpr int max_scripts = 5;
constexpr uint64_t gate_address = 0x552000000000;  // as CMakeLists.txt links it
constexpr size_t max_front = 3 * max_scripts + 1;

// One execve on its way. Lies on the gate stack: a child that shares its parent's memory must leave none behind.
struct Plan {
  char name[path_room + 64];  // as the program will be told (AT_EXECFN, a script's argument)
  char resolved[path_room];
  ProgramFile file;
  ProgramFile interpreter;  // that it names, opened
  SetId ids;                // that the program takes
  FileFront head;
  // What takes the place of argv[0] when scripts are in play; points into texts.
  const char* front[max_front];
  size_t front_count = 0;
  char texts[max_scripts][2 * head_bytes];
};

enum class Verdict { load, native, refused };

bool is_blank(char c) { return c == ' ' || c == '\t'; }

// A #! line. A file that ends, or a zero byte, behind the #! leaves an interpreter without a name. interpreter and
// argument (nullptr: none) point into text.
bool parse_script(const Plan& plan, char (&text)[2 * head_bytes], const char*& interpreter,
                  const char*& argument_text) {
  // As binfmt_script.c: the line may be cut, but not within the interpreter's name.
  const size_t seen = plan.head.length < head_bytes ? plan.head.length : head_bytes;
  std::string_view line(reinterpret_cast<const char*>(plan.head.bytes) + 2, seen - 2);
  const size_t newline = line.find('\n');
  const bool cut = newline == std::string_view::npos && seen == head_bytes;
  line = line.substr(0, newline);
  while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
  if (line.empty() && newline != std::string_view::npos) return false;
  line = line.substr(0, line.find('\0'));
  if (cut && line.find_first_of(" \t") == std::string_view::npos) return false;
  while (!line.empty() && is_blank(line.back())) line.remove_suffix(1);
  __builtin_memcpy(text, line.data(), line.size());
  text[line.size()] = 0;
  interpreter = text;
  argument_text = nullptr;
  const size_t blank = line.find_first_of(" \t");
  if (blank == std::string_view::npos) return true;
  size_t start = blank;
  while (is_blank(line[start])) start++;
  text[blank] = 0;
  argument_text = text + start;
  return true;
}

void close_plan(Plan& plan) {
  for (const int fd : {plan.file.fd, plan.file.held, plan.interpreter.fd}) {
    if (fd >= 0) raw_syscall(__NR_close, fd);
  }
  plan.file = {};
  plan.interpreter = {};
}

// The argument in front of a script's own is its interpreter's; the script's name follows.
void put_interpreter_in_front(Plan& plan, const char* interpreter, const char* argument_text, const char* script) {
  const size_t added = argument_text == nullptr ? 2 : 3;
  const size_t kept = plan.front_count == 0 ? 0 : plan.front_count - 1;  // the former argv[0] goes
  for (size_t i = kept; i > 0; i--) plan.front[added + i - 1] = plan.front[i];
  plan.front[0] = interpreter;
  if (argument_text != nullptr) plan.front[1] = argument_text;
  plan.front[added - 1] = script;
  plan.front_count = added + kept;
}

int open_script_chain(Plan& plan) {
  const char* current = plan.name;
  for (int depth = 0;; depth++) {
    if (!S_ISREG(plan.file.status.st_mode)) return -EACCES;
    if (plan.head.read(plan.file.fd) < 0) return -EIO;
    if (plan.head.length < 2 || plan.head.bytes[0] != '#' || plan.head.bytes[1] != '!') return 0;
    if (depth == max_scripts) return -ELOOP;
    const char *interpreter, *argument_text;
    if (!parse_script(plan, plan.texts[depth], interpreter, argument_text)) return -ENOEXEC;
    // The nameless one is the working directory.
    if (interpreter[0] == 0) return -EACCES;
    put_interpreter_in_front(plan, interpreter, argument_text, current);
    close_plan(plan);
    current = interpreter;
    const int r = open_for_exec(AT_FDCWD, interpreter, 0, plan.resolved, sizeof plan.resolved, plan.file);
    if (r < 0) return r;
  }
}

// A program linked for the gate's own place in memory is a gate: that of a namespace inside this one, and takes over.
bool is_gate(const Plan& plan) {
  Elf64_Ehdr header;
  Elf64_Phdr first;
  if (plan.head.length < sizeof header + sizeof first) return false;
  __builtin_memcpy(&header, plan.head.bytes, sizeof header);
  if (header.e_type != ET_EXEC || header.e_phoff != sizeof header) return false;
  __builtin_memcpy(&first, plan.head.bytes + sizeof header, sizeof first);
  return first.p_type == PT_LOAD && first.p_vaddr == gate_address;
}

// Set-user-ID only for mount(2) and umount2(2), which need no right in a namespace: they run under the gate, without
// it.
bool only_mounts(const Plan& plan) {
  const std::string_view name = last_component({plan.resolved, text_length(plan.resolved)});
  return name == "umount" || name == "mount" || name == "ntfs-3g" || name == "lowntfs-3g";
}

void log_about(const char* what, const Plan& plan) {
  Text<path_room + 128> line;
  line.add(what).add(plan.resolved);
  log_line(line.c_str());
}

// Whether the next image will be able to load the program: afterwards there is nobody left to tell.
int check_program(Plan& plan) {
  char interpreter[path_room];
  if (const int r = check_elf(plan.file.fd, plan.head, interpreter); r < 0 || interpreter[0] == 0) return r;
  if (const int r = open_for_load(interpreter, true, plan.interpreter); r < 0) return r;
  FileFront front;
  if (front.read(plan.interpreter.fd) < 0) return -EIO;
  const int r = check_elf(plan.interpreter.fd, front, interpreter);
  return r == -ENOEXEC ? -ELIBBAD : r;
}

// Once for each program: a shell script may start it a thousand times.
void tell_without_rights(const Plan& plan) {
  Text<path_room + 192> line;
  line.add("runs without the rights of its set-id bits or capabilities (fusewire run --native-setid lets it out): ");
  line.add(std::string_view(plan.resolved, text_length(plan.resolved)));
  tell_once(line.c_str());
}

Verdict load(Plan& plan, const SetId& gains, int& error) {
  error = check_program(plan);
  if (error < 0) return Verdict::refused;
  if (!gains.any()) return Verdict::load;
  if (may_take(gains)) {
    plan.ids = gains;
  } else if (!only_mounts(plan)) {
    tell_without_rights(plan);
  }
  return Verdict::load;
}

Verdict judge(Plan& plan, int& error) {
  const ElfKind kind = elf_kind(plan.head.bytes, plan.head.length);
  error = -ENOEXEC;
  if (kind == ElfKind::none) return Verdict::refused;
  const bool foreign = kind == ElfKind::foreign;
  if (plan.file.is_virtual && foreign) return Verdict::refused;
  if (!plan.file.is_virtual && kind == ElfKind::ours && is_gate(plan)) return Verdict::native;
  const SetId gains = set_id_of(plan.file);
  const bool leaves =
      foreign || (gains.any() && !plan.file.is_virtual && set_id_programs_leave() && !only_mounts(plan));
  if (!leaves) return load(plan, gains, error);
  if (trap_mode()) {
    log_about("cannot run (needs to leave the gate, which the seccomp filter does not let it): ", plan);
    error = -EACCES;
    return Verdict::refused;
  }
  log_about(foreign ? "runs outside the namespace (another architecture): "
                    : "runs outside the namespace (setuid, setgid or capabilities): ",
            plan);
  return Verdict::native;
}

// ---- the vectors

// The number of pointers before the null one, or -errno.
long count_pointers(uint64_t vector) {
  constexpr long most = 1 << 22;
  if (vector == 0) return 0;
  for (long n = 0; n < most; n++) {
    uint64_t pointer;
    const auto* at = reinterpret_cast<const void*>(vector + static_cast<uint64_t>(n) * sizeof pointer);
    if (copy_from_program(&pointer, at, sizeof pointer) != 0) return -EFAULT;
    if (pointer == 0) return n;
  }
  return -E2BIG;
}

// The guest that wants to be traced.
std::atomic<long> traced{0};

void ask_to_be_traced() {
  if (traced == 0) return;
  long self = raw_syscall(__NR_getpid);
  if (traced.compare_exchange_strong(self, 0)) raw_syscall(__NR_ptrace, 0 /* PTRACE_TRACEME */);
}

struct Vectors {
  uint64_t* memory = nullptr;
  size_t bytes = 0;
  long argument_vector = 0;
  long environment = 0;
};

int build_vectors(const Plan& plan, uint64_t argv, uint64_t envp, const char* state, const char* file, Vectors& v) {
  const long arguments = count_pointers(argv), variables = count_pointers(envp);
  if (arguments < 0) return static_cast<int>(arguments);
  if (variables < 0) return static_cast<int>(variables);
  const size_t words = plan.front_count + static_cast<size_t>(arguments) + static_cast<size_t>(variables) + 4;
  v.bytes = page_ceiling(words * sizeof(uint64_t));
  v.memory = static_cast<uint64_t*>(map_memory(v.bytes));
  if (v.memory == nullptr) return -ENOMEM;
  uint64_t* to = v.memory;
  v.argument_vector = static_cast<long>(argv);
  if (plan.front_count > 0) {
    v.argument_vector = argument(to);
    for (size_t i = 0; i < plan.front_count; i++) *to++ = address_of(plan.front[i]);
    const auto* rest = reinterpret_cast<const void*>(argv + sizeof(uint64_t));
    const size_t left = arguments > 1 ? static_cast<size_t>(arguments - 1) : 0;
    if (copy_from_program(to, rest, left * sizeof(uint64_t)) != 0) return -EFAULT;
    to += left;
    *to++ = 0;
  }
  v.environment = argument(to);
  *to++ = address_of(state);
  *to++ = address_of(file);
  if (copy_from_program(to, reinterpret_cast<const void*>(envp), static_cast<size_t>(variables) * sizeof(uint64_t)) !=
      0) {
    return -EFAULT;
  }
  return 0;
}

// A guest's vectors are cleared away by its parent when the execve has succeeded.
void leave_to_parent(StackRecord* record, const Vectors& v) {
  if (record == nullptr) return;
  record->left_bytes = v.bytes;
  record->left_memory = v.memory;
}

// By descriptor: no path leads to the gate after chroot or in a private mount namespace, and /proc may be missing or
// somebody else's. The way by /proc is left for filters that know no execveat(2).
int execute_gate_file(const Vectors& v) {
  long r = -ENOSYS;
  if (const int fd = gate_descriptor(); fd >= 0) {
    r = raw_syscall(__NR_execveat, fd, argument(""), v.argument_vector, v.environment, AT_EMPTY_PATH);
  }
  if (r == -ENOSYS || r == -EPERM || r == -EBADF) {
    r = raw_syscall(__NR_execve, argument("/proc/self/exe"), v.argument_vector, v.environment);
  }
  return static_cast<int>(r);
}

void keep_open(int fd) {
  if (fd >= 0) raw_syscall(__NR_fcntl, fd, F_SETFD, 0);
}

// closing: before_exec's.
int execute_gate(StackRecord* record, const Plan& plan, uint64_t argv, uint64_t envp, const Inheritance& i,
                 int closing) {
  StateText state;
  FileText file;
  write_inheritance(i, state, file);
  if (state.overflowed() || file.overflowed()) return -ENAMETOOLONG;
  Vectors v;
  int r = build_vectors(plan, argv, envp, state.c_str(), file.c_str(), v);
  if (r == 0) {
    for (const int fd : {plan.file.fd, plan.file.held, plan.interpreter.fd, closing}) keep_open(fd);
    leave_to_parent(record, v);
    ask_to_be_traced();
    r = execute_gate_file(v);
    if (record != nullptr) record->left_memory = nullptr;
  }
  if (v.memory != nullptr) unmap_memory(v.memory, v.bytes);
  return r;
}

// The descriptors made for the next image are this one's until the exec succeeds.
int become_gate(StackRecord* record, const Plan& plan, uint64_t argv, uint64_t envp) {
  Inheritance i;
  i.filters = write_filters();
  if (i.filters < -1) return i.filters;
  char text[exec_state_room];
  int closing = -1;
  i.state = {text, before_exec(text, sizeof text, closing)};
  i.descriptor = plan.file.fd;
  i.held = plan.file.held;
  i.interpreter = plan.interpreter.fd;
  if (!plan.interpreter.is_virtual) i.interpreter_code = prepared_code_of(plan.interpreter.status);
  i.ids = plan.ids;
  i.trap = trap_mode();
  // The first program has its signals from before the gate.
  const auto ignores = [record](int signal) {
    return record == nullptr ? kernel_ignores(signal) : program_ignores(signal);
  };
  i.ignored[0] = ignores(sig_segv);
  i.ignored[1] = ignores(sig_bus);
  i.ignored[2] = ignores(sig_sys);
  i.name_space = start_namespace();
  i.exe = plan.resolved;
  i.file_name = plan.name;
  const int r = execute_gate(record, plan, argv, envp, i, closing);
  for (const int fd : {i.filters, closing}) {
    if (fd >= 0) raw_syscall(__NR_close, fd);
  }
  return r;
}

// The name the kernel gives a file executed relative to a descriptor (fs/exec.c, alloc_bprm).
int name_of(int dirfd, const char* path, Plan& plan) {
  Text<sizeof plan.name> name;
  if (dirfd != AT_FDCWD && path[0] != '/') {
    name.add("/dev/fd/").add_decimal(dirfd);
    if (path[0] != 0) name.add('/');
  }
  name.add(path);
  if (name.overflowed()) return -ENAMETOOLONG;
  __builtin_memcpy(plan.name, name.c_str(), name.length() + 1);
  return 0;
}

// A script reached through a descriptor that closes with the exec could not be opened by its interpreter.
bool script_would_be_lost(const Plan& plan, int dirfd) {
  if (plan.front_count == 0 || std::string_view(plan.name).substr(0, 8) != "/dev/fd/") return false;
  return dirfd != AT_FDCWD && (raw_syscall(__NR_fcntl, dirfd, F_GETFD) & FD_CLOEXEC) != 0;
}

int prepare(Plan& plan, int dirfd, const char* path, int at_flags) {
  if (const int r = name_of(dirfd, path, plan); r < 0) return r;
  if (const int r = open_for_exec(dirfd, path, at_flags, plan.resolved, sizeof plan.resolved, plan.file); r < 0)
    return r;
  if (const int r = open_script_chain(plan); r < 0) return r;
  return script_would_be_lost(plan, dirfd) ? -ENOENT : 0;
}

// record: nullptr for the first exec.
int do_exec(StackRecord* record, int dirfd, const char* path, uint64_t argv, uint64_t envp, int at_flags) {
  Plan plan;
  int r = prepare(plan, dirfd, path, at_flags);
  if (r == 0) {
    switch (judge(plan, r)) {
      case Verdict::load:
        r = become_gate(record, plan, argv, envp);
        break;
      case Verdict::native:
        r = 0;
        if (record == nullptr) {
          r = static_cast<int>(
              raw_syscall(__NR_execve, argument(path), static_cast<long>(argv), static_cast<long>(envp)));
        } else {
          pass(*record, record->program->call);
        }
        break;
      case Verdict::refused:
        break;
    }
  }
  close_plan(plan);
  return r;
}

constexpr int execve_check = 0x10000;  // AT_EXECVE_CHECK, since Linux 6.14

// An older kernel refuses the flag before it looks at the path.
bool knows_check_only() { return raw_syscall(__NR_execveat, AT_FDCWD, argument(""), 0, 0, execve_check) != -EINVAL; }

// Whether the file could be executed; what it holds is not looked at.
int check_only(int dirfd, const char* path, int at_flags) {
  Plan plan;
  const int r = open_for_exec(dirfd, path, at_flags, plan.resolved, sizeof plan.resolved, plan.file);
  close_plan(plan);
  return r;
}

}  // namespace

long program_exec(StackRecord& record, const CallFrame& call) {
  const bool at = call.nr == __NR_execveat;
  const int dirfd = at ? static_cast<int>(call.arg[0]) : AT_FDCWD;
  const long* rest = at ? call.arg + 1 : call.arg;
  const int at_flags = at ? static_cast<int>(call.arg[4]) : 0;
  constexpr int known = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
  const int unknown = at_flags & ~known;
  if (unknown != 0 && (unknown != execve_check || !knows_check_only())) return -EINVAL;
  char path[path_room];
  if (const long n = copy_string_from_program(path, reinterpret_cast<const char*>(rest[0]), sizeof path); n < 0)
    return n;
  if (path[0] == 0 && (at_flags & AT_EMPTY_PATH) == 0) return -ENOENT;
  if ((at_flags & execve_check) != 0) return check_only(dirfd, path, at_flags & known);
  return do_exec(&record, dirfd, path, static_cast<uint64_t>(rest[1]), static_cast<uint64_t>(rest[2]), at_flags);
}

long first_exec(const char* program, char** argv, char** environment) {
  return do_exec(nullptr, AT_FDCWD, program, address_of(argv), address_of(environment), 0);
}

void trace_from_exec() { traced = raw_syscall(__NR_getpid); }

}  // namespace fusewire::gate
