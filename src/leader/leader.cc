#include "leader/leader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "host/credentials.h"
#include "leader/file_size_limit.h"
#include "leader/host_spawner.h"
#include "leader/signal_setting.h"

namespace fusewire::leader {
namespace {

constexpr int messages_per_turn = 16;  // of one host

// Without a descriptor, errno says why.
UniqueFd make_memory(const char* name, uint64_t bytes) {
  const NoFileSizeLimit none;
  UniqueFd memory(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (memory && ::ftruncate(memory.get(), static_cast<off_t>(bytes)) != 0) return {};
  return memory;
}

// The names of symlinks in the root.
void write_links(abi::HashSet& links) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/", error))
    if (entry.is_symlink(error)) links.add(abi::hash_of(std::string_view(entry.path().filename().native())));
}

}  // namespace

Leader::Leader(std::string directory, MountTableFile table, UniqueFd listener, UniqueFd signals, host::Log log)
    : directory_(std::move(directory)),
      table_(std::move(table)),
      listener_(std::move(listener)),
      signals_(std::move(signals)),
      log_(std::move(log)) {}

std::expected<std::unique_ptr<Leader>, std::string> Leader::create(const std::string& directory,
                                                                   const RunOptions& options) {
  auto table = MountTableFile::create(directory + "/" + abi::mount_table_name);
  if (!table) return std::unexpected(table.error());
  const std::string socket_path = directory + "/" + abi::leader_socket_name;
  UniqueFd listener(host::listen_at(socket_path));
  if (listener.get() < 0)
    return std::unexpected(fmt::format("cannot listen at {}: {}", socket_path, std::strerror(-listener.get())));
  const std::string log_path = directory + "/" + abi::log_name;
  UniqueFd log(::open(log_path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!log) return std::unexpected(fmt::format("cannot open the log {}: {}", log_path, std::strerror(errno)));
  sigset_t taken;
  sigemptyset(&taken);
  // A blocked signal is read even when it is ignored: what nohup ignores must not be asked for.
  for (const int signal : {SIGCHLD, SIGTERM, SIGHUP})
    if (!is_ignored(signal)) sigaddset(&taken, signal);
  ::sigprocmask(SIG_BLOCK, &taken, nullptr);
  UniqueFd signals(::signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) return std::unexpected(fmt::format("cannot make a signalfd: {}", std::strerror(errno)));

  std::unique_ptr<Leader> leader(new Leader(directory, std::move(*table), std::move(listener), std::move(signals),
                                            host::Log(std::move(log), options.verbose)));
  if (const int error = leader->make_line(); error < 0)
    return std::unexpected(fmt::format("cannot make a socket pair: {}", std::strerror(-error)));
  leader->verbose_ = options.verbose;
  write_links(leader->table_.table().covered.links);
  struct stat status;
  if (const UniqueFd memory = make_memory("fusewire-probe", 0); memory && ::fstat(memory.get(), &status) == 0)
    leader->table_.table().memory_device = status.st_dev;
  leader->table_.table().mount_namespace = mount_namespace_of("/proc/self/ns/mnt");
  leader->table_.table().reporting.store(options.report ? 1 : 0);
  leader->table_.table().view_after.store(options.view_after);
  leader->trace_file_ = options.trace_file;
  leader->table_.table().tracing.store(options.trace_file.empty() ? 0 : 1);
  return leader;
}

void Leader::note_gate_file(const GateFile& file) {
  struct stat status;
  if (::fstat(file.fd.get(), &status) != 0) return;
  abi::MountTable& table = table_.table();
  table.gate_device = status.st_dev;
  table.gate_inode = status.st_ino;
  table.prepared_codes = static_cast<uint32_t>(file.codes.size());
  std::ranges::copy(file.codes, table.prepared_code);
}

void Leader::serve(pid_t command) {
  command_ = command;
  while (!command_ended_ && ending_signal_ == 0) turn(-1);
}

void Leader::turn(int milliseconds) {
  std::vector<pollfd> fds{{signals_.get(), POLLIN, 0},
                          {listener_.get(), POLLIN, 0},
                          {line_.get(), POLLIN, 0},
                          {covered_.changes(), POLLIN, 0}};
  const size_t peers_from = fds.size();
  for (const auto& [fd, socket] : peers_) fds.push_back({fd, POLLIN, 0});
  const size_t hosts_from = fds.size();
  std::vector<uint32_t> ids;
  for (const auto& [id, connection] : connections_) {
    if (!connection.control) continue;
    fds.push_back({connection.control.get(), POLLIN, 0});
    ids.push_back(id);
  }
  const size_t doors_from = fds.size();
  for (const auto& [id, connection] : connections_) {
    if (connection.waiting.empty()) continue;
    fds.push_back({connection.clients.get(), POLLOUT, 0});
    ids.push_back(id);
  }
  const size_t views_from = fds.size();
  for (const auto& [id, view] : views_) {
    fds.push_back({view.socket.get(), POLLIN, 0});
    ids.push_back(id);
  }
  const size_t namespaces_from = fds.size();
  for (const auto& [inode, process] : namespaces_) fds.push_back({process.get(), POLLIN, 0});
  const int ready = ::poll(fds.data(), fds.size(), until_next_end(milliseconds));
  if (ready <= 0) return expire_questions();
  // Before anybody hears that what was done in a covered directory is done.
  if (fds[3].revents) look_at_covered();
  // What hosts say comes first: an umount that a peer asks for must know that the daemon is gone.
  for (size_t i = hosts_from; i < views_from; ++i) {
    Connection* connection = fds[i].revents ? find(ids[i - hosts_from]) : nullptr;
    if (connection && i >= doors_from) hand_on_clients(*connection);
    if (connection && i < doors_from && connection->control) read_host(*connection);
  }
  for (size_t i = peers_from; i < hosts_from; ++i)
    if (fds[i].revents) serve_peer(fds[i].fd);
  for (size_t i = views_from; i < namespaces_from; ++i)
    if (fds[i].revents) serve_view(ids[i - hosts_from]);
  for (size_t i = namespaces_from; i < fds.size(); ++i)
    if (fds[i].revents) look_after_namespace(fds[i].fd);
  if (fds[2].revents) serve_line();
  if (fds[1].revents) accept_peer();
  if (fds[0].revents) take_signals();
  expire_questions();
}

void Leader::accept_peer() {
  UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  // Without descriptors the queue cannot be emptied: it must not wake us for ever.
  if (!socket && (errno == EMFILE || errno == ENFILE)) {
    spare_.reset();
    UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)).reset();
    spare_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    return log_.line("cannot: serve another program: no descriptors left");
  }
  host::Credentials peer;
  if (!socket || !host::read_peer(socket.get(), peer) || !host::may_use(peer.uid, ::geteuid())) return;
  const int fd = socket.get();
  peers_.insert_or_assign(fd, std::move(socket));
}

