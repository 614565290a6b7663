// Random numbers of the host kernel's.
#pragma once

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <type_traits>

#include "abi/unique_fd.h"

namespace fusewire::host {

// False: the kernel gives none, neither by getrandom(2) nor by /dev/urandom (which a container's filter leaves alone).
// Bits: no more than 256 bytes, plain.
template <typename Bits>
bool random_bits(Bits& bits) {
  static_assert(sizeof bits <= 256 && std::is_trivially_copyable_v<Bits>);
  if (::getrandom(&bits, sizeof bits, 0) == static_cast<ssize_t>(sizeof bits)) return true;
  const UniqueFd device(::open("/dev/urandom", O_RDONLY | O_CLOEXEC));
  return device && ::read(device.get(), &bits, sizeof bits) == static_cast<ssize_t>(sizeof bits);
}

}  // namespace fusewire::host
