// Descriptors that come and go: close and its kin, dup2, descriptors received.
#include "gate/dispatch/descriptor_calls.h"

#include "gate/dispatch/file_call.h"
#include "gate/dispatch/handlers.h"
#include "gate/dispatch/kept_shadows.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/messages.h"
#include "gate/dispatch/process.h"
#include "gate/dispatch/socket_calls.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

constexpr long max_descriptor = UINT32_MAX;

constexpr uint32_t none_watched = UINT32_MAX;

// FLUSH of one close(2). Its error is close's, though the descriptor goes all the same. watched: the connection, where
// the host is to see the close before it returns.
long flush(int fd, uint32_t& watched) {
  VirtualFile file;
  for (int tries = 0; tries < 100 && is_virtual(fd, file); tries++) {
    const long r = file_call(file, abi::CallNumber::flush, SYS_close);
    if (r == abi::flushed_watched) watched = file.connection;
    if (r != abi::stale_token) return r < 0 ? r : 0;
  }
  return 0;
}

void flush(int fd) {
  uint32_t watched = none_watched;
  flush(fd, watched);
}

// A host takes the closes that have been made when a call comes: who watches finds them told.
void let_host_see(uint32_t watched) {
  if (watched == none_watched) return;
  RingCall call(watched, abi::CallNumber::nop, SYS_close);
  if (call.error() == 0) call.run();
}

// Descriptors in flight: whoever has the socket's other end has them, and they cost no number meanwhile.
class Kept {
 public:
  static constexpr size_t at_once = 250;  // SCM_MAX_FD is 253

  // false: it could not be taken.
  bool add(int fd) {
    if (ends_[0] < 0 && !open()) return false;
    waiting_[count_++] = fd;
    return count_ < at_once || send();
  }
  // The end to read from, or -1 when nothing was added.
  int finish() {
    if (count_ > 0) send();
    if (ends_[0] < 0) return -1;
    native::close(ends_[0]);
    return ends_[1];
  }

 private:
  bool open() {
    const long r = with_room(process(), [this] {
      return raw_syscall(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, native::of(ends_));
    });
    if (r < 0) ends_[0] = ends_[1] = -1;
    return r >= 0;
  }
  bool send() {
    const char byte = 0;
    const long r = send_message(ends_[0], &byte, 1, waiting_, count_);
    for (size_t i = 0; r < 0 && i < count_; i++) flush(waiting_[i]);
    count_ = 0;
    return true;
  }

  int ends_[2] = {-1, -1};
  int waiting_[at_once];
  size_t count_ = 0;
};

struct DirectoryEntry {
  uint64_t ino;
  int64_t offset;
  uint16_t bytes;
  uint8_t type;
  char name[];
};