void Leader::serve_peer(int fd) {
  abi::LeaderRequest request;
  host::Credentials peer;
  host::Packet packet = host::receive_packet(fd, std::as_writable_bytes(std::span(&request, 1)), MSG_DONTWAIT);
  if (packet.size == -EAGAIN) return;
  if (packet.size != sizeof request || !host::read_peer(fd, peer)) {
    peers_.erase(fd);
    return;
  }
  terminate_fields(request);
  if (abi::LeaderOperation{request.operation} == abi::LeaderOperation::reach_host && !packet.fds.empty()) {
    UniqueFd asker = std::move(packet.fds[0]);
    packet.sender_pid = peer.pid;
    return serve_asker(request, packet, std::move(asker));
  }
  Asker asker{std::move(peers_.at(fd)), true};
  peers_.erase(fd);
  begin(request, peer, packet.fds.empty() ? UniqueFd() : std::move(packet.fds[0]), std::move(asker));
}

void Leader::begin(const abi::LeaderRequest& request, const host::Credentials& peer, UniqueFd attached, Asker asker) {
  if (const int error = watch_namespace(request, peer.pid); error < 0) return answer(asker, {error, 0});
  if (!needs_twin(request)) return carry_out(request, peer, attached.get(), std::move(asker));
  twin(request, [this, asked = request, peer, attached = std::move(attached), asker = std::move(asker)](
                    int error, uint32_t mount) mutable {
    if (error < 0) {
      log_.line(fmt::format("cannot: give another mount namespace its own copy of a mount: {}", std::strerror(-error)));
      return answer(asker, {error, 0});
    }
    asked.mount = mount;
    carry_out(asked, peer, attached.get(), std::move(asker));
  });
}

