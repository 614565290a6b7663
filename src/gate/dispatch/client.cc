#include "gate/dispatch/client.h"

#include <linux/futex.h>
#include <sys/mman.h>

#include "gate/dispatch/known_descriptors.h"
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

constexpr int none_left = -EMFILE;  // came in place of a descriptor

// Of the calls that make files longer the frequent one alone goes by memory.
uint64_t file_size_limit_for(Process& p, CallNumber number) {
  if (number == CallNumber::write) p.file_size.look_now_and_then();
  if (number == CallNumber::truncate || number == CallNumber::ftruncate || number == CallNumber::fallocate)
    p.file_size.look();
  return p.file_size.known();
}

uint64_t monotonic_ns() {
  native::Time now{};
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
// A late one, of a call that was given up, is closed, and never replaces what the slot waits for. mine: the slot of who
// received it, who need not be woken.
void keep_received(Ring& ring, uint32_t slot, uint64_t word, uint32_t mine) {
  const uint64_t wanted = std::atomic_ref<uint64_t>(abi::ring_slot(ring.memory, slot).token).load();
  auto& kept = ring.received[slot];
  uint64_t before = kept.load();
  do {
    if (!is_of_token(word, wanted) || (before != 0 && is_of_token(before, wanted))) return drop_received(word);
  } while (!kept.compare_exchange_weak(before, word));
  drop_received(before);
  if (slot != mine) native::futex_wake_all(&kept);
}

// No signal comes while it lives: its handler would run in the middle of what stands here.
class WithoutSignals {
 public:
  WithoutSignals() : held_back_(holds_signals_back()) {
    uint64_t all = ~uint64_t{0};
    if (!held_back_) set(all, &old_);
  }
  ~WithoutSignals() {
    if (!held_back_) set(old_, nullptr);
  }
  WithoutSignals(const WithoutSignals&) = delete;

 private:
  static void set(uint64_t mask, uint64_t* old) {
    raw_syscall(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, native::of(&mask), native::of(old), sizeof mask);
  }

  const bool held_back_;
  uint64_t old_ = 0;
};

// Receives one FileMessage, for whichever slot it is. No signal may come between taking the descriptor off the socket
// and storing it: a handler's own open would wait for it for ever.
long receive_file(Ring& ring, uint32_t mine) {
  const WithoutSignals without_signals;
  abi::FileMessage message{};
  int fds[2] = {-1, -1};
  const Received m = [&] {
    const InUse socket(process(), ring.socket);
    return receive_message(socket.fd(), &message, sizeof message, fds);
  }();
  if (fds[1] >= 0) native::close(fds[1]);
  const bool whole = m.bytes == sizeof message && message.slot < abi::slot_count;
  if (whole && (fds[0] >= 0 || m.cut)) {
    keep_received(ring, message.slot, received_word(message.token, fds[0] >= 0 ? fds[0] + 1 : none_left), mine);
  } else if (fds[0] >= 0) {
    native::close(fds[0]);
  }
  return m.bytes;
}

}  // namespace

RingCall::RingCall(uint32_t connection, abi::CallNumber number, long nr)
    : tid_(static_cast<uint32_t>(thread_number())), begun_(look_begins()) {
  const TakenSlot taken = take_slot(process(), connection, tid_);
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
  s.token = s.shadow = s.inode = 0;
  s.mount = s.mount2 = s.position = 0;
  s.leave_which = s.leave_to = s.leave_mount = s.leave_length = s.leave_links = s.over_file_size = 0;
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
  give_back_slot(process(), *ring_, index_);
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
  const native::Time second{1, 0};
  const auto submitted = static_cast<uint32_t>(CallState::submitted);
  const Slot& s = slot();
  if (!interruptible) return native::futex_wait(&s.state, submitted, true, second);
  return raw_sleep(SYS_futex, native::of(&s.state), FUTEX_WAIT, submitted, native::of(&second));
}

bool RingCall::host_is_gone() const {
  const InUse socket(process(), ring_->socket);
  if (socket.fd() < 0) return true;
  const long events = native::poll_one(socket.fd(), 0, 0);
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
  shadow_ = s.shadow;
  inode_ = s.inode;
  position_ = s.position == 0 ? 0 : uint64_t{ring_->serial} << 32 | s.position;
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
    const long r = receive_file(*ring_, index_);
    if (r == 0 || (r < 0 && r != -EAGAIN && r != -EINTR)) return r == -EMFILE ? -EMFILE : -ENOTCONN;
    if (r == -EAGAIN) native::futex_wait(&received, 0, false, {0, 10'000'000});
  }
  return -EIO;
}

int RingCall::take_descriptor(bool close_on_exec) {
  const int fd = wait_descriptor();
  if (fd >= 0 && !close_on_exec) native::fcntl(fd, F_SETFD, 0);
  return fd;
}

}  // namespace fusewire::gate
