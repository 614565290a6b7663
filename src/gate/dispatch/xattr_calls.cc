// Extended attributes, by path and by descriptor.
#include <sys/xattr.h>

#include "gate/dispatch/handlers.h"
#include "gate/dispatch/native_first.h"
#include "gate/dispatch/path_engine.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;

constexpr size_t name_room = 256;  // XATTR_NAME_MAX and its NUL
constexpr long value_max = 65536;  // XATTR_SIZE_MAX
using NameText = Text<name_room>;

void* pointer(long argument) { return reinterpret_cast<void*>(argument); }

// Linux: an empty name, and one that is too long, are ERANGE.
long read_name(long from, NameText& name) {
  const long n = copy_string_from_program(name.data(), static_cast<const char*>(pointer(from)), name_room);
  if (n == -ENAMETOOLONG || n == 0) return -ERANGE;
  if (n < 0) return n;
  name.set_length(static_cast<size_t>(n));
  return 0;
}

long fill_value(RingCall& call, std::string_view name, long value, long size) {
  call.set_path2(name);
  if (copy_from_program(call.data_area().data(), pointer(value), static_cast<size_t>(size)) != 0) return -EFAULT;
  call.set_data_length(static_cast<size_t>(size));
  return 0;
}

long clamp_room(long size) { return size < 0 || size > value_max ? value_max : size; }

// size 0 asks for the size alone.
long give_value(const RingCall& call, long result, long to, long size) {
  if (result <= 0 || size == 0) return result;
  const auto data = call.result_data(static_cast<size_t>(result));
  if (result > clamp_room(size)) return -ERANGE;
  return copy_to_program(pointer(to), data.data(), data.size()) != 0 ? -EFAULT : result;
}

// The frame is that of the path calls: path or descriptor first. `how` says which.
struct Target {
  bool by_descriptor;
  bool follow;
};
constexpr Target path_followed{false, true}, path_itself{false, false}, descriptor{true, true};

// Descriptor and path forms differ only in how the file is named.
template <class Fill, class Finish>
long xattr_call(const CallFrame& f, Target target, CallNumber by_path, CallNumber by_file, Fill fill, Finish finish) {
  if (!target.by_descriptor) {
    return path_call(f, {-1, 0, {.follow = target.follow}}, by_path, {1, target.follow ? 0 : AT_SYMLINK_NOFOLLOW}, fill,
                     finish);
  }
  VirtualFile file;
  if (!has_virtual_inode(static_cast<int>(f.arg[0]), file)) return pass_on;
  RingCall call(file.connection, by_file, f.nr);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  long r = fill(call);
  if (r == 0) r = call.run();
  return finish(call, r);
}

// A look at a path's own attributes; or unsure.
long look_first(const CallFrame& f, Target target) {
  if (target.by_descriptor || target.follow) return unsure;
  return xattr_first(NativeLook(f, {-1, 0, {.follow = false}}), f);
}

