#include "gate/dispatch/leader.h"

#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

// A mount waits until the leader has started a host; an unmount until its daemon said goodbye.
constexpr long leader_answers_within_ms = 60'000;

long send_request(int socket, const abi::LeaderRequest& request, int attached) {
  iovec io{const_cast<abi::LeaderRequest*>(&request), sizeof request};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = &io;
  header.msg_iovlen = 1;
  if (attached >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    __builtin_memcpy(CMSG_DATA(c), &attached, sizeof attached);
  }
  return raw_syscall(SYS_sendmsg, socket, native::of(&header), MSG_NOSIGNAL);
}

long receive_reply(int socket, int* received) {
  long ready;
  pollfd p{socket, POLLIN, 0};
  do {
    ready = raw_syscall(SYS_poll, native::of(&p), 1, leader_answers_within_ms);
  } while (ready == -EINTR);
  if (ready == 0) return -ETIMEDOUT;
  abi::LeaderReply reply{};
  iovec io{&reply, sizeof reply};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr header{};
  header.msg_iov = &io;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const long n = raw_syscall(SYS_recvmsg, socket, native::of(&header), MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  const cmsghdr* c = n > 0 ? CMSG_FIRSTHDR(&header) : nullptr;
  int fd = -1;
  if (c != nullptr && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
    __builtin_memcpy(&fd, CMSG_DATA(c), sizeof fd);
  }
  if (received != nullptr) *received = fd;
  if (received == nullptr && fd >= 0) native::close(fd);
  if (n < 0) return n;
  return n == sizeof reply ? reply.error : -EPROTO;
}

// The thread's name, as ps shows it.
Text<20> program_name() {
  Text<20> name;
  char comm[16] = {};
  raw_syscall(SYS_prctl, 16 /* PR_GET_NAME */, native::of(comm));
  comm[15] = 0;
  name.add(comm);
  return name;
}

}  // namespace

int connect_in_namespace(std::string_view name) {
  PathText path = in_namespace(name);
  int directory = -1;
  if (path.length() >= sizeof(sockaddr_un::sun_path)) {
    directory = native::open(namespace_directory(), O_PATH | O_CLOEXEC);
    if (directory < 0) return directory;
    path.clear();
    path.add("/proc/self/fd/").add_decimal(directory).add('/').add(name);
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  long r = -ENAMETOOLONG;
  if (path.length() < sizeof address.sun_path) {
    __builtin_memcpy(address.sun_path, path.c_str(), path.length() + 1);
    r = with_room(process(), [] { return raw_syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0); });
  }
  const int socket = static_cast<int>(r);
  if (r >= 0) {
    do {
      r = raw_syscall(SYS_connect, socket, native::of(&address), sizeof address);
    } while (r == -EINTR);
    if (r == -EISCONN) r = 0;
    if (r < 0) native::close(socket);
  }
  if (directory >= 0) native::close(directory);
  return r < 0 ? static_cast<int>(r) : socket;
}

void start_request(abi::LeaderRequest& request, abi::LeaderOperation operation) {
  __builtin_memset(&request, 0, sizeof request);
  request.operation = static_cast<uint32_t>(operation);
  request.pid = static_cast<uint32_t>(native::getpid());
}

long ask_leader(const abi::LeaderRequest& request, int attached, int* received) {
  if (received != nullptr) *received = -1;
  const int socket = connect_in_namespace(abi::leader_socket_name);
  if (socket < 0) return socket;
  long r = send_request(socket, request, attached);
  if (r >= 0) r = receive_reply(socket, received);
  native::close(socket);
  return r;
}

long refuse(long error, const char* call, std::string_view about, const char* why) {
  Text<512> line;
  line.add(program_name().view()).add('[').add_decimal(native::getpid()).add("]: cannot: ").add(call);
  line.add('(').add(about.substr(0, 256)).add("): ").add(why).add(" (errno ").add_decimal(-error).add(')');
  log_line(line.c_str());
  return error;
}

void log_line(const char* text) {
  const int socket = connect_in_namespace(abi::leader_socket_name);
  if (socket < 0) return;
  abi::LeaderRequest request;
  start_request(request, abi::LeaderOperation::log);
  set_field(request.options, std::string_view(text, text_length(text)).substr(0, sizeof request.options - 1));
  send_request(socket, request, -1);
  native::close(socket);
}

}  // namespace fusewire::gate
