#include "gate/dispatch/transfer.h"

#include "gate/dispatch/file_call.h"

namespace fusewire::gate {

namespace {

using abi::CallNumber;

// rw_verify_area, which comes before the memory is touched.
bool ends_beyond_any_file(int64_t offset, size_t bytes) {
  return offset != at_position && offset > INT64_MAX - static_cast<int64_t>(bytes);
}

// unmoved: what was read but found no room in the program's memory.
long read_once(VirtualFile file, long nr, Vectors& to, int64_t offset, uint32_t rwf, int64_t& unmoved) {
  RingCall call(file.connection, CallNumber::read, nr);
  if (call.error() != 0) return call.error();
  const size_t bytes = call.make_transfer_room(to.total());
  call.set_file(file.token);
  call.set_arg(0, offset);
  call.set_arg(1, static_cast<int64_t>(bytes));
  call.set_arg(2, rwf);
  const auto data = call.transfer_data(bytes);
  const long n = call.run();
  if (n <= 0) return n;
  const long moved =
      to.scatter(data.data(), static_cast<size_t>(n) < data.size() ? static_cast<size_t>(n) : data.size());
  unmoved = n - (moved > 0 ? moved : 0);
  return moved;
}

long write_once(VirtualFile file, long nr, Vectors& from, int64_t offset, uint32_t rwf) {
  RingCall call(file.connection, CallNumber::write, nr);
  if (call.error() != 0) return call.error();
  const size_t bytes = call.make_transfer_room(from.total());
  const bool is_long = bytes > abi::io_bytes_max;
  call.set_file(file.token);
  call.set_arg(0, offset);
  call.set_arg(2, rwf);
  const long gathered = from.gather((is_long ? call.transfer_data(bytes) : call.data_area()).data(), bytes);
  if (gathered < 0) return gathered;
  if (is_long)
    call.set_arg(1, gathered);
  else
    call.set_data_length(static_cast<size_t>(gathered));
  return call.run();
}

}  // namespace

long read_file(VirtualFile file, long nr, Vectors to, int64_t offset, uint32_t rwf) {
  if (to.error() != 0 || to.is_empty_array()) return if_readable(file, nr, to.error());
  int64_t unmoved = 0;
  const long n = read_once(file, nr, to, offset, rwf, unmoved);
  if (unmoved != 0 && offset == at_position) file_call(file, CallNumber::lseek, nr, {-unmoved, SEEK_CUR});
  return n;
}

long write_file(VirtualFile file, long nr, Vectors from, int64_t offset, uint32_t rwf) {
  if (from.error() != 0 || from.is_empty_array()) return if_writable(file, nr, from.error());
  if (ends_beyond_any_file(offset, from.total())) return if_writable(file, nr, -EINVAL);
  const long n = write_once(file, nr, from, offset, rwf);
  return n == -EFAULT ? if_writable(file, nr, n) : n;
}

}  // namespace fusewire::gate
