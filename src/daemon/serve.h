// A whole daemon around a file system: mounts, goes to the background, serves until unmounted or told to stop, and
// leaves nothing behind. For programs whose purpose this is; others use Mount and Session.
#pragma once

#include <string>

#include "daemon/file_system.h"
#include "daemon/mount.h"
#include "daemon/session.h"

namespace fusewire::daemon {

struct ServeOptions {
  std::string program = "fusewire";  // begins messages for people, which go to stderr
  std::string mount_point;           // a directory, or /dev/fd/N
  bool foreground = false;           // false: return 0 in the caller once the mount is live, serve in a child
  MountOptions mount;
  SessionOptions session;  // threads 0: as many as help on this machine
};

// The exit status of the program: 0, or 1 after a message. In the background case it returns twice: in the parent when
// the mount is live or has failed, in the child when it has ended; both should exit then.
// SIGINT, SIGTERM and SIGHUP unmount and end it. The process must have one thread when this is called.
int serve(FileSystem& file_system, const ServeOptions& options);

}  // namespace fusewire::daemon
