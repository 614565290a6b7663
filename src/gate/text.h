// Byte strings of the gate: no libc, no allocation. Lengths are in bytes without the NUL; buffers always end with one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fusewire::gate {

inline constexpr size_t path_room = 4096;  // PATH_MAX, its NUL counted

inline size_t text_length(const char* text) {
  size_t n = 0;
  while (text[n] != 0) n++;
  return n;
}

// A bounded text: what does not fit is left out, and overflowed() says so.
template <size_t room>
class Text {
 public:
  Text() { data_[0] = 0; }

  const char* c_str() const { return data_; }
  char* data() { return data_; }
  size_t length() const { return length_; }
  bool empty() const { return length_ == 0; }
  bool overflowed() const { return overflowed_; }
  std::string_view view() const { return {data_, length_}; }
  char back() const { return length_ == 0 ? '\0' : data_[length_ - 1]; }

  void clear() { set_length(0), overflowed_ = false; }
  void set_length(size_t n) { length_ = n, data_[n] = 0; }

  Text& add(std::string_view more) {
    if (more.empty()) return *this;  // it may have no address
    if (more.size() >= room - length_) {
      overflowed_ = true;
      return *this;
    }
    __builtin_memmove(data_ + length_, more.data(), more.size());
    set_length(length_ + more.size());
    return *this;
  }
  Text& add(char c) { return add(std::string_view(&c, 1)); }
  Text& add_decimal(int64_t value) {
    if (value < 0) add('-');
    return add_digits(value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value));
  }
  // least: as many digits at least.
  Text& add_hex(uint64_t value, int least) {
    for (int digit = 15; digit >= 0; digit--) {
      const uint64_t rest = value >> (4 * digit);
      if (rest != 0 || digit < least) add("0123456789abcdef"[rest & 15]);
    }
    return *this;
  }
  Text& add_digits(uint64_t value) {
    char digits[20];
    size_t at = sizeof digits;
    do {
      digits[--at] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    return add({digits + at, sizeof digits - at});
  }
  // Takes over `text`, which may lie in this Text.
  Text& assign(std::string_view text) {
    clear();
    return add(text);
  }

 private:
  size_t length_ = 0;
  bool overflowed_ = false;
  char data_[room];
};

using PathText = Text<path_room>;

// The number at the front of text; *used: its digits (0: none). Saturates below INT32_MAX.
inline uint64_t parse_decimal(std::string_view text, size_t* used) {
  uint64_t value = 0;
  size_t n = 0;
  while (n < text.size() && text[n] >= '0' && text[n] <= '9' && value < 1u << 30) {
    value = value * 10 + static_cast<uint64_t>(text[n++] - '0');
  }
  *used = n;
  return value;
}

// The hexadecimal number at the front of text, of at most 16 lower-case digits; *used: its digits (0: none).
inline uint64_t parse_hex(std::string_view text, size_t* used) {
  uint64_t value = 0;
  size_t n = 0;
  for (; n < text.size() && n < 16; n++) {
    const char c = text[n];
    const bool decimal = c >= '0' && c <= '9';
    if (!decimal && (c < 'a' || c > 'f')) break;
    value = value << 4 | static_cast<uint64_t>(decimal ? c - '0' : c - 'a' + 10);
  }
  *used = n;
  return value;
}

inline std::string_view last_component(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace fusewire::gate
