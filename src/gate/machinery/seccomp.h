// The seccomp filters that the program gives itself: they hold for the program, and not for the gate.
//
// The kernel gets each with a test of the instruction pointer in front: what is called from the gate's own pages is
// allowed, all else is the program's to judge. So a call that is passed on is judged by the kernel, as ever. A call
// that the gate serves itself is judged here first, by the same filters; whatever is not allowed is then made from the
// program's page, so that it is the kernel that answers, traps or kills.
#pragma once

#include "gate/machinery/frames.h"

namespace fusewire::gate {

// One installed filter and the older ones of the same thread. Never changed, never freed.
struct ProgramFilter;

// The filters of the calling thread, or nullptr. Costs a look; a system call only where threads differ.
const ProgramFilter* filters_of_this_thread();

// Judges the call by record.filters. true: it is not to be served, the outcome stands in the record.
bool refused_by_filters(StackRecord& record, const CallFrame& call);

// seccomp(2) and prctl(PR_SET_SECCOMP, PR_GET_SECCOMP); all else is passed.
void seccomp_call(StackRecord& record, const CallFrame& call);
bool is_seccomp_call(const CallFrame& call);

// Before a clone in this memory: what the child's frame is to carry, for child_has_filters. 0: nothing.
uint64_t filters_for_child(const StackRecord& record);
// In the child of a fork: record is that of the parent's call.
void filters_after_fork(const StackRecord& record);

// Across execve. A descriptor, open over exec, that holds the thread's filters; -1 when it has none; -ENOMEM.
int write_filters();
// In the new image; closes it. fd: -1 for none. false: there is no memory for them.
bool read_filters(int fd);

}  // namespace fusewire::gate
