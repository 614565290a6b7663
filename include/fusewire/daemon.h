// The daemon's half: write a file system, serve it. Derive from fusewire::daemon::FileSystem and hand it to
// fusewire::daemon::serve (a whole daemon), or to a Session over a Transport of your own.
#pragma once

#include "daemon/device_transport.h"
#include "daemon/file_system.h"
#include "daemon/mount.h"
#include "daemon/serve.h"
#include "daemon/session.h"
#include "wire/protocol.h"
