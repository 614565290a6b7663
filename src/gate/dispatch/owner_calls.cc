#include "gate/dispatch/owner_calls.h"

#include "gate/dispatch/file_call.h"
#include "gate/dispatch/own_descriptors.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;

// The descriptor by which the kernel keeps the file's owner (host/file_owner.h).
class Owner {
 public:
  Owner(const CallFrame& f, VirtualFile file) {
    RingCall call(file.connection, CallNumber::owner, f.nr);
    error_ = call.error();
    if (error_ != 0) return;
    call.set_file(file.token);
    error_ = call.run();
    if (error_ == 0) take(call.take_descriptor(true));
  }
  ~Owner() {
    if (place_ >= 0) forget_own(process(), place_);
  }
  Owner(const Owner&) = delete;

  long error() const { return error_; }
  long fcntl(int command, long argument) const {
    const InUse use(process(), place_);
    return native::fcntl(use.fd(), command, argument);
  }
  // __f_setown without force. Whether it is the caller's now and was nobody's.
  bool take_if_nobody_has_it() const {
    f_owner_ex owner{};
    if (fcntl(F_GETOWN_EX, native::of(&owner)) != 0 || owner.pid != 0) return false;
    return fcntl(F_SETOWN, raw_syscall(SYS_getpid)) == 0;
  }

 private:
  void take(int fd) {
    place_ = fd < 0 ? fd : keep_own(process(), fd, true);
    if (place_ < 0) error_ = place_;
  }

  long error_ = 0;
  int place_ = -1;
};

// What signals the caller, if it can be had.
long with_owner(const CallFrame& f, VirtualFile file, CallNumber number, std::initializer_list<int64_t> args) {
  const Owner owner(f, file);
  if (owner.error() < 0) return owner.error();
  const bool taken = owner.take_if_nobody_has_it();
  const long r = file_call(file, number, f.nr, args);
  if (r < 0 && taken) owner.fcntl(F_SETOWN, 0);
  return r;
}

}  // namespace

long owner_call(const CallFrame& f, VirtualFile file) {
  const Owner owner(f, file);
  return owner.error() < 0 ? owner.error() : owner.fcntl(static_cast<int>(f.arg[1]), f.arg[2]);
}

long lease_call(const CallFrame& f, VirtualFile file) {
  constexpr int64_t ask = 0, set = 1;
  if (static_cast<int>(f.arg[1]) == F_GETLEASE) return file_call(file, CallNumber::lease, f.nr, {ask});
  const auto type = static_cast<uint32_t>(f.arg[2]);
  if (type == F_UNLCK) return file_call(file, CallNumber::lease, f.nr, {set, type, 0});
  return with_owner(f, file, CallNumber::lease, {set, type, f.arg[0]});
}

long notify_call(const CallFrame& f, VirtualFile file) {
  const auto mask = static_cast<uint32_t>(f.arg[2]);
  return with_owner(f, file, CallNumber::notify, {mask, f.arg[0]});
}

}  // namespace fusewire::gate
