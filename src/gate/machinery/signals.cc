// Signals: the program's dispositions, kept here because the kernel's always name signal_entry, and the delivery.
//
// signal_entry runs with every signal blocked but the three unblockable ones. It asks settle() where the thread was
// interrupted. In the program (or at an edge of the gate, which settle() moves off): the program's handler runs, with
// the mask it would have. Inside a call: the signal is sent again to the same thread, all signals are blocked until the
// call leaves the gate, and a sleep in progress ends with EINTR. So a handler never runs on a gate stack, may jump away
// as it likes, and finds no call half done below it.
#include "gate/machinery/base.h"
#include "gate/machinery/lock.h"
#include "gate/machinery/machinery.h"
#include "gate/machinery/settle.h"

namespace fusewire::gate {

extern "C" {
extern const char signal_entry[], stub_restorer[], raw_call[], raw_done[], sleep_look[], sleep_call[], sleep_done[],
    copy_begin[], copy_end[], copy_fault[];
extern const char __executable_start[], etext[], stub_begin[], stub_end[], common_entry[], stack_switched[],
    own_calls_begin[], fork_back[], vfork_back[], clone_back[];
long sleep_unless_held(const std::atomic<uint64_t>* held, long nr, long a, long b, long c, long d, long e, long f);
extern const uint64_t blockable_signals = ~unblockable_signals;
}

namespace {

// One disposition, as the program gave it. version is odd while it changes; writers hold the lock, and say first what
// it will be.
struct Disposition {
  std::atomic<uint32_t> version{0};
  KernelSigaction action{}, next{};
};

Disposition dispositions[signal_count + 1];
SpinLock dispositions_lock;
// What a guest has put handlers of its own in place of, by signal.
GATE_LARGE KernelSigaction lent[signal_count + 1];
std::atomic<uint64_t> lent_signals{0};
uint64_t lent_handled = 0;  // of those, which had a handler
// The signals that the program has a handler for; the kernel does by itself what the others call for.
std::atomic<uint64_t> handled_signals{0};

bool always_handled(int signal) { return (unblockable_signals & signal_bit(signal)) != 0; }

// Finishes the changes in whose middle a thread was left behind by a fork, or killed.
void finish_changes() {
  for (Disposition& d : dispositions) {
    if ((d.version & 1) == 0) continue;
    d.action = d.next;
    d.version.fetch_add(1, std::memory_order_release);
  }
}

// To change them.
class DispositionsLocked {
 public:
  DispositionsLocked() : lock_(dispositions_lock) {
    if (lock_.taken_over()) finish_changes();
  }

