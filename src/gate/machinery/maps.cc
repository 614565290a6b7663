#include "gate/machinery/maps.h"

#include <fcntl.h>
#include <linux/ioctl.h>

#include "gate/machinery/base.h"

namespace fusewire::gate {

namespace {

// linux/fs.h of 6.11 and later.
struct ProcmapQuery {
  uint64_t size, query_flags, query_address, start, end, flags, page_size, offset, inode;
  uint32_t major, minor, name_size, build_id_size;
  uint64_t name, build_id;
};
constexpr unsigned long procmap_query = _IOWR('f', 17, ProcmapQuery);
constexpr uint64_t flag_readable = 1, flag_writable = 2, flag_executable = 4, flag_shared = 8;

bool query(int maps, uint64_t address, Mapping& m) {
  ProcmapQuery q{};
  q.size = sizeof q;
  q.query_address = address;
  if (raw_syscall(__NR_ioctl, maps, static_cast<long>(procmap_query), argument(&q)) < 0) return false;
  m = {q.start,
       q.end,
       (q.flags & flag_readable) != 0,
       (q.flags & flag_writable) != 0,
       (q.flags & flag_executable) != 0,
       (q.flags & flag_shared) != 0,
       q.inode != 0};
  return address >= m.low && address < m.high;
}

uint64_t take_hex(const char*& p) {
  uint64_t value = 0;
  for (;; p++) {
    if (*p >= '0' && *p <= '9')
      value = value * 16 + static_cast<uint64_t>(*p - '0');
    else if (*p >= 'a' && *p <= 'f')
      value = value * 16 + static_cast<uint64_t>(*p - 'a' + 10);
    else
      return value;
  }
}

const char* skip_word(const char* p) {
  while (*p != ' ' && *p != 0) p++;
  while (*p == ' ') p++;
  return p;
}

// "low-high rwxp offset dev inode name"
Mapping parse_line(const char* p) {
  Mapping m;
  m.low = take_hex(p);
  if (*p != 0) p++;
  m.high = take_hex(p);
  if (*p == ' ' && p[1] != 0 && p[2] != 0 && p[3] != 0) {
    m.readable = p[1] == 'r';
    m.writable = p[2] == 'w';
    m.executable = p[3] == 'x';
    m.shared = p[4] == 's';
  }
  for (int word = 0; word < 4; word++) p = skip_word(p);
  m.from_file = *p >= '1' && *p <= '9';
  return m;
}

bool scan(int maps, uint64_t address, Mapping& m) {
  char line[128], buffer[512];
  size_t length = 0;
  for (;;) {
    const long n = raw_syscall(__NR_read, maps, argument(buffer), sizeof buffer);
    if (n <= 0) return false;
    for (long i = 0; i < n; i++) {
      if (buffer[i] != '\n') {
        // What is left out is the end of a long name.
        if (length < sizeof line - 1) line[length++] = buffer[i];
        continue;
      }
      line[length] = 0;
      length = 0;
      m = parse_line(line);
      if (address >= m.low && address < m.high) return true;
    }
  }
}

}  // namespace

bool find_mapping(uint64_t address, Mapping& mapping) {
  const auto maps =
      static_cast<int>(raw_syscall(__NR_openat, AT_FDCWD, argument("/proc/self/maps"), O_RDONLY | O_CLOEXEC));
  if (maps < 0) return false;
  const bool found = query(maps, address, mapping) || scan(maps, address, mapping);
  raw_syscall(__NR_close, maps);
  return found;
}

}  // namespace fusewire::gate