// Calls f(fd) for the program's open descriptors.
template <class F>
void for_each_descriptor(F f) {
  const int directory = static_cast<int>(native::OwnFile("fd").open(O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory < 0) return;
  alignas(DirectoryEntry) char buffer[1024];
  for (;;) {
    const long n = raw_syscall(SYS_getdents64, directory, native::of(buffer), sizeof buffer);
    if (n <= 0) break;
    for (long at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const DirectoryEntry*>(buffer + at);
      at += entry->bytes;
      size_t digits = 0;
      const std::string_view name(entry->name, text_length(entry->name));
      const auto fd = static_cast<int>(parse_decimal(name, &digits));
      if (digits == name.size() && fd != directory) f(fd);
    }
  }
  native::close(directory);
}

long duplicate_onto(const CallFrame& f) {
  const auto from = static_cast<int>(f.arg[0]), to = static_cast<int>(f.arg[1]);
  if (from != to && (may_be_internal(from) || may_be_internal(to))) {
    Process& p = process();
    if (is_internal(p, from)) return -EBADF;
    make_room_at(p, to);
  }
  if (from == to || (is_known_native(from) && is_known_native(to))) return pass_on;
  if (!possible.virtual_file && !possible.device) return pass_on;
  give_up_shadow_at(process(), from);
  give_up_shadow_at(process(), to);
  if (native::fcntl(from, F_GETFD) < 0) return pass_on;
  // Linux flushes the file that is replaced, and forgets its error. Before the call: after it, this may have been the
  // file's last descriptor.
  uint32_t watched = none_watched;
  flush(to, watched);
  const long r = [&] {
    const ChangesHands changes(to);
    return native::call(f);
  }();
  let_host_see(watched);
  return r;
}

// Whether fd lists the process's own descriptors.
bool lists_own_descriptors(int fd) {
  Text<64> path;
  if (native::descriptor_path(fd, path) != 0 || !path.view().starts_with("/proc/")) return false;
  Text<64> own;
  own.add("/proc/").add_decimal(native::getpid()).add('/');
  if (!path.view().starts_with(own.view())) return false;
  return path.view().ends_with("/fd") || path.view().ends_with("/fdinfo");
}

bool names_internal(const Process& p, const DirectoryEntry& entry) {
  size_t digits = 0;
  const std::string_view name(entry.name, text_length(entry.name));
  const uint64_t fd = parse_decimal(name, &digits);
  return digits == name.size() && is_internal(p, static_cast<int>(fd));
}

// Whether one of `bytes` of records in the program's memory has the number of a descriptor of the gate's for a name.
bool has_internal_names(const char* records, long bytes) {
  const Process& p = process();
  alignas(DirectoryEntry) char copy[sizeof(DirectoryEntry) + 16];
  auto& entry = *reinterpret_cast<DirectoryEntry*>(copy);
  for (long at = 0; at < bytes; at += entry.bytes) {
    const auto left = static_cast<size_t>(bytes - at);
    if (copy_from_program(copy, records + at, left < sizeof copy ? left : sizeof copy) != 0) return false;
    if (entry.bytes == 0) return false;
    copy[sizeof copy - 1] = 0;
    const bool is_number = entry.name[0] >= '0' && entry.name[0] <= '9';
    if (is_number && names_internal(p, entry)) return true;
  }
  return false;
}

// Takes the gate's descriptors out of `bytes` of records in the program's memory. The bytes that are left.
long drop_internal(char* records, long bytes) {
  const Process& p = process();
  alignas(DirectoryEntry) char copy[sizeof(DirectoryEntry) + 64];
  auto& entry = *reinterpret_cast<DirectoryEntry*>(copy);
  long kept = 0;
  for (long at = 0; at < bytes; at += entry.bytes) {
    const size_t left = static_cast<size_t>(bytes - at);
    if (copy_from_program(copy, records + at, left < sizeof copy ? left : sizeof copy) != 0) return -EFAULT;
    if (entry.bytes == 0 || entry.bytes > sizeof copy) return -EIO;
    if (names_internal(p, entry)) continue;
    if (kept != at && copy_to_program(records + kept, copy, entry.bytes) != 0) return -EFAULT;
    kept += entry.bytes;
  }
  return kept;
}

}  // namespace

void note_receiving(const void* header) {
  msghdr copy;
  if (copy_from_program(&copy, header, sizeof copy) != 0) return;
  if (copy.msg_control == nullptr || copy.msg_controllen == 0) return;
  possible.virtual_file = true;
  device_is_possible();
}

void flush_descriptors() {
  if (!possible.virtual_file) return;
  const Process& p = process();
  for_each_descriptor([&](int fd) {
    if (!is_internal(p, fd)) flush(fd);
  });
}

