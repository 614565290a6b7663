#include "choices.h"

#include <fcntl.h>
#include <sys/stat.h>

namespace fusewire::differential {

namespace {

const char* const names[] = {"a", "b", "c", "d", "e", "l", "m", "d", "e"};

std::string any_component(Random& random) {
  if (random.chance(95)) return random.pick(names);
  switch (random.below(5)) {
    case 0:
      return std::string(255, 'n');
    case 1:
      return std::string(256, 'n');
    case 2:
      return "\xff\x01 name\n";
    default:
      return "missing";
  }
}

std::string any_slashes(Random& random) { return random.chance(95) ? "/" : random.chance(50) ? "//" : "/.//./"; }

std::string plain_path(Random& random) {
  std::string path = any_component(random);
  while (random.chance(40)) path += any_slashes(random) + (random.chance(8) ? ".." : any_component(random));
  if (random.chance(6)) path += random.chance(70) ? "/" : random.chance(50) ? "/." : "//";
  return path;
}

std::string long_path(std::string path, size_t length) {
  while (path.size() + 1 < length) path.insert(0, "./");
  if (path.size() < length) path.insert(0, "/");
  if (path.front() == '/') path.front() = '.', path.insert(1, "/");
  path.resize(length, 'z');
  return path;
}

}  // namespace

uint64_t Random::next() {
  state_ += 0x9e3779b97f4a7c15;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::string any_path(Random& random, const std::string& place) {
  const uint64_t kind = random.below(100);
  if (kind < 74) return plain_path(random);
  if (kind < 78) return "./" + plain_path(random);
  if (kind < 82) return "../w/" + plain_path(random);
  if (kind < 86) return place + "/mnt/w/" + plain_path(random);
  if (kind < 88) return place + "/mnt/" + plain_path(random);
  if (kind < 89) return place + any_slashes(random) + "mnt" + (random.chance(50) ? "" : "/");
  if (kind < 90) return "../../mnt/w/" + plain_path(random);
  if (kind < 91) return "../" + plain_path(random);
  if (kind < 93) return random.chance(50) ? "." : "./";
  if (kind < 95) return random.chance(50) ? ".." : "../";
  if (kind < 96) return "";
  if (kind < 97) return random.chance(50) ? "../.." : "../../mnt";
  if (kind < 98) return long_path(any_component(random), 4094 + random.below(3));
  // Descriptors' own links: of the program's files, and of one that is not open.
  const std::string link = "/proc/self/fd/" + std::to_string(3 + random.below(8));
  return random.chance(60) ? link : link + "/" + plain_path(random);
}

std::string any_target(Random& random, const std::string& place) {
  const uint64_t kind = random.below(100);
  if (kind < 70) return plain_path(random);
  if (kind < 76) return "../w/" + plain_path(random);
  if (kind < 82) return place + "/mnt/w/" + plain_path(random);
  if (kind < 86) return "../../mnt/w/" + plain_path(random);
  if (kind < 88) return ".";
  if (kind < 90) return "..";
  if (kind < 92) return "";
  if (kind < 94) return place + "/mnt";
  if (kind < 96) return "/proc/self/fd/" + std::to_string(3 + random.below(8));
  // To nowhere: such a text in a loop of symlinks is ENAMETOOLONG in a namespace (docs/compatibility.md).
  return long_path("nowhere", 4094 + random.below(3));
}

std::string any_xattr_name(Random& random) {
  const uint64_t kind = random.below(100);
  if (kind < 70) return random.chance(50) ? "user.a" : "user.b";
  if (kind < 78) return "trusted.a";
  if (kind < 82) return "security.a";
  if (kind < 84) return "user.";
  if (kind < 86) return "user";
  if (kind < 88) return "";
  if (kind < 90) return "wrong.a";
  if (kind < 92) return "system.a";
  if (kind < 94) return "user." + std::string(250, 'x');
  if (kind < 96) return "user." + std::string(251, 'x');
  if (kind < 97) return "system.posix_acl_access";
  if (kind < 98) return "security.capability";
  return "user.c";
}

uint32_t any_open_flags(Random& random) {
  static const uint32_t access[] = {O_RDONLY, O_RDONLY, O_WRONLY, O_RDWR, O_RDWR, O_RDWR, O_WRONLY, O_ACCMODE};
  uint32_t flags = random.chance(3) ? uint32_t{O_ACCMODE} : random.pick(access) & (random.chance(97) ? ~0u : 0u);
  if (random.chance(45)) flags |= O_CREAT;
  if (random.chance(12)) flags |= O_EXCL;
  if (random.chance(15)) flags |= O_TRUNC;
  if (random.chance(15)) flags |= O_APPEND;
  if (random.chance(12)) flags |= O_DIRECTORY;
  if (random.chance(12)) flags |= O_NOFOLLOW;
  if (random.chance(8)) flags |= O_PATH;
  if (random.chance(5)) flags |= O_NONBLOCK;
  if (random.chance(10)) flags |= O_CLOEXEC;
  if (random.chance(5)) flags |= O_DIRECT;
  if (random.chance(5)) flags |= O_NOATIME;
  if (random.chance(3)) flags |= O_SYNC;
  if (random.chance(3)) flags |= O_NOCTTY;
  if (random.chance(4)) flags = (flags & ~(random.chance(80) ? uint32_t{O_CREAT} : 0u)) | O_TMPFILE;
  return flags;
}

uint32_t any_mode(Random& random) {
  static const uint32_t modes[] = {0644, 0644, 0600, 0777, 0755, 0, 04755, 02755, 02744, 07777, 01777, 0444, 0200};
  return random.pick(modes);
}

size_t any_size(Random& random) {
  static const size_t sizes[] = {0, 1, 2, 7, 26, 100, 511, 512, 4095, 4096, 4097, 5000, 8192};
  static const size_t large[] = {65536, 131071, 131072, 131073, 300000};
  return random.chance(94) ? random.pick(sizes) : random.pick(large);
}

int64_t any_offset(Random& random) {
  static const int64_t usual[] = {0, 0, 0, 1, 3, 100, 511, 4095, 4096, 4097, 10000, 20000};
  static const int64_t odd[] = {-1,        -5,        INT64_MAX,        INT64_MIN,       INT64_MAX - 4096, 1LL << 31,
                                1LL << 32, 1LL << 40, (1LL << 31) - 10, INT64_MAX - 100, 131072,           500000};
  return random.chance(92) ? random.pick(usual) : random.pick(odd);
}

}  // namespace fusewire::differential
