// Extended attributes, by path and by descriptor.
#include <sys/xattr.h>

#include "gate/dispatch/handlers.h"
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
  if (!is_virtual(static_cast<int>(f.arg[0]), file)) return pass_on;
  RingCall call(file.connection, by_file, f.nr);
  if (call.error() != 0) return call.error();
  call.set_file(file.token);
  long r = fill(call);
  if (r == 0) r = call.run();
  return finish(call, r);
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

}  // namespace

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
