#include "places.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace fusewire::counters {
namespace {

namespace fs = std::filesystem;

// Everything may be cached for as long as a run takes; no name may: each look-up is one LOOKUP.
constexpr char lasting[] = "entry_timeout=1000000,attr_timeout=1000000,negative_timeout=1000000";
constexpr char forgetful[] = "entry_timeout=0,attr_timeout=1000000,negative_timeout=0";

class WorkDirectory {
 public:
  WorkDirectory() {
    const char* temporary = std::getenv("TMPDIR");
    path_ = fmt::format("{}/fusewire-counters-XXXXXX", temporary ? temporary : "/tmp");
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error(fmt::format("{}: {}", path_, std::strerror(errno)));
    for (const char* name : {"plain", "cached", "forgetful"}) fs::create_directory(path_ + "/" + name);
  }
  ~WorkDirectory() {
    std::error_code ignored;
    for (const char* name : {"cached", "forgetful"}) umount2((path_ + "/" + name).c_str(), MNT_DETACH);
    fs::remove_all(path_, ignored);
  }
  WorkDirectory(const WorkDirectory&) = delete;
  std::string operator/(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::vector<std::string> command_of(Place place, const Measurement& m, const WorkDirectory& work) {
  const std::string fusewire = m.programs / "fusewire";
  std::vector<std::string> command;
  if (place == Place::beside || place == Place::virtual_) command = {fusewire, "run", "--view-after", "1", "--"};
  const bool is_plain = place == Place::native || place == Place::beside;
  if (place != Place::native) {
    constexpr char script[] =
        "fusewire=$1 cached=$2 lasting=$3 forgetful=$4 nothing=$5; shift 5\n"
        "\"$fusewire\" fs memfs \"$cached\" -o \"$lasting\" && \"$fusewire\" fs memfs \"$forgetful\" -o \"$nothing\" &&"
        " exec \"$@\"";
    for (const std::string& word :
         {std::string("/bin/sh"), std::string("-c"), std::string(script), std::string("sh"), fusewire, work / "cached",
          std::string(lasting), work / "forgetful", std::string(forgetful)})
      command.push_back(word);
  }
  command.push_back(m.programs / "counters_client");
  command.push_back(work / (is_plain ? "plain" : "cached"));
  command.push_back(work / (is_plain ? "plain" : "forgetful"));
  command.push_back(std::to_string(m.warm_up));
  command.push_back(std::to_string(m.times));
  command.insert(command.end(), m.operations.begin(), m.operations.end());
  return command;
}

}  // namespace

std::optional<Place> place_named(const std::string& name) {
  for (int i = 0; i < places; i++) {
    if (name == place_names[i]) return static_cast<Place>(i);
  }
  return std::nullopt;
}

std::string why_not(Place place) {
  if (place != Place::kernel) return {};
  if (geteuid() != 0) return "mounting on the real kernel needs root";
  if (access("/dev/fuse", R_OK | W_OK) != 0) return fmt::format("/dev/fuse: {}", std::strerror(errno));
  return {};
}

std::vector<Sample> measure(Place place, const Measurement& m) {
  const WorkDirectory work;
  Tracer tracer({.has_leader = place == Place::beside || place == Place::virtual_});
  const int status = tracer.run(command_of(place, m, work));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::runtime_error(fmt::format("the measured program failed in '{}' (wait status {:#x})",
                                         place_names[static_cast<int>(place)], status));
  }
  if (place == Place::kernel) {
    for (const char* name : {"cached", "forgetful"}) umount2((work / name).c_str(), MNT_DETACH);
  }
  tracer.finish();
  return tracer.samples();
}

}  // namespace fusewire::counters
