// Rewriting hot call sites: `syscall` and the instructions behind it become a jump to a trampoline, which does what
// the SIGSYS handler does without the signal.
//
// A trampoline is made at a site's first hit and the program's calls return through it from then on; the site
// itself is rewritten at the third (programs that run for a moment never pay for it). In this order no thread can ever
// be about to execute the bytes behind the `syscall` that the jump overwrites.
#include <linux/mman.h>

#include "gate/base.h"
#include "gate/decode.h"
#include "gate/machinery.h"
#include "gate/maps.h"

namespace fusewire::gate {

extern "C" const char common_entry[];

namespace {

constexpr uint64_t syscall_bytes = 2;
constexpr uint64_t jump_bytes = 5;
constexpr uint32_t hot = 3;

//   0: lea  return_address(%rip), %rcx
//   7: lea  resume(%rip), %r11
//  14: jmp  *entry(%rip)
//  20: resume: the displaced instructions, then jmp back
struct alignas(64) Trampoline {
  uint8_t code[48];
  uint64_t entry;
  uint32_t displaced;  // bytes
  int32_t to_site;     // from the trampoline
};
static_assert(sizeof(Trampoline) == 64);
constexpr uint64_t resume_offset = 20;
constexpr uint64_t max_displaced = 48 - resume_offset - jump_bytes;

uint64_t site_of(const Trampoline& t) { return address_of(&t) + static_cast<uint64_t>(static_cast<int64_t>(t.to_site)); }
uint64_t resume_of(const Trampoline& t) { return address_of(&t) + resume_offset; }

// Mappings that hold trampolines, each near the code it serves. Only grows; read without the lock.
struct Region {
  std::atomic<uint64_t> low{0};
  uint64_t used = 0;  // bytes
};
constexpr int max_regions = 64;
constexpr uint64_t region_bytes = 4 * page_bytes;
Region regions[max_regions];

// What is known of a site. Open addressing by its address; an entry once made stays.
struct Site {
  std::atomic<uint64_t> address{0};
  std::atomic<uint32_t> hits{0};
  std::atomic<bool> hopeless{false};  // not patchable: left to the signal
  std::atomic<Trampoline*> trampoline{nullptr};
};
constexpr uint64_t max_sites = 2048;
Site sites[max_sites];

SpinLock patch_lock;
uint64_t cautious_low = 0, cautious_high = 0;

// The rewrite in progress: the child of a fork in another thread must finish it.
struct {
  uint64_t site = 0;
  int32_t distance = 0;
} parked;

Site* find_site(uint64_t address) {
  const uint64_t start = (address * 0x9e3779b97f4a7c15ull) >> 53;
  for (uint64_t i = 0; i < 32; i++) {
    Site& s = sites[(start + i) % max_sites];
    uint64_t seen = s.address.load(std::memory_order_acquire);
    if (seen == 0 && s.address.compare_exchange_strong(seen, address)) return &s;
    if (seen == address) return &s;
  }
  return nullptr;
}

bool in_reach(uint64_t a, uint64_t b) {
  constexpr int64_t reach = 0x7f000000;
  const auto distance = static_cast<int64_t>(a - b);
  return distance < reach && distance > -reach;
}

uint64_t map_region_near(uint64_t site) {
  constexpr uint64_t step = 2 << 20;
  const uint64_t page = page_floor(site);
  for (uint64_t distance = step; distance < 0x70000000; distance += step) {
    // Below first: behind a program's data its heap may want to grow.
    for (const uint64_t wanted : {page - distance, page + distance}) {
      if (wanted > 0x7fff00000000 || wanted < 0x10000) continue;
      const long r = raw_syscall(__NR_mmap, static_cast<long>(wanted), region_bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
      if (r == static_cast<long>(wanted)) return wanted;
      if (!failed(r)) raw_syscall(__NR_munmap, r, region_bytes);
      if (r == -1 || r == -13) return 0;  // EPERM, EACCES: no writable code here
    }
  }
  return 0;
}

Trampoline* take_trampoline(uint64_t site) {
  for (Region& region : regions) {
    if (region.low == 0) {
      const uint64_t low = map_region_near(site);
      if (low == 0) return nullptr;
      region.low = low;
    }
    if (region.used + sizeof(Trampoline) > region_bytes || !in_reach(region.low, site)) continue;
    auto* t = reinterpret_cast<Trampoline*>(region.low + region.used);
    region.used += sizeof(Trampoline);
    return t;
  }
  return nullptr;
}

void put_distance(uint8_t* at, uint64_t from, uint64_t to) {
  const auto distance = static_cast<int32_t>(static_cast<int64_t>(to - from));
  __builtin_memcpy(at, &distance, sizeof distance);
}

Trampoline* build_trampoline(uint64_t site, uint64_t displaced) {
  Trampoline* t = take_trampoline(site);
  if (t == nullptr) return nullptr;
  const uint64_t at = address_of(t), after = site + syscall_bytes;
  static constexpr uint8_t head[] = {0x48, 0x8d, 0x0d, 0, 0, 0, 0, 0x4c, 0x8d, 0x1d, 0, 0, 0, 0, 0xff, 0x25, 0, 0, 0, 0};
  static_assert(sizeof head == resume_offset);
  __builtin_memcpy(t->code, head, sizeof head);
  put_distance(t->code + 3, at + 7, after);
  put_distance(t->code + 10, at + 14, at + resume_offset);
  put_distance(t->code + 16, at + 20, address_of(&t->entry));
  __builtin_memcpy(t->code + resume_offset, reinterpret_cast<void*>(after), displaced);
  uint8_t* back = t->code + resume_offset + displaced;
  back[0] = 0xe9;
  put_distance(back + 1, address_of(back) + jump_bytes, after + displaced);
  t->entry = address_of(common_entry);
  t->displaced = static_cast<uint32_t>(displaced);
  t->to_site = static_cast<int32_t>(static_cast<int64_t>(site - at));
  return t;
}

// Whether the bytes at the site are still those that the trampoline was made from: code may have been unmapped and
// something else mapped in its place.
bool still_the_same(const Trampoline& t, uint64_t site) {
  return __builtin_memcmp(reinterpret_cast<void*>(site + syscall_bytes), t.code + resume_offset, t.displaced) == 0;
}

// How many bytes behind the `syscall` may be displaced: whole instructions, at least three bytes, none of which cares
// where it stands. 0: none.
uint64_t displaceable(uint64_t site) {
  const auto* p = reinterpret_cast<const uint8_t*>(site + syscall_bytes);
  if (const uint64_t n = error_check_bytes(p); n != 0) return n;
  if (site >= cautious_low && site < cautious_high) return 0;
  const uint64_t n = movable_bytes(p, jump_bytes - syscall_bytes);
  return n <= max_displaced ? n : 0;
}

// Private, executable, from a file and not writable: a program's or a library's code, and not that of a just-in-time
// compiler, which rewrites its own.
bool is_library_code(const Mapping& m) { return m.executable && !m.writable && !m.shared && m.from_file; }

void write_jump(uint64_t site, int32_t distance) {
  auto* p = reinterpret_cast<uint8_t*>(site);
  uint8_t bytes[jump_bytes] = {0xe9};
  __builtin_memcpy(bytes + 1, &distance, sizeof distance);
  constexpr uint64_t word = sizeof(uint64_t);
  if (site % word <= word - jump_bytes) {
    auto* at = reinterpret_cast<uint64_t*>(site & ~(word - 1));
    uint64_t value = *at;
    __builtin_memcpy(reinterpret_cast<uint8_t*>(&value) + site % word, bytes, jump_bytes);
    __atomic_store_n(at, value, __ATOMIC_SEQ_CST);
    return;
  }
  // Two steps: first a jump to itself holds whoever comes by, then the tail, then the head.
  parked = {site, distance};
  const uint16_t park = 0xfeeb;
  __atomic_store_n(reinterpret_cast<uint16_t*>(p), park, __ATOMIC_SEQ_CST);
  for (uint64_t i = syscall_bytes; i < jump_bytes; i++) __atomic_store_n(p + i, bytes[i], __ATOMIC_SEQ_CST);
  uint16_t head;
  __builtin_memcpy(&head, bytes, sizeof head);
  __atomic_store_n(reinterpret_cast<uint16_t*>(p), head, __ATOMIC_SEQ_CST);
  parked = {};
}

bool rewrite(uint64_t site, const Trampoline& t) {
  // The first two bytes must change in one step, not across a word; and all five must come to another processor's
  // instruction fetch in the order they were written, so not across a cache line.
  constexpr uint64_t word = sizeof(uint64_t), line = 64;
  if (site % word == word - 1 || site % line > line - jump_bytes) return false;
  Mapping m;
  const uint64_t last = site + jump_bytes - 1;
  if (!find_mapping(site, m) || !is_library_code(m) || last >= m.high) return false;
  const uint64_t from = page_floor(site), bytes = page_floor(last) + page_bytes - from;
  if (raw_syscall(__NR_mprotect, static_cast<long>(from), static_cast<long>(bytes),
                  PROT_READ | PROT_WRITE | PROT_EXEC) < 0) {
    return false;
  }
  write_jump(site, static_cast<int32_t>(static_cast<int64_t>(address_of(&t) - (site + jump_bytes))));
  raw_syscall(__NR_mprotect, static_cast<long>(from), static_cast<long>(bytes), PROT_READ | PROT_EXEC);
  return true;
}

bool is_syscall(uint64_t site) {
  const auto* p = reinterpret_cast<const uint8_t*>(site);
  return p[0] == 0x0f && p[1] == 0x05;
}

Trampoline* first_trampoline(Site& s, uint64_t site) {
  Mapping m;
  constexpr uint64_t longest_displaced = 16;
  if (!find_mapping(site, m) || !is_library_code(m) || site + syscall_bytes + longest_displaced > m.high) return nullptr;
  const uint64_t n = displaceable(site);
  if (n == 0) return nullptr;
  Trampoline* t = build_trampoline(site, n);
  s.trampoline = t;
  return t;
}

// The trampoline whose code pc stands in, or nullptr.
Trampoline* trampoline_at(uint64_t pc) {
  for (Region& region : regions) {
    const uint64_t low = region.low.load(std::memory_order_acquire);
    if (low == 0) return nullptr;
    if (pc - low < region_bytes) return reinterpret_cast<Trampoline*>(low + (pc - low) / sizeof(Trampoline) * sizeof(Trampoline));
  }
  return nullptr;
}

}  // namespace

uint64_t resume_address(uint64_t site) {
  const uint64_t after = site + syscall_bytes;
  Site* s = find_site(site);
  if (s == nullptr || s->hopeless) return after;
  const uint32_t hits = s->hits.fetch_add(1) + 1;
  Trampoline* t = s->trampoline;
  if (t != nullptr && hits != hot) {
    return !is_syscall(site) || still_the_same(*t, site) ? resume_of(*t) : after;
  }
  const Locked lock(patch_lock);
  t = s->trampoline;
  if (t == nullptr) t = first_trampoline(*s, site);
  if (t == nullptr) {
    s->hopeless = true;
    return after;
  }
  if (!is_syscall(site)) return resume_of(*t);
  if (!still_the_same(*t, site)) {
    s->hopeless = true;
    return after;
  }
  if (hits == hot && (error_check_bytes(reinterpret_cast<uint8_t*>(after)) != 0 || !may_be_jumped_into(site))) {
    rewrite(site, *t);
  }
  return resume_of(*t);
}

void leave_trampoline(Registers& r) {
  const Trampoline* t = trampoline_at(r.rip);
  if (t == nullptr || t->entry == 0) return;
  const uint64_t offset = r.rip - address_of(t);
  const uint64_t after = site_of(*t) + syscall_bytes;
  if (offset < resume_offset) {
    r.rip = site_of(*t);
  } else if (offset == resume_offset + t->displaced) {
    r.rip = after + t->displaced;
  } else if (offset == resume_offset && error_check_bytes(t->code + resume_offset) == t->displaced) {
    do_error_check(t->code + resume_offset, r.rax, r.flags);
    r.rip = after + t->displaced;
  }
}

void patch_after_fork() {
  if (parked.site != 0) {
    // Its page is still writable: the thread that parked it had not come to the mprotect.
    auto* p = reinterpret_cast<uint8_t*>(parked.site);
    p[0] = 0xe9;
    __builtin_memcpy(p + 1, &parked.distance, sizeof parked.distance);
    parked = {};
  }
  patch_lock.reset();
}

void set_cautious_range(uint64_t low, uint64_t high) {
  cautious_low = low;
  cautious_high = high;
}

}  // namespace fusewire::gate
