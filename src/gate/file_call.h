// Calls on an open file of a mount that carry no data: file, arguments, result.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "gate/client.h"
#include "gate/descriptors.h"
#include "gate/gate.h"
#include "gate/native.h"
#include "syscall/types.h"

namespace fusewire::gate {

inline long file_call(VirtualFile file, host::CallNumber number, long nr, std::initializer_list<int64_t> args = {}) {
  RingCall call(file.connection, number, nr);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  unsigned i = 0;
  for (const int64_t a : args) call.set_arg(i++, a);
  return call.run();
}

// The call of a frame whose arg[0] is the descriptor; native when that is not virtual.
inline long descriptor_call(const CallFrame& f, host::CallNumber number, std::initializer_list<int64_t> args = {}) {
  VirtualFile file;
  if (!is_virtual(static_cast<int>(f.arg[0]), file)) return pass_on;
  return file_call(file, number, f.nr, args);
}

// The size in bytes of a regular file; otherwise, which is an -errno, for any other.
inline long regular_size(VirtualFile file, long nr, long otherwise) {
  RingCall call(file.connection, host::CallNumber::fstat, nr);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  call.set_arg(0, STATX_BASIC_STATS);
  if (const long r = call.run(); r < 0) return r;
  syscall::Stat st;
  __builtin_memcpy(&st, call.result_data(sizeof st).data(), sizeof st);
  return (st.mode & S_IFMT) == S_IFREG ? static_cast<long>(st.size) : otherwise;
}

}  // namespace fusewire::gate
