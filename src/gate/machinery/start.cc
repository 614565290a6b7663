// The gate's start: as a command, and again as the image that every execve of a program makes.
#include "gate/machinery/start.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <linux/prctl.h>

#include "gate/machinery/base.h"
#include "gate/machinery/elf.h"
#include "gate/machinery/machinery.h"
#include "gate/machinery/seccomp.h"

namespace fusewire::gate {

extern "C" [[noreturn]] void enter_program(uint64_t stack, uint64_t entry);

namespace {

uint64_t vdso = 0;
// Texts that stay, close together: each is some dozen bytes as a rule, and could be as long as a path.
GATE_LARGE char texts[3 * path_room];
size_t text_bytes = 0;
const char* program_path = "";
const char* namespace_path = "";

const char* keep_text(std::string_view text) {
  const size_t room = sizeof texts - text_bytes - 1, n = text.size() < room ? text.size() : room;
  char* kept = texts + text_bytes;
  __builtin_memcpy(kept, text.data(), n);
  text_bytes += n + 1;
  return kept;
}

// The block the kernel puts on a new stack.
struct StartBlock {
  uint64_t* count;
  char** arguments;
  char** environment;
  Elf64_auxv_t* auxiliary;
};

StartBlock start_block(uint64_t* stack) {
  StartBlock b;
  b.count = stack;
  b.arguments = reinterpret_cast<char**>(stack + 1);
  b.environment = b.arguments + *stack + 1;
  char** end = b.environment;
  while (*end != nullptr) end++;
  b.auxiliary = reinterpret_cast<Elf64_auxv_t*>(end + 1);
  return b;
}

// Until there is a program, the gate is what /proc/self/exe shows.
void find_own_path() {
  char path[path_room];
  const long n = raw_syscall(__NR_readlink, argument("/proc/self/exe"), argument(path), path_room - 1);
  program_path = keep_text({path, n > 0 ? static_cast<size_t>(n) : 0});
}

std::string_view take_field(std::string_view& rest, size_t bytes) {
  const std::string_view field = rest.substr(0, bytes);
  rest.remove_prefix(field.size());
  return field;
}

bool take_number(std::string_view& rest, uint64_t& number);

bool take_id(std::string_view& rest, uint32_t& id) {
  uint64_t high, low;
  if (!take_number(rest, high) || !take_number(rest, low)) return false;
  id = static_cast<uint32_t>(high << 16 | low);
  return true;
}

bool take_number(std::string_view& rest, uint64_t& number) {
  size_t digits = 0;
  number = parse_decimal(rest, &digits);
  if (digits == 0 || rest.size() <= digits) return false;
  rest.remove_prefix(digits + 1);
  return true;
}

// The program's command name: the last component of what it was started as.
void set_command_name(const Inheritance& i) {
  std::string_view name = last_component(i.file_name);
  if (i.file_name.starts_with("/dev/fd/")) name = last_component(i.exe);
  Text<64> text;
  text.add(name.substr(0, 15));
  raw_syscall(__NR_prctl, PR_SET_NAME, argument(text.c_str()));
}

struct Loaded {
  Image program, interpreter;
  bool has_interpreter = false;
};

// No other program stands in this memory yet, so static storage serves.
Loaded loaded;

// Where the kernel puts position independent programs (ELF_ET_DYN_BASE), and by how much it moves them.
constexpr uint64_t program_base = 0x555555554000, random_pages = 0xfffffff;

// The kernel has moved the stack and not told: a stack that ends at the very end is one that it was told not to move.
// The random bytes that it gives every program (AT_RANDOM) are mixed, since the program keeps them secret.
uint64_t random_offset(const StartBlock& b) {
  constexpr uint64_t end_of_stacks = 0x7ffffffff000;
  uint64_t offset = 0, bytes[2];
  for (const Elf64_auxv_t* a = b.auxiliary; a->a_type != AT_NULL; a++) {
    if (a->a_type == AT_EXECFN && page_ceiling(a->a_un.a_val) == end_of_stacks) return 0;
    if (a->a_type != AT_RANDOM) continue;
    __builtin_memcpy(bytes, reinterpret_cast<const void*>(a->a_un.a_val), sizeof bytes);
    const __uint128_t product = static_cast<__uint128_t>(bytes[0] ^ 0x9e3779b97f4a7c15) * (bytes[1] | 1);
    offset = (static_cast<uint64_t>(product >> 64) & random_pages) << 12;
  }
  return offset;
}

void load_program(const StartBlock& b, const Inheritance& i) {
  const uint64_t hint = program_base + random_offset(b);
  if (load_elf(i.descriptor, hint, nullptr, loaded.program) < 0)
    die("cannot map the program (is it damaged, or is there no memory left?):", program_path);
  raw_syscall(__NR_close, i.descriptor);
  if (i.interpreter < 0) return;
  if (load_elf(i.interpreter, 0, prepared_code(i.interpreter_code), loaded.interpreter) < 0)
    die("cannot map the interpreter (is it damaged, or is there no memory left?) of", program_path);
  raw_syscall(__NR_close, i.interpreter);
  loaded.has_interpreter = true;
}

void correct_auxiliary(Elf64_auxv_t* a, const char* file_name) {
  for (; a->a_type != AT_NULL; a++) {
    switch (a->a_type) {
      case AT_PHDR:
        a->a_un.a_val = loaded.program.program_headers;
        break;
      case AT_PHNUM:
        a->a_un.a_val = loaded.program.program_header_count;
        break;
      case AT_BASE:
        a->a_un.a_val = loaded.has_interpreter ? loaded.interpreter.base : 0;
        break;
      case AT_ENTRY:
        a->a_un.a_val = loaded.program.entry;
        break;
      case AT_EXECFN:
        a->a_un.a_val = address_of(file_name);
        break;
      case AT_SYSINFO_EHDR:
        vdso = a->a_un.a_val;
        break;
      default:
        break;
    }
  }
}

// As for a program that the kernel gave these ids.
void tell_of_ids(Elf64_auxv_t* a) {
  const auto uid = static_cast<uint64_t>(raw_syscall(__NR_geteuid)),
             gid = static_cast<uint64_t>(raw_syscall(__NR_getegid));
  const bool others =
      uid != static_cast<uint64_t>(raw_syscall(__NR_getuid)) || gid != static_cast<uint64_t>(raw_syscall(__NR_getgid));
  for (; a->a_type != AT_NULL; a++) {
    if (a->a_type == AT_EUID) a->a_un.a_val = uid;
    if (a->a_type == AT_EGID) a->a_un.a_val = gid;
    if (a->a_type == AT_SECURE) a->a_un.a_val = others ? 1 : 0;
  }
}

// Closes the gap that the two private strings leave in the environment: the block's front moves up.
uint64_t* drop_private_strings(uint64_t* stack) {
  const StartBlock b = start_block(stack);
  const size_t words = static_cast<size_t>(b.environment - reinterpret_cast<char**>(stack));
  constexpr size_t private_strings = 2;
  __builtin_memmove(stack + private_strings, stack, words * sizeof *stack);
  return stack + private_strings;
}

// So that /proc/self/{cmdline,environ,auxv} tell of the program. Kernels without checkpoint support refuse; then
// they tell of the gate.
void describe_to_kernel(const StartBlock& b, uint64_t* stack, const char* after_private, const char* file_name_end) {
  const uint64_t heap = static_cast<uint64_t>(raw_syscall(__NR_brk, 0));
  size_t entries = 1;
  while (b.auxiliary[entries - 1].a_type != AT_NULL) entries++;
  uint64_t environment_end = address_of(file_name_end);
  for (char** e = b.environment; *e != nullptr; e++) environment_end = address_of(*e) + text_length(*e) + 1;
  prctl_mm_map m{};
  m.start_code = loaded.program.code_low;
  m.end_code = loaded.program.code_high;
  m.start_data = loaded.program.data_low != 0 ? loaded.program.data_low : loaded.program.code_low;
  m.end_data = loaded.program.data_low != 0 ? loaded.program.data_high : loaded.program.code_high;
  m.start_brk = m.brk = heap;
  m.start_stack = address_of(stack);
  const uint64_t count = *b.count;
  m.arg_start = count > 0 ? address_of(b.arguments[0]) : address_of(after_private);
  m.arg_end = count > 0 ? address_of(b.arguments[count - 1]) + text_length(b.arguments[count - 1]) + 1 : m.arg_start;
  m.env_start = *b.environment != nullptr ? address_of(*b.environment) : environment_end;
  m.env_end = environment_end;
  m.auxv = reinterpret_cast<decltype(m.auxv)>(b.auxiliary);
  m.auxv_size = static_cast<uint32_t>(entries * sizeof(Elf64_auxv_t));
  m.exe_fd = ~0u;
  raw_syscall(__NR_prctl, PR_SET_MM, PR_SET_MM_MAP, argument(&m), sizeof m, 0);
}

void allow_executable_stack(uint64_t* stack) {
  raw_syscall(__NR_mprotect, static_cast<long>(page_floor(address_of(stack))), page_bytes,
              PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN);
}

[[noreturn]] void start_program(uint64_t* stack, Inheritance& i) {
  namespace_path = keep_text(i.name_space);
  program_path = keep_text(i.exe);
  if (take_ids(i.ids) < 0) die("cannot take the ids that the program's set-id bits give:", program_path);
  // The strings are the environment's, each with a NUL; the state's is where the string ends.
  dispatch_start(namespace_path, i.state.data());
  hold_program(i.held);
  load_program(start_block(stack), i);
  stacks_start();
  build_entry_table();
  if (!read_filters(i.filters)) die("no memory for the program's seccomp filters");
  signals_start(i.ignored[0], i.ignored[1], i.ignored[2]);
  if (loaded.program.is_go) set_cautious_range(loaded.program.code_low, loaded.program.code_high);
  set_command_name(i);
  stack = drop_private_strings(stack);
  const StartBlock b = start_block(stack);
  correct_auxiliary(b.auxiliary, i.file_name.data());
  if (i.ids.any()) tell_of_ids(b.auxiliary);
  describe_to_kernel(b, stack, i.file_name.data(), i.file_name.data() + i.file_name.size() + 1);
  if (loaded.program.executable_stack) allow_executable_stack(stack);
  catch_calls(i.trap);
  stop_when_loaded();
  enter_program(address_of(stack), loaded.has_interpreter ? loaded.interpreter.entry : loaded.program.entry);
}

[[noreturn]] void usage() {
  constexpr std::string_view text = "usage: fusewire-gate --namespace DIR [--own WORDS] PROGRAM ARGV0 [ARG...]\n";
  raw_syscall(__NR_write, 2, argument(text.data()), static_cast<long>(text.size()));
  raw_syscall(__NR_exit_group, 2);
  __builtin_unreachable();
}

// Why a program could not be started, for a person.
std::string_view reason(long error) {
  switch (-error) {
    case ENOENT:
      return "no such file, or its interpreter is missing";
    case EACCES:
      return "permission denied: it must be a file, executable by you, on a file system that allows it";
    case ENOEXEC:
      return "not a program for this machine, nor a script with a #! line";
    case ENOTDIR:
      return "a part of its path is not a directory";
    case ELOOP:
      return "too many levels of links or of interpreters";
    case E2BIG:
      return "arguments and environment are too long";
    case ENOMEM:
      return "no memory left";
    default:
      return {};
  }
}

[[noreturn]] void start_as_command(const StartBlock& b) {
  uint64_t words_before_arguments = 4;  // fusewire-gate --namespace DIR PROGRAM
  if (*b.count < words_before_arguments + 1 || std::string_view(b.arguments[1]) != "--namespace") usage();
  const char* own = nullptr;
  if (std::string_view(b.arguments[3]) == "--own") {
    words_before_arguments += 2;
    if (*b.count < words_before_arguments + 1) usage();
    own = b.arguments[4];
  }
  namespace_path = keep_text(b.arguments[2]);
  find_own_path();
  dispatch_start(namespace_path, own);
  const char* program = b.arguments[words_before_arguments - 1];
  const long r = first_exec(program, b.arguments + words_before_arguments, b.environment);
  PathText detail;
  detail.add(program).add(": ");
  if (reason(r).empty()) detail.add("error ").add_decimal(-r);
  detail.add(reason(r));
  die("cannot run", detail.c_str());
}

}  // namespace

void write_inheritance(const Inheritance& from, StateText& state, FileText& file) {
  const int flags = (from.trap ? 1 : 0) | (from.ignored[0] ? 2 : 0) | (from.ignored[1] ? 4 : 0) |
                    (from.ignored[2] ? 8 : 0) | (from.ids.user ? 16 : 0) | (from.ids.group ? 32 : 0);
  state.add(state_variable);
  state.add_decimal(from.descriptor).add(' ').add_decimal(flags).add(' ');
  state.add_decimal(from.filters + 1).add(' ');
  state.add_decimal(from.held + 1).add(' ');
  state.add_decimal(from.interpreter + 1).add(' ');
  state.add_decimal(from.interpreter_code + 1).add(' ');
  // In halves: parse_decimal takes no more than 30 bits.
  for (const uint32_t id : {from.ids.uid, from.ids.gid})
    state.add_digits(id >> 16).add(' ').add_digits(id & 0xffff).add(' ');
  state.add_digits(from.name_space.size()).add(' ').add_digits(from.exe.size()).add('\n');
  state.add(from.name_space).add(from.exe).add(from.state);
  file.add(file_variable).add(from.file_name);
}

bool read_inheritance(const char* state, const char* file, Inheritance& to) {
  std::string_view rest(state), name(file);
  if (!rest.starts_with(state_variable) || !name.starts_with(file_variable)) return false;
  rest.remove_prefix(state_variable.size());
  uint64_t descriptor, flags, filters, held, interpreter, interpreter_code, name_space_bytes, exe_bytes;
  if (!take_number(rest, descriptor) || !take_number(rest, flags) || !take_number(rest, filters) ||
      !take_number(rest, held) || !take_number(rest, interpreter) || !take_number(rest, interpreter_code) ||
      !take_id(rest, to.ids.uid) || !take_id(rest, to.ids.gid) || !take_number(rest, name_space_bytes) ||
      !take_number(rest, exe_bytes) || rest.size() < name_space_bytes + exe_bytes) {
    return false;
  }
  to.descriptor = static_cast<int>(descriptor);
  to.trap = (flags & 1) != 0;
  to.ids.user = (flags & 16) != 0;
  to.ids.group = (flags & 32) != 0;
  to.filters = static_cast<int>(filters) - 1;
  to.held = static_cast<int>(held) - 1;
  to.interpreter = static_cast<int>(interpreter) - 1;
  to.interpreter_code = static_cast<int>(interpreter_code) - 1;
  for (int i = 0; i < 3; i++) to.ignored[i] = (flags & (2u << i)) != 0;
  to.name_space = take_field(rest, name_space_bytes);
  to.exe = take_field(rest, exe_bytes);
  to.state = rest;
  to.file_name = name.substr(file_variable.size());
  return true;
}

extern "C" [[noreturn]] void gate_start(uint64_t* stack) {
  const StartBlock b = start_block(stack);
  Inheritance i;
  if (b.environment[0] != nullptr && b.environment[1] != nullptr &&
      read_inheritance(b.environment[0], b.environment[1], i)) {
    start_program(stack, i);
  }
  start_as_command(b);
}

const char* exe_path() { return program_path; }

uint64_t vdso_address() { return vdso; }
const char* start_namespace() { return namespace_path; }

}  // namespace fusewire::gate
