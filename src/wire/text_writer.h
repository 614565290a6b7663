// Writes text into a caller's buffer: the formatter of a room that has no libc. What does not fit is dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace fusewire::wire {

class TextWriter {
 public:
  explicit TextWriter(std::span<char> buffer) : buffer_(buffer) {}

  size_t size() const { return used_; }

  TextWriter& text(std::string_view s) {
    for (const char c : s) put(c);
    return *this;
  }
  TextWriter& number(uint64_t value) { return digits(value, 10); }
  TextWriter& signed_number(int64_t value) {
    if (value >= 0) return number(static_cast<uint64_t>(value));
    put('-');
    return number(~static_cast<uint64_t>(value) + 1);
  }
  TextWriter& hex(uint64_t value) { return text("0x").digits(value, 16); }
  TextWriter& octal(uint64_t value) { return text("0").digits(value, 8); }
  // In quotes; quote and backslash escaped, what is not printable ASCII as \xNN.
  TextWriter& quoted(std::string_view s) {
    put('"');
    for (const char c : s) escaped(c);
    put('"');
    return *this;
  }

  // " name=value" in decimal, hexadecimal or octal.
  TextWriter& field(std::string_view name, uint64_t value) { return key(name).number(value); }
  TextWriter& field_signed(std::string_view name, int64_t value) { return key(name).signed_number(value); }
  TextWriter& field_hex(std::string_view name, uint64_t value) { return key(name).hex(value); }
  TextWriter& field_octal(std::string_view name, uint64_t value) { return key(name).octal(value); }
  // " name=seconds.nanoseconds"
  TextWriter& field_time(std::string_view name, uint64_t seconds, uint32_t nanoseconds) {
    key(name).signed_number(static_cast<int64_t>(seconds)).text(".");
    for (uint32_t unit = 100'000'000; unit != 0; unit /= 10) put(static_cast<char>('0' + nanoseconds / unit % 10));
    return *this;
  }

 private:
  TextWriter& key(std::string_view name) { return text(" ").text(name).text("="); }

  void put(char c) {
    if (used_ < buffer_.size()) buffer_[used_++] = c;
  }
  TextWriter& digits(uint64_t value, uint32_t base) {
    char reversed[22];
    size_t count = 0;
    do {
      reversed[count++] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value != 0);
    while (count != 0) put(reversed[--count]);
    return *this;
  }
  void escaped(char c) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x20 || byte > 0x7e) {
      text("\\x");
      put("0123456789abcdef"[byte >> 4]);
      put("0123456789abcdef"[byte & 15]);
      return;
    }
    if (c == '"' || c == '\\') put('\\');
    put(c);
  }

  std::span<char> buffer_;
  size_t used_ = 0;
};

}  // namespace fusewire::wire
