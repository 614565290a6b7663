#include "gate/dispatch/client.h"

#include <linux/futex.h>
#include <sys/mman.h>

#include "gate/dispatch/leader.h"
#include "gate/dispatch/messages.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/roots.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;
using abi::CallState;
using abi::Slot;

constexpr long host_answers_within_ms = 5'000;
constexpr int none_left = -EMFILE;  // came in place of a descriptor

struct Time {
  long sec, nsec;
};

long futex_wait(const void* word, uint32_t value, bool shared, Time timeout) {
  const long operation = FUTEX_WAIT | (shared ? 0 : FUTEX_PRIVATE_FLAG);
  return raw_syscall(SYS_futex, native::of(word), operation, value, native::of(&timeout));
}

void futex_wake_all(const void* word) {
  raw_syscall(SYS_futex, native::of(word), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX);
}

long poll_one(int fd, short events, long milliseconds) {
  pollfd p{fd, events, 0};
  const long r = raw_syscall(SYS_poll, native::of(&p), 1, milliseconds);
  return r <= 0 ? r : p.revents;
}

// 0, or why there is no welcome.
// fds: the ring and the doorbell.
long welcomed(int socket, uint32_t connection, int (&fds)[2]) {
  long ready;
  do {
    ready = poll_one(socket, POLLIN, host_answers_within_ms);
  } while (ready == -EINTR);
  if (ready <= 0) return -ENOTCONN;
  union {
    abi::Welcome welcome;
    abi::LeaderReply refusal;
  } first{};
  const Received m = receive_message(socket, &first, sizeof first, fds);
  if (m.bytes == sizeof first.refusal && first.refusal.error < 0) return first.refusal.error;
  const abi::Welcome& w = first.welcome;
  const bool whole =
      m.bytes == sizeof w && w.magic == abi::call_magic && w.version == abi::call_version && w.connection == connection;
  if (whole && m.cut) return -EMFILE;
  return whole && m.count == 2 ? 0 : -ENOTCONN;
}

