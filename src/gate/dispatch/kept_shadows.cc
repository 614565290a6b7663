#include "gate/dispatch/kept_shadows.h"

#include <fcntl.h>

#include "gate/dispatch/client.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

// A program that opens a file or two and ends gains nothing by a shadow that it keeps.
constexpr uint32_t closed_before = 1;

bool may_keep(const Process& p) {
  return !p.kept_shadows.never && is_single_threaded() && is_alone_in_memory() && holds_signals_back();
}

KeptShadow* find(Process& p, uint32_t state) {
  for (KeptShadow& shadow : p.kept_shadows.shadow)
    if (shadow.state.load(std::memory_order_relaxed) == state) return &shadow;
  return nullptr;
}

KeptShadow* find_named(Process& p, uint64_t name) {
  for (KeptShadow& shadow : p.kept_shadows.shadow)
    if (shadow.state.load(std::memory_order_relaxed) == KeptShadow::kept && shadow.name == name) return &shadow;
  return nullptr;
}

void drop(Process& p, KeptShadow& shadow) {
  shadow.state = KeptShadow::none;
  shadow.fd = -1;
  forget_own(p, shadow.place);
  shadow.place = -1;
}

// The program's number goes, the shadow stays in the gate's own.
bool keep_number(Process& p, KeptShadow& shadow, int fd) {
  closes(fd);
  if (shadow.state == KeptShadow::serving) return native::close(fd) == 0;
  shadow.place = keep_own(p, fd, true);
  return shadow.place >= 0;
}

}  // namespace

uint64_t shadow_to_offer(Process& p, uint32_t connection) {
  if (!may_keep(p)) return 0;
  for (const KeptShadow& shadow : p.kept_shadows.shadow)
    if (shadow.state == KeptShadow::kept && shadow.file.connection == connection) return shadow.name;
  return 0;
}

long serve_shadow(Process& p, uint64_t name, const VirtualFile& file, bool close_on_exec) {
  KeptShadow* shadow = find_named(p, name);
  if (shadow == nullptr) return -EIO;
  const InUse own(p, shadow->place);
  const int fd = native::fcntl(own.fd(), close_on_exec ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
  if (fd >= 0) {
    shadow->file = file;
    shadow->fd = fd;
    shadow->state = KeptShadow::serving;
  }
  return fd;
}

void drop_shadow(Process& p, uint64_t name) {
  if (KeptShadow* shadow = find_named(p, name); shadow != nullptr) drop(p, *shadow);
}

void opened_alone(Process& p, int fd, const VirtualFile& file) {
  if (fd < 0 || !may_keep(p)) return;
  KeptShadow* shadow = find(p, KeptShadow::none);
  if (shadow == nullptr) return;
  shadow->file = file;
  shadow->name = file.token;
  shadow->place = -1;
  shadow->fd = fd;
  shadow->state = KeptShadow::opened;
}

bool close_alone(Process& p, int fd, long& result, uint32_t& watched) {
  KeptShadow* shadow = nullptr;
  for (KeptShadow& each : p.kept_shadows.shadow)
    if (each.fd.load(std::memory_order_relaxed) == fd) shadow = &each;
  if (shadow == nullptr || fd < 0) return false;
  const bool too_early = shadow->state == KeptShadow::opened && p.kept_shadows.closed < closed_before;
  if (too_early) p.kept_shadows.closed++;
  if (too_early || !may_keep(p)) {
    give_up_shadow_at(p, fd);
    return false;
  }
  result = 0;
  shadow->fd = -1;
  if (keep_number(p, *shadow, fd)) {
    RingCall call(shadow->file.connection, abi::CallNumber::flush, SYS_close);
    if (call.error() == 0) {
      call.set_file(shadow->file.token);
      call.set_arg(0, 1);
      const long r = call.run();
      const bool is_kept = call.shadow() == shadow->name;
      if (r < 0 && r != abi::stale_token) result = r;
      if (r == abi::flushed_watched && !is_kept) watched = shadow->file.connection;
      shadow->state = KeptShadow::kept;
      if (is_kept) return true;
    }
  }
  drop(p, *shadow);
  return true;
}

void give_up_shadow_at(Process& p, int fd) {
  if (fd < 0) return;
  for (KeptShadow& shadow : p.kept_shadows.shadow) {
    int there = fd;
    if (shadow.fd.load(std::memory_order_relaxed) == fd && shadow.fd.compare_exchange_strong(there, -1))
      drop(p, shadow);
  }
}

void give_up_shadows(Process& p) {
  for (KeptShadow& shadow : p.kept_shadows.shadow) give_up_shadow_at(p, shadow.fd.load(std::memory_order_relaxed));
}

void keep_no_shadows(Process& p) {
  p.kept_shadows.never = true;
  give_up_shadows(p);
  for (KeptShadow& shadow : p.kept_shadows.shadow) {
    uint32_t kept = KeptShadow::kept;
    if (shadow.state.compare_exchange_strong(kept, KeptShadow::none)) drop(p, shadow);
  }
}

void forget_kept_shadows(Process& p, bool close) {
  for (KeptShadow& shadow : p.kept_shadows.shadow) {
    if (shadow.state.load() == KeptShadow::none) continue;
    if (!close) shadow.place = -1;
    drop(p, shadow);
  }
}

}  // namespace fusewire::gate
