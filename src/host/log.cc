#include "host/log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

namespace fusewire::host {

std::string printable(std::string_view text) {
  std::string clean(text);
  for (char& c : clean)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return clean;
}

void Log::line(std::string_view text) const {
  const std::string clean = printable(text);
  if (verbose_) {
    const std::string message = fmt::format("fusewire: {}\n", clean);
    (void)!::write(STDERR_FILENO, message.data(), message.size());
  }
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  const std::string entry = fmt::format("{:%F %T} {}\n", local, clean);
  if (file_) (void)!::write(file_.get(), entry.data(), entry.size());
}

}  // namespace fusewire::host
