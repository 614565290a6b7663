#include "gate/dispatch/rings.h"

#include <sys/mman.h>

#include "gate/dispatch/leader.h"
#include "gate/dispatch/messages.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

constexpr long host_answers_within_ms = 5'000;

// 0, or why there is no welcome.
// fds: the ring and the doorbell.
long welcomed(int socket, uint32_t connection, int (&fds)[2]) {
  long ready;
  do {
    ready = native::poll_one(socket, POLLIN, host_answers_within_ms);
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

// Frees a retired ring that nobody uses any more. The state is taken before `taken` is looked at: see take_slot_of.
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
TakenSlot connect_ring(Process& p, uint32_t connection, const Identity* identity) {
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
  ring->serial = ++p.rings.connected;
  ring->of_identity = identity != nullptr;
  if (identity != nullptr) ring->identity = *identity;
  ring->socket = socket;
  ring->doorbell = doorbell;
  ring->memory = made.memory;
  ring->spin.set_second_cpu(has_second_cpu());
  const uint32_t index = take_bit(*ring);
  ring->state = RingState::live;
  return index < abi::slot_count ? TakenSlot{ring, index} : TakenSlot{nullptr, 0, -EAGAIN};
}

// Takes a slot, or 64 when the ring cannot be used. The bit is set before the state is looked at again, so that a ring
// is never freed, or given to another connection, under a slot in use.
uint32_t take_slot_of(Process& p, Ring& ring, uint32_t connection, const Identity* identity) {
  const uint32_t index = take_bit(ring);
  if (index == abi::slot_count) return index;
  if (ring.state.load() == RingState::live && ring.connection == connection && serves(ring, identity)) return index;
  ring.taken.fetch_and(~(uint64_t{1} << index));
  free_if_unused(p, ring);
  return abi::slot_count;
}

TakenSlot take_live(Process& p, uint32_t connection, const Identity* identity) {
  for (Ring& ring : p.rings.ring) {
    if (ring.state.load(std::memory_order_acquire) != RingState::live || ring.connection != connection) continue;
    if (!serves(ring, identity)) continue;
    const uint32_t index = take_slot_of(p, ring, connection, identity);
    if (index < abi::slot_count) return {&ring, index};
  }
  return {};
}

// Many threads that begin at once shall share one ring: one connects, the others wait for it, though not for ever,
// since it may have been killed (a child that shares this memory). Threads of many credentials wait for each other's
// rings.
TakenSlot take_for(Process& p, uint32_t connection, const Identity* identity) {
  constexpr int patience = 200, patience_for_room = 3000;  // waits of 10 ms
  std::atomic<uint32_t>& connecting = p.rings.connecting;
  TakenSlot last;
  for (int waits = 0, waits_for_room = 0; waits < patience && waits_for_room < patience_for_room;) {
    const TakenSlot taken = take_live(p, connection, identity);
    if (taken.ring != nullptr) return taken;
    if (connecting.exchange(1) != 0 && waits < patience - 1) {
      waits += native::futex_wait(&connecting, 1, false, {0, 10'000'000}) == -ETIMEDOUT;
      continue;
    }
    // Whoever connected just before us may have made what we need.
    last = take_live(p, connection, identity);
    if (last.ring == nullptr) last = connect_ring(p, connection, identity);
    connecting = 0;
    native::futex_wake_all(&connecting);
    if (last.ring != nullptr || last.error != -EAGAIN) return last;
    waits_for_room += native::futex_wait(&connecting, 0, false, {0, 10'000'000}) == -ETIMEDOUT;
  }
  if (last.error == -EAGAIN) last.error = -ENFILE;
  return last;
}

}  // namespace

TakenSlot take_slot(Process& p, uint32_t connection, uint32_t tid) {
  if (!p.rings.per_identity.load(std::memory_order_relaxed)) return take_for(p, connection, nullptr);
  const Identity identity = p.rings.threads.of_thread(tid);
  return take_for(p, connection, &identity);
}

TakenSlot take_slot_of_ring(Process& p, uint32_t connection, uint32_t serial) {
  if (p.rings.per_identity.load(std::memory_order_relaxed)) return {};
  for (Ring& ring : p.rings.ring) {
    if (ring.state.load(std::memory_order_acquire) != RingState::live || ring.serial != serial) continue;
    const uint32_t index = take_slot_of(p, ring, connection, nullptr);
    if (index == abi::slot_count) return {};
    if (ring.serial == serial) return {&ring, index};
    give_back_slot(p, ring, index);
  }
  return {};
}

void unmap_area(Area& area) {
  if (area.memory != nullptr) raw_syscall(SYS_munmap, native::of(area.memory), static_cast<long>(area.bytes));
  area = {};
}

void give_back_slot(Process& p, Ring& ring, uint32_t index) {
  ring.taken.fetch_and(~(uint64_t{1} << index));
  if (ring.state.load() == RingState::retired) free_if_unused(p, ring);
}

void retire_rings(Process& p) {
  retire_mapped_views(p);
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
  retire_mapped_views(p);
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

}  // namespace fusewire::gate