void Leader::carry_out(const abi::LeaderRequest& request, const host::Credentials& peer, int attached, Asker asker) {
  switch (abi::LeaderOperation{request.operation}) {
    case abi::LeaderOperation::open_device: {
      UniqueFd device;
      const abi::LeaderReply reply = open_device(peer.pid, peer.uid, request.view, device);
      return answer(asker, reply, device);
    }
    case abi::LeaderOperation::mount:
      return mount(request, peer, attached, std::move(asker));
    case abi::LeaderOperation::bind:
      return bind(request, std::move(asker));
    case abi::LeaderOperation::move:
      return move(request, std::move(asker));
    case abi::LeaderOperation::umount:
      return umount(request, std::move(asker));
    case abi::LeaderOperation::remount:
      return remount(request, std::move(asker));
    case abi::LeaderOperation::abort:
      return forward(request.connection, {.operation = host::HostOperation::abort}, std::move(asker));
    case abi::LeaderOperation::set_limits:
      return forward(request.connection,
                     {.operation = host::HostOperation::set_limits, .value = {request.value[0], request.value[1], 0}},
                     std::move(asker));
    case abi::LeaderOperation::set_tracing:
      return set_tracing(request, std::move(asker));
    case abi::LeaderOperation::open_drop_in: {
      const UniqueFd program(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
      return answer(asker, {program ? 0 : -errno, request.connection}, program);
    }
    case abi::LeaderOperation::open_void: {
      const UniqueFd nowhere = make_nowhere(request.path);
      return answer(asker, {nowhere ? 0 : -errno, request.connection}, nowhere);
    }
    case abi::LeaderOperation::memory: {
      const UniqueFd memory = make_memory(request.path, request.token);
      return answer(asker, {memory ? 0 : -errno, request.connection}, memory);
    }
    case abi::LeaderOperation::native_mounts_changed:
      link_namespaces(request);
      count_native_change();
      return answer(asker, {0, 0});
    case abi::LeaderOperation::directory_renamed:
      return follow_directory(request, std::move(asker));
    case abi::LeaderOperation::open_view:
      return open_view(request.view, peer, std::move(asker));
    case abi::LeaderOperation::reach_host:
    case abi::LeaderOperation::set_up_view:
    case abi::LeaderOperation::end_view:
      break;
    case abi::LeaderOperation::log:
      log_of_process(peer.pid, request);
      return answer(asker, {0, request.connection});
  }
  answer(asker, {-EINVAL, request.connection});
}

// Programs that meet the same refusal a thousand times must not fill the disk.
void Leader::log_of_process(uint32_t pid, const abi::LeaderRequest& request) {
  report_.take(pid, request);
  for (uint32_t at = request.view; views_.contains(at); at = views_.at(at).parent)
    if (views_.at(at).report) views_.at(at).report->take(pid, request);
  if (request.value[0] == abi::log_next) return;
  if (request.value[0] == abi::log_once) return tell_once(request.options);
  for (const std::string& line : log_limit_.take(pid, request.options, Clock::now())) log_.line(line);
}

void Leader::tell_once(std::string_view text) {
  constexpr size_t remembered_max = 1000;
  if (told_.size() >= remembered_max || !told_.emplace(text).second) return;
  log_.line(text);
  if (verbose_) return;  // it is on stderr already
  fmt::print(stderr, "fusewire: {}\n", host::printable(text));
}

void Leader::answer(Asker& asker, const abi::LeaderReply& reply, const UniqueFd& attached) {
  const int fd = asker.socket.get();
  const int fds[] = {attached.get()};
  const ssize_t sent =
      host::send_message(fd, reply, attached ? std::span<const int>(fds) : std::span<const int>(), MSG_DONTWAIT);
  if (sent >= 0 && asker.stays) peers_.insert_or_assign(fd, std::move(asker.socket));
  asker.socket.reset();
}

void Leader::take_signals() {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCHLD)
      reap();
    else if (ending_signal_ == 0)
      ending_signal_ = signal;
    // Unless the command still says otherwise.
    if (signal != SIGCHLD && !command_ended_) command_status_ = signal;
  }
}

