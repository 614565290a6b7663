#include "kernel/mount_options.h"

namespace fusewire::kernel {

namespace {

// Takes what stands before the separator, or all, off the front of text. string_view's find and substr would need libc.
std::string_view take_until(std::string_view& text, char separator) {
  size_t length = 0;
  while (length < text.size() && text[length] != separator) ++length;
  const std::string_view front(text.data(), length);
  text.remove_prefix(length < text.size() ? length + 1 : length);
  return front;
}

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 16;
}

// One parse: the result so far, and which of the four mandatory options have been seen.
class Parser {
 public:
  explicit Parser(bool is_block) : is_block_(is_block) {}
  Result<void> take(std::string_view option) {
    std::string_view value = option;
    const std::string_view key = take_until(value, '=');
    if (key.empty() || take_common(key)) return {};
    if (key.size() == option.size()) return take_flag(key);
    return take_value(key, value);
  }
  Result<ParsedMountData> finish() const {
    if (!fd_seen_ || !rootmode_seen_ || !user_seen_ || !group_seen_) return error(Errno::einval);
    return parsed_;
  }

 private:
  // The superblock's flags, which every file system takes in its data, and whose values nobody looks at (Linux
  // fs_context.c: vfs_parse_sb_flag). Only ro and rw change the half.
  bool take_common(std::string_view key) {
    static constexpr std::string_view without_effect[] = {"sync",     "async",      "dirsync",
                                                          "lazytime", "nolazytime", "nomand"};
    for (const std::string_view common : without_effect) {
      if (key == common) return true;
    }
    if (key != "ro" && key != "rw") return false;
    parsed_.options.read_only = key == "ro";
    return true;
  }
  Result<void> take_flag(std::string_view key) {
    if (key == "default_permissions") return set(parsed_.options.default_permissions, true);
    if (key == "allow_other") return set(parsed_.options.allow_other, true);
    return error(Errno::einval);
  }
  Result<void> take_value(std::string_view key, std::string_view value) {
    if (key == "subtype") return set_once(parsed_.subtype, value);
    if (key == "source") return set_once(parsed_.source, value);
    const auto number = parse_number(value, key == "rootmode" ? 8 : 0);
    if (!number) return error(Errno::einval);
    if (key == "fd") return fd_seen_ = true, set(parsed_.fd, *number);
    if (key == "rootmode") return set_rootmode(*number);
    if (key == "user_id") return user_seen_ = true, set_id(parsed_.options.user_id, *number);
    if (key == "group_id") return group_seen_ = true, set_id(parsed_.options.group_id, *number);
    if (key == "blksize" && is_block_) return is_block_size(*number) ? Result<void>() : error(Errno::einval);
    if (key == "max_read") return set(parsed_.options.max_read, *number);
    return error(Errno::einval);
  }

  // Of the device, whose blocks nobody reads through the half (sb_set_blocksize).
  static bool is_block_size(uint32_t size) { return size >= 512 && size <= 4096 && (size & (size - 1)) == 0; }
  template <typename T, typename V>
  static Result<void> set(T& field, V value) {
    field = value;
    return {};
  }
  static Result<void> set_once(std::string_view& field, std::string_view value) {
    if (!field.empty() || value.empty()) return error(Errno::einval);
    field = value;
    return {};
  }
  static Result<void> set_id(uint32_t& field, uint32_t value) {
    if (value == UINT32_MAX) return error(Errno::einval);
    field = value;
    return {};
  }
  Result<void> set_rootmode(uint32_t value) {
    if (!is_file_type(value)) return error(Errno::einval);
    rootmode_seen_ = true;
    parsed_.options.rootmode = value;
    return {};
  }

  const bool is_block_;
  ParsedMountData parsed_{};
  bool fd_seen_ = false, rootmode_seen_ = false, user_seen_ = false, group_seen_ = false;
};

}  // namespace

std::optional<uint32_t> parse_number(std::string_view text, uint32_t base) {
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text.ends_with('\n')) text.remove_suffix(1);
  const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  if (base == 0) base = hexadecimal ? 16 : text.starts_with('0') ? 8 : 10;
  if (base == 16 && hexadecimal) text.remove_prefix(2);
  if (text.empty()) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    const int digit = digit_of(c);
    if (static_cast<uint32_t>(digit) >= base) return std::nullopt;
    value = value * base + static_cast<uint32_t>(digit);
    if (value > UINT32_MAX) return std::nullopt;
  }
  return static_cast<uint32_t>(value);
}

bool is_file_type(uint32_t mode) {
  switch (mode & 0170000) {
    case 0010000:
    case 0020000:
    case 0040000:
    case 0060000:
    case 0100000:
    case 0120000:
    case 0140000:
      return true;
    default:
      return false;
  }
}

Result<ParsedMountData> parse_mount_data(std::string_view data, bool is_block) {
  Parser parser(is_block);
  while (!data.empty()) {
    const std::string_view option = take_until(data, ',');
    TRY_VOID(parser.take(option));
  }
  return parser.finish();
}

Result<bool> parse_remount_data(std::string_view data, bool read_only) {
  while (!data.empty()) {
    const std::string_view option = take_until(data, ',');
    if (option == "mand") return error(Errno::einval);
    if (option == "ro" || option == "rw") read_only = option == "ro";
  }
  return read_only;
}

}  // namespace fusewire::kernel
