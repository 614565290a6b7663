#include "gate/machinery/settle.h"

#include "gate/machinery/base.h"
#include "gate/machinery/machinery.h"

namespace fusewire::gate {

extern "C" {
extern const char stub_begin[], stub_end[];
extern const char common_entry[], entry_moved[], entry_saved[], pass_call[], pass_done[], pass_leave[];
extern const char pass_made[], not_passed[], sigreturn_moved[], judge_passed[], judge_begun[], save_registers[];
extern const char registers_saved[], judge_changed[], judge_noted[];
extern const char sigreturn_refused[], refused_moved[];
extern const char stack_claim_test[], stack_claimed[], stack_switched[];
extern const char exit_check[], exit_switched[], restore_registers[], exit_changed[];
extern const char changed_switched[], changed_call[], changed_done[], exit_fork[], fork_call[], exit_clone[];
extern const char exit_vfork[], vfork_call[], vfork_done[];
extern const char clone_call[], clone_done[], child_begin[], child_framed[], exit_deferred[], deferred_unblocked[];
extern const char deferred_leave[], signal_entry[], handler_unblocked[], handler_entered[];
extern const char vfork_out[], vfork_back[];
extern const char changed_out[], changed_back[], fork_out[], fork_back[], clone_out[], clone_back[], fork_done[];
extern const char __executable_start[], etext[];
}

namespace {

constexpr uint64_t carry_flag = 1;
constexpr uint64_t syscall_bytes = 2;
constexpr uint64_t bad_descriptor = -9ul;  // EBADF
constexpr uint64_t no_entry = -2ul;        // ENOENT
constexpr uint64_t no_directory = -20ul;   // ENOTDIR

bool within(uint64_t pc, const char* from, const char* to) { return pc >= address_of(from) && pc < address_of(to); }
bool at(uint64_t pc, const char* label) { return pc == address_of(label); }

ProgramFrame& frame_at(uint64_t sp) { return *reinterpret_cast<ProgramFrame*>(sp); }

void load_arguments(Registers& r, const ProgramFrame& f) {
  r.rdi = static_cast<uint64_t>(f.call.arg[0]);
  r.rsi = static_cast<uint64_t>(f.call.arg[1]);
  r.rdx = static_cast<uint64_t>(f.call.arg[2]);
  r.r10 = static_cast<uint64_t>(f.call.arg[3]);
  r.r8 = static_cast<uint64_t>(f.call.arg[4]);
  r.r9 = static_cast<uint64_t>(f.call.arg[5]);
}

// Not begun: back to the program's instruction, which makes the call anew. rax stays: the number, or the one of
// restart_syscall(2) when the kernel wants the call to be resumed so.
Place turn_back(Registers& r) {
  const ProgramFrame& f = frame_at(r.rsp);
  r.rip = f.return_address - syscall_bytes;
  r.rcx = f.return_address;
  r.rsp += ENTRY_GAP;
  return Place::program;
}

Place turn_back_wholly(Registers& r) {
  const ProgramFrame& f = frame_at(r.rsp);
  load_arguments(r, f);
  r.rax = static_cast<uint64_t>(f.call.nr);
  return turn_back(r);
}

// Done, the result in rax: on to where the program continues.
Place move_on(Registers& r) {
  const ProgramFrame& f = frame_at(r.rsp);
  r.rcx = f.return_address;
  r.rip = f.resume;
  r.rsp += ENTRY_GAP;
  leave_trampoline(r);
  return Place::program;
}

Place move_on_wholly(Registers& r) {
  load_arguments(r, frame_at(r.rsp));
  return move_on(r);
}

// Whether a call with this result has done nothing, so that it may begin anew: of those that are judged.
bool has_done_nothing(const ProgramFrame& f, uint64_t result) {
  if (result == bad_descriptor) return true;
  if ((f.judge & JUDGE_ERRORS) != 0 && (result == no_entry || result == no_directory)) return true;
  return (f.judge & JUDGE_SUCCESS) != 0 && static_cast<int64_t>(result) > 0;
}

// The call was made and has this result, which nobody has judged yet.
Place unjudged(Registers& r, uint64_t result) {
  if (has_done_nothing(frame_at(r.rsp), result)) return turn_back_wholly(r);
  r.rax = result;
  return move_on_wholly(r);
}

Place held_back(const Registers& r) { return on_gate_stack(r.rsp) ? Place::gate : Place::program; }

// From the entry to the switch to a gate stack.
Place settle_entry(Registers& r) {
  const uint64_t pc = r.rip;
  if (pc < address_of(entry_saved)) {
    if (pc >= address_of(entry_moved)) r.rsp += ENTRY_GAP;
    r.rip = r.rcx - syscall_bytes;
    return Place::program;
  }
  if (pc <= address_of(pass_call)) return turn_back(r);
  if (at(pc, pass_leave)) {
    r.rip = r.r11;
    leave_trampoline(r);
    return Place::program;
  }
  if (pc < address_of(pass_done) && r.rax == bad_descriptor) {
    r.rax = static_cast<uint64_t>(frame_at(r.rsp).call.nr);
    return turn_back(r);
  }
  if (pc < address_of(not_passed)) return move_on(r);
  if (pc < address_of(sigreturn_moved)) return turn_back(r);
  if (at(pc, sigreturn_refused) || at(pc, refused_moved)) {
    if (at(pc, sigreturn_refused)) r.rsp -= ENTRY_GAP;
    return move_on(r);
  }
  if (pc < address_of(judge_passed)) {
    r.rip = r.rcx - syscall_bytes;
    return Place::program;
  }
  if (pc < address_of(judge_begun)) r.rax = static_cast<uint64_t>(frame_at(r.rsp).call.nr);
  if (pc < address_of(registers_saved)) return turn_back(r);
  const bool claimed = pc >= address_of(stack_claimed) || (at(pc, stack_claim_test) && (r.flags & carry_flag) != 0);
  if (claimed && r.rcx < GATE_STACKS / 64) release_stack(r.rcx * 64 + r.r11);
  const ProgramFrame& f = frame_at(r.rsp);
  return f.judge >= JUDGED_ONCE ? unjudged(r, static_cast<uint64_t>(f.result)) : turn_back_wholly(r);
}

// From the return of gate_call on.
Place settle_exit(Registers& r) {
  const uint64_t pc = r.rip;
  const bool fork_not_begun = within(pc, exit_fork, fork_call) || at(pc, fork_call);
  const bool clone_not_begun = within(pc, exit_clone, clone_call) || at(pc, clone_call);
  const bool vfork_not_begun = within(pc, exit_vfork, vfork_call) || at(pc, vfork_call);
  if (within(pc, exit_check, exit_switched) || within(pc, exit_changed, changed_switched) || fork_not_begun ||
      clone_not_begun || vfork_not_begun) {
    r.rip = address_of(exit_check);
    return held_back(r);
  }
  if (at(pc, exit_switched)) release_stack(r.rcx);
  if (within(pc, exit_switched, exit_changed)) return move_on_wholly(r);
  if (at(pc, changed_switched)) {
    release_stack(r.rcx);
    return turn_back_wholly(r);
  }
  if (at(pc, changed_call)) {
    load_arguments(r, frame_at(r.rsp));
    return turn_back(r);
  }
  if (pc <= address_of(judge_changed) && pc >= address_of(changed_done)) return unjudged(r, r.rax);
  if (within(pc, judge_noted, exit_fork)) return unjudged(r, static_cast<uint64_t>(frame_at(r.rsp).result));
  return held_back(r);
}

// A new thread that has not yet left the gate: its calls are not caught yet.
Place settle_child(Registers& r) {
  if (r.rip < address_of(child_framed)) r.rsp -= ENTRY_GAP;
  catch_calls_again();
  r.rax = 0;
  return move_on_wholly(r);
}

Place settle_deferred(Registers& r) {
  if (r.rip < address_of(deferred_unblocked)) return Place::leaving;
  if (at(r.rip, deferred_leave)) {
    r.rip = r.rcx - syscall_bytes;
    return Place::program;
  }
  const ProgramFrame& f = frame_at(r.rsp);
  if (f.state != OUTCOME_FINISH) return turn_back_wholly(r);
  r.rax = static_cast<uint64_t>(f.result);
  return move_on_wholly(r);
}

// Between unblocking the signals and the first instruction of the program's handler.
Place settle_handler(Registers& r) {
  r.rsp = r.rbx;
  r.rdi = r.r12;
  r.rsi = r.r13;
  r.rdx = r.r14;
  r.rax = 0;
  r.rip = r.r15;
  return Place::program;
}

// The instructions of the way out that stand in the page of the program's calls: as if they stood in their place.
void back_from_program_page(Registers& r) {
  const struct {
    const char *at, *stands_for;
  } outside[] = {{changed_out, changed_call}, {changed_back, changed_done}, {fork_out, fork_call},
                 {fork_back, fork_done},      {clone_out, clone_call},      {clone_back, clone_done},
                 {vfork_out, vfork_call},     {vfork_back, vfork_done}};
  for (const auto& o : outside) {
    if (at(r.rip, o.at)) r.rip = address_of(o.stands_for);
  }
}

}  // namespace

Place settle(Registers& r) {
  back_from_program_page(r);
  const uint64_t pc = r.rip;
  if (!within(pc, __executable_start, etext) && !within(pc, stub_begin, stub_end)) {
    leave_trampoline(r);
    return Place::program;
  }
  if (within(pc, common_entry, stack_switched)) return settle_entry(r);
  if (within(pc, exit_deferred, signal_entry)) return settle_deferred(r);
  const bool new_stack = !on_gate_stack(r.rsp) && within(pc, clone_done, exit_deferred);
  if (new_stack && r.rax == 0 && pc < address_of(child_begin)) return settle_child(r);
  if (new_stack && pc >= address_of(child_begin)) return settle_child(r);
  if (within(pc, exit_check, exit_deferred)) return settle_exit(r);
  if (within(pc, handler_unblocked, handler_entered)) return settle_handler(r);
  return held_back(r);
}

}  // namespace fusewire::gate