void Leader::reap() {
  int status;
  for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid == command_) {
      command_ended_ = true;
      command_status_ = status;
    }
    for (auto& [id, connection] : connections_) {
      if (connection.host != pid) continue;
      if (status != 0)
        log_.line(fmt::format("cannot: connection {}: its host process ended, status {:#x}", id, status));
      host_ended(connection);
      break;
    }
  }
}

Leader::Connection* Leader::find(uint32_t id) {
  auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : &found->second;
}

const Leader::MountRecord* Leader::find_mount(uint32_t id) const {
  const auto found = mounts_.find(id);
  return found == mounts_.end() ? nullptr : &found->second;
}

// In another mount namespace one path may lead to several mount points.
bool Leader::is_same_point(const abi::LeaderRequest& request, const MountRecord& mount) const {
  const abi::MountEntry& entry = table_.table().entry[mount.entry];
  if (request.point_inode == 0 || entry.point_inode == 0) return true;
  return request.point_inode == entry.point_inode && request.point_device == entry.point_device;
}

// Of those at one path the one counts that covers the others: of the innermost view, and there the newest.
const Leader::MountRecord* Leader::find_mount(const abi::LeaderRequest& request) const {
  if (request.mount != 0) return find_mount(request.mount);
  const MountRecord* top = nullptr;
  for (const auto& [id, each] : mounts_) {
    const bool fits = sees(request.view, each.view) && std::string_view(request.path) == path_of(each) &&
                      is_same_point(request, each);
    if (fits && (!top || top->view <= each.view)) top = &each;
  }
  return top;
}

bool Leader::is_mounted(uint32_t connection) const {
  return std::any_of(mounts_.begin(), mounts_.end(),
                     [&](const auto& each) { return each.second.connection == connection; });
}

std::vector<uint32_t> Leader::tree_of(uint32_t mount) const {
  std::vector<uint32_t> tree{mount};
  // What stands in another mount is younger, unless it was moved there.
  for (size_t i = 0; i < tree.size(); ++i)
    for (const auto& [id, each] : mounts_)
      if (each.parent == tree[i]) tree.push_back(id);
  return tree;
}

void Leader::read_host(Connection& connection) {
  for (int i = 0; i < messages_per_turn; ++i) {
    host::HostMessage message;
    const host::Packet packet =
        host::receive_packet(connection.control.get(), std::as_writable_bytes(std::span(&message, 1)), MSG_DONTWAIT);
    if (packet.size == -EAGAIN) return;
    if (packet.size != sizeof message) {
      // The host is ending; SIGCHLD says when it has.
      const uint32_t id = connection.id;
      connection.control.reset();
      return give_up_questions(id);
    }
    if (message.kind == host::HostMessageKind::reply) {
      const uint32_t id = connection.id;
      take_answer(message);
      // What waited for the answer may have removed the connection.
      if (Connection* still = find(id); !still || !still->control) return;
      continue;
    }
    take_host_message(connection, message);
  }
}

void Leader::take_host_message(Connection& connection, const host::HostMessage& message) {
  if (message.kind == host::HostMessageKind::daemon_pid) connection.daemon_pid = message.value;
  table_.change([&](abi::MountTable&) {
    if (message.kind == host::HostMessageKind::daemon_pid) entry_of(connection).daemon_pid = message.value;
    if (message.kind == host::HostMessageKind::ended) mark_ended(connection.id);
  });
}

void Leader::mark_ended(uint32_t connection) {
  for (const auto& [id, mount] : mounts_)
    if (mount.connection == connection) entry_of(mount).state = static_cast<uint32_t>(abi::MountState::ended);
}

void Leader::host_ended(Connection& connection) {
  const uint32_t id = connection.id;
  connection.host = -1;
  // What it said before it ended counts.
  if (connection.control) read_host(connection);
  if (!find(id)) return;
  connection.control.reset();
  connection.clients.reset();
  // Whoever waits sees the end of his socket.
  connection.waiting.clear();
  give_up_questions(id);
  if (!find(id)) return;
  table_.change([&](abi::MountTable&) {
    mark_ended(id);
    entry_of(connection).host_pid = 0;
    if (!is_mounted(id)) entry_of(connection).in_use = 0;
  });
  if (!is_mounted(id)) connections_.erase(id);
}

}  // namespace fusewire::leader
