// libFuzzer: arbitrary bytes as a request, as a reply to every opcode and as a notification; each is checked and
// printed. The first two bytes choose the dialect, and whether the message's own length is made right, so that most
// inputs get behind that check. What the checks let through must keep what they promise.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "wire/check.h"
#include "wire/print.h"

namespace {

using namespace fusewire::wire;

void require(bool rule) {
  if (!rule) std::abort();
}

void try_request(Bytes message, const Dialect& dialect, std::span<char> text) {
  require(print_request(message, dialect, text) <= text.size());
  const auto view = check_request(message, dialect);
  if (!view) return;
  size_t size = sizeof(InHeader) + view->fixed.size() + view->data.size() + view->extensions.size();
  for (uint32_t i = 0; i < view->info->name_count(); ++i) {
    size += view->names[i].size() + 1;
    require(view->names[i].data()[view->names[i].size()] == '\0');
  }
  require(size == message.size());
}

void try_reply(const OpcodeInfo& info, const ReplyContext& context, Bytes message, std::span<char> text) {
  require(print_reply(info.opcode, context, message, text) <= text.size());
  const auto view = check_reply(info.opcode, context, message);
  if (!view) return;
  require(view->header.error <= 0 && view->header.error > -512);
  require(view->fixed.size() + view->data.size() + sizeof(OutHeader) == message.size());
  require(view->data.size() <= context.room);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const Dialect dialect{data[0] % 48u, (data[1] & 1) != 0};
  // Of its exact size, so that the sanitizer sees every byte read behind it.
  std::vector<std::byte> copy(size - 2);
  if (!copy.empty()) std::memcpy(copy.data(), data + 2, copy.size());
  if ((data[0] & 0x80) != 0 && copy.size() >= sizeof(uint32_t)) {
    const auto len = static_cast<uint32_t>(copy.size());
    std::memcpy(copy.data(), &len, sizeof(len));
  }
  const Bytes message(copy);
  char text[300];
  try_request(message, dialect, text);
  for (const OpcodeInfo& info : opcode_table) {
    try_reply(info, {dialect, data[1] * 64u, (data[1] & 2) != 0}, message, text);
  }
  require(print_notify(message, text) <= sizeof(text));
  return 0;
}
