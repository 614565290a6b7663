#include "kernel/control.h"

#include <optional>

#include "kernel/module.h"

namespace fusewire::kernel {

namespace {

constexpr uint32_t highest_limit = 65535;

size_t print_line(uint32_t number, std::span<char> text) {
  char digits[10];
  size_t count = 0;
  do {
    digits[count++] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number);
  if (text.size() < count + 1) return 0;
  for (size_t i = 0; i < count; ++i) text[i] = digits[count - 1 - i];
  text[count] = '\n';
  return count + 1;
}

uint32_t value_of(Connection& connection, ControlFile file) {
  switch (file) {
    case ControlFile::waiting:
      return connection.counters().waiting.load(std::memory_order_relaxed);
    case ControlFile::max_background:
      return connection.limits().max_background;
    case ControlFile::congestion_threshold:
      return connection.limits().congestion_threshold;
    case ControlFile::abort:
      break;
  }
  return 0;
}

Result<void> set_limit(Connection& connection, ControlFile file, std::string_view text, bool privileged) {
  const auto number = parse_number(text, 0);
  if (!number || *number > highest_limit) return error(Errno::einval);
  if (!privileged && *number > max_user_background) return error(Errno::einval);
  if (file == ControlFile::max_background) {
    connection.set_max_background(*number);
  } else {
    connection.limits().congestion_threshold = *number;
  }
  return {};
}

}  // namespace

void Control::init(const Sysfs& sysfs) {
  if (!sysfs.present()) module_.host().panic("the control file system comes up after sysfs");
  mounted_ = true;
}

void Control::exit() { mounted_ = false; }

Result<size_t> Control::read(uint32_t connection_id, ControlFile file, std::span<char> text) {
  if (file == ControlFile::abort) return error(Errno::einval);
  Result<size_t> length = error(Errno::enoent);
  module_.for_each_connection([&](Connection& connection) {
    if (!mounted_ || connection.id() != connection_id) return;
    Connection::Entry entry(connection);
    length = connection.connected() ? print_line(value_of(connection, file), text) : 0;
  });
  return length;
}

Result<size_t> Control::write(uint32_t connection_id, ControlFile file, std::string_view text, bool privileged) {
  if (file == ControlFile::waiting) return error(Errno::einval);
  Result<size_t> written = error(Errno::enoent);
  module_.for_each_connection([&](Connection& connection) {
    if (!mounted_ || connection.id() != connection_id) return;
    Connection::Entry entry(connection);
    written = text.size();
    if (file == ControlFile::abort) return connection.abort();
    if (auto set = set_limit(connection, file, text, privileged); !set) written = error(set.error());
  });
  return written;
}

}  // namespace fusewire::kernel
