// The drop-in for fusermount and fusermount3: FUSE libraries run it to mount without privilege, and users to unmount.
// It behaves as libfuse's helper does towards its callers (arguments, messages, the _FUSE_COMMFD protocol), and has no
// privilege of its own: who runs it must be allowed mount(2), or run it where mount(2) is served.
#pragma once

namespace fusewire::daemon {

// The program. Needs nothing of the environment but _FUSE_COMMFD. The exit status: 0, or 1 after a message on stderr.
int fusermount_main(int argc, char** argv);

}  // namespace fusewire::daemon
