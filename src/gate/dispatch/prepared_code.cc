#include "gate/dispatch/prepared_code.h"

#include "gate/gate.h"
#include "gate/text.h"

namespace fusewire::gate {

namespace {

const abi::MountTable* codes = nullptr;

uint64_t nanoseconds(const timespec& t) {
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

uint32_t count() {
  if (codes == nullptr) return 0;
  return codes->prepared_codes < abi::prepared_codes_max ? codes->prepared_codes : abi::prepared_codes_max;
}

bool take_hex(std::string_view& rest, char behind, uint64_t& value) {
  size_t digits = 0;
  value = parse_hex(rest, &digits);
  if (digits == 0 || digits >= rest.size() || rest[digits] != behind) return false;
  rest.remove_prefix(digits + 1);
  return true;
}

}  // namespace

void use_prepared_codes(const abi::MountTable& table) { codes = &table; }

bool code_is_prepared() { return count() != 0; }

const abi::PreparedCode* prepared_code(int index) {
  return index >= 0 && static_cast<uint32_t>(index) < count() ? &codes->prepared_code[index] : nullptr;
}

int prepared_code_of(const struct stat& file) {
  for (uint32_t i = 0; i < count(); i++) {
    const abi::PreparedCode& code = codes->prepared_code[i];
    if (code.inode == file.st_ino && code.device == file.st_dev && code.size == static_cast<uint64_t>(file.st_size) &&
        code.modified == nanoseconds(file.st_mtim) && code.changed == nanoseconds(file.st_ctim)) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

bool read_maps_line(std::string_view line, MapsLine& parts) {
  std::string_view rest = line;
  uint64_t low, high;
  if (!take_hex(rest, '-', low) || !take_hex(rest, ' ', high)) return false;
  constexpr size_t rights = 5;
  if (rest.size() < rights) return false;
  rest.remove_prefix(rights);
  parts.front = line.substr(0, line.size() - rest.size());
  if (!take_hex(rest, ' ', parts.offset)) return false;
  const size_t name = rest.find('/');
  parts.behind = name == std::string_view::npos ? std::string_view() : rest.substr(name);
  return true;
}

const abi::PreparedCode* prepared_code_of(const MapsLine& line, uint64_t& offset) {
  if (line.behind.find("fusewire-gate") == std::string_view::npos) return nullptr;
  for (uint32_t i = 0; i < count(); i++) {
    const abi::PreparedCode& code = codes->prepared_code[i];
    const uint64_t text = code.place + code.trampoline_bytes;
    if (line.offset < text || line.offset >= text + code.bytes) continue;
    offset = line.offset - text + code.offset;
    return &code;
  }
  return nullptr;
}

}  // namespace fusewire::gate
