#include "gate/machinery/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/prctl.h>
#include <sys/stat.h>

#include "gate/machinery/base.h"
#include "gate/machinery/bpf.h"
#include "gate/machinery/lock.h"
#include "gate/machinery/machinery.h"

namespace fusewire::gate {

extern "C" {
extern const char stub_begin[], own_calls_begin[], stub_end[], changed_back[];
}

struct ProgramFilter {
  const ProgramFilter* older;
  uint32_t count;
  uint32_t is_strict;  // stands for the strict mode, which kills by SIGKILL
  sock_filter program[];
};

namespace {

constexpr uint32_t allow = SECCOMP_RET_ALLOW;
constexpr long strict_mode = SECCOMP_MODE_STRICT, filter_mode = SECCOMP_MODE_FILTER;
constexpr uint32_t front_length = 7;

std::span<const sock_filter> program_of(const ProgramFilter& f) { return {f.program, f.count}; }
size_t bytes_of(uint32_t count) { return sizeof(ProgramFilter) + count * sizeof(sock_filter); }

ProgramFilter* make_filter(const ProgramFilter* older, uint32_t count, bool is_strict) {
  auto* f = static_cast<ProgramFilter*>(map_memory(bytes_of(count)));
  if (f == nullptr) return nullptr;
  f->older = older;
  f->count = count;
  f->is_strict = is_strict ? 1 : 0;
  return f;
}

// ---- which thread has which

// Filters belong to threads. As long as all threads of the process have the same, that is all there is to know; those
// that differ stand in a table.
class Book {
 public:
  const ProgramFilter* find() {
    const ProgramFilter* common = common_.load(std::memory_order_acquire);
    if (!differ_.load(std::memory_order_acquire)) return common;
    const long thread = raw_syscall(__NR_gettid);
    const Locked lock(lock_);
    const Entry* e = entry_of(thread);
    return e != nullptr && e->thread == thread ? e->filters : common_.load(std::memory_order_relaxed);
  }

  bool threads_differ() const { return differ_.load(std::memory_order_acquire); }

  void set_all(const ProgramFilter* filters) {
    const Locked lock(lock_);
    for (size_t i = 0; i < room_; i++) entries_[i] = {};
    used_ = 0;
    common_ = filters;
    differ_ = false;
  }

  // Room for one more thread, so that set cannot fail.
  bool reserve() {
    const Locked lock(lock_);
    return 2 * (used_ + 1) < room_ || grow();
  }

  void set(long thread, const ProgramFilter* filters) {
    const Locked lock(lock_);
    if (2 * (used_ + 1) >= room_ && !grow()) die("no memory for what seccomp filters a thread has");
    Entry& e = *entry_of(thread);
    if (e.thread == 0) used_++;
    e = {thread, filters};
    differ_ = true;
  }

  void after_fork(const ProgramFilter* filters) {
    lock_.reset();
    set_all(filters);
  }

 private:
  struct Entry {
    long thread;  // 0: free
    const ProgramFilter* filters;
  };

  // The thread's, or the free one where it belongs; nullptr when there is no table.
  Entry* entry_of(long thread) const { return room_ == 0 ? nullptr : entry_in(entries_, room_, thread); }

  static Entry* entry_in(Entry* entries, size_t room, long thread) {
    for (size_t i = static_cast<size_t>(thread);; i++) {
      Entry& e = entries[i % room];
      if (e.thread == thread || e.thread == 0) return &e;
    }
  }

  // Twice as large, without the threads that have ended.
  bool grow() {
    constexpr size_t first_room = 256;
    const size_t wanted = room_ == 0 ? first_room : 2 * room_;
    auto* fresh = static_cast<Entry*>(map_memory(wanted * sizeof(Entry)));
    if (fresh == nullptr) return false;
    size_t used = 0;
    for (size_t i = 0; i < room_; i++) {
      const Entry& e = entries_[i];
      if (e.thread == 0 || raw_syscall(__NR_tkill, e.thread, 0) == -ESRCH) continue;
      *entry_in(fresh, wanted, e.thread) = e;
      used++;
    }
    // Whole before it is seen: who is killed here leaves the old one or the new one.
    Entry* old = entries_;
    const size_t old_room = room_;
    entries_ = fresh;
    room_ = wanted;
    used_ = used;
    if (old != nullptr) unmap_memory(old, old_room * sizeof(Entry));
    return true;
  }

