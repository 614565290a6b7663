// Local sockets by path. The socket bound to a name in a mount is a real one, which the host keeps elsewhere
// (host/special_files.h): addresses are translated on their way in and out, so that programs see the path they know.
#include "gate/dispatch/socket_calls.h"

#include <linux/time_types.h>

#include "gate/dispatch/handlers.h"
#include "gate/dispatch/leader.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/own_descriptors.h"
#include "gate/dispatch/path_engine.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;

constexpr size_t path_at = offsetof(sockaddr_un, sun_path);

// A local address. The kernel's own may be one byte longer than sockaddr_un: the NUL behind a path that fills it.
struct Address {
  uint32_t length = 0;
  union {
    sockaddr_un un;
    char bytes[128];
  };
  Address() { __builtin_memset(bytes, 0, sizeof bytes); }

  bool is_path() const { return length > path_at && un.sun_family == AF_UNIX && un.sun_path[0] != 0; }
  std::string_view path() const {
    size_t n = 0;
    while (n < length - path_at && bytes[path_at + n] != 0) n++;
    return {bytes + path_at, n};
  }
  void set_path(std::string_view path) {
    __builtin_memcpy(bytes + path_at, path.data(), path.size());
    bytes[path_at + path.size()] = 0;
    length = static_cast<uint32_t>(path_at + path.size() + 1);
  }
};

// False when the kernel has to say what is wrong with it.
bool read_address(Address& address, long from, long length) {
  const auto bytes = static_cast<uint32_t>(length);
  if (from == 0 || bytes <= path_at || bytes > sizeof(sockaddr_un)) return false;
  if (copy_from_program(address.bytes, reinterpret_cast<const void*>(from), bytes) != 0) return false;
  address.length = bytes;
  return true;
}

bool is_local_socket(long fd) {
  int domain = 0, bytes = sizeof domain;
  return raw_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, native::of(&domain), native::of(&bytes)) == 0 &&
         domain == AF_UNIX;
}

long after_sleep(long result) { return result == -EINTR ? interrupted_sleep() : result; }

// ---- addresses that the program gives

long resolve_address(const Address& address, How how, Where& where) {
  Text<sizeof address.bytes> path;
  path.assign(address.path());
  return resolve(AT_FDCWD, path.c_str(), how, where);
}

// The path that the walk found, as an address: it may be longer than addresses can be.
long use_native_path(const Where& where, Address& address) {
  if (where.text.length() >= sizeof address.un.sun_path) return -ENAMETOOLONG;
  address.set_path(where.text.view());
  return 0;
}

// Where a socket is connected to or sends to.
struct Destination {
  bool changed = false;  // the call is to be made with this address
  Address address;
  int held = -1;  // what the address leads through
  ~Destination() {
    if (held >= 0) forget_internal(process(), held);
  }
};

long reach(long nr, Where& where, Destination& to) {
  Leaves leaves;
  for (;;) {
    RingCall call(where.start.connection, CallNumber::reach_socket, nr);
    if (call.error() != 0) return call.error();
    long r = place_path(call, where, start_itself);
    if (r == 0) r = call.run();
    if (r == left_mount) {
      r = follow_leave(call, {}, leaves, where);
      if (r == 0 && where.is_virtual) continue;
      return r < 0 ? r : use_native_path(where, to.address);
    }
    if (r < 0) return r;
    const int fd = call.take_descriptor(true);
    if (fd < 0) return fd;
    to.held = keep_internal(process(), fd, true);
    if (to.held < 0) return to.held;
    Text<40> link;
    link.add("/proc/self/fd/").add_decimal(to.held);
    to.address.set_path(link.view());
    return 0;
  }
}

long find_destination(const CallFrame& f, long address, long length, Destination& to) {
  if (!anything_mounted() || !read_address(to.address, address, length) || !to.address.is_path()) return 0;
  Where where;
  const long r = resolve_address(to.address, {}, where);
  if (r < 0) return r;
  to.changed = where.is_virtual ? is_local_socket(f.arg[0]) : where.rewritten;
  if (!to.changed) return 0;
  return where.is_virtual ? reach(f.nr, where, to) : use_native_path(where, to.address);
}

// ---- addresses that the program is told

// The address that a socket bound in a mount was bound to, instead of the one it really has.
void translate(Address& address) {
  VirtualFile file;
  if (!address.is_path() || !parse_shadow_name(address.path(), file)) return;
  RingCall call(file.connection, CallNumber::socket_name, SYS_getsockname);
  if (call.error() != 0) return;
  call.set_arg(0, static_cast<int64_t>(file.token));
  const long n = call.run();
  if (n <= 0 || static_cast<size_t>(n) > sizeof address.un.sun_path) return;
  const auto name = call.result_data(static_cast<size_t>(n));
  address.set_path({name.data(), name.size()});
}