// As setxattr_copy: flags, name and size come before the file.
long set(const CallFrame& f, Target target) {
  if ((static_cast<int>(f.arg[4]) & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) return -EINVAL;
  NameText name;
  const long r = read_name(f.arg[1], name);
  if (r < 0) return r;
  if (f.arg[3] < 0 || f.arg[3] > value_max) return -E2BIG;
  return xattr_call(
      f, target, CallNumber::setxattr, CallNumber::fsetxattr,
      [&](RingCall& call) {
        call.set_arg(0, static_cast<int>(f.arg[4]));
        return fill_value(call, name.view(), f.arg[2], f.arg[3]);
      },
      plain_result);
}

long get(const CallFrame& f, Target target) {
  NameText name;
  const long r = read_name(f.arg[1], name);
  if (r < 0) return r;
  if (const long first = look_first(f, target); first != unsure) return first;
  return xattr_call(
      f, target, CallNumber::getxattr, CallNumber::fgetxattr,
      [&](RingCall& call) {
        call.set_path2(name.view());
        call.set_arg(0, clamp_room(f.arg[3]));
        return 0L;
      },
      [&](RingCall& call, long result) { return give_value(call, result, f.arg[2], f.arg[3]); });
}

long list(const CallFrame& f, Target target) {
  if (const long first = look_first(f, target); first != unsure) return first;
  return xattr_call(
      f, target, CallNumber::listxattr, CallNumber::flistxattr,
      [&](RingCall& call) {
        call.set_arg(0, clamp_room(f.arg[2]));
        return 0L;
      },
      [&](RingCall& call, long result) { return give_value(call, result, f.arg[1], f.arg[2]); });
}

long remove(const CallFrame& f, Target target) {
  NameText name;
  const long r = read_name(f.arg[1], name);
  if (r < 0) return r;
  return xattr_call(
      f, target, CallNumber::removexattr, CallNumber::fremovexattr,
      [&](RingCall& call) {
        call.set_path2(name.view());
        return 0L;
      },
      plain_result);
}

// ---- setxattrat and its kin: dirfd, path, AT_ flags; then the name, and a struct xattr_args where there is a value

struct XattrArguments {  // struct xattr_args
  uint64_t value;
  uint32_t size, flags;
};

bool knows(long at_flags) { return (at_flags & ~long{AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH}) == 0; }

// copy_struct_from_user: what a longer struct says beyond what is known must be 0.
long read_arguments(long from, long bytes, XattrArguments& to) {
  constexpr long page = 4096;
  const auto given = static_cast<size_t>(bytes);
  if (given < sizeof to) return -EINVAL;
  if (bytes > page) return -E2BIG;
  if (copy_from_program(&to, pointer(from), sizeof to) != 0) return -EFAULT;
  for (size_t at = sizeof to; at < given; at++) {
    char beyond = 0;
    if (copy_from_program(&beyond, static_cast<const char*>(pointer(from)) + at, 1) != 0) return -EFAULT;
    if (beyond != 0) return -E2BIG;
  }
  return 0;
}

// A null path with AT_EMPTY_PATH means the descriptor.
template <class Fill, class Finish>
long at_call(const CallFrame& f, CallNumber number, Fill fill, Finish finish) {
  static const char nothing[1] = {0};
  const long at_flags = static_cast<uint32_t>(f.arg[2]);
  CallFrame frame = f;
  if (f.arg[1] == 0 && (at_flags & AT_EMPTY_PATH) != 0) frame.arg[1] = native::of(nothing);
  return path_call(frame, {0, 1, how_of(at_flags)}, number, {1, at_flags}, fill, finish);
}

long set_at(const CallFrame& f) {
  XattrArguments arguments;
  if (const long r = read_arguments(f.arg[4], f.arg[5], arguments); r < 0) return r;
  if (!knows(static_cast<uint32_t>(f.arg[2]))) return -EINVAL;
  if ((arguments.flags & ~uint32_t{XATTR_CREATE | XATTR_REPLACE}) != 0) return -EINVAL;
  NameText name;
  if (const long r = read_name(f.arg[3], name); r < 0) return r;
  if (arguments.size > value_max) return -E2BIG;
  return at_call(
      f, CallNumber::setxattr,
      [&](RingCall& call) {
        call.set_arg(0, arguments.flags);
        return fill_value(call, name.view(), static_cast<long>(arguments.value), arguments.size);
      },
      plain_result);
}

long get_at(const CallFrame& f) {
  XattrArguments arguments;
  if (const long r = read_arguments(f.arg[4], f.arg[5], arguments); r < 0) return r;
  if (arguments.flags != 0 || !knows(static_cast<uint32_t>(f.arg[2]))) return -EINVAL;
  NameText name;
  if (const long r = read_name(f.arg[3], name); r < 0) return r;
  return at_call(
      f, CallNumber::getxattr,
      [&](RingCall& call) {
        call.set_path2(name.view());
        call.set_arg(0, clamp_room(arguments.size));
        return 0L;
      },
      [&](RingCall& call, long result) {
        return give_value(call, result, static_cast<long>(arguments.value), arguments.size);
      });
}

long list_at(const CallFrame& f) {
  if (!knows(static_cast<uint32_t>(f.arg[2]))) return -EINVAL;
  return at_call(
      f, CallNumber::listxattr,
      [&](RingCall& call) {
        call.set_arg(0, clamp_room(f.arg[4]));
        return 0L;
      },
      [&](RingCall& call, long result) { return give_value(call, result, f.arg[3], f.arg[4]); });
}

long remove_at(const CallFrame& f) {
  if (!knows(static_cast<uint32_t>(f.arg[2]))) return -EINVAL;
  NameText name;
  if (const long r = read_name(f.arg[3], name); r < 0) return r;
  return at_call(
      f, CallNumber::removexattr,
      [&](RingCall& call) {
        call.set_path2(name.view());
        return 0L;
      },
      plain_result);
}

}  // namespace

long call_setxattrat(const CallFrame& f) { return set_at(f); }
long call_getxattrat(const CallFrame& f) { return get_at(f); }
long call_listxattrat(const CallFrame& f) { return list_at(f); }
long call_removexattrat(const CallFrame& f) { return remove_at(f); }

long call_setxattr(const CallFrame& f) { return set(f, path_followed); }
long call_lsetxattr(const CallFrame& f) { return set(f, path_itself); }
long call_fsetxattr(const CallFrame& f) { return set(f, descriptor); }
long call_getxattr(const CallFrame& f) { return get(f, path_followed); }
long call_lgetxattr(const CallFrame& f) { return get(f, path_itself); }
long call_fgetxattr(const CallFrame& f) { return get(f, descriptor); }
long call_listxattr(const CallFrame& f) { return list(f, path_followed); }
long call_llistxattr(const CallFrame& f) { return list(f, path_itself); }
long call_flistxattr(const CallFrame& f) { return list(f, descriptor); }
long call_removexattr(const CallFrame& f) { return remove(f, path_followed); }
long call_lremovexattr(const CallFrame& f) { return remove(f, path_itself); }
long call_fremovexattr(const CallFrame& f) { return remove(f, descriptor); }

}  // namespace fusewire::gate
