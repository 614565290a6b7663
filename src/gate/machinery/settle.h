// How far an interrupted call has come: the map of entry.S, read for signals.
#pragma once

#include "gate/machinery/kernel_abi.h"

namespace fusewire::gate {

enum class Place {
  program,  // the context is the program's own now (it was, or has been turned back or on): its handler may run
  gate,     // inside gate_call: the signal must wait for the way out
  leaving,  // all is blocked already and about to be unblocked: the signal must wait, nothing else is to be done
};

// Looks at where a signal has interrupted the thread. A call that has not begun is turned back to the program's
// `syscall` instruction, one that is done is moved on to where the program continues, so that handlers, unwinders and
// thread cancellation see what they would see without the gate.
Place settle(Registers& r);

}  // namespace fusewire::gate
