#include "leader/view.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "abi/leader_protocol.h"
#include "host/packet_socket.h"

namespace fusewire::leader {
namespace {

constexpr int answer_milliseconds = 60'000;
constexpr char views_variable[] = "FUSEWIRE_VIEWS";

template <class Answer>
int receive(int socket, Answer& answer, UniqueFd* attached = nullptr) {
  if (!host::wait_readable(socket, answer_milliseconds)) return -ETIMEDOUT;
  host::Packet packet = host::receive_packet(socket, std::as_writable_bytes(std::span(&answer, 1)));
  if (packet.size < 0) return static_cast<int>(packet.size);
  if (packet.size != sizeof answer) return -ENOTCONN;
  if (attached && !packet.fds.empty()) *attached = std::move(packet.fds[0]);
  return answer.error;
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  for (ssize_t n; (n = ::read(fd, buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<size_t>(n));
  return text;
}

}  // namespace

std::expected<std::optional<View>, std::string> View::open(const RunOptions& options) {
  UniqueFd socket(static_cast<int>(::syscall(SYS_setns, -1, abi::view_open)));
  // The kernel's word: there is no gate. (Where a filter refuses setns, neither.)
  if (!socket && (errno == EBADF || errno == EPERM || errno == ENOSYS)) return std::nullopt;
  abi::LeaderReply reply{};
  const int error = socket ? receive(socket.get(), reply) : -errno;
  if (error < 0)
    return std::unexpected(
        fmt::format("cannot run inside the namespace that this process stands in: {}", std::strerror(-error)));
  View view(std::move(socket), reply.connection);
  if (const auto set = view.set_up(options); !set) return std::unexpected(set.error());
  return view;
}

std::expected<void, std::string> View::set_up(const RunOptions& options) {
  if (options.trace_file.empty() && !options.report) return {};
  abi::LeaderRequest request{};
  request.operation = static_cast<uint32_t>(abi::LeaderOperation::set_up_view);
  request.value[0] = options.report ? 1 : 0;
  if (options.trace_file.size() >= sizeof request.options)
    return std::unexpected("the trace file's path is too long: " + options.trace_file);
  std::copy(options.trace_file.begin(), options.trace_file.end(), request.options);
  abi::LeaderReply reply{};
  int error = static_cast<int>(host::send_message(socket_.get(), request));
  if (error >= 0) error = receive(socket_.get(), reply);
  if (error >= 0) return {};
  return std::unexpected(fmt::format("cannot trace inside the namespace that this process stands in: {}{}",
                                     std::strerror(-error),
                                     error == -EPERM ? " (only the namespace's own user may)" : ""));
}

int View::enter(const RunOptions& options) const {
  const uint32_t how = options.native_setid ? abi::view_native_setid : 0;
  if (::syscall(SYS_setns, -1, abi::view_enter, id_, how) != 0) return errno;
  const char* outer = std::getenv(views_variable);
  ::setenv(views_variable, fmt::format("{}{}{}", outer ? outer : "", outer ? "," : "", id_).c_str(), 1);
  return 0;
}

std::set<pid_t> View::end(std::string& report) {
  abi::LeaderRequest request{};
  request.operation = static_cast<uint32_t>(abi::LeaderOperation::end_view);
  abi::ViewEnd end{};
  UniqueFd file;
  // A leader that is gone has taken the mounts with it.
  if (host::send_message(socket_.get(), request) < 0 || receive(socket_.get(), end, &file) < 0) end.count = 0;
  if (file) report = read_all(file.get());
  std::set<pid_t> daemons;
  for (uint32_t i = 0; i < std::min(end.count, abi::mount_entries); ++i)
    daemons.insert(static_cast<pid_t>(end.daemon[i]));
  return daemons;
}

}  // namespace fusewire::leader
