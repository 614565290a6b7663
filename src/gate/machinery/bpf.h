// Classic BPF as seccomp(2) runs it.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstdint>
#include <span>

namespace fusewire::gate {

// What the filter returns for the call: a SECCOMP_RET_ action and its data. The program must be one that the kernel has
// accepted; a wrong one yields SECCOMP_RET_KILL_PROCESS, and never reads outside of program and data.
uint32_t run_filter(std::span<const sock_filter> program, const seccomp_data& data);

// Of two verdicts the one that counts: the action that restricts more; of equal ones the newer filter's.
uint32_t stricter(uint32_t newer, uint32_t older);

}  // namespace fusewire::gate
