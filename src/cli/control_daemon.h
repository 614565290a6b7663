// The control file system of a namespace: ControlFs over the live mount table and the leader.
#pragma once

#include <string>

#include "abi/mount_table.h"

namespace fusewire::cli {

// For leader::RunOptions::control_daemon. Serves device_fd (its own from now on) until it ends; the exit status.
int serve_control(int device_fd, const abi::MountTable& table, const std::string& directory);

}  // namespace fusewire::cli
