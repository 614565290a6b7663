#include "gate/dispatch/process.h"

#include <sys/mman.h>

#include <new>

#include "abi/leader_protocol.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/places.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

constexpr int claiming = -1;        // the record belongs to whoever put this
constexpr int unnumbered = -2;      // its process will claim it
constexpr int to_be_numbered = -3;  // the kernel writes the number

Process own_record;  // of the process that owns the memory
std::atomic<Process*> guest_records{nullptr};
std::atomic<int> guest_count{0};  // living, or not known to be gone
std::atomic<uint64_t> generations{0};
const char* directory = "";

struct ProcessStatus {
  bool dead = false;
  uint64_t start_time = 0;  // 0: not known
};

// "pid (name) state …": the state is the third word, the start time the 22nd.
ProcessStatus status_of(int pid) {
  ProcessStatus status;
  Text<40> path;
  path.add("/proc/").add_decimal(pid).add("/stat");
  const long fd = with_room(process(), [&] { return long{native::open(path.c_str(), O_RDONLY | O_CLOEXEC)}; });
  if (fd < 0) return status;
  char text[1024];
  const long n = native::read(static_cast<int>(fd), text, sizeof text);
  native::close(static_cast<int>(fd));
  std::string_view rest(text, n > 0 ? static_cast<size_t>(n) : 0);
  const size_t name_end = rest.rfind(')');
  if (name_end == std::string_view::npos || rest.size() < name_end + 3) return status;
  rest.remove_prefix(name_end + 2);
  status.dead = rest[0] == 'Z' || rest[0] == 'X';
  constexpr int words_before = 19;
  for (int word = 0; word < words_before; word++) {
    const size_t space = rest.find(' ');
    if (space == std::string_view::npos) return status;
    rest.remove_prefix(space + 1);
  }
  size_t digits = 0;
  status.start_time = parse_decimal(rest, &digits);
  return status;
}

bool does_not_exist(int pid) { return raw_syscall(SYS_kill, pid, 0) == -ESRCH; }

// A zombie has left its memory; a number that started anew is another process. Who waits for a guest ends it: were it
// done here, the record might serve another one by then.
bool is_gone(Process& record) {
  const int pid = record.pid, awaited_by = record.awaited_by;
  if (pid <= 0) return false;
  if (awaited_by != 0 && !does_not_exist(awaited_by) && !status_of(awaited_by).dead) return false;
  if (does_not_exist(pid)) return true;
  const ProcessStatus status = status_of(pid);
  if (status.dead || status.start_time == 0) return status.dead;
  if (record.start_time == 0) record.start_time = status.start_time;
  return status.start_time != record.start_time;
}

// What a child that shares our memory has at its start: a copy of our descriptors, our cwd.
void start_as_copy(Process& child, Process& parent) {
  child.start_time = 0;
  child.umask = parent.umask.load();
  child.root = parent.root.load();
  child.views.copy(parent.views);
  child.file_size.forget();
  child.mapped_views.none = parent.mapped_views.none.load();
  {
    const CwdChange none(parent.cwd);
    child.cwd.connection = parent.cwd.connection.load();
    child.cwd.token = parent.cwd.token.load();
    child.cwd.fd = parent.cwd.fd.load();
  }
  child.cwd.version = 0;
  child.virtual_root.connection = parent.virtual_root.connection.load();
  child.virtual_root.token = parent.virtual_root.token.load();
  child.virtual_root.fd = parent.virtual_root.fd.load();
  for (size_t i = 0; i < inherited_count; i++) child.inherited[i] = parent.inherited[i].load();
  child.shared_descriptors = parent.shared_descriptors.load();
  for (size_t i = 0; i < own_room; i++) child.descriptors.number[i] = parent.descriptors.number[i].load();
  child.descriptors.users = 0;
  child.limit.busy = false;
  child.limit.raised = 0;
}

template <class F>
void for_each_guest(F f) {
  for (Process* record = guest_records; record != nullptr; record = record->next) f(*record);
}

// A record that is nobody's, or nullptr.
Process* take_record() {
  for (Process* record = guest_records; record != nullptr; record = record->next) {
    int owner = 0;
    if (record->pid.compare_exchange_strong(owner, claiming)) return record;
  }
  const long at = map_aside(sizeof(Process), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  if (at < 0 && at > -4096) return nullptr;
  auto* record = new (reinterpret_cast<void*>(at)) Process;
  record->pid = claiming;
  record->next = guest_records;
  while (!guest_records.compare_exchange_weak(record->next, record)) continue;
  return record;
}

Process* make_guest(Process& parent, bool shares_descriptors) {
  Process* record = take_record();
  if (record == nullptr) return nullptr;
  start_as_copy(*record, parent);
  if (shares_descriptors && record->shared_descriptors == nullptr) record->shared_descriptors = &parent.descriptors;
  if (!shares_descriptors) own_descriptors_of_a_copy(*record);
  record->generation = ++generations;
  guest_count++;
  return record;
}

Process* find(int pid) {
  Process* found = own_record.pid == pid ? &own_record : nullptr;
  for_each_guest([&](Process& record) {
    if (record.pid.load(std::memory_order_acquire) != pid) return;
    if (found == nullptr || found->generation < record.generation) found = &record;
  });
  return found;
}

// A guest that the kernel gave no number in its record: made with a number of its own in a PID namespace, or by a
// caller that wanted the number itself.
Process* claim(int pid) {
  for (Process* record = guest_records; record != nullptr; record = record->next) {
    int waiting = unnumbered;
    if (record->pid.compare_exchange_strong(waiting, pid)) return record;
  }
  Process* parent = find(static_cast<int>(raw_syscall(SYS_getppid)));
  Process* record = make_guest(parent != nullptr ? *parent : own_record, false);
  if (record != nullptr) record->pid = pid;
  return record;
}

// has_left: it makes no calls any more, and what its last one ran on is free.
void end(Process& guest, bool has_left) {
  int pid = guest.pid;
  if (pid == 0 || pid == claiming || !guest.pid.compare_exchange_strong(pid, claiming)) return;
  if (has_left) release_stacks_of(&guest);
  drop_rings(guest, guest.shared_descriptors != nullptr);
  drop_mapped_views(guest);
  guest.shared_descriptors = nullptr;
  guest.awaited_by = 0;
  guest.pid = 0;
  guest_count--;
}

// In the child of a fork that another thread's change of directory was cut by: the real one tells how far that was.
void settle_cwd(Process& p) {
  if ((p.cwd.version & 1) == 0) return;
  char path[path_room];
  const long n = native::getcwd(path, path_room);
  const bool is_void = n < 0 || std::string_view(path).starts_with(in_namespace(abi::void_name).view());
  if (!is_void) p.cwd.fd = -1;
  p.cwd.version++;
}

}  // namespace

