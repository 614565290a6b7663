#include "gate/dispatch/leader.h"

#include "gate/dispatch/messages.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

// A mount waits until the leader has started a host; an unmount until its daemon said goodbye.
constexpr long leader_answers_within_ms = 60'000;

// On the line, which all processes share and the leader may be slow to empty: the wait for room has an end.
long send_request(const abi::LeaderRequest& request, int answer_end, int attached) {
  const int line = inherited_descriptor(process(), Inherited::line);
  if (line < 0) return -ENOTCONN;
  const int fds[] = {answer_end, attached};
  const size_t count = answer_end < 0 ? 0 : attached < 0 ? 1 : 2;
  for (;;) {
    const long r = send_message(line, &request, sizeof request, fds, count);
    if (r == -EPIPE || r == -ECONNRESET || r == -EBADF || r == -ENOTSOCK) return -ENOTCONN;
    if (r == -ETOOMANYREFS) return -EMFILE;
    if (r != -EAGAIN) return r;
    if (answer_end < 0) return r;  // a line for the log: not worth a wait
    pollfd p{line, POLLOUT, 0};
    const long ready = raw_syscall(SYS_poll, native::of(&p), 1, leader_answers_within_ms);
    if (ready == 0) return -ETIMEDOUT;
  }
}

long receive_reply(int socket, int* received) {
  long ready;
  pollfd p{socket, POLLIN, 0};
  do {
    ready = raw_syscall(SYS_poll, native::of(&p), 1, leader_answers_within_ms);
  } while (ready == -EINTR);
  if (ready == 0) return -ETIMEDOUT;
  abi::LeaderReply reply{};
  int fds[] = {-1};
  const long n = receive_message(socket, &reply, sizeof reply, fds).bytes;
  const int fd = fds[0];
  if (received != nullptr) *received = fd;
  if (received == nullptr && fd >= 0) native::close(fd);
  if (n <= 0) return n < 0 && n != -ECONNRESET ? n : -ENOTCONN;
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

int send_to_leader(const abi::LeaderRequest& request, int attached) {
  int pair[2];
  const long made = with_room(process(), [&] {
    return raw_syscall(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, native::of(static_cast<int*>(pair)));
  });
  if (made < 0) return static_cast<int>(made);
  const long r = send_request(request, pair[1], attached);
  // Only the leader has that end now: its end is the end of the answer.
  native::close(pair[1]);
  if (r >= 0) return pair[0];
  native::close(pair[0]);
  return static_cast<int>(r);
}

void start_request(abi::LeaderRequest& request, abi::LeaderOperation operation) {
  __builtin_memset(&request, 0, sizeof request);
  request.operation = static_cast<uint32_t>(operation);
  request.pid = static_cast<uint32_t>(native::getpid());
  request.view = process().views.own();
}

long ask_leader(const abi::LeaderRequest& request, int attached, int* received) {
  if (received != nullptr) *received = -1;
  const int socket = send_to_leader(request, attached);
  if (socket < 0) return socket;
  const long r = receive_reply(socket, received);
  native::close(socket);
  return r;
}

namespace {

void send_line(abi::LeaderRequest& request, std::string_view text) {
  set_field(request.options, text.substr(0, sizeof request.options - 1));
  send_request(request, -1, -1);
}

void send_line(const char* text, uint32_t how) {
  abi::LeaderRequest request;
  start_request(request, abi::LeaderOperation::log);
  request.value[0] = how;
  send_line(request, std::string_view(text, text_length(text)));
}

// The thread whose last call was refused, while that is reported; 0: none.
std::atomic<int> refused_thread{0};

}  // namespace

long refuse(long error, const char* call, std::string_view about, const char* why) {
  const auto program = program_name();
  Text<512> line;
  line.add(program.view()).add('[').add_decimal(native::getpid()).add("]: cannot: ").add(call);
  line.add('(').add(about.substr(0, 256)).add("): ").add(why).add(" (errno ").add_decimal(-error).add(')');
  abi::LeaderRequest request;
  start_request(request, abi::LeaderOperation::log);
  set_field(request.source, program.view());
  set_field(request.type, std::string_view(call, text_length(call)));
  set_field(request.path, std::string_view(why, text_length(why)));
  request.value[1] = static_cast<uint32_t>(-error);
  send_line(request, line.view());
  if (reporting()) refused_thread = native::gettid();
  return error;
}

void tell_what_follows(long nr) {
  int thread = refused_thread.load(std::memory_order_relaxed);
  if (thread == 0 || thread != native::gettid() || !refused_thread.compare_exchange_strong(thread, 0)) return;
  abi::LeaderRequest request;
  start_request(request, abi::LeaderOperation::log);
  request.value[0] = abi::log_next;
  request.value[1] = static_cast<uint32_t>(nr);
  send_line(request, "");
}

void log_line(const char* text) { send_line(text, 0); }
void tell_once(const char* text) { send_line(text, abi::log_once); }

}  // namespace fusewire::gate
