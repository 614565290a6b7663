// Messages as one line of text for a person, e.g.  UNLINK unique=12 nodeid=1 pid=33 "file"
// Any bytes may be given: what fails the checks is printed as such. Freestanding, pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "wire/check.h"

namespace fusewire::wire {

// Each returns the length of the line (no newline, no NUL), at most text.size(); a line that does not fit is cut.
// Names are quoted; bytes that are not printable ASCII stand as \xNN. Data are never printed, only their size.
size_t print_request(Bytes message, const Dialect& dialect, std::span<char> text);
size_t print_reply(Opcode opcode, const ReplyContext& context, Bytes message, std::span<char> text);
size_t print_notify(Bytes message, std::span<char> text);

}  // namespace fusewire::wire
