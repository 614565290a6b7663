// What happens to virtual descriptors outside of single calls.
#pragma once

namespace fusewire::gate {

// FLUSH for every virtual descriptor of this process that is about to be closed with it; or only for those that
// execve will close.
void flush_descriptors(bool only_close_on_exec);

}  // namespace fusewire::gate
