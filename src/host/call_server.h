// CallServer: the clients of one connection and their calls: takes slots off the rings, checks them, runs them through
// the half and answers. Nothing a client writes can harm another one: fields are copied before they are checked, and a
// bad call gets EINVAL, stale_token (a token that is nobody's) or ENAMETOOLONG.
// Thread rule: one thread; methods take Connection::Entry themselves.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "abi/spin.h"
#include "host/call_runner.h"
#include "host/lock_owners.h"
#include "host/process_host.h"

namespace fusewire::host {

class CallServer final : CallEnd {
 public:
  CallServer(ProcessHost& host, FileRegistry& files, SpecialFiles& special, Watches& watches, uint32_t connection,
             uint32_t owner_uid);

  // Calls go to this mount from now on; nullptr: they get ENOTCONN.
  void set_mount(syscall::Mount* mount) { mount_ = mount; }

  // A process connected. Its key for the following methods, and the sockets to watch; 0 when it was turned away.
  uint64_t add(UniqueFd socket);
  Client& client(uint64_t key) { return *clients_.at(key); }
  bool has(uint64_t key) const { return clients_.contains(key); }
  // The doorbell rang: begins what is submitted, and passes interrupts on. Closes that were made before must have been
  // taken.
  void take(uint64_t key);
  // While no call is under way: looks for the next one for a moment (Spin), and begins what is submitted. True when
  // anything was. Otherwise the doorbells ring.
  bool look();
  // The process hung up: its calls are killed; it is forgotten when they have ended.
  void hang_up(uint64_t key);
  // Answers every call that has ended since. True when there were any.
  bool answer_finished();
  // Signals what has happened in directories without a call (F_NOTIFY).
  void tell_notices() { notices_.tell(); }
  // Answers what is submitted and not begun with ENOTCONN: the host ends.
  void refuse_everything();
  std::vector<uint64_t> keys() const;

  // Processes that hold POSIX locks end: the host watches for it and calls take_deaths.
  LockOwners& lock_owners() { return lock_owners_; }

  size_t calls() const { return calls_; }
  // Whether one is under way whose path starts at this mount.
  bool any_in(uint32_t mount) const;
  // How many calls there have ever been, those that clients answered themselves among them.
  uint64_t begun() const { return begun_ + view_.hits(); }
  uint64_t hits() const { return view_.hits(); }
  uint64_t view_bytes(syscall::Mount& mount) const { return view_.used_bytes(mount); }
  uint64_t refused() const { return refused_; }

 private:
  void begin(const std::shared_ptr<Client>& client, uint32_t slot);
  int prepare(Call& call);
  bool is_anything_submitted() const;
  bool take_files(Call& call);
  void start(Call& call);
  void finished(Call& call) override;
  void answer(Call& call);
  void answer_at_once(Client& client, uint32_t slot, int64_t result);
  void hand_over_file(Call& call);
  void hand_over_memory(Call& call);
  void hand_over_descriptor(Call& call);
  void keep_shadow(Call& call);
  uint32_t give_position(Client& client, uint64_t token);
  void take_back_position(RegisteredFile& file);
  void unuse(RegisteredFile* file);
  RegisteredFile* use_file(const Call& call, uint64_t token);
  void put_result(Call& call);
  bool has_room_for(uint32_t uid) const;
  void forget(const Client& client);
  void release_locks(uint64_t owner);
  std::unique_ptr<Call> take_blank();

  ProcessHost& host_;
  FileRegistry& files_;
  SpecialFiles& special_;
  Watches& watches_;
  Notices notices_;
  ConnectionView view_;
  const uint32_t connection_id_;
  const uint32_t owner_uid_;
  syscall::Mount* mount_ = nullptr;
  abi::Spin spin_;
  uint64_t next_key_ = 1;
  std::unordered_map<uint64_t, std::shared_ptr<Client>> clients_;
  LockOwners lock_owners_;
  std::vector<std::unique_ptr<Call>> blank_;  // finished calls, kept for their memory
  std::vector<Call*> finished_;
  size_t calls_ = 0;
  uint64_t begun_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace fusewire::host
