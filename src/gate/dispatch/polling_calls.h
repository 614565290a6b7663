// poll, select and their kin, which take many descriptors. Natively poll finds a shadow bad, at once and without
// waiting; a file of a mount is always ready, as a file of FUSE whose daemon knows no POLL.
#pragma once

#include "gate/gate.h"

namespace fusewire::gate {

bool is_polling(long nr);
// What a native call made of the descriptors: its result with the files of mounts in it. pass_on, when may_begin_anew:
// the descriptors have changed meanwhile.
long judge_polling(const CallFrame& frame, long result, bool may_begin_anew);

}  // namespace fusewire::gate
