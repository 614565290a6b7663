#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <vector>

#include "calls.h"

namespace fusewire::differential {

namespace {

// A buffer that may end before the call's size: behind it lies a page that may not be touched.
class Buffer {
 public:
  Buffer(Turn& turn, size_t size) : size_(size), kind_(turn.world.options.direct_io ? 99 : turn.random.below(100)) {
    const size_t room = (size + page - 1) / page * page;
    bytes_ = room + page;
    map_ = static_cast<char*>(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(map_ + room, page, PROT_NONE);
    readable_ = size;
    if (kind_ == 0) {
      // The last bytes are missing.
      readable_ = size > 0 ? turn.random.below(size) : 0;
    }
    start_ = map_ + room - readable_;
  }
  ~Buffer() { munmap(map_, bytes_); }
  Buffer(const Buffer&) = delete;

  void fill(Turn& turn) {
    const uint64_t seed = turn.random.next();
    for (size_t i = 0; i < readable_; i++) start_[i] = static_cast<char>('a' + (seed + i * 7 + i / 26) % 26);
  }
  char* data() { return kind_ == 1 ? reinterpret_cast<char*>(8) : start_; }
  std::string shown() const {
    if (kind_ == 1) return fmt::format("{} nowhere", size_);
    return readable_ == size_ ? std::to_string(size_) : fmt::format("{} of {}", readable_, size_);
  }
  std::string content(long n) const {
    return n < 0 || kind_ == 1 ? "" : content_text(start_, std::min(static_cast<size_t>(n), readable_));
  }

 private:
  static constexpr size_t page = 4096;
  size_t size_, readable_, bytes_;
  uint64_t kind_;
  char *map_, *start_;
};

void read_data(Turn& turn) {
  const int fd = turn.file();
  const size_t size = any_size(turn.random);
  Buffer buffer(turn, size);
  turn.call("read({}, {})", fd, buffer.shown());
  const long n = turn.result(syscall(SYS_read, fd, buffer.data(), size));
  turn.say(buffer.content(n));
}

void pread_data(Turn& turn) {
  const int fd = turn.file();
  const size_t size = any_size(turn.random);
  const int64_t offset = any_offset(turn.random);
  Buffer buffer(turn, size);
  turn.call("pread({}, {}, {})", fd, buffer.shown(), offset);
  const long n = turn.result(syscall(SYS_pread64, fd, buffer.data(), size, offset));
  turn.say(buffer.content(n));
}

void write_data(Turn& turn) {
  const int fd = turn.file();
  const size_t size = any_size(turn.random);
  Buffer buffer(turn, size);
  buffer.fill(turn);
  turn.call("write({}, {})", fd, buffer.shown());
  turn.result(syscall(SYS_write, fd, buffer.data(), size));
}

void pwrite_data(Turn& turn) {
  const int fd = turn.file();
  const size_t size = any_size(turn.random);
  const int64_t offset = any_offset(turn.random);
  Buffer buffer(turn, size);
  buffer.fill(turn);
  turn.call("pwrite({}, {}, {})", fd, buffer.shown(), offset);
  turn.result(syscall(SYS_pwrite64, fd, buffer.data(), size, offset));
}

struct Pieces {
  std::vector<std::string> texts;
  std::vector<iovec> vectors;
  size_t total = 0;
  std::string shown;

