#include "filesystems/serve.h"

#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstdio>

#include "daemon/serve.h"

namespace fusewire::filesystems {
namespace {

template <typename T>
bool parse_number(std::string_view text, T& out, int base = 10) {
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return failed == std::errc() && end == text.data() + text.size();
}

bool parse_size(std::string_view text, uint64_t& out) {
  if (text.empty()) return false;
  unsigned shift = 0;
  switch (text.back()) {
    case 'k':
    case 'K':
      shift = 10;
      break;
    case 'm':
    case 'M':
      shift = 20;
      break;
    case 'g':
    case 'G':
      shift = 30;
      break;
    case '%': {
      uint64_t percent;
      if (!parse_number(text.substr(0, text.size() - 1), percent) || percent == 0 || percent > 100) return false;
      out =
          static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) / 100 * percent;
      return true;
    }
  }
  if (shift != 0) text.remove_suffix(1);
  if (!parse_number(text, out) || out == 0 || out > UINT64_MAX >> shift) return false;
  out <<= shift;
  return true;
}

bool parse_seconds(std::string_view text, daemon::Timeout& out) {
  double seconds;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  constexpr double longest = 1e9;
  if (failed != std::errc() || end != text.data() + text.size() || !(seconds >= 0 && seconds <= longest)) return false;
  out = daemon::Timeout(std::llround(seconds * 1e9));
  return true;
}

enum class Taken { no, yes, bad };

Taken take_option(MemFsOptions& out, std::string_view name, std::string_view value) {
  auto taken = [](bool good) { return good ? Taken::yes : Taken::bad; };
  if (name == "size") return taken(parse_size(value, out.size_limit));
  if (name == "nr_inodes") return taken(parse_size(value, out.inode_limit));
  if (name == "mode") return taken(parse_number(value, out.root_mode, 8) && out.root_mode <= 07777);
  if (name == "uid") return taken(parse_number(value, out.root_uid));
  if (name == "gid") return taken(parse_number(value, out.root_gid));
  if (name == "entry_timeout") return taken(parse_seconds(value, out.entry_timeout));
  if (name == "attr_timeout") return taken(parse_seconds(value, out.attributes_timeout));
  if (name == "negative_timeout") return taken(parse_seconds(value, out.negative_timeout));
  return Taken::no;
}

}  // namespace

std::expected<MemFsOptions, std::string> parse_memfs_options(std::string_view options, std::string& rest) {
  MemFsOptions out;
  out.root_mode = 0755;
  out.root_uid = getuid();
  out.root_gid = getgid();
  while (!options.empty()) {
    std::string_view option = options.substr(0, options.find(','));
    options.remove_prefix(std::min(option.size() + 1, options.size()));
    size_t equals = option.find('=');
    std::string_view value = equals == std::string_view::npos ? "" : option.substr(equals + 1);
    Taken taken = take_option(out, option.substr(0, equals), value);
    if (taken == Taken::bad) return std::unexpected("option '" + std::string(option) + "' makes no sense");
    if (taken == Taken::yes || option.empty()) continue;
    rest += rest.empty() ? "" : ",";
    rest += option;
  }
  return out;
}

int serve_memfs(const ServeOptions& options) {
  std::string rest;
  auto parsed = parse_memfs_options(options.options, rest);
  if (!parsed) {
    std::fprintf(stderr, "fusewire fs memfs: %s\n", parsed.error().c_str());
    return 2;
  }
  // The kernel would cover a file with this root, and nobody could use it.
  struct stat status;
  if (::stat(options.mount_point.c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
    std::fprintf(stderr, "fusewire fs memfs: cannot mount on '%s': it is a file, and memfs a directory\n",
                 options.mount_point.c_str());
    return 1;
  }
  MemFs file_system(*parsed);
  daemon::ServeOptions serve;
  serve.program = "fusewire fs memfs";
  serve.mount_point = options.mount_point;
  serve.foreground = options.foreground;
  serve.mount.source = "memfs";
  serve.mount.subtype = "memfs";
  serve.mount.add("default_permissions");
  serve.mount.add(rest);
  serve.session.threads = options.threads;
  return daemon::serve(file_system, serve);
}

}  // namespace fusewire::filesystems
