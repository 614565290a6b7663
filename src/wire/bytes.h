// Loads and stores of message structs at any alignment, with bounds. Freestanding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace fusewire::wire {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

// Copies what is there of a T; the rest is zero. That is how a short struct of an older protocol minor reads.
template <typename T>
T load(Bytes bytes, size_t offset = 0) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value{};
  if (offset >= bytes.size()) return value;
  const size_t there = bytes.size() - offset;
  __builtin_memcpy(&value, bytes.data() + offset, there < sizeof(T) ? there : sizeof(T));
  return value;
}

inline Bytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }

template <typename T>
requires std::is_trivially_copyable_v<T> Bytes bytes_of_struct(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

inline std::string_view text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// Where byte stands first in text, or npos. string_view::find would call libc's memchr.
inline size_t index_of(std::string_view text, char byte) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == byte) return i;
  }
  return std::string_view::npos;
}

// The part of bytes from offset on; empty when offset lies behind the end.
inline Bytes tail(Bytes bytes, size_t offset) { return offset < bytes.size() ? bytes.subspan(offset) : Bytes{}; }

}  // namespace fusewire::wire
