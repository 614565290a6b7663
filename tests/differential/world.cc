#include "world.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

namespace fusewire::differential {

std::string error_name(int error) {
  const char* name = strerrorname_np(error);
  return name ? name : "error " + std::to_string(error);
}

bool is_lost(int fd) {
  struct stat st;
  return fstat(fd, &st) < 0 && errno == ENOENT;
}

std::string mode_text(uint32_t mode) { return fmt::format("{:06o}", mode); }

std::string content_text(const void* bytes, size_t size) {
  const auto* at = static_cast<const unsigned char*>(bytes);
  uint64_t sum = 0xcbf29ce484222325;
  for (size_t i = 0; i < size; i++) sum = (sum ^ at[i]) * 0x100000001b3;
  std::string begin;
  for (size_t i = 0; i < size && i < 12; i++) begin += at[i] >= 'a' && at[i] <= 'z' ? static_cast<char>(at[i]) : '.';
  return fmt::format("[{} {:x} {}]", size, sum, begin);
}

long Turn::result(long value) {
  line_ += value < 0 ? fmt::format(" = {}", error_name(errno)) : fmt::format(" = {}", value);
  return value;
}

const char* Turn::wrong_pointer() {
  if (!random.chance(1)) return nullptr;
  return reinterpret_cast<const char*>(random.chance(50) ? 8 : ~uint64_t{0} - 100);
}

std::string Turn::shown(const Path& path) const {
  return path.pointer == path.text.c_str() ? shown_text(path.text) : "<nowhere>";
}

// The place's path is the machine's choice, and so is what libfuse calls a file that is removed but open.
std::string Turn::shown_text(std::string_view given) const {
  std::string text(given);
  if (const size_t at = text.find(world.place); at != std::string::npos)
    text.replace(at, world.place.size(), "<place>");
  std::string out = "\"";
  const bool is_long = text.size() > 120;
  for (char c : is_long ? text.substr(text.size() - 40) : text) {
    if (c >= ' ' && c <= '~') {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out + '"' + (is_long ? fmt::format("({})", given.size()) : "");
}

int Turn::file() {
  if (random.chance(2)) return random.chance(50) ? -1 : 77;
  for (int tries = 0; tries < 6; tries++)
    if (const int fd = world.slots[slot()]; fd >= 0) return fd;
  return -1;
}

int Turn::directory() {
  if (random.chance(55)) return AT_FDCWD;
  for (int tries = 0; tries < 4; tries++) {
    const int fd = file();
    struct stat st;
    if (random.chance(20) || (fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))) return fd;
  }
  return AT_FDCWD;
}

void Turn::keep(size_t slot, long descriptor) {
  if (descriptor < 0) return;
  if (world.slots[slot] >= 0) {
    const int closed = close(world.slots[slot]);
    line_ += fmt::format("; close({})", world.slots[slot]);
    result(closed);
  }
  world.slots[slot] = static_cast<int>(descriptor);
}

}  // namespace fusewire::differential
