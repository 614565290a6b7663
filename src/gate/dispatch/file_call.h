// Calls on an open file of a mount that carry no data: file, arguments, result.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "abi/types.h"
#include "gate/dispatch/client.h"
#include "gate/dispatch/descriptors.h"
#include "gate/gate.h"
#include "gate/native.h"

namespace fusewire::gate {

inline long file_call(VirtualFile file, abi::CallNumber number, long nr, std::initializer_list<int64_t> args = {}) {
  RingCall call(file.connection, number, nr);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  unsigned i = 0;
  for (const int64_t a : args) call.set_arg(i++, a);
  return call.run();
}

// The call of a frame whose arg[0] is the descriptor; native when that is not virtual.
inline long descriptor_call(const CallFrame& f, abi::CallNumber number, std::initializer_list<int64_t> args = {}) {
  VirtualFile file;
  if (!is_virtual(static_cast<int>(f.arg[0]), file)) return pass_on;
  return file_call(file, number, f.nr, args);
}

// The same for a call on the inode, which an open fifo has too.
inline long inode_call(const CallFrame& f, abi::CallNumber number, std::initializer_list<int64_t> args = {}) {
  VirtualFile file;
  if (!has_virtual_inode(static_cast<int>(f.arg[0]), file)) return pass_on;
  return file_call(file, number, f.nr, args);
}

// Linux looks at the descriptor first, at the arguments later. What the gate finds wrong with these by itself gives way
// to EBADF: of a file opened with O_PATH, and of one without the access that the call needs.
inline long unless_path(VirtualFile file, long nr, long result) {
  const long flags = file_call(file, abi::CallNumber::getfl, nr);
  if (flags < 0) return flags;
  return (flags & O_PATH) != 0 ? -EBADF : result;
}
// access: O_RDONLY or O_WRONLY; O_RDWR serves for both.
inline long if_opened_for(VirtualFile file, long nr, long access, long result) {
  const long flags = file_call(file, abi::CallNumber::getfl, nr);
  if (flags < 0) return flags;
  const long opened = flags & O_ACCMODE;
  return (flags & O_PATH) != 0 || (opened != access && opened != O_RDWR) ? -EBADF : result;
}
inline long if_readable(VirtualFile file, long nr, long result) { return if_opened_for(file, nr, O_RDONLY, result); }
inline long if_writable(VirtualFile file, long nr, long result) { return if_opened_for(file, nr, O_WRONLY, result); }

// What is known of the file, without asking the daemon where Linux would not (i_size_read): 0 or -errno.
inline long file_status(VirtualFile file, long nr, abi::Stat& st) {
  RingCall call(file.connection, abi::CallNumber::statx, nr);
  if (call.error() != 0) return call.error();
  call.set_start(file);
  call.set_arg(0, AT_EMPTY_PATH | AT_STATX_DONT_SYNC);
  call.set_arg(1, STATX_BASIC_STATS);
  call.set_path1("");
  if (const long r = call.run(); r < 0) return r;
  __builtin_memcpy(&st, call.result_data(sizeof st).data(), sizeof st);
  return 0;
}

// The size in bytes of a regular file; otherwise, which is an -errno, for any other.
inline long regular_size(VirtualFile file, long nr, long otherwise) {
  abi::Stat st;
  if (const long r = file_status(file, nr, st); r < 0) return r;
  return (st.mode & S_IFMT) == S_IFREG ? static_cast<long>(st.size) : otherwise;
}

}  // namespace fusewire::gate