void* map_ring(int fd) {
  const long at = map_aside(abi::ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  if (at < 0 && at > -4096) return nullptr;
  auto* memory = reinterpret_cast<void*>(at);
  const auto* header = static_cast<const abi::RingHeader*>(memory);
  if (header->magic == abi::call_magic && header->slots == abi::slot_count &&
      header->data_bytes == abi::slot_data_bytes) {
    raw_syscall(SYS_madvise, at, abi::ring_bytes, MADV_DONTFORK);
    return memory;
  }
  raw_syscall(SYS_munmap, at, abi::ring_bytes);
  return nullptr;
}

void unmap_area(Area& area) {
  if (area.memory != nullptr) raw_syscall(SYS_munmap, native::of(area.memory), static_cast<long>(area.bytes));
  area = {};
}

// Frees a retired ring that nobody uses any more. The state is taken before `taken` is looked at: see take_slot.
void free_if_unused(Process& p, Ring& ring) {
  RingState retired = RingState::retired;
  if (ring.taken.load() != 0 || !ring.state.compare_exchange_strong(retired, RingState::filling)) return;
  if (ring.taken.load() != 0) {
    ring.state = RingState::retired;
    return;
  }
  raw_syscall(SYS_munmap, native::of(ring.memory), abi::ring_bytes);
  ring.memory = nullptr;
  for (Area& area : ring.area) unmap_area(area);
  forget_own(p, ring.socket);
  forget_own(p, ring.doorbell);
  ring.state = RingState::free;
}

Ring* unused_ring(Process& p) {
  for (int round = 0; round < 2; round++) {
    for (Ring& ring : p.rings.ring) {
      RingState expected = RingState::free;
      if (ring.state.compare_exchange_strong(expected, RingState::filling)) return &ring;
    }
    // Rings of many ended connections, or of many credentials, fill the pool: an idle one makes room, never the same
    // one again and again.
    for (size_t i = 0; i < ring_pool; i++) {
      Ring& ring = p.rings.ring[p.rings.next_to_go.fetch_add(1, std::memory_order_relaxed) % ring_pool];
      RingState live = RingState::live;
      if (ring.taken.load() == 0) ring.state.compare_exchange_strong(live, RingState::retired);
      free_if_unused(p, ring);
      if (ring.state == RingState::free) break;
    }
  }
  return nullptr;
}

// A socket on which the connection's host will say Welcome, or -errno.
int ask_for_host(uint32_t connection) {
  abi::LeaderRequest request;
  start_request(request, abi::LeaderOperation::reach_host);
  request.connection = connection;
  return send_to_leader(request, -1);
}

// What a program is told when the host cannot be reached: whether it may not, or for want of descriptors something can
// be done; else nobody is there.
long error_of_connecting(long error) {
  return error == -EACCES || error == -EMFILE || error == -ENFILE ? error : -ENOTCONN;
}

bool has_second_cpu() {
  uint64_t cpus[128] = {};
  const long bytes = raw_syscall(SYS_sched_getaffinity, 0, sizeof cpus, native::of(cpus));
  int words_set = 0;
  bool two_in_a_word = false;
  for (long i = 0; i * 8 < bytes; i++) {
    words_set += cpus[i] != 0;
    two_in_a_word |= (cpus[i] & (cpus[i] - 1)) != 0;
  }
  return words_set > 1 || two_in_a_word;
}

struct NewRing {
  void* memory = nullptr;
  int socket = -1, doorbell = -1;
};

// 0 or -errno.
long make_ring(uint32_t connection, NewRing& made) {
  const int socket = ask_for_host(connection);
  if (socket < 0) return error_of_connecting(socket);
  int fds[2] = {-1, -1};
  const long answer = welcomed(socket, connection, fds);
  made.memory = answer == 0 ? map_ring(fds[0]) : nullptr;
  if (fds[0] >= 0) native::close(fds[0]);
  if (made.memory != nullptr) {
    made.socket = socket;
    made.doorbell = fds[1];
    return 0;
  }
  if (fds[1] >= 0) native::close(fds[1]);
  native::close(socket);
  return answer < 0 ? error_of_connecting(answer) : -ENOTCONN;
}

// Whose calls a ring may carry; nullptr: all threads have the same credentials.
bool serves(const Ring& ring, const Identity* identity) {
  return identity == nullptr ? !ring.of_identity : ring.of_identity && ring.identity == *identity;
}

struct Taken {
  Ring* ring = nullptr;
  uint32_t index = 0;
  long error = -ENOTCONN;  // without a ring
};

// The first free slot, or 64.
uint32_t take_bit(Ring& ring) {
  uint64_t taken = ring.taken.load();
  uint64_t bit;
  do {
    if (~taken == 0) return abi::slot_count;
    bit = ~taken & (taken + 1);
  } while (!ring.taken.compare_exchange_weak(taken, taken | bit));
  return static_cast<uint32_t>(__builtin_ctzll(bit));
}

// A new ring, with a slot taken, so that nobody makes room of it before it was used. Error -EAGAIN: all are in use.
Taken connect_ring(Process& p, uint32_t connection, const Identity* identity) {
  Ring* ring = unused_ring(p);
  if (ring == nullptr) return {nullptr, 0, -EAGAIN};
  NewRing made;
  const long error = with_room(p, [&] { return make_ring(connection, made); });
  if (error < 0) {
    ring->state = RingState::free;
    return {nullptr, 0, error};
  }
  const int socket = keep_own(p, made.socket, true), doorbell = keep_own(p, made.doorbell, true);
  if (socket < 0 || doorbell < 0) {
    raw_syscall(SYS_munmap, native::of(made.memory), abi::ring_bytes);
    forget_own(p, socket);
    forget_own(p, doorbell);
    ring->state = RingState::free;
    return {};
  }
  ring->connection = connection;
  ring->of_identity = identity != nullptr;
  if (identity != nullptr) ring->identity = *identity;
  ring->socket = socket;
  ring->doorbell = doorbell;
  ring->memory = made.memory;
  ring->spin.set_second_cpu(has_second_cpu());
  const uint32_t index = take_bit(*ring);
  ring->state = RingState::live;
  return index < abi::slot_count ? Taken{ring, index} : Taken{nullptr, 0, -EAGAIN};
}

// Takes a slot, or 64 when the ring cannot be used. The bit is set before the state is looked at again, so that a ring
// is never freed, or given to another connection, under a slot in use.
uint32_t take_slot(Process& p, Ring& ring, uint32_t connection, const Identity* identity) {
  const uint32_t index = take_bit(ring);
  if (index == abi::slot_count) return index;
  if (ring.state.load() == RingState::live && ring.connection == connection && serves(ring, identity)) return index;
  ring.taken.fetch_and(~(uint64_t{1} << index));
  free_if_unused(p, ring);
  return abi::slot_count;
}

Taken take_live(Process& p, uint32_t connection, const Identity* identity) {
  for (Ring& ring : p.rings.ring) {
    if (ring.state.load(std::memory_order_acquire) != RingState::live || ring.connection != connection) continue;
    if (!serves(ring, identity)) continue;
    const uint32_t index = take_slot(p, ring, connection, identity);
    if (index < abi::slot_count) return {&ring, index};
  }
  return {};
}

// Many threads that begin at once shall share one ring: one connects, the others wait for it, though not for ever,
// since it may have been killed (a child that shares this memory). Threads of many credentials wait for each other's
// rings.
Taken take_for(Process& p, uint32_t connection, const Identity* identity) {
  constexpr int patience = 200, patience_for_room = 3000;  // waits of 10 ms
  std::atomic<uint32_t>& connecting = p.rings.connecting;
  Taken last;
  for (int waits = 0, waits_for_room = 0; waits < patience && waits_for_room < patience_for_room;) {
    const Taken taken = take_live(p, connection, identity);
    if (taken.ring != nullptr) return taken;
    if (connecting.exchange(1) != 0 && waits < patience - 1) {
      waits += futex_wait(&connecting, 1, false, {0, 10'000'000}) == -ETIMEDOUT;
      continue;
    }
    // Whoever connected just before us may have made what we need.
    last = take_live(p, connection, identity);
    if (last.ring == nullptr) last = connect_ring(p, connection, identity);
    connecting = 0;
    futex_wake_all(&connecting);
    if (last.ring != nullptr || last.error != -EAGAIN) return last;
    waits_for_room += futex_wait(&connecting, 0, false, {0, 10'000'000}) == -ETIMEDOUT;
  }
  if (last.error == -EAGAIN) last.error = -ENFILE;
  return last;
}

Taken take(Process& p, uint32_t connection, uint32_t tid) {
  if (!p.rings.per_identity.load(std::memory_order_relaxed)) return take_for(p, connection, nullptr);
  const Identity identity = p.rings.threads.of_thread(tid);
  return take_for(p, connection, &identity);
}

// Of the calls that make files longer the frequent one alone goes by memory.
uint64_t file_size_limit_for(Process& p, CallNumber number) {
  if (number == CallNumber::write) p.file_size.look_now_and_then();
  if (number == CallNumber::truncate || number == CallNumber::ftruncate || number == CallNumber::fallocate)
    p.file_size.look();
  return p.file_size.known();
}

uint64_t monotonic_ns() {
  Time now{};
  raw_syscall(SYS_clock_gettime, 1, native::of(&now));
  return static_cast<uint64_t>(now.sec) * 1'000'000'000u + static_cast<uint64_t>(now.nsec);
}

uint64_t received_word(uint64_t token, int number) { return token << 32 | static_cast<uint32_t>(number); }
int number_received(uint64_t word) { return static_cast<int>(static_cast<uint32_t>(word)); }
bool is_of_token(uint64_t word, uint64_t token) {
  return static_cast<uint32_t>(word >> 32) == static_cast<uint32_t>(token);
}

void drop_received(uint64_t word) {
  if (number_received(word) > 0) native::close(number_received(word) - 1);
}

// A message belongs to the slot's call when it carries the token that the host wrote into the slot before it sent it.
// A late one, of a call that was given up, is closed, and never replaces what the slot waits for.
void keep_received(Ring& ring, uint32_t slot, uint64_t word) {
  const uint64_t wanted = std::atomic_ref<uint64_t>(abi::ring_slot(ring.memory, slot).token).load();
  auto& kept = ring.received[slot];
  uint64_t before = kept.load();
  do {
    if (!is_of_token(word, wanted) || (before != 0 && is_of_token(before, wanted))) return drop_received(word);
  } while (!kept.compare_exchange_weak(before, word));
  drop_received(before);
  raw_syscall(SYS_futex, native::of(&kept), FUTEX_WAKE | FUTEX_PRIVATE_FLAG, INT32_MAX);
}

// Receives one FileMessage, for whichever slot it is. No signal may come between taking the descriptor off the socket
// and storing it: a handler's own open would wait for it for ever.
long receive_file(Ring& ring) {
  uint64_t all = ~uint64_t{0}, old = 0;
  raw_syscall(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, native::of(&all), native::of(&old), sizeof old);
  abi::FileMessage message{};
  int fds[2] = {-1, -1};
  const Received m = [&] {
    const InUse socket(process(), ring.socket);
    return receive_message(socket.fd(), &message, sizeof message, fds);
  }();
  if (fds[1] >= 0) native::close(fds[1]);
  const bool whole = m.bytes == sizeof message && message.slot < abi::slot_count;
  if (whole && (fds[0] >= 0 || m.cut)) {
    keep_received(ring, message.slot, received_word(message.token, fds[0] >= 0 ? fds[0] + 1 : none_left));
  } else if (fds[0] >= 0) {
    native::close(fds[0]);
  }
  raw_syscall(SYS_rt_sigprocmask, 2, native::of(&old), 0, sizeof old);
  return m.bytes;
}

}  // namespace

