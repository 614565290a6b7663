// Rewriting hot call sites: `syscall` and the instructions behind it become a jump to a trampoline, which does what
// the SIGSYS handler does without the signal.
//
// A trampoline is made at a site's first hit and the program's calls return through it from then on; the site
// itself is rewritten at the third (programs that run for a moment never pay for it). In this order no thread can ever
// be about to execute the bytes behind the `syscall` that the jump overwrites.
//
// Where nothing behind it can be moved (`mov $nr, %eax; syscall; ret`), the `mov` becomes the jump, if it is certain to
// be one: at the beginning of a function, and with the number that the call had. The `syscall` itself stays then.
#include <linux/mman.h>

#include "code/decode.h"
#include "code/trampoline.h"
#include "gate/machinery/base.h"
#include "gate/machinery/lock.h"
#include "gate/machinery/machinery.h"
#include "gate/machinery/maps.h"

namespace fusewire::gate {

extern "C" const char common_entry[];

namespace {

using code::jump_bytes, code::number_bytes, code::syscall_bytes, code::Trampoline;

constexpr uint64_t cache_line = 64;
constexpr uint32_t hot = 3;
// Sites where it takes a look at the whole code to be sure that nothing jumps behind them: a millisecond or more.
constexpr uint32_t hot_for_the_unsure = 1000;

uint64_t site_of(const Trampoline& t) {
  return address_of(&t) + static_cast<uint64_t>(static_cast<int64_t>(t.to_site));
}
uint64_t resume_of(const Trampoline& t) { return address_of(&t) + Trampoline::resume_offset; }

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
  std::atomic<bool> hopeless{false};  // nothing more to be done: left to the signal, or to another form
  bool tried = false;                 // to make a trampoline; under the lock
  std::atomic<Trampoline*> trampoline{nullptr};
};
// The first ones stand close together: each page that a short program touches costs it as much as several calls.
constexpr uint64_t first_sites_max = 128, max_sites = 2048, probes = 32;
Site first_sites[first_sites_max];
GATE_LARGE Site sites[max_sites];

SpinLock patch_lock;
uint64_t cautious_low = 0, cautious_high = 0;

// The rewrite in progress: who finds it left behind, by a fork in another thread or by a thread that was killed,
// finishes it.
struct {
  uint64_t at = 0;  // 0: none
  int32_t distance = 0;
} parked;

Site* find_site(uint64_t address) {
  const uint64_t start = (address * 0x9e3779b97f4a7c15ull) >> 53;
  const auto find_in = [&](Site* table, uint64_t size) -> Site* {
    for (uint64_t i = 0; i < probes; i++) {
      Site& s = table[(start + i) % size];
      uint64_t seen = s.address.load(std::memory_order_acquire);
      if (seen == 0 && s.address.compare_exchange_strong(seen, address)) return &s;
      if (seen == address) return &s;
    }
    return nullptr;
  };
  Site* first = find_in(first_sites, first_sites_max);
  return first != nullptr ? first : find_in(sites, max_sites);
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

Trampoline* make_trampoline(uint64_t site, uint64_t displaced) {
  Trampoline* t = take_trampoline(site);
  if (t == nullptr) return nullptr;
  const auto* behind = reinterpret_cast<const uint8_t*>(site + syscall_bytes);
  code::build_trampoline(*t, address_of(t), site, behind, displaced, address_of(common_entry));
  return t;
}

// Whether the bytes at the site are still those that the trampoline was made from: code may have been unmapped and
// something else mapped in its place. Another thread may be rewriting it at this moment.
bool still_the_same(const Trampoline& t, uint64_t site) {
  return __builtin_memcmp(reinterpret_cast<void*>(site + syscall_bytes), t.code + Trampoline::resume_offset,
                          t.displaced) == 0;
}

bool is_syscall(uint64_t site) {
  const auto* p = reinterpret_cast<const uint8_t*>(site);
  return p[0] == 0x0f && p[1] == 0x05;
}

// Whether the instruction before the site is the `mov $nr, %eax` of a function that does nothing else.
bool is_number_stub(uint64_t site, long nr) {
  int32_t number;
  const uint64_t start = site - number_bytes;
  return code::is_number_stub(reinterpret_cast<const uint8_t*>(start), start, number) && number == nr;
}

// code::displaceable_bytes, but for a program that reads its own code no more than was verified for it.
uint64_t displaceable(uint64_t site) {
  const auto* p = reinterpret_cast<const uint8_t*>(site + syscall_bytes);
  if (const uint64_t n = code::error_check_bytes(p); n != 0) return n;
  return site >= cautious_low && site < cautious_high ? 0 : code::displaceable_bytes(p);
}

// Private, executable, from a file and not writable: a program's or a library's code, and not that of a just-in-time
// compiler, which rewrites its own.
bool is_library_code(const Mapping& m) { return m.readable && m.executable && !m.writable && !m.shared && m.from_file; }

struct Pages {
  uint64_t from, bytes;
};

Pages pages_of_jump(uint64_t at) {
  const uint64_t from = page_floor(at);
  return {from, page_floor(at + jump_bytes - 1) + page_bytes - from};
}

bool protect(const Pages& pages, int protection) {
  return raw_syscall(__NR_mprotect, static_cast<long>(pages.from), static_cast<long>(pages.bytes), protection) == 0;
}
constexpr int readable_code = PROT_READ | PROT_EXEC, writable_code = readable_code | PROT_WRITE;

// Has every processor that runs this program forget what it fetched: taking a right away interrupts them all.
void serialise(const Pages& pages) {
  protect(pages, readable_code);
  protect(pages, writable_code);
}

// Whether other processors may run this program's code at this moment.
std::atomic<bool> runs_at_once{false};

// Two bytes in one step; they lie in one cache line.
void write_head(uint64_t at, uint16_t head) {
  asm volatile("xchgw %w0, %1" : "+r"(head), "+m"(*reinterpret_cast<uint16_t*>(at))::"memory");
}

// The five bytes at `at` become a jump.
void write_jump(uint64_t at, int32_t distance, const Pages& pages) {
  uint8_t bytes[jump_bytes] = {0xe9};
  __builtin_memcpy(bytes + 1, &distance, sizeof distance);
  if (!runs_at_once) {
    __builtin_memcpy(reinterpret_cast<void*>(at), bytes, jump_bytes);
    return;
  }
  constexpr uint64_t word = sizeof(uint64_t);
  if (at % word <= word - jump_bytes) {
    auto* whole = reinterpret_cast<uint64_t*>(at & ~(word - 1));
    uint64_t value = *whole;
    __builtin_memcpy(reinterpret_cast<uint8_t*>(&value) + at % word, bytes, jump_bytes);
    __atomic_store_n(whole, value, __ATOMIC_SEQ_CST);
    return;
  }
  // In steps: first a jump to itself holds whoever comes by, then the tail, then the head.
  constexpr uint16_t jump_to_itself = 0xfeeb;
  write_head(at, jump_to_itself);
  serialise(pages);
  auto* p = reinterpret_cast<uint8_t*>(at);
  for (uint64_t i = 2; i < jump_bytes; i++) __atomic_store_n(p + i, bytes[i], __ATOMIC_SEQ_CST);
  serialise(pages);
  uint16_t head;
  __builtin_memcpy(&head, bytes, sizeof head);
  write_head(at, head);
}

// Before anything changes it is known what to do, and each step may be done twice.
void write_parked() {
  const Pages pages = pages_of_jump(parked.at);
  if (protect(pages, writable_code)) {
    write_jump(parked.at, parked.distance, pages);
    protect(pages, readable_code);
  }
  parked.at = 0;
}

void finish_rewrite() {
  if (parked.at != 0) write_parked();
}

// Makes the five bytes at `at` a jump to t. They stay as they are when the code may not be written.
void rewrite(uint64_t at, const Trampoline& t) {
  // Two bytes of two cache lines cannot be changed in one step.
  if (at % cache_line == cache_line - 1 && runs_at_once) return;
  Mapping m;
  const uint64_t last = at + jump_bytes - 1;
  if (!find_mapping(at, m) || !is_library_code(m)) return;
  // A page that was rewritten before is a mapping of its own.
  if (last >= m.high && (!find_mapping(last, m) || !is_library_code(m))) return;
  parked.distance = static_cast<int32_t>(static_cast<int64_t>(address_of(&t) - (at + jump_bytes)));
  std::atomic_signal_fence(std::memory_order_release);
  parked.at = at;
  write_parked();
}

// The code around an address that can be read, as far as `reach` bytes both ways and as it is in one piece. Rewritten
// pages are mappings of their own, so one mapping is not the whole.
bool code_around(uint64_t address, uint64_t reach, uint64_t& low, uint64_t& high) {
  Mapping m;
  if (!find_mapping(address, m)) return false;
  low = m.low;
  high = m.high;
  while (address - low < reach && find_mapping(low - 1, m) && m.readable && m.executable) low = m.low;
  while (high - address < reach && find_mapping(high, m) && m.readable && m.executable) high = m.high;
  if (address - low > reach) low = address - reach;
  if (high - address > reach) high = address + reach;
  return true;
}

// A check for an error may be shared only with a call nearby, if at all (of 703 in five C libraries and programs none
// was); any other instruction also with what the compiler has moved to the far end of the code.
bool nothing_jumps_behind(uint64_t site, bool is_error_check) {
  constexpr uint64_t same_function = 4 << 10, whole_code = 16 << 20;
  const uint64_t reach = is_error_check ? same_function : whole_code;
  uint64_t low, high;
  if (!code_around(site, reach, low, high)) return false;
  const bool too_much_code = high - low > whole_code;
  return !too_much_code && !code::is_jumped_into(site, low, high);
}

// The other form, for sites whose successors cannot be moved.
void rewrite_number(uint64_t site, long nr) {
  if (!is_number_stub(site, nr)) return;
  Trampoline* t = take_trampoline(site);
  if (t == nullptr) return;
  const uint64_t start = site - number_bytes;
  code::build_number_trampoline(*t, address_of(t), site, reinterpret_cast<const uint8_t*>(start),
                                address_of(common_entry));
  rewrite(start, *t);
}

// Mappings of code that are known without a look: what the loader has mapped, what the program has mapped as code, and
// what first hits found last. What is known may be stale; rewrite() looks anew.
struct Code {
  std::atomic<uint64_t> low, high;
};
Code known_code[8];
std::atomic<uint32_t> known_codes{0};

// The end of the known code around a site, 0: it is in none.
uint64_t known_code_end(uint64_t site) {
  for (const Code& code : known_code) {
    const uint64_t high = code.high.load(std::memory_order_relaxed);
    if (site >= code.low.load(std::memory_order_relaxed) && site < high) return high;
  }
  return 0;
}

// At a site's first hit.
void first_trampoline(Site& s, uint64_t site) {
  constexpr uint64_t longest_displaced = 16;
  uint64_t end = known_code_end(site);
  if (end == 0) {
    Mapping m;
    if (!find_mapping(site, m) || !is_library_code(m)) return;
    note_code(m.low, m.high);
    end = m.high;
  }
  if (site + syscall_bytes + longest_displaced > end) return;
  const uint64_t n = displaceable(site);
  if (n != 0) s.trampoline.store(make_trampoline(site, n), std::memory_order_release);
}

// The trampoline whose code pc stands in, or nullptr.
Trampoline* trampoline_at(uint64_t pc) {
  if (Trampoline* prepared = prepared_trampoline_at(pc); prepared != nullptr) return prepared;
  for (Region& region : regions) {
    const uint64_t low = region.low.load(std::memory_order_acquire);
    if (low == 0) return nullptr;
    if (pc - low < region_bytes)
      return reinterpret_cast<Trampoline*>(low + (pc - low) / sizeof(Trampoline) * sizeof(Trampoline));
  }
  return nullptr;
}

// Alone, nobody is to be kept out; a rewrite that was left behind is finished all the same.
class PatchLocked {
 public:
  PatchLocked() : locks_(runs_at_once) {
    if (!locks_ || patch_lock.lock()) finish_rewrite();
  }
  ~PatchLocked() {
    if (locks_) patch_lock.unlock();
  }
  PatchLocked(const PatchLocked&) = delete;

 private:
  const bool locks_;
};

}  // namespace

void note_code(uint64_t low, uint64_t high) {
  Code& code = known_code[known_codes.fetch_add(1) % (sizeof known_code / sizeof *known_code)];
  code.high.store(0, std::memory_order_relaxed);
  code.low.store(low, std::memory_order_relaxed);
  code.high.store(high, std::memory_order_relaxed);
}

uint64_t resume_address(uint64_t site, long nr) {
  const uint64_t after = site + syscall_bytes;
  Site* s = find_site(site);
  if (s == nullptr || s->hopeless) return after;
  const uint32_t hits = s->hits.fetch_add(1) + 1;
  const bool time_to_rewrite = hits == hot || hits == hot_for_the_unsure;
  Trampoline* t = s->trampoline.load(std::memory_order_acquire);
  if (t != nullptr && !time_to_rewrite) {
    // Still as it was, or rewritten by another thread meanwhile; not something else that was mapped there since. In
    // this order: a rewrite changes the `syscall` first and the bytes behind it afterwards.
    if (still_the_same(*t, site)) return resume_of(*t);
    std::atomic_thread_fence(std::memory_order_acquire);
    return is_syscall(site) ? after : resume_of(*t);
  }
  const PatchLocked lock;
  // Whoever comes first, so that nobody returns to the bytes behind the site that a trampoline stands for.
  if (!s->tried) {
    s->tried = true;
    first_trampoline(*s, site);
  }
  t = s->trampoline;
  if (hits < hot) return t == nullptr ? after : resume_of(*t);
  if (t == nullptr) {
    s->hopeless = true;
    rewrite_number(site, nr);
    return after;
  }
  if (!is_syscall(site)) return resume_of(*t);
  if (!still_the_same(*t, site)) return after;
  const bool sure = code::error_check_bytes(reinterpret_cast<uint8_t*>(after)) != 0;
  if (hits == (sure ? hot : hot_for_the_unsure) && nothing_jumps_behind(site, sure)) rewrite(site, *t);
  return resume_of(*t);
}

void leave_trampoline(Registers& r) {
  const Trampoline* t = trampoline_at(r.rip);
  if (t == nullptr || t->entry == 0) return;
  const uint64_t offset = r.rip - address_of(t);
  const uint64_t after = site_of(*t) + syscall_bytes;
  if (t->displaced == 0) {
    r.rip = offset == 0 ? site_of(*t) - number_bytes : site_of(*t);
  } else if (offset < Trampoline::resume_offset) {
    r.rip = site_of(*t);
  } else if (offset == Trampoline::resume_offset + t->displaced) {
    r.rip = after + t->displaced;
  } else if (offset == Trampoline::resume_offset &&
             code::error_check_bytes(t->code + Trampoline::resume_offset) == t->displaced) {
    code::do_error_check(t->code + Trampoline::resume_offset, r.rax, r.flags);
    r.rip = after + t->displaced;
  }
}

void code_runs_at_once() { runs_at_once = true; }

bool is_single_threaded() { return !runs_at_once.load(std::memory_order_relaxed); }

void patch_after_fork() {
  finish_rewrite();
  runs_at_once = false;
  patch_lock.reset();
}

void set_cautious_range(uint64_t low, uint64_t high) {
  cautious_low = low;
  cautious_high = high;
}

}  // namespace fusewire::gate
