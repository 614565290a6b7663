#include "host/host_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "host/packet_socket.h"

namespace fusewire::host {
namespace {

constexpr int events_per_turn = 64;
constexpr int clients_per_turn = 16;
constexpr int look_at_sockets_every_ms = 200;  // of a mount that is to end: nothing tells of their end
constexpr uint32_t leave_it = UINT32_MAX;
constexpr int look_for_deaths_every_ms = 100;

// Of two time-outs in ms; -1: none.
int sooner(int a, int b) { return a < 0 || (b >= 0 && b < a) ? b : a; }

uint64_t tag_of(uint32_t source, uint64_t key) { return key << 8 | source; }

bool is_past(uint64_t deadline) {
  timespec now;
  if (deadline == 0 || ::clock_gettime(CLOCK_MONOTONIC, &now) != 0) return false;
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec) > deadline;
}

UniqueFd copy_of(const UniqueFd& fd) { return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

}  // namespace

HostProcess::HostProcess(HostStart start)
    : start_(std::move(start)),
      traces_(start_.connection),
      host_(traces_),
      module_(host_),
      files_(start_.leader_pid, start_.connection),
      special_(copy_of(start_.objects), start_.leader_pid, start_.connection, start_.sockets_bound),
      watches_(std::move(start_.objects), start_.connection, files_),
      calls_(host_, files_, special_, watches_, start_.connection, start_.owner_uid) {}

HostProcess::~HostProcess() = default;

int HostProcess::set_up() {
  if (!module_.init()) return -ENOMEM;
  if (const int error = files_.start(); error < 0) return error;
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return -errno;
  const kernel::Result<kernel::Connection*> connection = module_.open_connection();
  if (!connection) return error_of(connection.error());
  connection_ = *connection;
  device_ = &connection_->device();
  if (!start_.trace_file.empty()) (void)traces_.start(start_.trace_file);
  connection_->set_tracing(traces_.on());
  const int device_fd = start_.device.get();
  door_ = std::make_unique<SocketDoor>(*device_, std::move(start_.device), start_.device_buffer);
  const int errors[] = {watch(start_.control.get(), EPOLLIN, Source::control),
                        watch(start_.clients.get(), EPOLLIN, Source::clients),
                        watch(device_fd, EPOLLIN, Source::device), watch(files_.event_fd(), EPOLLIN, Source::files),
                        watch(calls_.lock_owners().event_fd(), EPOLLIN, Source::deaths)};
  return *std::min_element(std::begin(errors), std::end(errors));
}

int HostProcess::watch(int fd, uint32_t events, Source source, uint64_t key) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag_of(static_cast<uint32_t>(source), key);
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

void HostProcess::serve() {
  publish();
  while (!is_over()) turn();
  shut_down();
}

bool HostProcess::is_over() { return leader_gone_ || (!device_ && !mount_); }

void HostProcess::turn() {
  // Calls that come one after the other are taken without a sleep between them. The rest is never kept waiting by them.
  const bool called = calls_.look();
  if (called) settle();
  // Somebody may wait for the lock of a process whose end no event tells, or for the end of a socket's mount.
  const bool must_look = calls_.calls() > 0 && calls_.lock_owners().must_look();
  int timeout = must_look ? look_for_deaths_every_ms : -1;
  if (unmounting_ && !special_.empty()) timeout = sooner(timeout, look_at_sockets_every_ms);
  timeout = sooner(timeout, lease_timeout());
  if (called && calls_.calls() == 0) timeout = 0;
  std::array<epoll_event, events_per_turn> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), events_per_turn, timeout);
  if (count == 0 && must_look) calls_.lock_owners().take_deaths();
  // Files closed before a call was made are released first: a daemon expects RELEASE before the UNLINK.
  for (const bool are_files : {true, false}) {
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      const auto source = static_cast<Source>(event.data.u64 & 0xff);
      if ((source == Source::files) == are_files) handle(source, event.data.u64 >> 8, event.events);
    }
  }
  settle();
}

// In ms until a lease ends by itself, -1: none does. Ends those whose time is over.
int HostProcess::lease_timeout() {
  // Asked at each turn, without the lock: nobody else drives the half.
  const uint64_t next = mount_ ? mount_->next_lease_end() : UINT64_MAX;
  if (next == UINT64_MAX) return -1;
  kernel::Connection::Entry entry(*connection_);
  const uint64_t now = host_.now();
  if (next <= now) mount_->expire_leases();
  constexpr uint64_t ms = 1'000'000, longest = 60'000;
  return next <= now ? 0 : static_cast<int>(std::min((next - now) / ms + 1, longest));
}

