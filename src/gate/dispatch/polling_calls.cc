#include "gate/dispatch/polling_calls.h"

#include <sys/mman.h>

#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

constexpr short ready_events = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;  // DEFAULT_POLLMASK
constexpr size_t word_bits = 64;

template <class T>
T* pointer(long argument) {
  return reinterpret_cast<T*>(argument);
}

// Memory of the gate's own, zeroed; data() is nullptr when there is none.
class Memory {
 public:
  explicit Memory(size_t bytes) : bytes_(bytes) {
    if (bytes <= sizeof here_) return;
    const long at =
        raw_syscall(SYS_mmap, 0, static_cast<long>(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    data_ = at > 0 ? reinterpret_cast<char*>(at) : nullptr;
  }
  ~Memory() {
    if (data_ != nullptr && data_ != here_) raw_syscall(SYS_munmap, native::of(data_), static_cast<long>(bytes_));
  }
  Memory(const Memory&) = delete;
  template <class T>
  T* data() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  const size_t bytes_;
  alignas(16) char here_[2048] = {};
  char* data_ = here_;
};

enum class Kind { bad, native, file };

// bad: the kernel is right to find it so.
Kind kind_of(int fd, long nr) {
  VirtualFile file;
  if (is_virtual(fd, file)) {
    const long r = unless_path(file, nr, 0);
    if (r != abi::stale_token) return r == -EBADF ? Kind::bad : Kind::file;
    return Kind::native;  // it is another file's by now
  }
  const long flags = native::fcntl(fd, F_GETFL);
  return flags < 0 || (flags & O_PATH) != 0 ? Kind::bad : Kind::native;
}

// ---- poll, ppoll

struct Polled {
  pollfd* all;
  size_t count;
  size_t files = 0;      // of mounts
  long ready = 0;        // of these
  bool changed = false;  // a native one was found bad and is not
};

// Takes the files of mounts out: their fd becomes ~fd, their revents what they are ready for.
void take_files_out(Polled& p, long nr) {
  for (size_t i = 0; i < p.count; i++) {
    pollfd& one = p.all[i];
    if ((one.revents & POLLNVAL) == 0) continue;
    switch (kind_of(one.fd, nr)) {
      case Kind::file:
        p.files++;
        one.revents = static_cast<short>(one.events & ready_events);
        p.ready += one.revents != 0;
        one.fd = ~one.fd;
        break;
      case Kind::native:
        p.changed = true;
        break;
      case Kind::bad:
        break;
    }
  }
}

long poll_the_rest(const CallFrame& f, pollfd* rest, bool any_ready) {
  const native::Time none{0, 0};
  if (any_ready) return raw_syscall(SYS_ppoll, native::of(rest), f.arg[1], native::of(&none), 0, 8);
  return raw_sleep(f.nr, native::of(rest), f.arg[1], f.arg[2], f.arg[3], f.arg[4]);
}

// Whether one that was good has become bad: a file of a mount by now.
bool any_spoilt(const Polled& p, const pollfd* others) {
  for (size_t i = 0; i < p.count; i++) {
    if ((others[i].revents & POLLNVAL) != 0 && (p.all[i].revents & POLLNVAL) == 0) return true;
  }
  return false;
}

bool any_bad(const pollfd* all, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if ((all[i].revents & POLLNVAL) != 0) return true;
  }
  return false;
}

long judge_poll(const CallFrame& f, long result, bool may_begin_anew) {
  const auto count = static_cast<uint32_t>(f.arg[1]);
  auto* polled = pointer<pollfd>(f.arg[0]);
  const size_t bytes = count * sizeof(pollfd);
  const Memory given(bytes), rest(bytes);
  if (given.data<char>() == nullptr || rest.data<char>() == nullptr) return -ENOMEM;
  Polled p{given.data<pollfd>(), count};
  if (copy_from_program(p.all, polled, bytes) != 0) return -EFAULT;
  if (!any_bad(p.all, count)) return result;
  take_files_out(p, f.nr);
  if (p.changed && may_begin_anew) return pass_on;
  if (p.files == 0) return result;
  auto* others = rest.data<pollfd>();
  __builtin_memcpy(others, p.all, bytes);
  const long r = poll_the_rest(f, others, p.ready != 0);
  if (r < 0) return r;
  if (any_spoilt(p, others) && may_begin_anew) return pass_on;
  for (size_t i = 0; i < count; i++) {
    const bool is_file = p.all[i].fd < 0 && others[i].revents == 0 && (p.all[i].revents & POLLNVAL) == 0;
    const short revents = is_file ? p.all[i].revents : others[i].revents;
    if (copy_to_program(&polled[i].revents, &revents, sizeof revents) != 0) return -EFAULT;
  }
  return r + p.ready;
}

// ---- select, pselect6: three sets of bits

struct Sets {
  uint64_t* set[3] = {};  // to read, to write, exceptions; nullptr: not given
  size_t words = 0;

