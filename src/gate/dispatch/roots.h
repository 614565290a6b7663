// The root directory of a process, when it has changed it (chroot): the mount table has paths from the namespace's
// root, a process sees those below its own, without what leads there.
//
// Thread rule: any thread. Roots are never forgotten: a text that was published stays.
#pragma once

#include <string_view>

#include "gate/dispatch/process.h"

namespace fusewire::gate {

// The root's path from the namespace's root; "" where that is the root, or while nobody has changed it.
std::string_view root_of(const Process& p);
// Whether the calling process's root lies in a mount; then where. No native path is below it.
bool virtual_root(VirtualFile& root);
// It is native again.
void leave_virtual_root(Process& p);
// What the calling process calls the absolute canonical path. false: it lies outside of its root.
bool as_seen(std::string_view absolute, std::string_view& seen);
// The reverse.
PathText in_namespaces_root(std::string_view seen);
// chroot(2) to a native directory: 0 or -errno.
long change_root(const char* path);
// In the next image.
void inherit_root(Process& p, std::string_view root);

}  // namespace fusewire::gate