void HostProcess::handle(Source source, uint64_t key, uint32_t events) {
  switch (source) {
    case Source::control:
      return take_control();
    case Source::clients:
      return take_clients();
    case Source::device:
      if (door_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) door_->receive();
      return;
    case Source::files:
      return files_.take_events();
    case Source::deaths:
      return calls_.lock_owners().take_deaths();
    case Source::doorbell:
      if (calls_.has(key)) calls_.take(key);
      return;
    case Source::client:
      if (!calls_.has(key)) return;
      return drop_client(key);
  }
}

// Lets everything that this turn's events set going come to rest: callers are woken first, then the daemon is.
void HostProcess::settle() {
  do {
    calls_.answer_finished();
    if (door_) door_->pump();
  } while (calls_.answer_finished());

  if (door_ && door_->daemon_pid() != daemon_pid_) {
    daemon_pid_ = door_->daemon_pid();
    traces_.set_daemon_pid(daemon_pid_);
    tell(HostMessageKind::daemon_pid, daemon_pid_);
  }
  if (door_ && (door_->gone() || door_->connection_ended())) close_device();
  if (unmounting_ && mount_ && is_unused() && (!door_ || door_->idle())) finish_umount();
  if (door_ && door_->connection_ended()) close_device();
  if (door_) watch_device_for_room();
  calls_.tell_notices();
  publish();
  traces_.flush();
}

void HostProcess::watch_device_for_room() {
  if (door_->blocked() == watches_room_) return;
  watches_room_ = door_->blocked();
  epoll_event event{};
  event.events = EPOLLIN | (watches_room_ ? EPOLLOUT : 0u);
  event.data.u64 = tag_of(static_cast<uint32_t>(Source::device), 0);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, door_->fd(), &event);
}

void HostProcess::take_control() {
  HostRequest request;
  const Packet packet =
      receive_packet(start_.control.get(), std::as_writable_bytes(std::span(&request, 1)), MSG_DONTWAIT);
  if (packet.size == -EAGAIN) return;
  if (packet.size != sizeof request) {
    leader_gone_ = true;
    return;
  }
  request.text[sizeof request.text - 1] = '\0';
  HostMessage message = is_past(request.deadline) ? reply(-ETIMEDOUT) : carry_out(request);
  message.number = request.number;
  (void)send_message(start_.control.get(), message);
}

HostMessage HostProcess::carry_out(const HostRequest& request) {
  switch (request.operation) {
    case HostOperation::mount:
      return mount(request);
    case HostOperation::umount:
      return reply(umount(request));
    case HostOperation::remount:
      return remount(request);
    case HostOperation::attach:
      return attach(request);
    case HostOperation::bind:
      return bind(request);
    case HostOperation::attach_copy:
      return reply(attach_copy(request));
    case HostOperation::detach:
      return reply(detach(request.mount));
    case HostOperation::abort:
      abort();
      return reply(0);
    case HostOperation::set_limits:
      set_limits(request);
      return reply(0);
    case HostOperation::set_tracing:
      return reply(set_tracing(request));
  }
  return reply(-EINVAL);
}

bool HostProcess::is_busy() {
  files_.take_events();
  return !is_unused();
}

bool HostProcess::special_in_use() {
  if (special_.empty()) return false;
  kernel::Connection::Entry entry(*connection_);
  return special_.in_use();
}

bool HostProcess::is_unused() { return calls_.calls() == 0 && files_.size() == 0 && !special_in_use(); }

void HostProcess::drop_client(uint64_t key) {
  // The process and its children may hold the doorbell still: closing our end would not end the watch.
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, calls_.client(key).doorbell(), nullptr);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, calls_.client(key).socket(), nullptr);
  calls_.hang_up(key);
}

void HostProcess::drop_clients() {
  calls_.refuse_everything();
  for (const uint64_t key : calls_.keys()) drop_client(key);
}

void HostProcess::finish_umount() {
  drop_clients();
  calls_.set_mount(nullptr);
  files_.set_mount(nullptr);
  syscall::Mount& mount = *mount_;
  mount_ = nullptr;
  {
    kernel::Connection::Entry entry(*connection_);
    special_.release_all();
    watches_.release_all();
    mount.unmount();
  }
  if (!device_) connection_ = nullptr;
}