  explicit Pieces(Turn& turn) {
    const size_t count = turn.random.below(5);
    texts.reserve(count);
    for (size_t i = 0; i < count; i++) {
      const size_t size = turn.random.chance(20) ? 0 : turn.random.below(3000);
      std::string text(size, '\0');
      const uint64_t seed = turn.random.next();
      for (size_t k = 0; k < size; k++) text[k] = static_cast<char>('a' + (seed + k * 5 + k / 26) % 26);
      texts.push_back(std::move(text));
      vectors.push_back({texts.back().data(), size});
      total += size;
      shown += fmt::format("{}{}", i ? "," : "", size);
    }
    if (count > 0 && turn.random.chance(2)) {
      vectors[turn.random.below(count)].iov_len = ~size_t{0};
      shown += " too long";
    }
    if (count > 0 && !turn.world.options.direct_io && turn.random.chance(2)) {
      vectors[turn.random.below(count)].iov_base = reinterpret_cast<void*>(8);
      shown += " one nowhere";
    }
  }
  int count(Turn& turn) {
    return turn.random.chance(2) ? turn.random.pick({-1, 1025}) : static_cast<int>(vectors.size());
  }
  std::string content() const {
    std::string all;
    for (const auto& text : texts) all += text;
    return content_text(all.data(), all.size());
  }
};

void readv_data(Turn& turn) {
  const int fd = turn.file();
  Pieces pieces(turn);
  const int count = pieces.count(turn);
  turn.call("readv({}, [{}], {})", fd, pieces.shown, count);
  turn.result(syscall(SYS_readv, fd, pieces.vectors.data(), count));
  turn.say(pieces.content());
}

void writev_data(Turn& turn) {
  const int fd = turn.file();
  Pieces pieces(turn);
  const int count = pieces.count(turn);
  turn.call("writev({}, [{}], {})", fd, pieces.shown, count);
  turn.result(syscall(SYS_writev, fd, pieces.vectors.data(), count));
}

// RWF_NOWAIT and RWF_APPEND are refused (docs/compatibility.md).
void preadv_data(Turn& turn) {
  const int fd = turn.file();
  Pieces pieces(turn);
  const int count = pieces.count(turn);
  const int64_t offset = any_offset(turn.random);
  const int flags = turn.random.chance(80) ? 0 : turn.random.pick({1, 2, 4});
  turn.call("preadv2({}, [{}], {}, {}, {})", fd, pieces.shown, count, offset, flags);
  turn.result(syscall(SYS_preadv2, fd, pieces.vectors.data(), count, offset, 0, flags));
  turn.say(pieces.content());
}

void pwritev_data(Turn& turn) {
  const int fd = turn.file();
  Pieces pieces(turn);
  const int count = pieces.count(turn);
  const int64_t offset = any_offset(turn.random);
  const int flags = turn.random.chance(80) ? 0 : turn.random.pick({1, 2, 4});
  turn.call("pwritev2({}, [{}], {}, {}, {})", fd, pieces.shown, count, offset, flags);
  turn.result(syscall(SYS_pwritev2, fd, pieces.vectors.data(), count, offset, 0, flags));
}

// Where a daemon takes any number for a position in its own memory.
bool is_foreign_directory(Turn& turn, int fd) {
  struct stat st;
  return !turn.world.options.own_inodes && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

void seek(Turn& turn) {
  const int fd = turn.file();
  static const int usual[] = {SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE};
  const int whence = turn.random.chance(95) ? turn.random.pick(usual) : turn.random.pick({5, -1, 100});
  const int64_t offset = turn.random.chance(20) ? -any_offset(turn.random) : any_offset(turn.random);
  turn.call("lseek({}, {}, {})", fd, offset, whence);
  if (is_foreign_directory(turn, fd)) return turn.say(" left out");
  turn.result(syscall(SYS_lseek, fd, offset, whence));
}

void truncate_path(Turn& turn) {
  const Path path(turn.path_text(), turn.wrong_pointer());
  const int64_t size = any_offset(turn.random);
  turn.call("truncate({}, {})", turn.shown(path), size);
  turn.result(syscall(SYS_truncate, path.pointer, size));
}

void truncate_file(Turn& turn) {
  const int fd = turn.file();
  const int64_t size = any_offset(turn.random);
  turn.call("ftruncate({}, {})", fd, size);
  turn.result(syscall(SYS_ftruncate, fd, size));
}

void allocate(Turn& turn) {
  const int fd = turn.file();
  static const int modes[] = {0,
                              0,
                              FALLOC_FL_KEEP_SIZE,
                              FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              FALLOC_FL_ZERO_RANGE,
                              FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                              FALLOC_FL_PUNCH_HOLE,
                              FALLOC_FL_COLLAPSE_RANGE,
                              FALLOC_FL_INSERT_RANGE,
                              FALLOC_FL_UNSHARE_RANGE,
                              0x1000};
  static const int64_t lengths[] = {1, 100, 4096, 5000, 8192, 20000, 100000, 0, -1, INT64_MAX};
  const int mode = turn.random.pick(modes);
  const int64_t offset = any_offset(turn.random), length = turn.random.pick(lengths);
  turn.call("fallocate({}, {:#x}, {}, {})", fd, mode, offset, length);
  // It fails for want of space with some of the range zeroed, which a page cache does not learn.
  if ((mode & FALLOC_FL_ZERO_RANGE) && length == INT64_MAX) return turn.say(" left out");
  turn.result(syscall(SYS_fallocate, fd, mode, offset, length));
}

// The whole of a file, through a private mapping and without moving its position.
void map_file(Turn& turn) {
  const int fd = turn.file();
  static const int64_t offsets[] = {0, 0, 0, 4096, 8192, 100, -4096};
  static const size_t sizes[] = {1, 4096, 5000, 100000, 0};
  const int64_t offset = turn.random.pick(offsets);
  const size_t size = turn.random.pick(sizes);
  const int protection = turn.random.pick({PROT_READ, PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE});
  turn.call("mmap({}, {}, {}, {})", fd, size, protection, offset);
  if (is_lost(fd)) return turn.say(" left out");
  void* map = mmap(nullptr, size, protection, MAP_PRIVATE, fd, offset);
  if (map == MAP_FAILED) {
    turn.result(-1);
    return;
  }
  turn.say(" = 0");
  struct stat st {};
  if ((protection & PROT_READ) && fstat(fd, &st) == 0 && st.st_size > offset) {
    const size_t behind = static_cast<size_t>(st.st_size - offset), pages = (behind + 4095) / 4096 * 4096;
    turn.say(content_text(map, std::min(size, pages)));
  }
  munmap(map, size);
}

void send_file(Turn& turn) {
  const int from = turn.file(), to = turn.file();
  int64_t offset = any_offset(turn.random);
  const bool has_offset = turn.random.chance(50);
  const size_t size = any_size(turn.random);
  turn.call("sendfile({}, {}, {}, {})", to, from, has_offset ? std::to_string(offset) : "null", size);
  // The position of a directory of the host file system may lie beyond that one's largest file.
  struct stat st, there;
  const bool known = fstat(from, &st) == 0;
  const bool of_directory = known && S_ISDIR(st.st_mode);
  // Within one file Linux sends pages of the cache that the sending itself changes.
  const bool to_itself = known && fstat(to, &there) == 0 && st.st_ino == there.st_ino && st.st_dev == there.st_dev;
  if (of_directory || to_itself || is_lost(from)) return turn.say(" left out");
  turn.result(syscall(SYS_sendfile, to, from, has_offset ? &offset : nullptr, size));
  turn.say(fmt::format(" offset {}", offset));
}

void sync_file(Turn& turn) {
  const int fd = turn.file();
  const uint64_t kind = turn.random.below(5);
  static const char* const names[] = {"fsync", "fdatasync", "syncfs", "sync_file_range", "fadvise"};
  turn.call("{}({})", names[kind], fd);
  switch (kind) {
    case 0:
      turn.result(syscall(SYS_fsync, fd));
      break;
    case 1:
      turn.result(syscall(SYS_fdatasync, fd));
      break;
    case 2:
      turn.result(syscall(SYS_syncfs, fd));
      break;
    case 3: {
      const int64_t offset = any_offset(turn.random), length = any_offset(turn.random);
      const unsigned flags = turn.random.pick({0u, 7u, 2u, 8u});
      turn.say(fmt::format(" {} {} {}", offset, length, flags));
      turn.result(syscall(SYS_sync_file_range, fd, offset, length, flags));
      break;
    }
    default: {
      const int64_t offset = any_offset(turn.random), length = any_offset(turn.random);
      const int advice = turn.random.pick({0, 3, 4, 9, -1});
      turn.say(fmt::format(" {} {} {}", offset, length, advice));
      turn.result(syscall(SYS_fadvise64, fd, offset, length, advice));
    }
  }
}

const Choice choices[] = {{8, read_data},     {6, pread_data},  {9, write_data},   {6, pwrite_data}, {2, readv_data},
                          {2, writev_data},   {2, preadv_data}, {2, pwritev_data}, {6, seek},        {3, truncate_path},
                          {4, truncate_file}, {4, allocate},    {2, map_file},     {1, send_file},   {2, sync_file}};

}  // namespace

std::span<const Choice> data_calls() { return choices; }

}  // namespace fusewire::differential
