#include "gate/dispatch/own_descriptors.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

constexpr uint32_t changing = 1u << 31;
// A table of the kernel's reaches to its highest number, and each fork copies it: with a larger limit the gate stays
// within it.
constexpr uint64_t small_limit = 4096;
constexpr int usual_number = 1000;
constexpr int unlimited_patience = 1 << 20;

OwnDescriptors& table_of(const Process& p) {
  OwnDescriptors* shared = p.shared_descriptors.load(std::memory_order_acquire);
  return shared != nullptr ? *shared : const_cast<Process&>(p).descriptors;
}

void yield() { raw_syscall(SYS_sched_yield); }

// Whoever changes numbers is alone. A process that was killed in between, and shared the table, is waited for no longer
// than it takes to be sure.
class Changing {
 public:
  explicit Changing(Process& p) {
    for (int i = 0; i < unlimited_patience; i++, yield()) {
      table_ = &table_of(p);
      if ((table_->users.fetch_or(changing) & changing) != 0) continue;
      if (table_ == &table_of(p)) break;
      table_->users.fetch_and(~changing);
    }
    for (int i = 0; i < unlimited_patience && (table_->users & ~changing) != 0; i++) yield();
  }
  ~Changing() { table_->users.fetch_and(~changing); }
  Changing(const Changing&) = delete;
  OwnDescriptors& table() const { return *table_; }

 private:
  OwnDescriptors* table_ = nullptr;
};

rlimit read_limit() {
  rlimit limit{};
  raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, native::of(&limit));
  return limit;
}

long write_limit(const rlimit& limit) { return raw_syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, native::of(&limit)); }

uint64_t shown_hard(uint64_t hard) { return hard >= reserved_numbers ? hard - reserved_numbers : hard; }

// One at a time looks at the limit and changes it.
class LimitHeld {
 public:
  explicit LimitHeld(Process& p) : limit_(p.limit) {
    while (limit_.busy.exchange(true, std::memory_order_acquire)) yield();
  }
  ~LimitHeld() { limit_.busy.store(false, std::memory_order_release); }
  LimitHeld(const LimitHeld&) = delete;

 private:
  RaisedState& limit_;
};

// The soft limit that the program has, whether or not it is raised at this moment.
rlimit limit_of_program(const Process& p) {
  rlimit limit = read_limit();
  if (p.limit.raised != 0) limit.rlim_cur = p.limit.soft;
  return limit;
}

NumberLimit shown(const rlimit& limit) {
  const uint64_t hard = shown_hard(limit.rlim_max);
  return {limit.rlim_cur < hard ? limit.rlim_cur : hard, hard};
}

uint64_t shown_soft(Process& p) {
  const LimitHeld held(p);
  return shown(limit_of_program(p)).soft;
}

// A copy of fd out of the program's way, from `above` on at least: its number, or -errno.
long duplicate_high(Process& p, int fd, int above, bool close_on_exec) {
  const int command = close_on_exec ? F_DUPFD_CLOEXEC : F_DUPFD;
  const uint64_t limit = shown_soft(p);
  if (limit > small_limit) {
    for (const int from : {usual_number, lowest_internal}) {
      const long copy = native::fcntl(fd, command, from > above ? from : above);
      if (copy >= 0) return copy;
    }
  }
  {
    const RaisedLimit raised(p);
    const auto soft = static_cast<int>(limit);
    if (const long copy = native::fcntl(fd, command, soft > above ? soft : above); copy >= 0) return copy;
  }
  // No reserve: another process has changed the limit.
  for (const int from : {usual_number, lowest_internal, 3}) {
    const long copy = native::fcntl(fd, command, from);
    if (copy >= 0) return copy;
  }
  return -EMFILE;
}

int place_in(OwnDescriptors& table, int fd) {
  has_internal(fd);
  for (size_t i = 0; i < own_room; i++) {
    int none = 0;
    if (table.number[i].compare_exchange_strong(none, fd + 1)) return static_cast<int>(i);
  }
  return -EMFILE;
}

int place_of(const OwnDescriptors& table, int fd) {
  if (fd < 0) return -1;
  for (size_t i = 0; i < own_room; i++) {
    if (table.number[i].load(std::memory_order_relaxed) == fd + 1) return static_cast<int>(i);
  }
  return -1;
}

