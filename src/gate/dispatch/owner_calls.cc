#include "gate/dispatch/owner_calls.h"

#include "gate/dispatch/file_call.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;

enum : int64_t { ask = 0, set_owner = 1, set_signal = 2 };
constexpr long signals_max = 64;

void* pointer(long argument) { return reinterpret_cast<void*>(argument); }

long ask_owner(const CallFrame& f, VirtualFile file, abi::FileOwner& owner) {
  RingCall call(file.connection, CallNumber::owner, f.nr);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  call.set_arg(0, ask);
  const long r = call.run();
  if (r == 0) __builtin_memcpy(&owner, call.result_data(sizeof owner).data(), sizeof owner);
  return r;
}

// f_getown: who is gone is nobody.
bool lives(int type, int id) {
  if (id == 0) return false;
  return raw_syscall(SYS_kill, type == F_OWNER_PGRP ? -long{id} : id, 0) != -ESRCH;
}

long give_owner(const CallFrame& f, VirtualFile file, int type, int id) {
  if (id != 0 && !lives(type, id)) return unless_path(file, f.nr, -ESRCH);
  return file_call(file, CallNumber::owner, f.nr, {set_owner, type, id});
}

long set_own(const CallFrame& f, VirtualFile file) {
  const auto who = static_cast<int>(f.arg[2]);
  if (who == INT32_MIN) return unless_path(file, f.nr, -EINVAL);
  return who < 0 ? give_owner(f, file, F_OWNER_PGRP, -who) : give_owner(f, file, F_OWNER_PID, who);
}

long set_own_ex(const CallFrame& f, VirtualFile file) {
  f_owner_ex owner;
  if (copy_from_program(&owner, pointer(f.arg[2]), sizeof owner) != 0) return unless_path(file, f.nr, -EFAULT);
  if (owner.type < F_OWNER_TID || owner.type > F_OWNER_PGRP) return unless_path(file, f.nr, -EINVAL);
  if (owner.pid < 0) return unless_path(file, f.nr, -ESRCH);
  return give_owner(f, file, owner.type, owner.pid);
}

}  // namespace

long owner_call(const CallFrame& f, VirtualFile file) {
  const auto command = static_cast<int>(f.arg[1]);
  if (command == F_SETOWN) return set_own(f, file);
  if (command == F_SETOWN_EX) return set_own_ex(f, file);
  if (command == F_SETSIG) {
    if (f.arg[2] < 0 || f.arg[2] > signals_max) return unless_path(file, f.nr, -EINVAL);
    return file_call(file, CallNumber::owner, f.nr, {set_signal, f.arg[2]});
  }
  abi::FileOwner owner{};
  if (const long r = ask_owner(f, file, owner); r < 0) return r;
  if (!lives(owner.type, owner.id)) owner.id = 0;
  if (command == F_GETSIG) return owner.signal;
  if (command == F_GETOWN) return owner.type == F_OWNER_PGRP ? -owner.id : owner.id;
  if (command == F_GETOWN_EX) {
    const f_owner_ex told{static_cast<__pid_type>(owner.type), owner.id};
    return copy_to_program(pointer(f.arg[2]), &told, sizeof told);
  }
  const uint32_t ids[] = {owner.uid, owner.euid};
  return copy_to_program(pointer(f.arg[2]), ids, sizeof ids);
}

}  // namespace fusewire::gate