void retire_rings(Process& p) {
  for (Ring& ring : p.rings.ring) {
    RingState live = RingState::live;
    if (ring.state.compare_exchange_strong(live, RingState::retired)) free_if_unused(p, ring);
  }
}

void keep_rings_by_identity(Process& p) {
  if (!p.rings.per_identity.exchange(true)) retire_rings(p);
}

void identity_changed(Process& p) {
  const auto tid = static_cast<uint32_t>(native::gettid());
  p.rings.threads.forget(tid);
  const Identity identity = p.rings.threads.of_thread(tid);
  if (!is_final(identity)) return;
  for (Ring& ring : p.rings.ring) {
    if (ring.state != RingState::live || serves(ring, &identity)) continue;
    RingState live = RingState::live;
    if (ring.state.compare_exchange_strong(live, RingState::retired)) free_if_unused(p, ring);
  }
}

void forget_thread(Process& p) {
  if (p.rings.per_identity) p.rings.threads.forget(static_cast<uint32_t>(native::gettid()));
}

namespace {

void make_free(Ring& ring) {
  ring.memory = nullptr;
  ring.taken = 0;
  for (auto& r : ring.received) r = 0;
  for (Area& area : ring.area) area = {};
  ring.socket = ring.doorbell = -1;
  ring.state = RingState::free;
}

bool has_descriptors(const Ring& ring) { return ring.state == RingState::live || ring.state == RingState::retired; }

void close_descriptors(Process& p, Ring& ring) {
  if (!has_descriptors(ring)) return;
  forget_own(p, ring.socket);
  forget_own(p, ring.doorbell);
}

}  // namespace

