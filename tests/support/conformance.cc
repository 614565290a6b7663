#include "support/conformance.h"

#include <algorithm>
#include <filesystem>

namespace fusewire::conformance {

std::vector<Rule> file_rules();
std::vector<Rule> name_rules();
std::vector<Rule> attribute_rules();
std::vector<Rule> error_rules();
std::vector<Rule> descriptor_rules();
std::vector<Rule> confinement_rules();
std::vector<Rule> race_rules();
std::vector<Rule> special_rules();
std::vector<Rule> execution_rules();
std::vector<Rule> credential_rules();
std::vector<Rule> lock_rules();
std::vector<Rule> event_rules();
std::vector<Rule> signal_rules();
std::vector<Rule> copy_rules();

void Place::write_file(std::string_view name, std::string_view text) const {
  Fd fd(open(name, O_WRONLY | O_CREAT | O_TRUNC));
  expect_equal<long>(must(::write(fd, text.data(), text.size()), "write"), static_cast<long>(text.size()), "written");
}

std::string Place::read_file(std::string_view name) const {
  Fd fd(open(name, O_RDONLY));
  std::string text;
  char buffer[65536];
  for (long n; (n = must(::read(fd, buffer, sizeof buffer), "read")) > 0;) text.append(buffer, static_cast<size_t>(n));
  return text;
}

std::vector<std::string> Place::list(std::string_view name) const {
  DIR* directory = opendir(path(name).c_str());
  if (directory == nullptr) must(-1, "opendir " + std::string(name));
  std::vector<std::string> names;
  while (dirent* entry = readdir(directory)) {
    std::string_view found = entry->d_name;
    if (found != "." && found != "..") names.emplace_back(found);
  }
  closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

const std::vector<Rule>& rules() {
  static const std::vector<Rule> all = [] {
    std::vector<Rule> out = name_rules();
    for (auto more : {file_rules(), attribute_rules(), error_rules(), confinement_rules(), race_rules(),
                      special_rules(), execution_rules(), credential_rules(), lock_rules(), event_rules(),
                      signal_rules(), copy_rules(), descriptor_rules()})
      out.insert(out.end(), more.begin(), more.end());
    return out;
  }();
  return all;
}

Outcome run_rule(const Rule& rule, const std::string& directory) {
  std::string place = directory + "/conformance-" + std::to_string(getpid());
  mode_t old_umask = umask(022);
  Outcome outcome{Outcome::passed, ""};
  try {
    must(mkdir(place.c_str(), 0755), "mkdir " + place);
    rule.check(Place(place));
  } catch (const Failure& failure) {
    outcome = {Outcome::failed, failure.what};
  } catch (const Skip& skip) {
    outcome = {Outcome::skipped, skip.why};
  }
  umask(old_umask);
  std::error_code failed;
  std::filesystem::remove_all(place, failed);
  if (failed && outcome.kind == Outcome::passed) outcome = {Outcome::failed, "cleaning up: " + failed.message()};
  return outcome;
}

}  // namespace fusewire::conformance