 private:
  Locked lock_;
};

KernelSigaction read_disposition(int signal) {
  Disposition& d = dispositions[signal];
  for (int tries = 1;; tries++) {
    const uint32_t before = d.version.load(std::memory_order_acquire);
    const KernelSigaction action = d.action;
    std::atomic_thread_fence(std::memory_order_acquire);
    if ((before & 1) == 0 && d.version.load(std::memory_order_relaxed) == before) return action;
    __builtin_ia32_pause();
    constexpr int patience = 1000;
    if (tries % patience == 0) const DispositionsLocked wait_for_the_writer;
  }
}

void write_disposition(int signal, const KernelSigaction& action) {
  Disposition& d = dispositions[signal];
  d.next = action;
  d.version.fetch_add(1, std::memory_order_acq_rel);
  d.action = action;
  d.version.fetch_add(1, std::memory_order_release);
}

// The lock is held. The owner's own change is there to stay.
void lend(int signal, bool to_guest) {
  if (to_guest && (lent_signals & signal_bit(signal)) == 0) {
    lent[signal] = read_disposition(signal);
    lent_handled = (lent_handled & ~signal_bit(signal)) | (handled_signals & signal_bit(signal));
    lent_signals |= signal_bit(signal);
  } else if (!to_guest) {
    lent_signals &= ~signal_bit(signal);
  }
}

// What the kernel is told when the program wants a handler. SA_RESETHAND is done by us: a held-back signal must find
// its handler again.
KernelSigaction kernel_action(const KernelSigaction& program) {
  constexpr uint64_t kept = sa_nocldstop | sa_nocldwait | sa_onstack | sa_restart | sa_restorer;
  KernelSigaction k;
  k.handler = address_of(signal_entry);
  k.flags = (program.flags & kept) | sa_siginfo | sa_restorer;
  // The program's own restorer is what unwinders recognise as the end of a signal frame.
  k.restorer = (program.flags & sa_restorer) != 0 ? program.restorer : address_of(stub_restorer);
  k.mask = blockable_signals;
  return k;
}

// A call caught by SIGSYS must find room where the program's stack is small, so always on the alternate stack.
KernelSigaction always_handled_action(int signal, const KernelSigaction& program) {
  KernelSigaction k = kernel_action(program);
  if (signal == sig_sys || program.handler <= handler_ignore) {
    k.flags |= sa_onstack;
    k.restorer = address_of(stub_restorer);
  }
  return k;
}

long set_kernel_action(int signal, const KernelSigaction* action, KernelSigaction* old) {
  return raw_syscall(__NR_rt_sigaction, signal, argument(action), argument(old), sizeof(uint64_t));
}

// Sends the signal to this thread once more, with everything it carried.
void send_again(int signal, const SignalInfo& info) {
  const long pid = raw_syscall(__NR_getpid);
  const long tid = raw_syscall(__NR_gettid);
  raw_syscall(__NR_rt_tgsigqueueinfo, pid, tid, signal, argument(&info));
}

// Calls that wait, and may end with EINTR whether they have begun or not.
bool may_sleep(uint64_t nr) {
  switch (nr) {
    case __NR_read:
    case __NR_write:
    case __NR_readv:
    case __NR_writev:
    case __NR_poll:
    case __NR_ppoll:
    case __NR_select:
    case __NR_pselect6:
    case __NR_epoll_wait:
    case __NR_epoll_pwait:
    case __NR_futex:
    case __NR_recvmsg:
    case __NR_recvfrom:
    case __NR_sendmsg:
    case __NR_sendto:
    case __NR_accept:
    case __NR_accept4:
    case __NR_connect:
    case __NR_open:
    case __NR_openat:
    case __NR_openat2:
    case __NR_flock:
    case __NR_fcntl:
    case __NR_wait4:
    case __NR_waitid:
    case __NR_nanosleep:
    case __NR_clock_nanosleep:
    case __NR_restart_syscall:
      return true;
    default:
      return false;
  }
}

// Inside a call: the signal waits until the call leaves the gate. So do the others that have a handler; one that ends
// or stops the program does so while the call waits.
void hold_back(int signal, const SignalInfo& info, SignalContext& context) {
  StackRecord& record = record_of_stack(context.r.rsp);
  if (record.deferred.load(std::memory_order_relaxed) == 0) {
    record.mask = context.mask;
    record.held_signal = signal;
    record.deferred.store(1, std::memory_order_relaxed);
  }
  context.mask |= (handled_signals.load(std::memory_order_relaxed) & blockable_signals) | signal_bit(signal);
  constexpr long interrupted = -4;  // EINTR
  if (context.r.rip == address_of(raw_call) && may_sleep(context.r.rax)) {
    context.r.rax = static_cast<uint64_t>(interrupted);
    context.r.rip = address_of(raw_done);
  } else if (context.r.rip >= address_of(sleep_look) && context.r.rip <= address_of(sleep_call)) {
    context.r.rax = static_cast<uint64_t>(interrupted);
    context.r.rip = address_of(sleep_done);
  }
  send_again(signal, info);
}

// A signal that has our handler though the program has none: let the kernel do what it does by default.
void default_action(int signal, const SignalInfo& info, SignalContext& context) {
  constexpr KernelSigaction by_default{handler_default, 0, 0, 0};
  set_kernel_action(signal, &by_default, nullptr);
  context.mask &= ~signal_bit(signal);
  const bool raised_by_instruction = info.code > 0 && signal != sig_sys;
  if (!raised_by_instruction) send_again(signal, info);  // else the instruction raises it again
}

// The entry and sigreturn touch the program's stack: a fault there is the program's own.
bool in_gate_code(uint64_t pc) {
  if (pc >= address_of(common_entry) && pc < address_of(stack_switched)) return false;
  return (pc >= address_of(__executable_start) && pc < address_of(etext)) ||
         (pc >= address_of(stub_begin) && pc < address_of(stub_end));
}

// A fault of the gate's own: a defect. Say where, and leave a core of the moment.
void own_fault(int signal, const SignalInfo& info, SignalContext& context) {
  Text<160> line;
  line.add("fusewire-gate: internal error: signal ").add_decimal(signal).add(" at offset ");
  line.add_digits(context.r.rip - address_of(__executable_start)).add(" of the gate\n");
  raw_syscall(__NR_write, 2, argument(line.data()), static_cast<long>(line.length()));
  default_action(signal, info, context);
}

// The faults of the copy routines end them with -EFAULT.
bool mend_copy(int signal, const SignalInfo& info, Registers& r) {
  if ((signal != sig_segv && signal != sig_bus) || info.code <= 0) return false;
  if (r.rip < address_of(copy_begin) || r.rip >= address_of(copy_end)) return false;
  r.rip = address_of(copy_fault);
  return true;
}

// A trapped call that is not, or no longer, the program's own: one of the gate's, by a filter from outside (a
// container's), or a fork that the gate has changed. It is refused, as such filters mean it.
bool refuse_own_call(Registers& r) {
  constexpr long not_implemented = -38;  // ENOSYS
  const bool own = r.rip > address_of(own_calls_begin) && r.rip <= address_of(stub_end);
  const bool changed =
      r.rip == address_of(fork_back) || r.rip == address_of(vfork_back) || r.rip == address_of(clone_back);
  if (own || changed) r.rax = static_cast<uint64_t>(not_implemented);
  return own || changed;
}

uint64_t handler_mask(const KernelSigaction& action, int signal, uint64_t interrupted) {
  uint64_t mask = interrupted | action.mask;
  if ((action.flags & sa_nodefer) == 0) mask |= signal_bit(signal);
  return mask & ~unblockable_signals;
}

}  // namespace

// Called by signal_entry: the program's handler to go to and the mask for it, or 0 when nothing is left to do.
extern "C" uint64_t signal_arrived(int signal, SignalInfo* info, SignalContext* context, uint64_t* mask) {
  Registers& r = context->r;
  if (signal == sig_sys && redirect_call(*info, r)) return 0;
  const bool trapped = signal == sig_sys && info->code == code_seccomp_trap;
  if (trapped && refuse_own_call(r)) return 0;
  if (mend_copy(signal, *info, r)) return 0;
  const bool own = in_gate_code(r.rip);
  if (own && info->code > 0 && (signal == sig_segv || signal == sig_bus)) {
    own_fault(signal, *info, *context);
    return 0;
  }
  switch (settle(r)) {
    case Place::gate:
      hold_back(signal, *info, *context);
      return 0;
    case Place::leaving:
      context->mask |= signal_bit(signal);
      send_again(signal, *info);
      return 0;
    case Place::program:
      break;
  }
  if (trapped) info->call_address = reinterpret_cast<void*>(r.rcx);
  const KernelSigaction action = read_disposition(signal);
  const bool raised_by_instruction = info->code > 0;
  if (action.handler == handler_ignore && !raised_by_instruction) return 0;
  if (action.handler <= handler_ignore) {
    default_action(signal, *info, *context);
    return 0;
  }
  if ((action.flags & sa_resethand) != 0) {
    constexpr KernelSigaction by_default{handler_default, 0, 0, 0};
    program_sigaction(signal, &by_default, nullptr, sizeof(uint64_t));
  }
  *mask = handler_mask(action, signal, context->mask);
  return action.handler;
}

void signals_start(bool ignored_segv, bool ignored_bus, bool ignored_sys) {
  const int handled[] = {sig_segv, sig_bus, sig_sys};
  const bool ignored[] = {ignored_segv, ignored_bus, ignored_sys};
  for (int i = 0; i < 3; i++) {
    KernelSigaction program{};
    program.handler = ignored[i] ? handler_ignore : handler_default;
    write_disposition(handled[i], program);
    const KernelSigaction ours = always_handled_action(handled[i], program);
    set_kernel_action(handled[i], &ours, nullptr);
  }
  const uint64_t unblock = unblockable_signals;
  raw_syscall(__NR_rt_sigprocmask, 1 /* SIG_UNBLOCK */, argument(&unblock), 0, sizeof unblock);
}

void signals_after_fork() {
  dispositions_lock.reset();
  lent_signals = 0;
  finish_changes();
}

long raw_sleep(long nr, long a, long b, long c, long d, long e, long f) {
  const std::atomic<uint64_t> nothing_held{0};
  const auto own = address_of(&nothing_held);
  const std::atomic<uint64_t>* held = on_gate_stack(own) ? &record_of_stack(own).deferred : &nothing_held;
  return sleep_unless_held(held, nr, a, b, c, d, e, f);
}

void signals_after_guest() {
  if (lent_signals == 0) return;
  const DispositionsLocked locked;
  const uint64_t signals = lent_signals.exchange(0);
  for (int signal = 1; signal <= signal_count; signal++) {
    if ((signals & signal_bit(signal)) == 0) continue;
    write_disposition(signal, lent[signal]);
    if ((lent_handled & signal_bit(signal)) == 0) handled_signals &= ~signal_bit(signal);
  }
}

long interrupted_sleep() {
  constexpr long interrupted = -4;  // EINTR
  const char here = 0;
  if (!on_gate_stack(address_of(&here))) return interrupted;
  const StackRecord& record = record_of_stack(address_of(&here));
  if (record.deferred.load(std::memory_order_relaxed) != SIGNAL_HELD) return interrupted;
  const KernelSigaction action = read_disposition(record.held_signal);
  return action.handler <= handler_ignore || (action.flags & sa_restart) != 0 ? pass_on : interrupted;
}

bool kernel_ignores(int signal) {
  KernelSigaction action{};
  set_kernel_action(signal, nullptr, &action);
  return action.handler == handler_ignore;
}

bool program_ignores(int signal) { return read_disposition(signal).handler == handler_ignore; }

long program_sigaction(int signal, const KernelSigaction* action, KernelSigaction* old, size_t mask_bytes) {
  constexpr long invalid = -22;  // EINVAL
  if (mask_bytes != sizeof(uint64_t) || signal < 1 || signal > signal_count) return invalid;
  if (action != nullptr && (signal == sig_kill || signal == sig_stop)) return invalid;
  const DispositionsLocked locked;
  KernelSigaction kernel_old{};
  if (const long r = set_kernel_action(signal, nullptr, &kernel_old); r < 0) return r;
  const bool ours = kernel_old.handler == address_of(signal_entry);
  const KernelSigaction before = ours ? read_disposition(signal) : kernel_old;
  if (action != nullptr) {
    KernelSigaction wanted = *action;
    wanted.mask &= ~(signal_bit(sig_kill) | signal_bit(sig_stop));
    KernelSigaction told = wanted;
    const bool guest = is_guest();
    if (guest && signal == sig_sys) return 0;
    if (always_handled(signal) && !(guest && wanted.handler <= handler_ignore)) {
      told = always_handled_action(signal, wanted);
    } else if (wanted.handler > handler_ignore) {
      told = kernel_action(wanted);
    }
    // First ours: the kernel may deliver as soon as it knows. Where it will not, our entry is left alone: a child that
    // shares this memory (posix_spawn) resets its own signals, not those of its parent.
    if (told.handler == address_of(signal_entry)) {
      lend(signal, guest);
      write_disposition(signal, wanted);
      handled_signals |= signal_bit(signal);
    }
    if (const long r = set_kernel_action(signal, &told, nullptr); r < 0) return r;
    if (told.handler != address_of(signal_entry) && !guest) handled_signals &= ~signal_bit(signal);
  }
  if (old != nullptr) *old = before;
  return 0;
}

}  // namespace fusewire::gate
