// Args: what one request carries, as Linux's struct fuse_args: at most three arguments in and out, each a pointer and a
// size. The buffers belong to the coroutine that sends; they live until Connection::send has returned.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "wire/protocol.h"

namespace fusewire::kernel {

struct Args {
  wire::Opcode opcode{};
  uint64_t nodeid = 0;
  std::array<std::span<const std::byte>, 3> in{};
  std::array<std::span<std::byte>, 3> out{};
  uint8_t in_count = 0;
  uint8_t out_count = 0;
  bool out_variable = false;  // the last out argument may come shorter (out_argvar)
  bool force = false;         // sent even before INIT is answered, not interruptible (K034)
  bool nocreds = false;       // uid, gid, pid 0
  bool noreply = false;       // FORGET and its kin
  uint16_t total_extlen = 0;  // bytes of extensions at the end of the last in argument, in units of 8

  template <typename T>
  Args& add_in(const T& value) {
    in[in_count++] = std::as_bytes(std::span(&value, 1));
    return *this;
  }
  Args& add_in_bytes(std::span<const std::byte> bytes) {
    in[in_count++] = bytes;
    return *this;
  }
  // A name with its NUL: name.data()[name.size()] must be '\0' (Dentry and Name keep it so).
  Args& add_in_name(std::string_view name) {
    in[in_count++] = std::as_bytes(std::span(name.data(), name.size() + 1));
    return *this;
  }
  template <typename T>
  Args& add_out(T& value) {
    out[out_count++] = std::as_writable_bytes(std::span(&value, 1));
    return *this;
  }
  Args& add_out_bytes(std::span<std::byte> bytes, bool variable) {
    out[out_count++] = bytes;
    out_variable = variable;
    return *this;
  }
};

}  // namespace fusewire::kernel
