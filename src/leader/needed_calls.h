// The system calls that Fusewire makes itself, and which of them something above (a container's seccomp filter, an old
// kernel) refuses.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fusewire::leader {

struct NeededCall {
  std::string_view name;  // "faccessat2"
  long number;
  long argument[6];      // harmless: the kernel itself answers that they are wrong, or does nothing
  bool required;         // without it nothing can run in a namespace
  std::string_view use;  // required: what it is for. Else: what is done without it, or what is lost
};

struct RefusedCall {
  const NeededCall* call = nullptr;
  int error = 0;  // EPERM, ENOSYS or EACCES
};

std::span<const NeededCall> needed_calls();

// Tries one: 0, or the errno that refuses it. The kernel's own answers to the arguments count as 0. Where a filter
// kills instead of refusing, the caller dies.
int try_call(const NeededCall& call);

// The first required call that is refused; call is nullptr when there is none.
RefusedCall first_refused();

// For a person: which call, with which errno, what it is needed for, what to do.
std::string refusal_text(const RefusedCall& refused);

}  // namespace fusewire::leader