void forget_rings(Process& p, bool close) {
  for (Ring& ring : p.rings.ring) {
    if (close) close_descriptors(p, ring);
    make_free(ring);
  }
  p.rings.connecting = 0;
  p.rings.per_identity = false;
  p.rings.threads.forget_all();
}

void drop_rings(Process& p, bool close) {
  for (Ring& ring : p.rings.ring) {
    if (has_descriptors(ring)) raw_syscall(SYS_munmap, native::of(ring.memory), abi::ring_bytes);
    for (Area& area : ring.area) unmap_area(area);
  }
  forget_rings(p, close);
}

RingCall::RingCall(uint32_t connection, abi::CallNumber number, long nr)
    : tid_(static_cast<uint32_t>(native::gettid())) {
  const Taken taken = take(process(), connection, tid_);
  ring_ = taken.ring;
  index_ = taken.index;
  if (ring_ == nullptr) {
    error_ = taken.error;
    return;
  }
  begin(number, nr);
}

void RingCall::begin(CallNumber number, long nr) {
  Process& p = process();
  Slot& s = slot();
  s.interrupt = 0;
  s.number = static_cast<uint32_t>(number);
  s.tid = tid_;
  s.umask = p.umask;
  s.path1_length = s.path2_length = s.data_length = 0;
  s.file = s.file2 = 0;
  VirtualFile root;
  s.root = virtual_root(root) && root.connection == ring_->connection ? root.token : 0;
  for (auto& a : s.arg) a = 0;
  s.result = 0;
  s.token = 0;
  s.mount = s.mount2 = 0;
  s.leave_which = s.leave_to = s.leave_mount = s.leave_length = s.over_file_size = 0;
  s.file_size_limit = file_size_limit_for(p, number) + 1;
  s.entered = tracing() ? monotonic_ns() : 0;
  s.nr = static_cast<uint32_t>(nr);
  data()[0] = data()[1] = 0;
}

