#include "gate/dispatch/process_links.h"

#include "abi/leader_protocol.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

constexpr std::string_view deleted = " (deleted)";
constexpr std::string_view memfd = "/memfd:";
constexpr std::string_view name_prefix = "fusewire-mapping:", no_exec_prefix = "fusewire-mapping-noexec:";
constexpr uint64_t program_headers = 3;  // AT_PHDR

Text<64> file_in(std::string_view directory, std::string_view name) {
  Text<64> path;
  path.add(directory).add('/').add(name);
  return path;
}

bool read_link(const char* path, PathText& to) {
  const long n = native::readlink(path, to.data(), path_room - 1);
  to.set_length(n > 0 ? static_cast<size_t>(n) : 0);
  return n > 0;
}

// Where the program's headers lie in the process's memory; 0: not known.
uint64_t headers_of(std::string_view directory) {
  const int fd = native::open(file_in(directory, "auxv").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  uint64_t words[128];
  const long n = native::read(fd, words, sizeof words);
  native::close(fd);
  for (long i = 0; i + 1 < n / 8; i += 2) {
    if (words[i] == program_headers) return words[i + 1];
  }
  return 0;
}

// A number at the front of rest, with what stands behind it.
bool take_hex(std::string_view& rest, char behind, uint64_t& value) {
  size_t digits = 0;
  value = parse_hex(rest, &digits);
  if (digits == 0 || digits >= rest.size() || rest[digits] != behind) return false;
  rest.remove_prefix(digits + 1);
  return true;
}

}  // namespace

Text<80> nowhere_name(VirtualFile file) {
  Text<80> name;
  name.add(abi::void_name).add('-').add_decimal(file.connection).add(':');
  return name.add_hex(file.token, 16).add(':').add_decimal(native::gettid());
}

bool parse_nowhere_link(std::string_view link, VirtualFile& file) {
  if (!link.ends_with(deleted)) return false;
  link = last_component(link.substr(0, link.size() - deleted.size()));
  const std::string_view front = abi::void_name;
  if (!link.starts_with(front) || link.substr(front.size()).empty() || link[front.size()] != '-') return false;
  link.remove_prefix(front.size() + 1);
  size_t digits = 0;
  const uint64_t connection = parse_decimal(link, &digits);
  if (digits == 0 || link.size() < digits + 1 || link[digits] != ':') return false;
  link.remove_prefix(digits + 1);
  const uint64_t token = parse_hex(link, &digits);
  if (digits != 16 || link.size() < 17 || link[16] != ':') return false;
  file = {static_cast<uint32_t>(connection), token};
  return true;
}

Text<250> mapping_name(std::string_view path, bool no_exec) {
  Text<250> name;
  name.add(no_exec ? no_exec_prefix : name_prefix);
  const size_t room = 249 - name.length();
  name.add(path.size() < room ? path : path.substr(path.size() - room + 1));
  return name;
}

MappingName find_mapping_name(std::string_view text) {
  const size_t at = text.find(memfd);
  if (at == std::string_view::npos) return {};
  std::string_view name = text.substr(at + memfd.size());
  const std::string_view prefix = name.starts_with(no_exec_prefix) ? no_exec_prefix : name_prefix;
  if (!name.starts_with(prefix)) return {};
  name.remove_prefix(prefix.size());
  const size_t end = name.rfind(deleted);
  if (end == std::string_view::npos) return {};
  return {at, memfd.size() + prefix.size() + end + deleted.size(), name.substr(0, end)};
}

bool read_maps_line(std::string_view line, MapsLine& parts) {
  constexpr size_t rights = 5;
  std::string_view rest = line;
  if (!take_hex(rest, '-', parts.low) || !take_hex(rest, ' ', parts.high) || rest.size() < rights) return false;
  rest.remove_prefix(rights);
  parts.front = line.substr(0, line.size() - rest.size());
  if (!take_hex(rest, ' ', parts.offset)) return false;
  if (rest.ends_with('\n')) rest.remove_suffix(1);
  const size_t name = rest.find('/');
  parts.name = name == std::string_view::npos ? std::string_view() : rest.substr(name);
  return true;
}

bool is_no_exec_name(std::string_view name) {
  return name.starts_with(memfd) && name.substr(memfd.size()).starts_with(no_exec_prefix);
}

bool is_under_gate(std::string_view directory) {
  PathText own, theirs;
  return read_link("/proc/self/exe", own) && read_link(file_in(directory, "exe").c_str(), theirs) &&
         own.view() == theirs.view();
}

bool program_of(std::string_view directory, PathText& path) {
  if (!is_under_gate(directory)) return false;
  const uint64_t headers = headers_of(directory);
  LineReader maps(file_in(directory, "maps").c_str());
  for (std::string_view line; headers != 0 && maps.next(line);) {
    MapsLine parts;
    if (!read_maps_line(line, parts) || headers < parts.low || headers >= parts.high) continue;
    const MappingName mapping = find_mapping_name(parts.name);
    path.assign(mapping.length != 0 ? mapping.path : parts.name);
    PathText gate;
    return path.view().starts_with('/') && read_link("/proc/self/exe", gate) && gate.view() != path.view();
  }
  return false;
}

LineReader::LineReader(const char* path) : fd_(native::open_in_proc(path)) {}
LineReader::LineReader(const native::OwnFile& file) : fd_(static_cast<int>(file.open(O_RDONLY | O_CLOEXEC))) {}

LineReader::~LineReader() {
  if (fd_ >= 0) native::close(fd_);
}

bool LineReader::next(std::string_view& line) {
  for (;;) {
    const std::string_view held(buffer_ + from_, to_ - from_);
    const size_t newline = held.find('\n');
    if (newline != std::string_view::npos) {
      line = held.substr(0, newline + 1);
      from_ += newline + 1;
      return true;
    }
    if (from_ != 0) __builtin_memmove(buffer_, buffer_ + from_, held.size());
    from_ = 0, to_ = held.size();
    const long n = fd_ < 0 || to_ == sizeof buffer_ ? 0 : native::read(fd_, buffer_ + to_, sizeof buffer_ - to_);
    if (n > 0) {
      to_ += static_cast<size_t>(n);
      continue;
    }
    line = {buffer_, to_};
    from_ = to_;
    return !line.empty();
  }
}

}  // namespace fusewire::gate
