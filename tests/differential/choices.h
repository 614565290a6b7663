// What a step draws: a reproducible stream of numbers, and from it names, paths, flags, sizes and offsets out of small
// sets, so that calls meet each other's files often. The stream of a step depends on the seed and the step's number
// alone: leaving steps out does not change the others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fusewire::differential {

class Random {
 public:
  Random(uint64_t seed, uint64_t step) : state_(seed * 0x9e3779b97f4a7c15 ^ step * 0xd1b54a32d192ed03) {}

  uint64_t next();
  uint64_t below(uint64_t limit) { return next() % limit; }
  bool chance(unsigned percent) { return below(100) < percent; }
  template <typename T, size_t n>
  T pick(const T (&values)[n]) {
    return values[below(n)];
  }

 private:
  uint64_t state_;
};

// One of the few names, or "a/b" of them, with ".", "..", slashes and wrong forms strewn in. place: the directory that
// holds the mount, for absolute paths.
std::string any_path(Random& random, const std::string& place);
// The text of a symbolic link.
std::string any_target(Random& random, const std::string& place);
std::string any_xattr_name(Random& random);

uint32_t any_open_flags(Random& random);
uint32_t any_mode(Random& random);
size_t any_size(Random& random);
int64_t any_offset(Random& random);

}  // namespace fusewire::differential
