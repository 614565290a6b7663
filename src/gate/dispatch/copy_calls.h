// What calls on two open files have to be asked before anything is copied.
#pragma once

namespace fusewire::gate {

// Linux generic_file_rw_checks: 0, EBADF, EISDIR or EINVAL. Either may be native. nr: the system call.
long check_copy(long from, long to, long nr);

}  // namespace fusewire::gate
