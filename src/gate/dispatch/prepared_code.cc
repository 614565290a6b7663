#include "gate/dispatch/prepared_code.h"

#include "gate/gate.h"
#include "gate/text.h"

namespace fusewire::gate {

namespace {

const abi::MountTable* codes = nullptr;

uint32_t count() {
  if (codes == nullptr) return 0;
  return codes->prepared_codes < abi::prepared_codes_max ? codes->prepared_codes : abi::prepared_codes_max;
}

}  // namespace

void use_prepared_codes(const abi::MountTable& table) { codes = &table; }

bool code_is_prepared() { return count() != 0; }

const abi::PreparedCode* prepared_code(int index) {
  return index >= 0 && static_cast<uint32_t>(index) < count() ? &codes->prepared_code[index] : nullptr;
}

int prepared_code_of(const struct stat& file) {
  const abi::FileIdentity identity = abi::identity_of(file);
  for (uint32_t i = 0; i < count(); i++) {
    if (codes->prepared_code[i].file == identity) return static_cast<int>(i);
  }
  return -1;
}

const abi::PreparedCode* prepared_code_of(const MapsLine& line, uint64_t& offset) {
  if (line.name.find("fusewire-gate") == std::string_view::npos) return nullptr;
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