  SpinLock lock_;
  std::atomic<const ProgramFilter*> common_{nullptr};
  std::atomic<bool> differ_{false};
  Entry* entries_ = nullptr;
  size_t room_ = 0, used_ = 0;
};

constinit Book book;

bool is_only_thread() {
  struct stat st;
  constexpr unsigned links_of_one_thread = 3;
  if (is_guest()) return false;
  return raw_syscall(__NR_stat, argument("/proc/self/task"), argument(&st)) == 0 && st.st_nlink == links_of_one_thread;
}

// ---- judging

uint32_t judge(const ProgramFilter* filters, const CallFrame& call, bool& is_strict) {
  seccomp_data data{};
  data.nr = static_cast<int>(call.nr);
  data.arch = AUDIT_ARCH_X86_64;
  data.instruction_pointer = address_of(changed_back);
  for (int i = 0; i < 6; i++) data.args[i] = static_cast<uint64_t>(call.arg[i]);
  uint32_t verdict = allow;
  for (const ProgramFilter* f = filters; f != nullptr; f = f->older) {
    const uint32_t one = run_filter(program_of(*f), data);
    if (stricter(verdict, one) != verdict) is_strict = f->is_strict != 0;
    verdict = stricter(verdict, one);
  }
  return verdict;
}

// As kernel/seccomp.c's strict mode: the thread dies by SIGKILL.
[[noreturn]] void die_of_strict_mode() {
  if (is_only_thread()) raw_syscall(__NR_kill, raw_syscall(__NR_getpid), sig_kill);
  for (;;) raw_syscall(__NR_exit, sig_kill);
}

// Calls that cannot be made as they came, whoever is asked first.
bool must_be_changed(long nr) {
  switch (nr) {
    case __NR_clone:
    case __NR_clone3:
    case __NR_fork:
    case __NR_vfork:
    case __NR_execve:
    case __NR_execveat:
    case __NR_rt_sigaction:
    case __NR_seccomp:
      return true;
    default:
      return is_mask_call(nr);
  }
}

bool asks_somebody(uint32_t action) { return action == SECCOMP_RET_TRACE || action == SECCOMP_RET_USER_NOTIF; }

// ---- installing

constexpr uint32_t low_half(const char* at) { return static_cast<uint32_t>(reinterpret_cast<uint64_t>(at)); }

// Where the kernel catches calls by a filter of ours, calls from elsewhere come here, and again, by way of the
// program's page: only there are they judged.
void write_front(sock_filter* to) {
  const auto high = static_cast<uint32_t>(address_of(stub_begin) >> 32);
  const uint32_t begin = low_half(stub_begin), own = low_half(own_calls_begin), end = low_half(stub_end);
  constexpr uint32_t pointer = offsetof(seccomp_data, instruction_pointer);
  const sock_filter high_half = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, pointer + 4);
  const sock_filter low = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, pointer);
  const sock_filter let = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_filter forget = BPF_STMT(BPF_LD | BPF_IMM, 0);  // filters begin with A = 0
  const sock_filter own_pages_allowed[front_length] = {high_half,
                                                       BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 4),
                                                       low,
                                                       BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, own, 0, 2),
                                                       BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, end, 1, 0),
                                                       let,
                                                       forget};
  const sock_filter program_page_judged[front_length] = {high_half,
                                                         BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 3),
                                                         low,
                                                         BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, begin, 0, 1),
                                                         BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, own, 0, 1),
                                                         let,
                                                         forget};
  __builtin_memcpy(to, trap_mode() ? program_page_judged : own_pages_allowed, sizeof own_pages_allowed);
}

