// The processes below one, from /proc: what a namespace must not leave behind.
#pragma once

#include <sys/types.h>

#include <set>

namespace fusewire::leader {

// All descendants of root that have not ended (zombies are not counted), without root.
std::set<pid_t> descendants_of(pid_t root);

}  // namespace fusewire::leader
