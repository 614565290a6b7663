// Errors of the kernel's half: Linux errno values as a type, and the result type of every fallible function.
// Freestanding. The values are Linux's (asm-generic/errno.h), so that the gate hands them to the program unchanged.
#pragma once

#include <cstdint>
#include <expected>

namespace fusewire::kernel {

enum class Errno : int32_t {
  eperm = 1,
  enoent = 2,
  esrch = 3,
  eintr = 4,
  eio = 5,
  enxio = 6,
  e2big = 7,
  enoexec = 8,
  ebadf = 9,
  echild = 10,
  eagain = 11,
  enomem = 12,
  eacces = 13,
  efault = 14,
  ebusy = 16,
  eexist = 17,
  exdev = 18,
  enodev = 19,
  enotdir = 20,
  eisdir = 21,
  einval = 22,
  enfile = 23,
  emfile = 24,
  enotty = 25,
  etxtbsy = 26,
  efbig = 27,
  enospc = 28,
  espipe = 29,
  erofs = 30,
  emlink = 31,
  epipe = 32,
  edom = 33,
  erange = 34,
  edeadlk = 35,
  enametoolong = 36,
  enolck = 37,
  enosys = 38,
  enotempty = 39,
  eloop = 40,
  enodata = 61,
  ebadmsg = 74,
  eoverflow = 75,
  eopnotsupp = 95,
  econnaborted = 103,
  enotconn = 107,
  etimedout = 110,
  econnrefused = 111,
  estale = 116,
  edquot = 122,
  ecanceled = 125,
  // Never seen by a program. The walk left the mount: the rest of the path stands in the call's Leave
  // (syscall/mount.h), and the gate goes on there.
  eleave = 4001,
};

template <typename T>
using Result = std::expected<T, Errno>;

inline std::unexpected<Errno> error(Errno e) { return std::unexpected<Errno>(e); }

}  // namespace fusewire::kernel

// TRY(var, expression): declares var with the value, or returns the error from a plain function.
// CO_TRY: the same in a coroutine; the expression usually has a co_await.
#define FUSEWIRE_CONCAT_(a, b) a##b
#define FUSEWIRE_CONCAT(a, b) FUSEWIRE_CONCAT_(a, b)
#define FUSEWIRE_TRY_(tmp, ret, var, ...)     \
  auto tmp = (__VA_ARGS__);                   \
  if (!tmp) ret std::unexpected(tmp.error()); \
  auto var = std::move(*tmp)
#define TRY(var, ...) FUSEWIRE_TRY_(FUSEWIRE_CONCAT(try_result_, __LINE__), return, var, __VA_ARGS__)
#define CO_TRY(var, ...) FUSEWIRE_TRY_(FUSEWIRE_CONCAT(try_result_, __LINE__), co_return, var, __VA_ARGS__)
// For Result<void>.
#define TRY_VOID(...) \
  if (auto try_void_result = (__VA_ARGS__); !try_void_result) return std::unexpected(try_void_result.error())
#define CO_TRY_VOID(...) \
  if (auto try_void_result = (__VA_ARGS__); !try_void_result) co_return std::unexpected(try_void_result.error())
