// What the socket calls share with those of descriptors.
#pragma once

namespace fusewire::gate {

// Descriptors may come with the message whose msghdr lies at `header` in the program's memory: from now on each
// descriptor is looked at. Noted ahead of the call.
void note_receiving(const void* header);

}  // namespace fusewire::gate
