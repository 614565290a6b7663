// fcntl's F_SETOWN and its kin on open files of mounts, and what signals such an owner: F_SETLEASE, F_NOTIFY.
#pragma once

#include "gate/dispatch/descriptors.h"
#include "gate/gate.h"

namespace fusewire::gate {

inline constexpr int f_getowner_uids = 17;

long owner_call(const CallFrame& f, VirtualFile file);
long lease_call(const CallFrame& f, VirtualFile file);
long notify_call(const CallFrame& f, VirtualFile file);

}  // namespace fusewire::gate
