// What the handlers of calls share: arguments of a Call, and its results.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <type_traits>

#include "host/call_table.h"
#include "kernel/file.h"

namespace fusewire::host {

inline constexpr uint32_t path_max = 4096;          // with the NUL
inline constexpr uint32_t xattr_size_max = 65536;   // also of a list of names
inline constexpr uint32_t ioctl_bytes_max = 16384;  // what _IOC_SIZE can say

inline uint32_t arg32(const Call& call, size_t i) { return static_cast<uint32_t>(call.fields.arg[i]); }
inline uint64_t arg64(const Call& call, size_t i) { return static_cast<uint64_t>(call.fields.arg[i]); }

inline constexpr uint32_t socket_address_max = 108;  // sun_path

// The open file of a call that stands on one.
inline syscall::OpenFile& file_of(const Call& call) { return *call.file->file; }
inline syscall::Place place1(const Call& call) {
  return {.start = call.file ? call.file->file : nullptr, .path = call.path1, .mount = call.fields.mount};
}
inline syscall::Place place2(const Call& call) {
  return {.start = call.file2 ? call.file2->file : nullptr, .path = call.path2, .mount = call.fields.mount2};
}
inline syscall::Timespec time_at(const Call& call, size_t i) { return {call.fields.arg[i], call.fields.arg[i + 1]}; }

template <typename T>
Number number(const kernel::Result<T>& result) {
  if (!result) return kernel::error(result.error());
  if constexpr (std::is_void_v<T>)
    return 0;
  else
    return static_cast<int64_t>(*result);
}

// The descriptor goes to the client, the value is the result.
inline Number handed(Call& call, std::expected<UniqueFd, int> fd, int64_t value) {
  if (!fd) return kernel::error(static_cast<kernel::Errno>(-fd.error()));
  call.handed = std::move(*fd);
  return value;
}

// The value is the result's data.
template <typename T>
Number value(Call& call, const kernel::Result<T>& result) {
  if (!result) return kernel::error(result.error());
  call.data.resize(sizeof(T));
  std::memcpy(call.data.data(), &*result, sizeof(T));
  call.output = sizeof(T);
  return 0;
}

// As many bytes of call.data as the result says.
inline Number bytes(Call& call, const kernel::Result<size_t>& result, bool room_given) {
  if (result && room_given) call.output = std::min(*result, call.data.size());
  return number(result);
}

// A buffer of as many bytes as the caller has room for, within reason.
inline std::span<std::byte> room(Call& call, size_t arg, uint32_t limit) {
  call.data.resize(static_cast<size_t>(std::clamp<int64_t>(call.fields.arg[arg], 0, limit)));
  return call.data;
}
inline std::span<char> characters(std::span<std::byte> memory) {
  return {reinterpret_cast<char*>(memory.data()), memory.size()};
}

}  // namespace fusewire::host
