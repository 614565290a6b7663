// The calls that take a set of signals. SIGSYS blocked would kill the program at its next caught call, and SIGSEGV
// and SIGBUS blocked would turn a bad pointer given to a virtual call from EFAULT into death: these three stay
// unblocked whatever the program asks. The changed copy of the set lies in the call's frame on the program's stack, so
// the call itself is made from there and waits as it would without us.
#include "gate/machinery/base.h"
#include "gate/machinery/machinery.h"

namespace fusewire::gate {

namespace {

constexpr long bad_address = -14;  // EFAULT

// Which argument is the set; how many bytes the call says it has.
struct MaskArgument {
  int index = -1;
  int size_index = -1;
};

MaskArgument mask_argument(long nr) {
  switch (nr) {
    case __NR_rt_sigprocmask:
      return {1, 3};
    case __NR_rt_sigsuspend:
      return {0, 1};
    case __NR_rt_sigtimedwait:
      return {0, 3};
    case __NR_signalfd:
      return {1, 2};
    case __NR_signalfd4:
      return {1, 2};
    case __NR_ppoll:
      return {3, 4};
    case __NR_epoll_pwait:
      return {4, 5};
    case __NR_epoll_pwait2:
      return {4, 5};
    default:
      return {};
  }
}

// Sets that are waited for, not blocked: only SIGSYS is not to be taken from its handler.
uint64_t not_allowed(long nr) {
  const bool waited_for = nr == __NR_rt_sigtimedwait || nr == __NR_signalfd || nr == __NR_signalfd4;
  return waited_for ? signal_bit(sig_sys) : unblockable_signals;
}

// Calls whose last argument points to the set's address and size.
bool has_indirect_mask(long nr) { return nr == __NR_pselect6 || nr == __NR_io_pgetevents; }

long indirect_call(ProgramFrame& frame, CallFrame& call) {
  struct {
    uint64_t set;
    uint64_t bytes;
  } given;
  if (call.arg[5] == 0) return 0;
  if (copy_from_program(&given, reinterpret_cast<void*>(call.arg[5]), sizeof given) != 0) return bad_address;
  if (given.set == 0 || given.bytes != sizeof(uint64_t)) return 0;
  if (copy_from_program(&frame.scratch[2], reinterpret_cast<void*>(given.set), sizeof(uint64_t)) != 0) {
    return bad_address;
  }
  if ((frame.scratch[2] & unblockable_signals) == 0) return 0;
  frame.scratch[2] &= ~unblockable_signals;
  frame.scratch[0] = address_of(&frame.scratch[2]);
  frame.scratch[1] = sizeof(uint64_t);
  call.arg[5] = argument(&frame.scratch[0]);
  return 0;
}

long set_call(ProgramFrame& frame, CallFrame& call) {
  const MaskArgument m = mask_argument(call.nr);
  const long set = call.arg[m.index];
  if (set == 0 || call.arg[m.size_index] != sizeof(uint64_t)) return 0;
  uint64_t& copy = frame.scratch[0];
  if (copy_from_program(&copy, reinterpret_cast<void*>(set), sizeof copy) != 0) return bad_address;
  if ((copy & not_allowed(call.nr)) == 0) return 0;
  copy &= ~not_allowed(call.nr);
  call.arg[m.index] = argument(&copy);
  return 0;
}

}  // namespace

bool is_mask_call(long nr) { return has_indirect_mask(nr) || mask_argument(nr).index >= 0; }

void mask_call(StackRecord& record, const CallFrame& call) {
  CallFrame changed = call;
  ProgramFrame& frame = *record.program;
  const long r = has_indirect_mask(call.nr) ? indirect_call(frame, changed) : set_call(frame, changed);
  if (r < 0) {
    record.result = r;
    return;
  }
  pass(record, changed);
}

}  // namespace fusewire::gate
