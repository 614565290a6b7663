// The leader's end of the line (leader_protocol.h): requests of processes inside, and clients handed on to hosts.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "leader/leader.h"

namespace fusewire::leader {
namespace {

constexpr int requests_per_turn = 16;
constexpr size_t waiting_clients_max = 1024;

void send_reply(int fd, const abi::LeaderReply& reply, const UniqueFd& attached = UniqueFd()) {
  const int fds[] = {attached.get()};
  (void)host::send_message(fd, reply, attached ? std::span<const int>(fds) : std::span<const int>(), MSG_DONTWAIT);
}

}  // namespace

void Leader::terminate_fields(abi::LeaderRequest& request) {
  for (const std::span<char> field :
       {std::span<char>(request.path), std::span<char>(request.point), std::span<char>(request.source),
        std::span<char>(request.type), std::span<char>(request.options)})
    field.back() = '\0';
}

int Leader::make_line() {
  if (const int error = host::packet_pair(line_, programs_line_); error < 0) return error;
  const int on = 1;
  if (::setsockopt(line_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) return -errno;
  (void)host::raise_buffers(line_.get());
  (void)host::raise_buffers(programs_line_.get());
  return 0;
}

void Leader::serve_line() {
  for (int i = 0; i < requests_per_turn; ++i) {
    abi::LeaderRequest request;
    host::Packet packet =
        host::receive_packet(line_.get(), std::as_writable_bytes(std::span(&request, 1)), MSG_DONTWAIT);
    if (packet.size < 0) return;
    if (packet.size != sizeof request) continue;
    terminate_fields(request);
    if (!packet.fds.empty()) {
      UniqueFd asker = std::move(packet.fds[0]);
      serve_asker(request, packet, std::move(asker));
    } else if (abi::LeaderOperation{request.operation} == abi::LeaderOperation::log) {
      log_of_process(packet.sender_pid, request);
    }
  }
}

void Leader::serve_asker(abi::LeaderRequest& request, host::Packet& packet, UniqueFd asker) {
  const auto operation = abi::LeaderOperation{request.operation};
  host::Credentials peer;
  // A socket that somebody else made would speak for him.
  if (!host::is_unnamed_pair(asker.get()) || !host::read_peer(asker.get(), peer) || peer.pid != packet.sender_pid)
    return send_reply(asker.get(), {-EACCES, request.connection});
  if (operation == abi::LeaderOperation::reach_host) return reach_host(request.connection, std::move(asker));
  if (const int error = check_right(request, peer); error < 0)
    return send_reply(asker.get(), {error, request.connection});
  begin(request, peer, packet.fds.size() > 1 ? std::move(packet.fds[1]) : UniqueFd(), {std::move(asker), false});
}

// Removed before anybody gets it, so that not even root can make a file in it; anybody may stand in it.
UniqueFd Leader::make_nowhere(const std::string& name) const {
  if (!name.starts_with(abi::void_name) || name == abi::void_name || name.find('/') != std::string::npos) {
    errno = EINVAL;
    return {};
  }
  const std::string path = directory_ + "/" + name;
  if (::mkdir(path.c_str(), 0555) != 0 && errno != EEXIST) return {};
  ::chmod(path.c_str(), 0555);
  UniqueFd nowhere(::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  ::rmdir(path.c_str());
  return nowhere;
}

void Leader::reach_host(uint32_t id, UniqueFd asker) {
  Connection* connection = find(id);
  if (!connection || !connection->clients) return send_reply(asker.get(), {-ENOTCONN, id});
  if (connection->waiting.size() >= waiting_clients_max) return send_reply(asker.get(), {-ENFILE, id});
  connection->waiting.push_back(std::move(asker));
  hand_on_clients(*connection);
}

// What does not fit waits until the host has taken some: a host that sleeps must not hold the leader up.
void Leader::hand_on_clients(Connection& connection) {
  while (!connection.waiting.empty()) {
    const int fds[] = {connection.waiting.front().get()};
    const ssize_t sent = host::send_message(connection.clients.get(), std::byte{}, fds, MSG_DONTWAIT);
    if (sent == -EAGAIN) return;
    if (sent < 0) send_reply(fds[0], {-ENOTCONN, connection.id});
    connection.waiting.pop_front();
  }
}

}  // namespace fusewire::leader