void move(Process& p, OwnDescriptors& table, int place, int above) {
  const int fd = table.number[place] - 1;
  const long copy = duplicate_high(p, fd, above, (native::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  const int moved = copy < 0 ? -1 : static_cast<int>(copy);
  if (moved >= 0) has_internal(moved);
  table.number[place] = moved + 1;
  if (p.cwd.fd == fd) p.cwd.fd = moved;
  if (p.virtual_root.fd == fd) p.virtual_root.fd = moved;
  native::close(fd);
}

}  // namespace

int keep_own(Process& p, int fd, bool close_on_exec) {
  const long kept = duplicate_high(p, fd, 0, close_on_exec);
  native::close(fd);
  if (kept < 0) return -EMFILE;
  const int place = place_in(table_of(p), static_cast<int>(kept));
  if (place < 0) native::close(static_cast<int>(kept));
  return place;
}

void forget_own(Process& p, int place) {
  if (place < 0) return;
  const Changing change(p);
  const int fd = change.table().number[place].exchange(0) - 1;
  if (fd >= 0) native::close(fd);
}

int keep_internal(Process& p, int fd, bool close_on_exec) {
  const int place = keep_own(p, fd, close_on_exec);
  return place < 0 ? place : table_of(p).number[place] - 1;
}

int adopt_internal(Process& p, int fd) { return place_in(table_of(p), fd); }

int number_at(const Process& p, int place) { return place < 0 ? -1 : table_of(p).number[place].load() - 1; }

void forget_internal(Process& p, int fd) {
  const Changing change(p);
  const int place = place_of(change.table(), fd);
  if (place < 0) return;
  change.table().number[place] = 0;
  native::close(fd);
}

bool is_internal(const Process& p, int fd) { return place_of(table_of(p), fd) >= 0; }

int first_internal(const Process& p, long first, long last) {
  int found = -1;
  for (const auto& number : table_of(p).number) {
    const int fd = number.load() - 1;
    if (fd >= first && fd <= last && (found < 0 || fd < found)) found = fd;
  }
  return found;
}

void make_room_at(Process& p, int fd) {
  if (!is_internal(p, fd)) return;
  const Changing change(p);
  const int place = place_of(change.table(), fd);
  if (place >= 0) move(p, change.table(), place, fd + 1);
}

void move_above(Process& p, uint64_t soft) {
  if (possible.lowest_internal == INT32_MAX || soft > small_limit) return;
  const Changing change(p);
  for (size_t i = 0; i < own_room; i++) {
    const int fd = change.table().number[i] - 1;
    if (fd >= 0 && static_cast<uint64_t>(fd) < soft)
      move(p, change.table(), static_cast<int>(i), static_cast<int>(soft));
  }
}

void share_own_descriptors(Process& p) {
  if (p.shared_descriptors != nullptr) return;
  const long at = map_aside(sizeof(OwnDescriptors), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  if (at < 0 && at > -4096) return;
  const Changing change(p);
  auto* shared = reinterpret_cast<OwnDescriptors*>(at);
  for (size_t i = 0; i < own_room; i++) shared->number[i] = p.descriptors.number[i].load();
  p.shared_descriptors = shared;
}

void own_descriptors_of_a_copy(Process& p) {
  if (OwnDescriptors* shared = p.shared_descriptors.exchange(nullptr); shared != nullptr) {
    for (size_t i = 0; i < own_room; i++) p.descriptors.number[i] = shared->number[i].load();
  }
  p.descriptors.users = 0;
}

InUse::InUse(Process& p, int place) : place_(place) {
  for (int i = 0;; i++, yield()) {
    table_ = &table_of(p);
    const bool still = (table_->users.fetch_add(1) & changing) == 0 && table_ == &table_of(p);
    if (still || i == unlimited_patience) return;
    table_->users.fetch_sub(1);
  }
}

NumberLimit shown_limit() {
  Process& p = process();
  const LimitHeld held(p);
  return shown(limit_of_program(p));
}

long set_shown_limit(const NumberLimit& wanted) {
  if (wanted.soft > wanted.hard) return -EINVAL;
  Process& p = process();
  {
    const LimitHeld held(p);
    rlimit limit = read_limit();
    if (wanted.hard != shown_hard(limit.rlim_max)) {
      const bool too_high = wanted.hard > RLIM_INFINITY - reserved_numbers;
      limit.rlim_max = too_high ? RLIM_INFINITY : wanted.hard + reserved_numbers;
    }
    limit.rlim_cur = wanted.soft;
    if (const long r = write_limit(limit); r < 0) return r;
    p.limit.soft = wanted.soft;
  }
  move_above(p, wanted.soft);
  return 0;
}

void reserve_numbers() {
  rlimit limit = read_limit();
  if (limit.rlim_cur <= shown_hard(limit.rlim_max)) return;
  limit.rlim_cur = shown_hard(limit.rlim_max);
  write_limit(limit);
}

RaisedLimit::RaisedLimit(Process& p) : process_(p) {
  const LimitHeld held(p);
  if (p.limit.raised++ != 0) return;
  rlimit limit = read_limit();
  p.limit.soft = limit.rlim_cur;
  const uint64_t wanted = limit.rlim_cur + reserved_numbers;
  limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
  write_limit(limit);
}

RaisedLimit::~RaisedLimit() {
  const LimitHeld held(process_);
  if (--process_.limit.raised != 0) return;
  rlimit limit = read_limit();
  limit.rlim_cur = process_.limit.soft;
  write_limit(limit);
}

}  // namespace fusewire::gate
