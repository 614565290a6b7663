#include "host/client.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <new>

#include "host/packet_socket.h"

namespace fusewire::host {
namespace {

// One load of a word that the client may change meanwhile.
template <typename T>
T once(T& word) {
  return std::atomic_ref<T>(word).load(std::memory_order_relaxed);
}

// The ring cannot shrink under us: a client that truncates it must fail, not kill the host by SIGBUS.
int make_ring() {
  UniqueFd ring(::memfd_create("fusewire-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!ring || ::ftruncate(ring.get(), abi::ring_bytes) != 0 ||
      ::fcntl(ring.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return -errno;
  return ring.release();
}

}  // namespace

std::shared_ptr<Client> Client::welcome(UniqueFd socket, uint32_t connection, uint32_t owner_uid) {
  std::shared_ptr<Client> client(new Client);
  if (!read_peer(socket.get(), client->credentials_) || !may_use(client->credentials_.uid, owner_uid)) return nullptr;
  UniqueFd ring(make_ring());
  client->doorbell_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (ring.get() < 0 || !client->doorbell_) return nullptr;
  void* memory = ::mmap(nullptr, abi::ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring.get(), 0);
  if (memory == MAP_FAILED) return nullptr;
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
  if (ring_) ::munmap(ring_, abi::ring_bytes);
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
                    .arg = {},
                    .entered = once(from.entered),
                    .nr = once(from.nr)};
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

}  // namespace fusewire::host