int keep_closing() {
  if (!possible.virtual_file) return -1;
  Process& p = process();
  give_up_shadows(p);
  Kept kept;
  for_each_descriptor([&](int fd) {
    VirtualFile file;
    if (is_internal(p, fd) || (native::fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0 || !is_virtual(fd, file)) return;
    if (!kept.add(fd)) flush(fd);
  });
  return kept.finish();
}

void flush_kept(int socket) {
  char byte = 0;
  int received[Kept::at_once];
  for (;;) {
    const size_t count = receive_message(socket, &byte, 1, received).count;
    if (count == 0) break;
    for (size_t i = 0; i < count; i++) {
      flush(received[i]);
      native::close(received[i]);
    }
  }
  native::close(socket);
}

// dup(2), and fcntl(2) that does the same.
long call_dup(const CallFrame& f) {
  if (!possible.virtual_file && !possible.device) return pass_on;
  const auto from = static_cast<int>(f.arg[0]);
  give_up_shadow_at(process(), from);
  const uint32_t begun = look_begins();
  VirtualFile file;
  const bool native = is_known_native(from), is_file = is_known_virtual(from, file);
  const auto copy = static_cast<int>(native::call(f));
  if (copy >= 0 && native) opened_native(copy, begun);
  if (copy >= 0 && is_file) opened_virtual(copy, file, begun);
  return copy;
}

// /proc/self/fd shows the program's descriptors.
long call_list_directory(const CallFrame& f) {
  const auto fd = static_cast<int>(f.arg[0]);
  if (possible.virtual_file && is_expected_virtual(fd)) return call_getdents64(f);
  for (;;) {
    const long n = native::call(f);
    if (n == -EBADF && possible.virtual_file) return call_getdents64(f);
    auto* records = reinterpret_cast<char*>(f.arg[1]);
    if (n <= 0 || !has_internal_names(records, n) || !lists_own_descriptors(fd)) return n;
    const long kept = drop_internal(records, n);
    if (kept != 0) return kept;
  }
}

long call_close(const CallFrame& f) {
  const auto fd = static_cast<int>(f.arg[0]);
  if (may_be_internal(fd) && is_internal(process(), fd)) return -EBADF;
  if (is_known_native(fd)) {
    closes(fd);
    return pass_on;
  }
  uint32_t watched = none_watched;
  if (long alone = 0; close_alone(process(), fd, alone, watched)) {
    let_host_see(watched);
    return alone;
  }
  const long flushed = flush(fd, watched);
  closes(fd);
  if (flushed >= 0 && watched == none_watched) return pass_on;
  const long r = native::call(f);
  let_host_see(watched);
  return r < 0 ? r : flushed;
}

long call_close_range(const CallFrame& f) {
  long first = static_cast<uint32_t>(f.arg[0]);
  const long last = static_cast<uint32_t>(f.arg[1]);
  constexpr long close_on_exec = 4;  // CLOSE_RANGE_CLOEXEC
  if (first > last) return pass_on;
  Process& p = process();
  uint32_t watched = none_watched;
  if ((f.arg[2] & close_on_exec) == 0 && possible.virtual_file) {
    for_each_descriptor([&](int fd) {
      if (fd < first || fd > last || is_internal(p, fd)) return;
      give_up_shadow_at(p, fd);
      flush(fd, watched);
      closes(fd);
    });
  }
  while (first <= last) {
    const int ours = first_internal(p, first, last);
    const long end = ours < 0 ? last : ours - 1;
    if (end >= first) {
      const long r = raw_syscall(f.nr, first, end, f.arg[2]);
      if (r < 0) return r;
    }
    first = ours < 0 ? max_descriptor + 1 : long{ours} + 1;
  }
  let_host_see(watched);
  return 0;
}

long call_dup2(const CallFrame& f) { return duplicate_onto(f); }
long call_dup3(const CallFrame& f) { return duplicate_onto(f); }

// The process that has the file may keep its shadow for another one (kept_shadows.h) until the host has heard of us: so
// it is what stands there after that.
long call_pidfd_getfd(const CallFrame& f) {
  constexpr int looks = 8;
  possible.virtual_file = true;
  device_is_possible();
  give_up_shadows(process());
  VirtualFile before;
  long last = -EBADF;
  for (int i = 0; i < looks; i++) {
    const long fd = native::call(f);
    if (i > 0) {
      closes(static_cast<int>(last));
      native::close(static_cast<int>(last));
    }
    VirtualFile file;
    if (fd < 0 || !is_virtual(static_cast<int>(fd), file) || (i > 0 && file.token == before.token)) return fd;
    file_call(file, abi::CallNumber::getfl, f.nr);
    before = file;
    last = fd;
  }
  return last;
}

// Linux flushes each file of an exiting process, as close(2) does.
long call_exit_group(const CallFrame&) {
  flush_descriptors();
  process_exits();
  return pass_on;
}

}  // namespace fusewire::gate
