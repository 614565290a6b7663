// The gate's two parts meet here. The machinery (entry, loader, signals, clone, exec) calls the upper block; the
// dispatcher (paths, descriptors, calls) implements it, and uses the lower one. Freestanding: no libc, no TLS, general
// registers only; results are the raw kernel convention, 0.. or -errno.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>

#include "abi/prepared_code.h"

namespace fusewire::gate {

// For large tables of which most programs use little: kept apart, so that what all of them touch lies in few pages.
#define GATE_LARGE __attribute__((section("gate_large,\"aw\",@nobits#")))

// The registers of one caught system call.
struct CallFrame {
  long nr;
  long arg[6];
};

// ---- implemented by the dispatcher ----

// Whether nr goes through dispatch at all (else the entry passes it on). Indexed by number, 512 entries: 0, 1, or
// dispatched_by_descriptor: the entry passes it on while descriptors_at_entry allows it for its first argument;
// clone, fork, vfork, clone3, rt_sigreturn, execve, execveat and the signal calls belong to the machinery.
extern "C" uint8_t dispatch_table[512];
inline constexpr uint8_t dispatched_by_descriptor = 2;
// Descriptors below this number are passed on by the entry when no file of a mount is expected there; EBADF of such a
// call comes to judge_call. 0: none are.
extern "C" uint32_t descriptors_at_entry;
inline constexpr uint32_t expected_descriptors = 4096;
extern "C" uint8_t expected_virtual[expected_descriptors];
// The call, done or passed on. Runs on a gate stack of 128 KiB; signals wait until it returns. (Only when all
// gate stacks are taken does it run on the program's own stack, and a signal handler may then enter it again.)
extern "C" long dispatch_call(const CallFrame& frame);
// A result of dispatch_call: the call is none of ours, let the entry make it, unchanged, from the program's own stack.
// To be preferred over raw_syscall for every call passed on as it came: only then do EINTR, SA_RESTART, handlers that
// never return, thread cancellation and calls that never return (exit) behave as without the gate. While
// dispatch_call runs, a call that sleeps (futex, poll, recvmsg, …) ends with -EINTR when a signal is held back.
inline constexpr long pass_on = static_cast<long>(1ul << 63);

// Which results of a call that is passed on come back to judge_call: judge_errors, judge_success
// (entry_layout.h); EBADF always does.
// Natively such a result is that of a shadow or of the directory that stands in for a virtual one, when another thread
// has put one there after the call was looked at; the call has then done nothing.
inline constexpr unsigned judge_errors = 1, judge_success = 2;
unsigned judged_results(const CallFrame& frame);
// A result that came back, for the n-th time: the result for the program, or pass_on: the call begins anew.
long judge_call(const CallFrame& frame, long result, uint64_t times);

// At start, after an exec or in the first program: the namespace's directory and the state the last image left.
// inherited: nullptr or what before_exec wrote. Exits with a message on stderr when the namespace cannot be used.
void dispatch_start(const char* namespace_directory, const char* inherited);
// The dispatcher's record of the calling process, for the machinery to tell processes in one memory apart.
void* dispatch_process();
// The child of fork (its memory a copy): forget rings and sockets of the parent, whose record dispatch_process() gave.
void dispatch_after_fork(void* parent, bool shares_descriptors);
// Before a clone that shares neither the memory nor the descriptors.
void dispatch_before_copying_descriptors();
// Before a clone that shares the descriptors and not the memory.
void dispatch_before_sharing_descriptors();
struct GuestPlan {
  bool shares_descriptors;
  bool is_awaited;   // its parent sleeps until it has left this memory, and ends it then; nobody else does
  bool is_numbered;  // the kernel writes its number before it runs
};
// Before the clone of another process in this memory: its record, whose first word is where the kernel shall write its
// number; nullptr: no memory. It ends when the clone fails, or the process has left, and its stacks with it.
int* dispatch_prepare_guest(const GuestPlan& plan);
void dispatch_end_guest(int* guest);
inline constexpr size_t exec_state_room = 4096 + 512;
// Text, below exec_state_room bytes, that dispatch_start of the next image will get. Nothing else changes: the
// exec may fail. closing: -1, or a descriptor for the next image too, to be closed by who does not become one.
size_t before_exec(char* text, size_t room, int& closing);
// A file opened to be executed.
struct ProgramFile {
  int fd = -1;              // its bytes; of a mount's file a memfd with all of them
  struct stat status {};    // of fd
  bool is_virtual = false;  // a mount's file
  int held = -1;            // of a mount's file: while it is open nobody may write the file (ETXTBSY)
  // Of a mount's file whose set-id bits and capabilities count (no nosuid): mode and owner; else 0.
  uint32_t mode = 0, uid = 0, gid = 0;
  bool capabilities = false;
};
// Opens path for execution as execve(2) would find it. resolved: absolute path as the program shall see it in
// /proc/self/exe. 0, or -errno, and nothing is open then. at_flags as execveat. For one of the fusermount helpers the
// file opened is our own drop-in.
int open_for_exec(int dirfd, const char* path, int at_flags, char* resolved, size_t room, ProgramFile& file);
// For reading an interpreter by path: as open_for_exec; check: of native files too x permission is asked.
int open_for_load(const char* path, bool check, ProgramFile& file);
// The prepared code of a file, its index; -1: there is none.
int prepared_code_of(const struct stat& file);
// nullptr: no such index.
const abi::PreparedCode* prepared_code(int index);
// In the image that runs a mount's file: keeps ProgramFile::held until the process ends or executes something else.
void hold_program(int held);
// What /proc/self/exe is for this image; kept by the machinery, read by the dispatcher.
const char* exe_path();
// Where the kernel has put its code for clocks (AT_SYSINFO_EHDR); 0: there is none.
uint64_t vdso_address();
// A descriptor of the gate's own file, for the next image; -1: there is none.
int gate_descriptor();
// One line for the namespace's log: "cannot: …". Never blocks for long, never fails.
void log_line(const char* text);
// One for the log and for whoever started the namespace, told once however often it is said.
void tell_once(const char* text);
// Whether set-id programs run outside the namespace, natively: `fusewire run --native-setid`.
bool set_id_programs_leave();
void let_set_id_programs_leave();  // from now on

// ---- implemented by the machinery ----

// A raw system call from the allowed range.
extern "C" long raw_syscall(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0);
// A call that sleeps until something happens that a signal may call off. As raw_syscall, and -EINTR also when a signal
// came before the sleep, at any time since the program made its call: it is held back, and would wait for the sleep's
// end. Once it has said -EINTR it does so until the program's call returns.
long raw_sleep(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0);
// What the program's call comes to after such a -EINTR, where Linux restarts the call: pass_on, which makes it anew
// after the handler, or -EINTR when the handler does not restart calls (SA_RESTART).
long interrupted_sleep();
// Copies between the program's memory and the gate's that survive bad pointers: 0 or -EFAULT.
int copy_from_program(void* to, const void* from, size_t bytes);
int copy_to_program(void* to, const void* from, size_t bytes);
// Length of a NUL-terminated string in the program's memory, or -EFAULT, or -ENAMETOOLONG when room is not enough;
// copies it with its NUL.
long copy_string_from_program(char* to, const char* from, size_t room);
// Maps prepared code in place of a mapping at `at` of so many bytes of its file from `offset` on, for a loader whose
// own code is prepared. false: another caller, as an emulator that reads the code and runs it by itself; or it does not
// fit, or there is no room for its trampolines. What was mapped at `at` is still then.
bool map_prepared_for_loader(const abi::PreparedCode& code, uint64_t at, uint64_t bytes, uint64_t offset);
// The dispatcher's record of the process that makes the call which runs here, where that is known already.
void* process_of_call();
// Whether signals wait for the end of the call that runs here (see dispatch_call).
bool holds_signals_back();
// Whether no other thread or process has been in this memory since the process began, but children of vfork.
bool is_single_threaded();
// Maps memory of the gate's own where programs, sanitizers and runtimes do not look for theirs; flags and fd as
// mmap(2). The address, or -errno.
long map_aside(size_t bytes, int protection, int flags, int fd = -1);
// What a process that has left this memory held: its stacks, and what lies in their records.
void release_stacks_of(const void* process);
[[noreturn]] void die(const char* what, const char* detail = "");

}  // namespace fusewire::gate