  bool has(int which, size_t fd) const {
    return set[which] != nullptr && (set[which][fd / word_bits] >> fd % word_bits & 1) != 0;
  }
  void put(int which, size_t fd, bool on) const {
    if (set[which] == nullptr) return;
    uint64_t& word = set[which][fd / word_bits];
    const uint64_t bit = uint64_t{1} << fd % word_bits;
    word = on ? word | bit : word & ~bit;
  }
};

Sets sets_in(const CallFrame& f, const Memory& memory, size_t words) {
  Sets s;
  s.words = words;
  for (int i = 0; i < 3; i++)
    s.set[i] = f.arg[1 + i] == 0 ? nullptr : memory.data<uint64_t>() + words * static_cast<size_t>(i);
  return s;
}

struct Selected {
  bool any_file = false;
  bool any_bad = false;
  long ready = 0;
};

// Takes the files of mounts out of `asked`, and puts what they are ready for into `found`.
Selected take_files_out(const Sets& asked, const Sets& found, size_t count, long nr) {
  Selected s;
  for (size_t fd = 0; fd < count; fd++) {
    if (!asked.has(0, fd) && !asked.has(1, fd) && !asked.has(2, fd)) continue;
    const Kind kind = kind_of(static_cast<int>(fd), nr);
    s.any_bad |= kind == Kind::bad;
    if (kind != Kind::file) continue;
    s.any_file = true;
    for (int which = 0; which < 3; which++) {
      const bool ready = which != 2 && asked.has(which, fd);
      found.put(which, fd, ready);
      s.ready += ready;
      asked.put(which, fd, false);
    }
  }
  return s;
}

long select_the_rest(const CallFrame& f, const Sets& rest, bool any_ready) {
  const native::Time none{0, 0};
  const long r = native::of(rest.set[0]), w = native::of(rest.set[1]), x = native::of(rest.set[2]);
  if (any_ready) return raw_syscall(SYS_pselect6, f.arg[0], r, w, x, native::of(&none), 0);
  return raw_sleep(f.nr, f.arg[0], r, w, x, f.arg[4], f.arg[5]);
}

long give_sets(const CallFrame& f, const Sets& from, const Sets& found) {
  for (int i = 0; i < 3; i++) {
    if (from.set[i] == nullptr) continue;
    for (size_t w = 0; w < from.words; w++) from.set[i][w] |= found.set[i][w];
    if (copy_to_program(pointer<void>(f.arg[1 + i]), from.set[i], from.words * sizeof(uint64_t)) != 0) return -EFAULT;
  }
  return 0;
}

// How many descriptors a set can have: select(2) takes a larger number for this one.
size_t table_room() {
  uint64_t limits[2] = {};
  raw_syscall(SYS_prlimit64, 0, 7 /* RLIMIT_NOFILE */, 0, native::of(limits));
  return limits[1] < (1u << 20) ? limits[1] : 1u << 20;
}

}  // namespace

bool is_polling(long nr) { return nr == SYS_poll || nr == SYS_ppoll; }

long judge_polling(const CallFrame& f, long result, bool may_begin_anew) {
  return result <= 0 ? result : judge_poll(f, result, may_begin_anew);
}

// The kernel's select finds a shadow ready for everything: rightly, but for exceptions, which files do not have.
long call_select(const CallFrame& f) {
  if (f.arg[3] == 0 || !possible.virtual_file) return pass_on;
  if (static_cast<int>(f.arg[0]) < 0) return -EINVAL;
  const auto given = static_cast<size_t>(static_cast<int>(f.arg[0]));
  const size_t room = table_room(), count = given < room ? given : room;
  const size_t words = (count + word_bits - 1) / word_bits;
  const Memory memory(words * 3 * sizeof(uint64_t)), more(words * 3 * sizeof(uint64_t));
  if (memory.data<char>() == nullptr || more.data<char>() == nullptr) return -ENOMEM;
  const Sets asked = sets_in(f, memory, words), found = sets_in(f, more, words);
  for (int i = 0; i < 3; i++) {
    if (asked.set[i] == nullptr) continue;
    if (copy_from_program(asked.set[i], pointer<void>(f.arg[1 + i]), words * sizeof(uint64_t)) != 0) return -EFAULT;
  }
  const Selected s = take_files_out(asked, found, count, f.nr);
  if (!s.any_file || s.any_bad) return pass_on;
  const long r = select_the_rest(f, asked, s.ready != 0);
  if (r < 0) return r;
  const long copied = give_sets(f, asked, found);
  return copied < 0 ? copied : r + s.ready;
}

}  // namespace fusewire::gate