// move_addr_to_user: what fits, and the whole length.
long give_address(const Address& address, long to, int room, long length_to) {
  if (room < 0) return -EINVAL;
  const size_t bytes = static_cast<size_t>(room) < address.length ? static_cast<size_t>(room) : address.length;
  const auto length = static_cast<int>(address.length);
  if (copy_to_program(reinterpret_cast<void*>(to), address.bytes, bytes) != 0) return -EFAULT;
  return copy_to_program(reinterpret_cast<void*>(length_to), &length, sizeof length);
}

bool read_room(long from, int& room) {
  return copy_from_program(&room, reinterpret_cast<const void*>(from), sizeof room) == 0;
}

// Whether an address that is asked for may be one of a socket in a mount.
bool may_need_translation(long fd, long address) { return address != 0 && sockets_are_bound() && is_local_socket(fd); }

long name_call(const CallFrame& f) {
  int room = 0;
  if (!may_need_translation(f.arg[0], f.arg[1]) || !read_room(f.arg[2], room)) return pass_on;
  Address address;
  int length = sizeof address.bytes;
  const long r = raw_syscall(f.nr, f.arg[0], native::of(address.bytes), native::of(&length));
  if (r < 0) return r;
  address.length = static_cast<uint32_t>(length);
  translate(address);
  return give_address(address, f.arg[1], room, f.arg[2]);
}

long accept_call(const CallFrame& f, long flags) {
  int room = 0;
  if (!may_need_translation(f.arg[0], f.arg[1]) || !read_room(f.arg[2], room) || room < 0) return pass_on;
  Address address;
  int length = sizeof address.bytes;
  const long fd = after_sleep(raw_sleep(SYS_accept4, f.arg[0], native::of(address.bytes), native::of(&length), flags));
  if (fd < 0) return fd;
  address.length = static_cast<uint32_t>(length);
  translate(address);
  const long given = give_address(address, f.arg[1], room, f.arg[2]);
  if (given < 0) native::close(static_cast<int>(fd));
  return given < 0 ? given : fd;
}

long receive_from(const CallFrame& f) {
  int room = 0;
  if (!may_need_translation(f.arg[0], f.arg[4]) || !read_room(f.arg[5], room) || room < 0) return pass_on;
  Address address;
  iovec io{reinterpret_cast<void*>(f.arg[1]), static_cast<size_t>(f.arg[2])};
  msghdr header{};
  header.msg_name = address.bytes;
  header.msg_namelen = sizeof address.bytes;
  header.msg_iov = &io;
  header.msg_iovlen = 1;
  const long n = after_sleep(raw_sleep(SYS_recvmsg, f.arg[0], native::of(&header), f.arg[3]));
  if (n < 0) return n;
  address.length = header.msg_namelen;
  translate(address);
  const long given = give_address(address, f.arg[4], room, f.arg[5]);
  return given < 0 ? given : n;
}

// recvmsg with a name in the header at `to`. The kernel writes three fields of the header back.
long receive_named(long fd, msghdr* to, long flags, bool& named) {
  msghdr header;
  named = copy_from_program(&header, to, sizeof header) == 0 && header.msg_name != nullptr &&
          static_cast<int>(header.msg_namelen) > 0;
  if (!named) return 0;
  Address address;
  const auto name = native::of(header.msg_name);
  const auto room = static_cast<int>(header.msg_namelen);
  header.msg_name = address.bytes;
  header.msg_namelen = sizeof address.bytes;
  const long n = raw_sleep(SYS_recvmsg, fd, native::of(&header), flags);
  if (n < 0) return n;
  address.length = header.msg_namelen;
  translate(address);
  if (const long r = give_address(address, name, room, native::of(&to->msg_namelen)); r < 0) return r;
  if (copy_to_program(&to->msg_flags, &header.msg_flags, sizeof header.msg_flags) != 0) return -EFAULT;
  const long r = copy_to_program(&to->msg_controllen, &header.msg_controllen, sizeof header.msg_controllen);
  return r < 0 ? r : n;
}

long receive_message(const CallFrame& f) {
  if (!sockets_are_bound()) return pass_on;
  bool named = false;
  const long r = receive_named(f.arg[0], reinterpret_cast<msghdr*>(f.arg[1]), f.arg[2], named);
  return named ? after_sleep(r) : pass_on;
}

