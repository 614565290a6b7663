#include "gate/dispatch/mapped_views.h"

#include <sys/mman.h>

#include "gate/dispatch/client.h"
#include "gate/dispatch/clock.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

constexpr uint64_t smallest_mapping = 1 << 20;
constexpr uint64_t clocks_apart_max = 1'000'000'000;  // of one clock, read one after the other

bool is_of(const MappedViewSlot& slot, uint32_t connection, ViewState state) {
  return slot.connection.load(std::memory_order_relaxed) == connection &&
         slot.state.load(std::memory_order_acquire) == state;
}

// Room for as much again, so that it is not soon mapped anew.
uint64_t mapping_for(uint64_t used) {
  uint64_t bytes = smallest_mapping;
  while (bytes < abi::view_bytes_max && bytes / 2 < used) bytes *= 2;
  return bytes;
}

void unmap(MappedViewSlot& slot) {
  if (slot.memory != nullptr) raw_syscall(SYS_munmap, native::of(slot.memory), static_cast<long>(slot.bytes));
  if (slot.counters != nullptr)
    raw_syscall(SYS_munmap, native::of(slot.counters), static_cast<long>(abi::view_counters_bytes));
  slot.memory = nullptr;
  slot.counters = nullptr;
  slot.rows = {};
}

// As rings are freed: the state is taken before `users` is looked at again.
void free_if_unused(MappedViewSlot& slot) {
  ViewState retired = ViewState::retired;
  if (slot.users.load() != 0 || !slot.state.compare_exchange_strong(retired, ViewState::claimed)) return;
  if (slot.users.load() != 0) {
    slot.state = ViewState::retired;
    return;
  }
  unmap(slot);
  slot.connection = 0;
  slot.state = ViewState::free;
}

void retire(MappedViewSlot& slot) {
  for (ViewState state : {ViewState::live, ViewState::counting, ViewState::refused})
    if (slot.state.compare_exchange_strong(state, ViewState::retired)) free_if_unused(slot);
}

// Where a connection's calls are counted, new where there is none; nullptr: another thread is busy with it.
MappedViewSlot* counter_of(MappedViews& views, uint32_t connection) {
  for (MappedViewSlot& slot : views.slot) {
    if (slot.connection.load(std::memory_order_relaxed) != connection) continue;
    return slot.state == ViewState::counting ? &slot : nullptr;
  }
  for (int round = 0; round < 2; round++) {
    for (MappedViewSlot& slot : views.slot) {
      ViewState free = ViewState::free;
      if (!slot.state.compare_exchange_strong(free, ViewState::claimed)) continue;
      slot.connection = connection;
      slot.calls = 0;
      slot.state = ViewState::counting;
      return &slot;
    }
    retire(views.slot[views.next_to_go.fetch_add(1, std::memory_order_relaxed) % mapped_views_max]);
  }
  return nullptr;
}

// Asks the host for one of the view's two files and maps it. 0 or -errno.
long map_part(uint32_t connection, bool counters, abi::ViewInfo& info, void*& memory, size_t& bytes) {
  RingCall call(connection, abi::CallNumber::view, 0);
  if (call.error() != 0) return call.error();
  call.set_arg(0, counters ? 1 : 0);
  if (const long r = call.run(); r < 0) return r;
  __builtin_memcpy(&info, call.result_data(sizeof info).data(), sizeof info);
  const int fd = call.take_descriptor(true);
  if (fd < 0) return fd;
  bytes = counters ? abi::view_counters_bytes : mapping_for(info.used_bytes);
  const long at = map_aside(bytes, counters ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd);
  native::close(fd);
  if (at < 0 && at > -4096) return at;
  memory = reinterpret_cast<void*>(at);
  return 0;
}

// Whether the host means the same by a time as this process does.
bool clocks_agree(uint64_t hosts_now) {
  const uint64_t now = coarse_clock();
  return now != 0 && now + clocks_apart_max > hosts_now && hosts_now + clocks_apart_max > now;
}