// The kernel's answer: front and program as one filter.
long tell_kernel(const ProgramFilter& filter, bool by_prctl, long flags) {
  const size_t bytes = (front_length + filter.count) * sizeof(sock_filter);
  auto* whole = static_cast<sock_filter*>(map_memory(bytes));
  if (whole == nullptr) return -ENOMEM;
  write_front(whole);
  __builtin_memcpy(whole + front_length, filter.program, filter.count * sizeof(sock_filter));
  const sock_fprog told{static_cast<unsigned short>(front_length + filter.count), whole};
  const long r = by_prctl ? raw_syscall(__NR_prctl, PR_SET_SECCOMP, filter_mode, argument(&told))
                          : raw_syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, argument(&told));
  unmap_memory(whole, bytes);
  return r;
}

long install(ProgramFilter* filter, bool by_prctl, long flags) {
  const bool for_all = (flags & SECCOMP_FILTER_FLAG_TSYNC) != 0 || is_only_thread();
  if (!for_all && !book.reserve()) return -ENOMEM;
  const long r = tell_kernel(*filter, by_prctl, flags);
  const bool done = (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0 ? r >= 0 : r == 0;
  if (!done) {
    unmap_memory(filter, bytes_of(filter->count));
    return r;
  }
  if (for_all) {
    book.set_all(filter);
  } else {
    book.set(raw_syscall(__NR_gettid), filter);
  }
  return r;
}

long set_filter(const ProgramFilter* older, const void* given, bool by_prctl, long flags) {
  sock_fprog from;
  if (copy_from_program(&from, given, sizeof from) != 0) return -EFAULT;
  if (from.len == 0 || from.len > BPF_MAXINSNS) return -EINVAL;
  if (from.len + front_length > BPF_MAXINSNS) {
    log_line("cannot: seccomp: a filter of more than 4089 instructions leaves no room for the gate's own");
    return -EINVAL;
  }
  ProgramFilter* filter = make_filter(older, from.len, false);
  if (filter == nullptr) return -ENOMEM;
  if (copy_from_program(filter->program, from.filter, from.len * sizeof(sock_filter)) != 0) {
    unmap_memory(filter, bytes_of(from.len));
    return -EFAULT;
  }
  return install(filter, by_prctl, flags);
}

// A filter that says the same. It asks for no_new_privs, which changes nothing where execve is forbidden.
long set_strict(const ProgramFilter* older) {
  if (older != nullptr) return -EINVAL;  // the mode is set already
  const sock_filter rule[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                              BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_read, 4, 0),
                              BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_write, 3, 0),
                              BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit, 2, 0),
                              BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_rt_sigreturn, 1, 0),
                              BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD),
                              BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  constexpr uint32_t count = sizeof rule / sizeof rule[0];
  ProgramFilter* filter = make_filter(older, count, true);
  if (filter == nullptr) return -ENOMEM;
  __builtin_memcpy(filter->program, rule, sizeof rule);
  raw_syscall(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const long r = install(filter, true, 0);
  // The kernel would kill by SIGSYS: every call comes to the gate, which knows better.
  if (r == 0) catch_every_call();
  return r;
}

// What the next image reads: the filters, the newest first.
struct WrittenFilter {
  uint32_t count;
  uint32_t is_strict;
};

int filters_file() {
  long fd = raw_syscall(__NR_memfd_create, argument("fusewire-filters"), 0);
  constexpr long temporary_file = O_TMPFILE | O_RDWR;
  if (fd < 0) fd = raw_syscall(__NR_openat, AT_FDCWD, argument("/dev/shm"), temporary_file, 0600);
  return fd < 0 ? -ENOMEM : static_cast<int>(fd);
}

bool write_all(int fd, const void* from, size_t bytes) {
  return raw_syscall(__NR_write, fd, argument(from), static_cast<long>(bytes)) == static_cast<long>(bytes);
}

bool read_all(int fd, void* to, size_t bytes) {
  return raw_syscall(__NR_read, fd, argument(to), static_cast<long>(bytes)) == static_cast<long>(bytes);
}

}  // namespace