Possible possible;

CwdChange::CwdChange(VirtualCwd& cwd) : cwd_(cwd) {
  uint32_t seen = cwd.version;
  while ((seen & 1) != 0 || !cwd.version.compare_exchange_weak(seen, seen + 1)) {
    raw_syscall(SYS_sched_yield);
    seen = cwd.version;
  }
}

CwdChange::~CwdChange() { cwd_.version++; }

bool virtual_cwd(const Process& p, VirtualFile& where) {
  for (;; raw_syscall(SYS_sched_yield)) {
    const uint32_t before = p.cwd.version;
    const bool is_virtual = p.cwd.fd >= 0;
    where = {p.cwd.connection, p.cwd.token};
    if ((before & 1) == 0 && p.cwd.version == before) return is_virtual;
  }
}

constinit uint32_t descriptors_at_entry = 0;

void set_descriptors_at_entry() {
  const auto lowest = static_cast<uint32_t>(possible.lowest_internal.load());
  const uint32_t all = lowest < expected_descriptors ? lowest : expected_descriptors;
  __atomic_store_n(&descriptors_at_entry, possible.device || reporting() ? 0 : all, __ATOMIC_RELAXED);
}

void device_is_possible() {
  possible.device = true;
  set_descriptors_at_entry();
}

void has_internal(int fd) {
  int lowest = possible.lowest_internal;
  while (fd < lowest && !possible.lowest_internal.compare_exchange_weak(lowest, fd)) {
  }
  set_descriptors_at_entry();
}

bool is_alone_in_memory() { return guest_count.load(std::memory_order_acquire) == 0; }

int thread_number() {
  return is_single_threaded() && is_alone_in_memory() ? own_record.pid.load(std::memory_order_relaxed)
                                                      : static_cast<int>(native::gettid());
}

Process& process() {
  if (guest_count.load(std::memory_order_acquire) == 0) return own_record;
  if (void* known = process_of_call(); known != nullptr) return *static_cast<Process*>(known);
  const int pid = native::getpid();
  if (Process* known = find(pid)) return *known;
  if (Process* fresh = claim(pid)) return *fresh;
  die("no memory for the record of a process");
}

Process* prepare_guest(const GuestPlan& plan) {
  Process& self = process();
  for_each_guest([&](Process& record) {
    if (&record != &self && is_gone(record)) end(record, true);
  });
  give_up_shadows(self);
  Process* record = make_guest(self, plan.shares_descriptors);
  if (record == nullptr) return nullptr;
  if (plan.is_awaited) record->awaited_by = native::getpid();
  record->pid = plan.is_numbered ? to_be_numbered : unnumbered;
  return record;
}

void end_guest(Process& guest) { end(guest, true); }

void process_exits() {
  Process& p = process();
  if (p.shared_descriptors != nullptr) retire_rings(p);
  if (&p != &own_record && p.awaited_by == 0) end(p, false);
}

int native::proc_directory() { return inherited_descriptor(process(), Inherited::proc); }

const char* namespace_directory() { return directory; }

void set_namespace_directory(const char* path) { directory = path; }

void process_start() { own_record.pid = native::getpid(); }

void read_umask(Process& p) {
  const long mask = raw_syscall(SYS_umask, 0);
  raw_syscall(SYS_umask, mask);
  p.umask = static_cast<uint32_t>(mask) & 0777;
}

void process_after_fork(Process& parent, bool shares_descriptors) {
  // From here on this is the only process in this memory.
  guest_count = 0;
  if (&parent == &own_record)
    keep_mapped_views(own_record);
  else
    drop_mapped_views(own_record);
  forget_places();
  settle_cwd(parent);
  if (!shares_descriptors) own_descriptors_of_a_copy(parent);
  forget_kept_shadows(parent, !shares_descriptors);
  forget_rings(parent, !shares_descriptors);
  if (&parent != &own_record) {
    forget_rings(own_record, false);
    start_as_copy(own_record, parent);
  }
  own_record.limit.busy = false;
  own_record.limit.raised = 0;
  own_record.pid = native::getpid();
  for_each_guest([](Process& record) {
    drop_mapped_views(record);
    forget_rings(record, false);
    record.shared_descriptors = nullptr;
    record.awaited_by = 0;
    record.pid = 0;
  });
}

}  // namespace fusewire::gate