// 0 or -errno.
long map_view(uint32_t connection, MappedViewSlot& slot) {
  abi::ViewInfo info{};
  void* counters = nullptr;
  size_t counters_bytes = 0;
  if (const long r = map_part(connection, false, info, slot.memory, slot.bytes); r < 0) return r;
  if (!clocks_agree(info.now)) return -EACCES;
  if (const long r = map_part(connection, true, info, counters, counters_bytes); r < 0) return r;
  slot.counters = static_cast<uint64_t*>(counters);
  slot.rows = abi::MappedView(slot.memory, slot.bytes);
  slot.dev = info.dev;
  slot.caller = {info.uid, info.gid};
  slot.host = host_entry(connection);
  return slot.host == nullptr ? -ENOTCONN : 0;
}

}  // namespace

ViewUse::ViewUse(Process& p, uint32_t connection) : process_(p) {
  if (p.rings.per_identity.load(std::memory_order_relaxed)) return;
  for (MappedViewSlot& slot : p.mapped_views.slot) {
    if (!is_of(slot, connection, ViewState::live)) continue;
    slot.users.fetch_add(1);
    slot_ = &slot;
    const bool has_host =
        is_of(slot, connection, ViewState::live) && slot.host->id == connection && slot.host->host_pid != 0;
    if (has_host) return;
    slot_ = nullptr;
    slot.users.fetch_sub(1);
    free_if_unused(slot);
    return;
  }
}

ViewUse::~ViewUse() {
  if (slot_ == nullptr) return;
  slot_->users.fetch_sub(1);
  if (slot_->state.load(std::memory_order_relaxed) == ViewState::retired) free_if_unused(*slot_);
}

void ViewUse::count_hit() const {
  const auto which = static_cast<uint32_t>(process_.pid.load(std::memory_order_relaxed)) % abi::view_counters;
  __atomic_fetch_add(&slot_->counters[which * abi::view_counter_words], 1, __ATOMIC_RELAXED);
}

void ViewUse::retire() const {
  ViewState live = ViewState::live;
  slot_->state.compare_exchange_strong(live, ViewState::retired);
}

void count_call(Process& p, uint32_t connection) {
  const uint32_t enough = view_after();
  MappedViews& views = p.mapped_views;
  if (enough == 0 || connection == 0 || views.none.load(std::memory_order_relaxed) || p.rings.per_identity) return;
  MappedViewSlot* slot = counter_of(views, connection);
  if (slot == nullptr || slot->calls.fetch_add(1, std::memory_order_relaxed) + 1 < enough) return;
  ViewState counting = ViewState::counting;
  if (!slot->state.compare_exchange_strong(counting, ViewState::claimed)) return;
  const long r = map_view(connection, *slot);
  if (r < 0) unmap(*slot);
  // What may be otherwise later is tried again, after as many calls.
  slot->calls = 0;
  slot->state = r == 0 ? ViewState::live : r == -EACCES ? ViewState::refused : ViewState::counting;
}

void retire_mapped_views(Process& p) {
  for (MappedViewSlot& slot : p.mapped_views.slot) retire(slot);
}

void use_no_views(Process& p) {
  p.mapped_views.none = true;
  retire_mapped_views(p);
}

// A slot that another thread was busy with is lost to the child, with its memory. Where threads have changed
// credentials, nothing says whose a view is.
void keep_mapped_views(Process& p) {
  if (p.rings.per_identity) return drop_mapped_views(p);
  for (MappedViewSlot& slot : p.mapped_views.slot) {
    slot.users = 0;
    if (slot.state == ViewState::claimed) {
      slot.connection = 0;
      slot.state = ViewState::free;
    }
    free_if_unused(slot);
  }
}

void drop_mapped_views(Process& p) {
  for (MappedViewSlot& slot : p.mapped_views.slot) {
    slot.users = 0;
    retire(slot);
    free_if_unused(slot);
    if (slot.state == ViewState::claimed) slot.state = ViewState::free;
  }
}

}  // namespace fusewire::gate