void HostProcess::close_device() {
  const bool was_mounted = mount_ != nullptr;
  door_.reset();
  device_->close();
  device_ = nullptr;
  if (!mount_) connection_ = nullptr;
  calls_.answer_finished();
  if (was_mounted && !end_told_) {
    end_told_ = true;
    tell(HostMessageKind::ended);
  }
}

void HostProcess::abort() {
  if (!connection_) return;
  kernel::Connection::Entry entry(*connection_);
  connection_->abort();
}

void HostProcess::set_limits(const HostRequest& request) {
  if (!connection_) return;
  kernel::Connection::Entry entry(*connection_);
  if (request.value[0] != leave_it) connection_->set_max_background(request.value[0]);
  if (request.value[1] != leave_it) connection_->limits().congestion_threshold = request.value[1];
}

int32_t HostProcess::set_tracing(const HostRequest& request) {
  int error = 0;
  if (request.value[0] != 0)
    error = traces_.start(request.text);
  else
    traces_.stop();
  if (!connection_) return error;
  kernel::Connection::Entry entry(*connection_);
  connection_->set_tracing(traces_.on());
  return error;
}

void HostProcess::tell(HostMessageKind kind, uint32_t value) {
  (void)send_message(start_.control.get(), HostMessage{.kind = kind, .value = value}, {}, MSG_DONTWAIT);
}

// Some at a time: those that are served already must not wait for a crowd that comes.
void HostProcess::take_clients() {
  for (int i = 0; i < clients_per_turn; ++i) {
    std::byte nothing[1];
    Packet packet = receive_packet(start_.clients.get(), nothing, MSG_DONTWAIT);
    if (packet.size < 0) return;
    if (packet.size == 0) {
      // The leader is going: its control socket says so.
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, start_.clients.get(), nullptr);
      return;
    }
    // The kernel closes what there is no descriptor for, and whoever asked sees the end of his socket.
    if (packet.fds.empty())
      start_.log.line(fmt::format("cannot: connection {}: no descriptors left for another program", start_.connection));
    else
      add_client(std::move(packet.fds[0]));
  }
}

void HostProcess::add_client(UniqueFd socket) {
  const uint64_t key = calls_.add(std::move(socket));
  if (key == 0) return;
  const Client& client = calls_.client(key);
  if (watch(client.socket(), EPOLLRDHUP, Source::client, key) < 0 ||
      watch(client.doorbell(), EPOLLIN | EPOLLET, Source::doorbell, key) < 0)
    calls_.hang_up(key);
}

void HostProcess::publish() {
  abi::MountStatistics* statistics = start_.statistics;
  if (!statistics || !connection_) return;
  const auto put = [](auto& to, auto value) {
    if (to.load(std::memory_order_relaxed) != value) to.store(value, std::memory_order_relaxed);
  };
  const kernel::Counters& counters = connection_->counters();
  put(statistics->requests, counters.requests.load(std::memory_order_relaxed));
  put(statistics->replies, counters.replies.load(std::memory_order_relaxed));
  put(statistics->rejected, counters.rejected.load(std::memory_order_relaxed));
  put(statistics->forgets, counters.forgets.load(std::memory_order_relaxed));
  put(statistics->hits, calls_.hits());
  put(statistics->names, mount_ ? mount_->cached_names() : 0);
  put(statistics->inodes, mount_ ? mount_->cached_inodes() : 0);
  put(statistics->cache_bytes, host_.bytes_out() + (mount_ ? calls_.view_bytes(*mount_) : 0));
  put(statistics->waiting, counters.waiting.load(std::memory_order_relaxed));
  put(statistics->max_background, connection_->limits().max_background);
  put(statistics->congestion_threshold, connection_->limits().congestion_threshold);
  put(statistics->open_files, static_cast<uint32_t>(files_.size()));
}

void HostProcess::shut_down() {
  abort();
  drop_clients();
  calls_.answer_finished();
  files_.release_all();
  if (mount_) finish_umount();
  if (device_) close_device();
  // Calls that even the end of their connection could not end would be a bug of the half; their memory is in use.
  if (calls_.calls() == 0) module_.exit();
}

}  // namespace fusewire::host