const ProgramFilter* filters_of_this_thread() { return book.find(); }

bool refused_by_filters(StackRecord& record, const CallFrame& call) {
  bool is_strict = false;
  const uint32_t action = judge(record.filters, call, is_strict) & SECCOMP_RET_ACTION_FULL;
  if (action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG) return false;
  if (is_strict) die_of_strict_mode();
  if (asks_somebody(action) && must_be_changed(call.nr)) {
    log_line("cannot: seccomp: a tracer or supervisor is asked about a call that only the gate can make");
    record.result = -ENOSYS;
    return true;
  }
  pass(record, call);
  // What comes back is the filter's word, not that of a descriptor or a directory.
  record.program->judge &= ~uint64_t{JUDGE_ERRORS | JUDGE_SUCCESS};
  return true;
}

bool is_seccomp_call(const CallFrame& call) {
  if (call.nr == __NR_seccomp) return true;
  return call.nr == __NR_prctl && (call.arg[0] == PR_SET_SECCOMP || call.arg[0] == PR_GET_SECCOMP);
}

void seccomp_call(StackRecord& record, const CallFrame& call) {
  const bool by_prctl = call.nr == __NR_prctl;
  if (by_prctl && call.arg[0] == PR_GET_SECCOMP) {
    if (!trap_mode()) return pass(record, call);
    record.result = record.filters == nullptr ? 0 : filter_mode;
    return;
  }
  const auto* given = reinterpret_cast<const void*>(call.arg[2]);
  if (by_prctl && call.arg[1] == filter_mode) {
    record.result = set_filter(record.filters, given, true, 0);
  } else if (by_prctl && call.arg[1] == strict_mode) {
    record.result = set_strict(record.filters);
  } else if (!by_prctl && call.arg[0] == SECCOMP_SET_MODE_FILTER) {
    record.result = set_filter(record.filters, given, false, call.arg[1]);
  } else if (!by_prctl && call.arg[0] == SECCOMP_SET_MODE_STRICT && call.arg[1] == 0 && given == nullptr) {
    record.result = set_strict(record.filters);
  } else {
    pass(record, call);
  }
}

uint64_t filters_for_child(const StackRecord& record) {
  if (!book.threads_differ()) return 0;
  return address_of(record.filters) | 1;
}

// entry.S calls this in a new thread, on the thread's own stack, with signals blocked.
extern "C" void child_has_filters(const ProgramFrame& frame) {
  book.set(raw_syscall(__NR_gettid), reinterpret_cast<const ProgramFilter*>(frame.scratch[0] & ~1ull));
}

void filters_after_fork(const StackRecord& record) { book.after_fork(record.filters); }

int write_filters() {
  const ProgramFilter* filters = book.find();
  if (filters == nullptr) return -1;
  const int fd = filters_file();
  if (fd < 0) return fd;
  for (const ProgramFilter* f = filters; f != nullptr; f = f->older) {
    const WrittenFilter head{f->count, f->is_strict};
    if (write_all(fd, &head, sizeof head) && write_all(fd, f->program, f->count * sizeof(sock_filter))) continue;
    raw_syscall(__NR_close, fd);
    return -ENOMEM;
  }
  raw_syscall(__NR_lseek, fd, 0, 0 /* SEEK_SET */);
  return fd;
}

bool read_filters(int fd) {
  if (fd < 0) return true;
  const ProgramFilter* newest = nullptr;
  ProgramFilter* last = nullptr;
  WrittenFilter head;
  while (read_all(fd, &head, sizeof head)) {
    if (head.count > BPF_MAXINSNS) return false;
    ProgramFilter* f = make_filter(nullptr, head.count, head.is_strict != 0);
    if (f == nullptr || !read_all(fd, f->program, head.count * sizeof(sock_filter))) return false;
    if (last == nullptr) {
      newest = f;
    } else {
      last->older = f;
    }
    last = f;
  }
  raw_syscall(__NR_close, fd);
  book.set_all(newest);
  return newest != nullptr;
}

}  // namespace fusewire::gate
