#include "host/call_runner.h"

#include <cerrno>

#include "host/call_parts.h"

namespace fusewire::host {
namespace {

bool copy_path(std::string& to, const std::byte* from, uint32_t length) {
  to.assign(reinterpret_cast<const char*>(from), length);
  return to.find('\0') == std::string::npos;
}

}  // namespace

int copy_arguments(Call& call) {
  const CallFields& fields = call.fields;
  if (fields.path1_length >= path_max || fields.path2_length >= path_max) return -ENAMETOOLONG;
  const uint64_t start = abi::call_data_offset(fields.path1_length, fields.path2_length);
  if (start + fields.data_length > abi::slot_data_bytes) return -EINVAL;
  const std::span<std::byte> area = call.slot_data();
  if (!copy_path(call.path1, area.data(), fields.path1_length) ||
      !copy_path(call.path2, area.data() + fields.path1_length + 1, fields.path2_length))
    return -EINVAL;
  const BringsData& limit = call.info->data;
  if (fields.data_length > limit.max) return -limit.too_much;
  if (limit.in_place) return 0;
  const auto data = area.subspan(start, fields.data_length);
  call.data.assign(data.begin(), data.end());
  return 0;
}

kernel::Task<Number> run(Call& call) {
  auto task = call.info->handler(call);
  const Number result = co_await task;
  call.result = result ? *result : -static_cast<int64_t>(result.error());
  call.end->finished(call);
  co_return 0;
}

}  // namespace fusewire::host