// ---- several messages by one call: as the kernel does it, one after the other

constexpr uint32_t messages_max = 1024;  // UIO_MAXIOV

// What several messages come to: their count, or the error of the first.
long count_or_error(uint32_t done, long error) { return done > 0 ? static_cast<long>(done) : after_sleep(error); }

long monotonic_ns() {
  __kernel_timespec now{};
  raw_syscall(SYS_clock_gettime, 1 /* CLOCK_MONOTONIC */, native::of(&now));
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

struct Deadline {
  bool set = false;
  long ns = 0;
  bool is_over() const { return set && monotonic_ns() >= ns; }
};

bool read_deadline(long from, Deadline& deadline) {
  if (from == 0) return true;
  __kernel_timespec timeout{};
  if (copy_from_program(&timeout, reinterpret_cast<const void*>(from), sizeof timeout) != 0) return false;
  if (timeout.tv_sec < 0 || timeout.tv_nsec < 0 || timeout.tv_nsec >= 1'000'000'000) return false;
  constexpr long seconds_max = INT64_MAX / 2'000'000'000;
  const long seconds = timeout.tv_sec < seconds_max ? timeout.tv_sec : seconds_max;
  deadline = {true, monotonic_ns() + seconds * 1'000'000'000 + timeout.tv_nsec};
  return true;
}

long receive_unnamed(long fd, mmsghdr* message, long flags) {
  return raw_sleep(SYS_recvmsg, fd, native::of(&message->msg_hdr), flags);
}

// A deadline is looked at after each message only (do_recvmmsg).
long receive_messages(const CallFrame& f) {
  auto* messages = reinterpret_cast<mmsghdr*>(f.arg[1]);
  Deadline deadline;
  if (!sockets_are_bound() || !read_deadline(f.arg[4], deadline)) return pass_on;
  const uint32_t asked = static_cast<uint32_t>(f.arg[2]);
  const uint32_t count = asked < messages_max ? asked : messages_max;
  long flags = f.arg[3] & ~long{MSG_WAITFORONE};
  for (uint32_t i = 0; i < count; i++) {
    bool named = false;
    long n = receive_named(f.arg[0], &messages[i].msg_hdr, flags, named);
    if (!named) n = receive_unnamed(f.arg[0], &messages[i], flags);
    if (n < 0) return count_or_error(i, n);
    const auto bytes = static_cast<uint32_t>(n);
    if (copy_to_program(&messages[i].msg_len, &bytes, sizeof bytes) != 0) return count_or_error(i, -EFAULT);
    if ((f.arg[3] & MSG_WAITFORONE) != 0) flags |= MSG_DONTWAIT;
    if (deadline.is_over()) return static_cast<long>(i) + 1;
  }
  return count;
}

// sendmsg with a name that leads into a mount. changed: whether it was that, else nothing has been done.
long send_named(const CallFrame& f, const msghdr* from, long flags, bool& changed) {
  msghdr header;
  changed = false;
  if (copy_from_program(&header, from, sizeof header) != 0) return 0;
  Destination to;
  const long r = find_destination(f, native::of(header.msg_name), header.msg_namelen, to);
  changed = r < 0 || to.changed;
  if (r < 0 || !changed) return r;
  header.msg_name = to.address.bytes;
  header.msg_namelen = to.address.length;
  return raw_sleep(SYS_sendmsg, f.arg[0], native::of(&header), flags);
}

bool names_a_path(const mmsghdr& message) {
  msghdr header;
  Address address;
  return copy_from_program(&header, &message.msg_hdr, sizeof header) == 0 &&
         read_address(address, native::of(header.msg_name), header.msg_namelen) && address.is_path();
}

}  // namespace

long call_bind(const CallFrame& f) {
  Address address;
  if (!read_address(address, f.arg[1], f.arg[2]) || !address.is_path()) return pass_on;
  constexpr How no_follow{.follow = false};
  Where where;
  long r = resolve_address(address, no_follow, where);
  struct stat st;
  Leaves leaves;
  while (r == 0) {
    if (!where.is_virtual) {
      if (!where.rewritten) return pass_on;
      r = use_native_path(where, address);
      return r < 0 ? r : raw_syscall(SYS_bind, f.arg[0], native::of(address.bytes), address.length);
    }
    if (!is_local_socket(f.arg[0]) || native::fstat(static_cast<int>(f.arg[0]), &st) != 0) return pass_on;
    RingCall call(where.start.connection, CallNumber::bind_socket, f.nr);
    if (call.error() != 0) return call.error();
    r = place_path(call, where, {});
    call.set_arg(0, st.st_mode & 07777);
    const std::string_view name = address.path();
    __builtin_memcpy(call.data_area().data(), name.data(), name.size());
    call.set_data_length(name.size());
    if (r == 0) r = call.send_socket(static_cast<int>(f.arg[0]));
    if (r == 0) r = call.run();
    if (r == -EEXIST) return -EADDRINUSE;
    if (r != left_mount) return r;
    r = follow_leave(call, no_follow, leaves, where);
  }
  return r;
}

long call_connect(const CallFrame& f) {
  Destination to;
  const long r = find_destination(f, f.arg[1], f.arg[2], to);
  if (r < 0) return r;
  if (!to.changed) return pass_on;
  return after_sleep(raw_sleep(SYS_connect, f.arg[0], native::of(to.address.bytes), to.address.length));
}

long call_getsockname(const CallFrame& f) { return name_call(f); }
long call_getpeername(const CallFrame& f) { return name_call(f); }
long call_accept(const CallFrame& f) { return accept_call(f, 0); }
long call_accept4(const CallFrame& f) { return accept_call(f, f.arg[3]); }
long call_recvfrom(const CallFrame& f) { return receive_from(f); }

long call_recvmsg(const CallFrame& f) {
  if (!is_local_socket(f.arg[0])) return pass_on;
  note_receiving(reinterpret_cast<const void*>(f.arg[1]));
  return receive_message(f);
}

long call_recvmmsg(const CallFrame& f) {
  if (!is_local_socket(f.arg[0])) return pass_on;
  const auto* messages = reinterpret_cast<const mmsghdr*>(f.arg[1]);
  for (long i = 0; i < static_cast<uint32_t>(f.arg[2]) && i < messages_max; i++) note_receiving(&messages[i].msg_hdr);
  return receive_messages(f);
}

long call_sendto(const CallFrame& f) {
  if (f.arg[4] == 0) return pass_on;
  Destination to;
  const long r = find_destination(f, f.arg[4], f.arg[5], to);
  if (r < 0) return r;
  if (!to.changed) return pass_on;
  iovec io{reinterpret_cast<void*>(f.arg[1]), static_cast<size_t>(f.arg[2])};
  msghdr header{};
  header.msg_name = to.address.bytes;
  header.msg_namelen = to.address.length;
  header.msg_iov = &io;
  header.msg_iovlen = 1;
  return after_sleep(raw_sleep(SYS_sendmsg, f.arg[0], native::of(&header), f.arg[3]));
}

// Descriptors that are sent are the receiver's too.
void note_sending(const msghdr* header) {
  msghdr copy;
  if (copy_from_program(&copy, header, sizeof copy) == 0 && copy.msg_controllen != 0) give_up_shadows(process());
}

long call_sendmsg(const CallFrame& f) {
  if (possible.virtual_file) note_sending(reinterpret_cast<const msghdr*>(f.arg[1]));
  if (!anything_mounted()) return pass_on;
  bool changed = false;
  const long r = send_named(f, reinterpret_cast<const msghdr*>(f.arg[1]), f.arg[2], changed);
  return changed ? after_sleep(r) : pass_on;
}

long call_sendmmsg(const CallFrame& f) {
  auto* messages = reinterpret_cast<mmsghdr*>(f.arg[1]);
  const uint32_t asked = static_cast<uint32_t>(f.arg[2]);
  const uint32_t count = asked < messages_max ? asked : messages_max;
  for (uint32_t i = 0; i < count && possible.virtual_file; i++) note_sending(&messages[i].msg_hdr);
  if (!anything_mounted()) return pass_on;
  bool any = false;
  for (uint32_t i = 0; i < count && !any; i++) any = names_a_path(messages[i]);
  if (!any) return pass_on;
  for (uint32_t i = 0; i < count; i++) {
    bool changed = false;
    long n = send_named(f, &messages[i].msg_hdr, f.arg[3], changed);
    if (!changed) n = raw_sleep(SYS_sendmsg, f.arg[0], native::of(&messages[i].msg_hdr), f.arg[3]);
    if (n < 0) return count_or_error(i, n);
    const auto bytes = static_cast<uint32_t>(n);
    if (copy_to_program(&messages[i].msg_len, &bytes, sizeof bytes) != 0) return count_or_error(i, -EFAULT);
  }
  return count;
}

}  // namespace fusewire::gate
