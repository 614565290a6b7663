// What happens to virtual descriptors outside of single calls.
#pragma once

namespace fusewire::gate {

// FLUSH for every virtual descriptor of this process that is about to be closed with it.
void flush_descriptors();

// Those that execve will close are flushed by the next image: until then the exec may fail, and nothing must have
// happened. keep_closing puts copies of them into a socket and gives its end, which closes with execve too unless that
// is changed; -1: there are none (or no socket is to be had; then they are flushed now). flush_kept flushes and closes
// what is in it, and the end.
int keep_closing();
void flush_kept(int socket);

}  // namespace fusewire::gate