// The slot makes the call for its area first, and is begun anew for the transfer itself.
bool RingCall::ask_for_area(size_t bytes) {
  const auto number = CallNumber{slot().number};
  const long nr = slot().nr;
  unmap_area(area());
  begin(CallNumber::memory, nr);
  set_arg(0, static_cast<int64_t>(bytes));
  const long size = run();
  const int fd = size > 0 ? take_descriptor(true) : -1;
  begin(number, nr);
  if (fd < 0) return false;
  const long at = map_aside(static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  native::close(fd);
  if (at < 0 && at > -4096) return false;
  raw_syscall(SYS_madvise, at, size, MADV_DONTFORK);
  area() = {reinterpret_cast<char*>(at), static_cast<size_t>(size)};
  return true;
}

size_t RingCall::make_transfer_room(size_t bytes) {
  if (bytes <= abi::io_bytes_max) return bytes;
  if (CallNumber{slot().number} == CallNumber::write) {
    Process& p = process();
    p.file_size.look();
    slot().file_size_limit = p.file_size.known() + 1;
  }
  if (area().bytes < bytes && !ask_for_area(bytes)) return abi::io_bytes_max;
  return bytes < area().bytes ? bytes : area().bytes;
}

std::span<char> RingCall::transfer_data(size_t bytes) {
  if (bytes <= abi::io_bytes_max) return {data(), bytes};
  const size_t n = bytes < area().bytes ? bytes : area().bytes;
  if (n > area_used_) area_used_ = n;
  return {area().memory, n};
}

// Pages that a long transfer has filled go back to the system; the first ones stay for the next. A very large area goes
// altogether: idle ones shall not use up the address space.
void RingCall::tidy_area() {
  constexpr size_t area_kept = 64 << 20, bytes_kept = 4 << 20;
  constexpr uint32_t slots_that_keep = 4;
  if (area_used_ == 0) return;
  const size_t kept = index_ < slots_that_keep ? bytes_kept : 0;
  if (area().bytes > area_kept) {
    unmap_area(area());
    begin(CallNumber::memory, 0);
    run();
  } else if (area_used_ > kept) {
    raw_syscall(SYS_madvise, native::of(area().memory + kept), static_cast<long>(area_used_ - kept), MADV_REMOVE);
  }
}

RingCall::~RingCall() {
  if (ring_ == nullptr) return;
  tidy_area();
  drop_received(ring_->received[index_].exchange(0));
  slot().state.store(static_cast<uint32_t>(CallState::free), std::memory_order_relaxed);
  Ring& ring = *ring_;
  ring.taken.fetch_and(~(uint64_t{1} << index_));
  if (ring.state.load() == RingState::retired) free_if_unused(process(), ring);
}

void RingCall::set_path1(std::string_view path) {
  too_long_ |= path.size() >= path_room;
  if (too_long_) return;
  __builtin_memcpy(data(), path.data(), path.size());
  data()[path.size()] = data()[path.size() + 1] = 0;
  slot().path1_length = static_cast<uint32_t>(path.size());
}

void RingCall::set_path2(std::string_view path) {
  too_long_ |= path.size() >= path_room;
  if (too_long_) return;
  char* to = data() + slot().path1_length + 1;
  __builtin_memcpy(to, path.data(), path.size());
  to[path.size()] = 0;
  slot().path2_length = static_cast<uint32_t>(path.size());
}

std::span<char> RingCall::data_area() {
  const size_t at = abi::call_data_offset(slot().path1_length, slot().path2_length);
  return {data() + at, abi::slot_data_bytes - at};
}

void RingCall::ring_doorbell() const {
  const uint64_t one = 1;
  const InUse doorbell(process(), ring_->doorbell);
  native::write(doorbell.fd(), &one, sizeof one);
}

long RingCall::send_socket(int fd) const {
  const abi::SocketMessage message{index_, 0};
  const int fds[] = {fd};
  const InUse socket(process(), ring_->socket);
  const long r = send_message(socket.fd(), &message, sizeof message, fds, 1);
  if (r == -EAGAIN) return -ENOBUFS;
  return r < 0 ? r : 0;
}

// A second at most: the host may have died. Once the host has been asked to interrupt, there is nothing more to ask.
long RingCall::wait_for_answer(bool interruptible) {
  const Time second{1, 0};
  const auto submitted = static_cast<uint32_t>(CallState::submitted);
  const Slot& s = slot();
  if (!interruptible) return futex_wait(&s.state, submitted, true, second);
  return raw_sleep(SYS_futex, native::of(&s.state), FUTEX_WAIT, submitted, native::of(&second));
}

bool RingCall::host_is_gone() const {
  const InUse socket(process(), ring_->socket);
  if (socket.fd() < 0) return true;
  const long events = poll_one(socket.fd(), 0, 0);
  if (events > 0 && (events & (POLLHUP | POLLERR | POLLNVAL)) != 0) return true;
  // A process that was forked while this ring was connected may hold a copy of the host's end.
  return !has_host(ring_->connection) && !has_host(ring_->connection);
}

long RingCall::run() {
  if (too_long_) return -ENAMETOOLONG;
  Slot& s = slot();
  const auto submitted = static_cast<uint32_t>(CallState::submitted);
  auto* header = static_cast<abi::RingHeader*>(ring_->memory);
  s.state.store(submitted, std::memory_order_release);
  header->submitted.fetch_or(uint64_t{1} << index_);
  if (header->watching.load() == 0) ring_doorbell();
  ring_->spin.until([&] { return s.state.load(std::memory_order_acquire) != submitted; },
                    [] { raw_syscall(SYS_sched_yield); });
  bool interrupted = false;
  while (s.state.load(std::memory_order_acquire) == submitted) {
    const long r = wait_for_answer(!interrupted);
    if (r == -EINTR) {
      interrupted = true;
      s.interrupt = 1;
      ring_doorbell();
    } else if (r == -ETIMEDOUT && host_is_gone() && s.state.load() == submitted) {
      RingState live = RingState::live;
      ring_->state.compare_exchange_strong(live, RingState::retired);
      return -ENOTCONN;
    }
  }
  opened_ = s.token;
  if (s.over_file_size == 1) send_file_size_signal();
  return s.result;
}

std::span<const char> RingCall::result_data(size_t bytes) const {
  return {data(), bytes < abi::slot_data_bytes ? bytes : abi::slot_data_bytes};
}

std::string_view RingCall::leave_rest() const {
  const uint32_t n = slot().leave_length;
  return {data(), n < path_room ? n : path_room - 1};
}

long RingCall::check_room_for_descriptor() const {
  const InUse socket(process(), ring_->socket);
  const int fd = native::fcntl(socket.fd(), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return fd;
  native::close(fd);
  return 0;
}

int RingCall::wait_descriptor() {
  auto& received = ring_->received[index_];
  for (int tries = 0; tries < 500; tries++) {
    const uint64_t word = received.exchange(0);
    if (word != 0 && is_of_token(word, opened_)) {
      const int got = number_received(word);
      return got == none_left ? -EMFILE : got - 1;
    }
    drop_received(word);
    const long r = receive_file(*ring_);
    if (r == 0 || (r < 0 && r != -EAGAIN && r != -EINTR)) return r == -EMFILE ? -EMFILE : -ENOTCONN;
    if (r == -EAGAIN) futex_wait(&received, 0, false, {0, 10'000'000});
  }
  return -EIO;
}

int RingCall::take_descriptor(bool close_on_exec) {
  const int fd = wait_descriptor();
  if (fd >= 0 && !close_on_exec) native::fcntl(fd, F_SETFD, 0);
  return fd;
}

}  // namespace fusewire::gate
