#include "host/call_server.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "abi/leader_protocol.h"
#include "host/call_table.h"
#include "host/packet_socket.h"

namespace fusewire::host {
namespace {

constexpr size_t blank_calls_kept = 64;
constexpr size_t clients_looked_at = 8;

bool has_second_cpu() {
  cpu_set_t cpus;
  return ::sched_getaffinity(0, sizeof cpus, &cpus) != 0 || CPU_COUNT(&cpus) > 1;
}

bool may_remove_names(abi::CallNumber number) {
  return number == abi::CallNumber::unlinkat || number == abi::CallNumber::renameat2;
}

void fill_caller(Call& call) {
  const uint32_t thread = call.client->confirm_thread(call.fields.tid);
  const Credentials& who = call.client->credentials();
  kernel::Caller& caller = call.caller;
  caller = {};
  caller.uid = who.fsuid, caller.ruid = who.ruid, caller.euid = who.uid, caller.suid = who.suid;
  caller.gid = who.fsgid, caller.rgid = who.rgid, caller.egid = who.gid, caller.sgid = who.sgid;
  caller.groups = who.groups;
  caller.pid = thread;
  caller.tgid = who.pid;
  caller.umask = call.fields.umask & 0777;
  caller.capabilities = who.capabilities;
  caller.permitted = who.permitted;
  call.user_namespace = {who.uids, who.gids, who.root};
  caller.lower = who.in_lower_namespace ? &call.user_namespace : nullptr;
  caller.file_size_limit = call.fields.file_size_limit - 1;  // 0: none, which is UINT64_MAX
  caller.lock_owner = call.client->lock_owner->id;
}

bool is_on_lock(abi::CallNumber number) { return number == abi::CallNumber::setlk || number == abi::CallNumber::getlk; }

}  // namespace

CallServer::CallServer(ProcessHost& host, FileRegistry& files, SpecialFiles& special, Watches& watches,
                       uint32_t connection, uint32_t owner_uid)
    : host_(host),
      files_(files),
      special_(special),
      watches_(watches),
      connection_id_(connection),
      owner_uid_(owner_uid),
      spin_(has_second_cpu()),
      lock_owners_([this](uint64_t owner) { release_locks(owner); }) {}

uint64_t CallServer::add(UniqueFd socket) {
  Credentials peer;
  const auto refuse = [&](int error) {
    (void)send_message(socket.get(), abi::LeaderReply{error, connection_id_}, {}, MSG_DONTWAIT);
    return uint64_t{0};
  };
  if (!read_peer(socket.get(), peer)) return refuse(-ENOTCONN);
  if (!has_room_for(peer.uid)) return refuse(-ENFILE);
  std::shared_ptr<Client> client = Client::welcome(std::move(socket), std::move(peer), connection_id_);
  if (!client) return 0;
  client->lock_owner = lock_owners_.join(client->credentials(), client->socket(), host_.random());
  const uint64_t key = client->key = next_key_++;
  clients_.emplace(key, std::move(client));
  return key;
}

// Anybody may come in: the half judges each call by its caller's ids, and a file by the right to its token. Other users
// must leave descriptors for the owner, and for each other.
bool CallServer::has_room_for(uint32_t uid) const {
  constexpr rlim_t share = 8;
  rlimit limit;
  if (may_use(uid, owner_uid_) || ::getrlimit(RLIMIT_NOFILE, &limit) != 0) return true;
  const auto of_user = [uid](const auto& client) { return client.second->credentials().uid == uid; };
  return static_cast<rlim_t>(std::count_if(clients_.begin(), clients_.end(), of_user)) < limit.rlim_cur / share;
}

void CallServer::forget(const Client& client) { lock_owners_.leave(client.lock_owner, client.credentials().pid); }

void CallServer::release_locks(uint64_t owner) {
  if (!mount_) return;
  kernel::Connection::Entry entry(mount_->connection());
  mount_->release_locks(owner);
}

void CallServer::take(uint64_t key) {
  const std::shared_ptr<Client> client = clients_.at(key);
  uint64_t submitted = client->take_submitted();
  for (; submitted != 0; submitted &= submitted - 1) begin(client, static_cast<uint32_t>(std::countr_zero(submitted)));
  if (client->calls == 0) return;
  for (Call* call : client->in_flight) {
    if (!call || call->interrupted || !client->interrupt_asked(call->slot)) continue;
    call->interrupted = true;
    kernel::Connection::Entry entry(call->mount->connection());
    call->mount->connection().interrupt(call->caller);
  }
}

bool CallServer::is_anything_submitted() const {
  return std::any_of(clients_.begin(), clients_.end(), [](const auto& c) { return c.second->has_submitted(); });
}

bool CallServer::look() {
  if (calls_ > 0 || clients_.empty() || clients_.size() > clients_looked_at) return false;
  for (const auto& [key, client] : clients_) client->set_watching(true);
  spin_.until([this] { return is_anything_submitted(); }, [] { ::sched_yield(); });
  for (const auto& [key, client] : clients_) client->set_watching(false);
  if (!is_anything_submitted()) return false;
  // As HostProcess::turn.
  if (files_.size() > 0) files_.take_events();
  for (const auto& [key, client] : clients_) take(key);
  return true;
}

void CallServer::begin(const std::shared_ptr<Client>& client, uint32_t slot) {
  if (client->in_flight[slot] || !client->is_submitted(slot)) return;
  if (!mount_) return answer_at_once(*client, slot, -ENOTCONN);
  ++begun_;
  std::unique_ptr<Call> call = take_blank();
  call->client = client;
  call->slot = slot;
  call->fields = client->copy_fields(slot);
  // Who has seen a process end finds its locks gone.
  if (is_on_lock(call->fields.number)) lock_owners_.take_deaths();
  const int error = prepare(*call);
  if (error < 0) {
    ++refused_;
    answer_at_once(*client, slot, error);
    for (RegisteredFile* file : {call->file, call->file2, call->root}) unuse(file);
    call->client.reset();
    call->socket.reset();
    blank_.push_back(std::move(call));
    return;
  }
  client->in_flight[slot] = call.get();
  ++client->calls;
  ++calls_;
  start(*call.release());
}

int CallServer::prepare(Call& call) {
  call.file = call.file2 = call.root = nullptr;
  call.info = find_call(call.fields.number);
  if (!call.info) return -EINVAL;
  if (const int error = copy_arguments(call); error < 0) return error;
  if (!take_files(call)) return static_cast<int>(abi::stale_token);
  if (call.fields.root != 0 && !(call.root = files_.use(call.fields.root, call.client->key))) return -ENOENT;
  call.leave = {};
  call.leave.storage = call.leave_storage;
  call.output = 0;
  call.opened = nullptr;
  call.shadow = call.inode_row = call.position = 0;
  call.mount = mount_;
  call.special = &special_;
  call.watches = &watches_;
  call.notices = &notices_;
  call.view = &view_;
  if (call.fields.number == abi::CallNumber::bind_socket) call.socket = call.client->take_socket(call.slot);
  call.end = this;
  call.interrupted = false;
  fill_caller(call);
  if (call.root) {
    call.caller.root = call.root->file->dentry.get();
    call.caller.root_mount = call.root->file->mount;
  }
  return 0;
}

RegisteredFile* CallServer::use_file(const Call& call, uint64_t token) {
  RegisteredFile* file = files_.use(token, call.client->key);
  if (file) take_back_position(*file);
  return file || special_.empty() ? file : special_.use(token);
}

bool CallServer::take_files(Call& call) {
  const CallFields& fields = call.fields;
  const StandsOn on = call.info->on;
  if (on == StandsOn::connection) return true;
  const bool is_pair = on == StandsOn::two_files;
  if (fields.file != 0 || on == StandsOn::open_file || is_pair) {
    call.file = use_file(call, fields.file);
    if (!call.file) return false;
  }
  if (!is_pair && (on != StandsOn::two_paths || fields.file2 == 0)) return true;
  call.file2 = use_file(call, fields.file2);
  return call.file2 != nullptr;
}

void CallServer::start(Call& call) {
  kernel::Connection::Entry entry(mount_->connection());
  if (mount_->connection().tracing())
    host_.set_traced_call(call.caller.pid, {.entered = call.fields.entered, .nr = call.fields.nr});
  call.task.emplace(run(call));
  call.task->start();
  // No memory for the coroutine's frame: it is done without having run.
  if (call.task->done() && !call.task->take()) {
    call.result = -ENOMEM;
    finished_.push_back(&call);
  }
}

void CallServer::finished(Call& call) { finished_.push_back(&call); }

bool CallServer::answer_finished() {
  if (finished_.empty()) return false;
  // Releasing files may let further calls finish.
  for (size_t i = 0; i < finished_.size(); ++i) answer(*finished_[i]);
  finished_.clear();
  return true;
}

void CallServer::answer(Call& call) {
  std::unique_ptr<Call> owned(&call);
  {
    kernel::Connection::Entry entry(call.mount->connection());
    call.task.reset();
    if (!special_.empty() && may_remove_names(call.fields.number)) special_.reap();
  }
  host_.forget_traced_call(call.caller.pid);
  notices_.tell();
  if (call.opened) hand_over_file(call);
  if (call.fields.number == abi::CallNumber::flush) keep_shadow(call);
  if (call.memory) hand_over_memory(call);
  if (call.handed) hand_over_descriptor(call);
  put_result(call);
  // Before the answer: who has it finds the position there.
  for (RegisteredFile* file : {call.file, call.file2, call.root}) unuse(file);
  const std::shared_ptr<Client> client = std::move(call.client);
  client->in_flight[call.slot] = nullptr;
  --client->calls;
  --calls_;
  client->finish(call.slot);
  if (blank_.size() < blank_calls_kept) blank_.push_back(std::move(owned));
  if (client->gone && client->calls == 0) forget(*client);
}

void CallServer::hand_over_file(Call& call) {
  call.inode_row = view_.handle_of(call.opened->inode->view_row);
  uint64_t token = 0;
  if (call.fields.shadow != 0) token = files_.use_kept(call.fields.shadow, call.client->key, *call.opened);
  if (token != 0) {
    call.client->slot(call.slot).token = token;
    call.position = give_position(*call.client, token);
    call.shadow = call.fields.shadow;
    return;
  }
  auto shadow = files_.add(*call.opened, call.client->key, token);
  if (!shadow) {
    call.result = shadow.error();
    kernel::Connection::Entry entry(call.mount->connection());
    call.mount->release(*call.opened);
    return;
  }
  // Before the message: whoever receives it compares them.
  std::atomic_ref<uint64_t>(call.client->slot(call.slot).token).store(token);
  const int sent = call.client->gone ? -EPIPE : call.client->send_file(token, call.slot, shadow->get());
  if (sent == 0) call.position = give_position(*call.client, token);
  if (sent == 0) return;
  // Nobody has the descriptor: no close will ever tell of it.
  call.result = -ENFILE;
  files_.abandon(token);
}

// The client may move in the file itself from now on.
uint32_t CallServer::give_position(Client& client, uint64_t token) {
  RegisteredFile* file = files_.find(token);
  if (!file || client.gone) return 0;
  constexpr uint32_t fixed = wire::fopen_flag::nonseekable | wire::fopen_flag::stream;
  if (!file->file->inode->is_reg() || file->file->is_path() || file->file->has_flag(fixed)) return 0;
  file->position = client.take_position(token, [this](uint64_t other) { return files_.find(other) != nullptr; });
  if (file->position != 0) client.lend_position(file->position, file->file->position);
  return file->position;
}

void CallServer::take_back_position(RegisteredFile& file) {
  const auto client = file.position == 0 ? clients_.end() : clients_.find(file.client);
  if (client == clients_.end()) return;
  file.file->position = client->second->take_back_position(file.position, file.file->position);
}

// A file that others have used is nobody's alone any more.
void CallServer::unuse(RegisteredFile* file) {
  if (!file) return;
  const bool lends = file->position != 0 && file->uses == 1 && file->file && !file->closed && !file->shared;
  const auto client = lends ? clients_.find(file->client) : clients_.end();
  if (client != clients_.end()) client->second->lend_position(file->position, file->file->position);
  files_.unuse(*file);
}

void CallServer::keep_shadow(Call& call) {
  constexpr int64_t is_last = 1;
  if (call.fields.arg[0] == is_last && call.file) call.shadow = files_.keep(*call.file, call.client->key);
}

void CallServer::hand_over_memory(Call& call) {
  const UniqueFd memory = std::move(call.memory);
  const uint64_t token = host_.random();
  call.client->slot(call.slot).token = token;
  if (!call.client->gone && call.client->send_file(token, call.slot, memory.get()) == 0) return;
  call.client->drop_area(call.slot);
  call.result = -ENFILE;
}

void CallServer::hand_over_descriptor(Call& call) {
  const UniqueFd fd = std::move(call.handed);
  const uint64_t token = host_.random();
  call.client->slot(call.slot).token = token;
  if (call.client->gone || call.client->send_file(token, call.slot, fd.get()) != 0) call.result = -ENFILE;
}

void CallServer::put_result(Call& call) {
  abi::Slot& slot = call.client->slot(call.slot);
  slot.over_file_size = call.caller.over_file_size ? 1 : 0;
  slot.leave_mount = call.leave.mount;
  slot.shadow = call.shadow;
  slot.inode = call.inode_row;
  slot.position = call.position;
  const std::span<std::byte> area = call.slot_data();
  if (call.result >= 0 && call.output > 0) std::memcpy(area.data(), call.data.data(), call.output);
  if (call.result == -static_cast<int64_t>(kernel::Errno::eleave)) {
    const std::string_view rest = call.leave.rest();
    slot.leave_which = call.leave.which;
    slot.leave_to = static_cast<uint32_t>(call.leave.to);
    slot.leave_length = static_cast<uint32_t>(rest.size());
    slot.leave_links = call.leave.links;
    std::memcpy(area.data(), rest.data(), rest.size());
    area[rest.size()] = std::byte{0};
  }
  slot.result = call.result;
}

void CallServer::answer_at_once(Client& client, uint32_t slot, int64_t result) {
  client.slot(slot).result = result;
  client.slot(slot).shadow = 0;
  client.finish(slot);
}

void CallServer::hang_up(uint64_t key) {
  const std::shared_ptr<Client> client = clients_.at(key);
  for (const uint64_t token : client->files_with_positions()) {
    RegisteredFile* file = token == 0 ? nullptr : files_.find(token);
    if (!file || file->client != key || file->position == 0) continue;
    take_back_position(*file);
    file->position = 0;
  }
  clients_.erase(key);
  client->gone = true;
  if (client->calls == 0) return forget(*client);
  kernel::Connection::Entry entry(mount_->connection());
  for (Call* call : client->in_flight)
    if (call) call->mount->connection().kill(call->caller);
}

void CallServer::refuse_everything() {
  for (const auto& [key, client] : clients_)
    for (uint32_t slot = 0; slot < abi::slot_count; ++slot)
      if (!client->in_flight[slot] && client->is_submitted(slot)) answer_at_once(*client, slot, -ENOTCONN);
}

std::vector<uint64_t> CallServer::keys() const {
  std::vector<uint64_t> keys;
  for (const auto& [key, client] : clients_) keys.push_back(key);
  return keys;
}

bool CallServer::any_in(uint32_t mount) const {
  const auto is_in = [mount](const Call* call) {
    return call && (call->fields.mount == mount || call->fields.mount2 == mount);
  };
  return std::any_of(clients_.begin(), clients_.end(),
                     [&](const auto& each) { return std::ranges::any_of(each.second->in_flight, is_in); });
}

std::unique_ptr<Call> CallServer::take_blank() {
  if (blank_.empty()) return std::make_unique<Call>();
  std::unique_ptr<Call> call = std::move(blank_.back());
  blank_.pop_back();
  return call;
}

}  // namespace fusewire::host
