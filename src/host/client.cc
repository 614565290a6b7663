#include "host/client.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <climits>
#include <fstream>
#include <new>
#include <string>
#include <utility>

#include "abi/leader_protocol.h"
#include "host/packet_socket.h"

namespace fusewire::host {
namespace {

// One load of a word that the client may change meanwhile.
template <typename T>
T once(T& word) {
  return std::atomic_ref<T>(word).load(std::memory_order_relaxed);
}

constexpr uint64_t area_bytes_of_client_max = 4 * abi::area_bytes_max;

// Shared memory cannot shrink under us: a client that truncates it must fail, not kill the host by SIGBUS.
int make_shared_memory(const char* name, uint64_t bytes) {
  UniqueFd memory(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory || ::ftruncate(memory.get(), static_cast<off_t>(bytes)) != 0 ||
      ::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return -errno;
  return memory.release();
}

// What the system could give away now, in bytes (MemAvailable); UINT64_MAX: it does not say.
uint64_t available_memory() {
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;) {
    if (word != "MemAvailable:") continue;
    uint64_t kilobytes = 0;
    return file >> kilobytes ? kilobytes * 1024 : UINT64_MAX;
  }
  return UINT64_MAX;
}

// A power of two, so that one area serves many transfers; less than asked for when memory is short: the transfer
// stands in memory a second time.
uint64_t area_size_for(uint64_t bytes) {
  uint64_t size = std::bit_ceil(std::clamp(bytes, abi::area_bytes_min, abi::area_bytes_max));
  const uint64_t available = available_memory();
  while (size > abi::area_bytes_min && size > available / 2) size /= 2;
  return size;
}

}  // namespace

std::shared_ptr<Client> Client::welcome(UniqueFd socket, Credentials peer, uint32_t connection) {
  std::shared_ptr<Client> client(new Client);
  const auto refuse = [&](int error) {
    (void)send_message(socket.get(), abi::LeaderReply{error, connection}, {}, MSG_DONTWAIT);
    return nullptr;
  };
  client->credentials_ = std::move(peer);
  UniqueFd ring(make_shared_memory("fusewire-ring", abi::ring_bytes));
  client->doorbell_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (ring.get() < 0 || !client->doorbell_) return refuse(-ENFILE);
  void* memory = ::mmap(nullptr, abi::ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring.get(), 0);
  if (memory == MAP_FAILED) return refuse(-ENOMEM);
  client->ring_ = memory;
  auto* header = ::new (memory) abi::RingHeader;
  header->magic = abi::call_magic, header->version = abi::call_version;
  header->slots = abi::slot_count, header->data_bytes = abi::slot_data_bytes;

  const abi::Welcome welcome{abi::call_magic, abi::call_version, connection, 0};
  const int fds[] = {ring.get(), client->doorbell_.get()};
  if (send_message(socket.get(), welcome, fds, MSG_DONTWAIT) < 0) return nullptr;
  client->socket_ = std::move(socket);
  return client;
}

Client::~Client() {
  for (uint32_t slot = 0; slot < abi::slot_count; ++slot) drop_area(slot);
  // Said aloud: whoever forked while he connected may have left a copy of our end with a child.
  if (socket_) ::shutdown(socket_.get(), SHUT_RDWR);
  if (ring_) ::munmap(ring_, abi::ring_bytes);
}

std::expected<UniqueFd, int> Client::make_area(uint32_t slot, uint64_t bytes) {
  drop_area(slot);
  const uint64_t size = area_size_for(bytes);
  if (size > area_bytes_of_client_max - area_bytes_) return std::unexpected(-ENOMEM);
  UniqueFd memory(make_shared_memory("fusewire-area", size));
  if (memory.get() < 0) return std::unexpected(memory.get());
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (at == MAP_FAILED) return std::unexpected(-ENOMEM);
  areas_[slot] = {static_cast<std::byte*>(at), size};
  area_bytes_ += size;
  return memory;
}

void Client::drop_area(uint32_t slot) {
  std::span<std::byte>& area = areas_[slot];
  if (area.empty()) return;
  ::munmap(area.data(), area.size());
  area_bytes_ -= area.size();
  area = {};
}

uint32_t Client::confirm_thread(uint32_t tid) {
  const uint32_t known = threads_.confirm(credentials_.pid, tid);
  // Ids of a user namespace are given once, some time after it was made.
  const bool waits_for_ids =
      credentials_.in_lower_namespace && (credentials_.uids.empty() || credentials_.gids.empty());
  const bool first = !std::exchange(called_, true) && known != credentials_.pid;
  if (first || waits_for_ids) read_thread(socket_.get(), credentials_, known);
  return known;
}

bool Client::has_submitted() const { return static_cast<abi::RingHeader*>(ring_)->submitted.load() != 0; }

void Client::set_watching(bool watching) const {
  static_cast<abi::RingHeader*>(ring_)->watching.store(watching ? 1 : 0);
}

uint64_t Client::take_submitted() {
  return static_cast<abi::RingHeader*>(ring_)->submitted.exchange(0, std::memory_order_acq_rel);
}

bool Client::is_submitted(uint32_t i) const {
  return abi::CallState{slot(i).state.load(std::memory_order_acquire)} == abi::CallState::submitted;
}

CallFields Client::copy_fields(uint32_t i) const {
  abi::Slot& from = slot(i);
  CallFields fields{.number = abi::CallNumber{once(from.number)},
                    .tid = once(from.tid),
                    .umask = once(from.umask),
                    .path1_length = once(from.path1_length),
                    .path2_length = once(from.path2_length),
                    .data_length = once(from.data_length),
                    .file = once(from.file),
                    .file2 = once(from.file2),
                    .root = once(from.root),
                    .arg = {},
                    .entered = once(from.entered),
                    .nr = once(from.nr),
                    .file_size_limit = once(from.file_size_limit),
                    .mount = once(from.mount),
                    .mount2 = once(from.mount2),
                    .shadow = once(from.shadow)};
  for (size_t a = 0; a < std::size(fields.arg); ++a) fields.arg[a] = once(from.arg[a]);
  return fields;
}

bool Client::interrupt_asked(uint32_t i) const { return slot(i).interrupt.load(std::memory_order_relaxed) != 0; }

std::span<std::byte> Client::data(uint32_t i) const {
  return {reinterpret_cast<std::byte*>(abi::ring_data(ring_, i)), abi::slot_data_bytes};
}

void Client::finish(uint32_t i) const {
  std::atomic<uint32_t>& state = slot(i).state;
  state.store(static_cast<uint32_t>(abi::CallState::done), std::memory_order_release);
  ::syscall(SYS_futex, &state, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

int Client::send_file(uint64_t token, uint32_t slot, int fd) const {
  const abi::FileMessage message{token, slot, 0};
  const int fds[] = {fd};
  const ssize_t sent = send_message(socket_.get(), message, fds, MSG_DONTWAIT);
  return sent < 0 ? static_cast<int>(sent) : 0;
}

void Client::lend_position(uint32_t position, uint64_t offset) const {
  const uint32_t number = (position - 1) % abi::ring_positions;
  if (offset > abi::position_max) return;
  abi::ring_position(ring_, number).store(abi::position_word(turn_[number], offset));
}

uint64_t Client::take_back_position(uint32_t position, uint64_t otherwise) const {
  const uint32_t number = (position - 1) % abi::ring_positions;
  const uint64_t word = abi::ring_position(ring_, number).exchange(abi::position_away);
  return (word & abi::position_away) != 0 ? otherwise : word & abi::position_max;
}

UniqueFd Client::take_socket(uint32_t slot) {
  for (;;) {
    abi::SocketMessage message{};
    Packet packet = receive_packet(socket_.get(), std::as_writable_bytes(std::span(&message, 1)), MSG_DONTWAIT);
    if (packet.size <= 0) break;
    if (packet.size == sizeof message && message.slot < abi::slot_count && packet.fds.size() == 1)
      sockets_[message.slot] = std::move(packet.fds[0]);
  }
  auto found = sockets_.extract(slot);
  return found ? std::move(found.mapped()) : UniqueFd();
}

}  // namespace fusewire::host
