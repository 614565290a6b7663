// The events of asynchronous I/O on files of mounts, once the kernel has given them to the program.
#pragma once

#include "gate/gate.h"

namespace fusewire::gate {

bool takes_events(long nr);
// So many were taken; the result. Failures get their errno.
long judge_events(const CallFrame& frame, long taken);

}  // namespace fusewire::gate
