// Rules of file contents: read, write, truncate, holes.
#include <linux/falloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <algorithm>
#include <random>

#include "support/conformance.h"

namespace fusewire::conformance {
namespace {

std::string pattern(size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  std::string out(bytes, '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

std::string pread_all(int fd, size_t bytes, off_t offset) {
  std::string out(bytes, '\0');
  long n = must(pread(fd, out.data(), bytes, offset), "pread");
  out.resize(static_cast<size_t>(n));
  return out;
}

void what_is_written_is_read(const Place& p) {
  std::string text = pattern(3'000'001, 1);
  p.write_file("f", text);
  expect(p.read_file("f") == text, "content");
  expect_equal<long>(p.status("f").st_size, 3'000'001, "size");
}

void reads_stop_at_the_end(const Place& p) {
  p.write_file("f", "12345");
  Fd fd(p.open("f", O_RDONLY));
  expect_equal(pread_all(fd, 100, 3), std::string("45"), "short read");
  expect_equal(pread_all(fd, 100, 5), std::string(), "at the end");
  expect_equal(pread_all(fd, 100, 1 << 20), std::string(), "behind the end");
}

void access_modes_are_kept(const Place& p) {
  p.write_file("f", "x");
  Fd reader(p.open("f", O_RDONLY));
  must_fail(write(reader, "y", 1), EBADF, "write on O_RDONLY");
  Fd writer(p.open("f", O_WRONLY));
  char byte;
  must_fail(read(writer, &byte, 1), EBADF, "read on O_WRONLY");
  must_fail(ftruncate(reader, 0), EINVAL, "ftruncate on O_RDONLY");
}

void writes_behind_the_end_leave_zeros(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  must(pwrite(fd, "end", 3, 100'000), "pwrite");
  std::string text = p.read_file("f");
  expect_equal<long>(static_cast<long>(text.size()), 100'003, "size");
  expect(text.find_first_not_of('\0') == 100'000, "zeros before");
}

void append_writes_go_to_the_end(const Place& p) {
  p.write_file("f", "one");
  Fd fd(p.open("f", O_WRONLY | O_APPEND));
  Fd other(p.open("f", O_WRONLY | O_APPEND));
  must(write(fd, "two", 3), "write");
  must(write(other, "three", 5), "write by another");
  must(write(fd, "four", 4), "write again");
  expect_equal(p.read_file("f"), std::string("onetwothreefour"), "content");
}

// Two processes: one write holds the inode for its whole length, whatever that is.
void long_appends_of_two_processes_are_whole(const Place& p) {
  constexpr size_t bytes = 768 * 1024;
  constexpr int records = 6, writers = 2;
  p.write_file("f", "");
  pid_t children[writers];
  for (int k = 0; k < writers; ++k) {
    children[k] = fork();
    if (children[k] != 0) continue;
    const std::string record(bytes, static_cast<char>('a' + k));
    Fd fd(p.open("f", O_WRONLY | O_APPEND));
    for (int i = 0; i < records; ++i)
      if (write(fd, record.data(), bytes) != static_cast<ssize_t>(bytes)) _exit(1);
    _exit(0);
  }
  for (const pid_t child : children) {
    int status = -1;
    must(waitpid(child, &status, 0), "waitpid");
    expect_equal(status, 0, "a writer's end");
  }
  const std::string text = p.read_file("f");
  expect_equal(text.size(), bytes * records * writers, "size");
  for (size_t at = 0; at < text.size(); at += bytes)
    expect(text.compare(at, bytes, std::string(bytes, text[at])) == 0, "a record is torn");
}

// Two processes read through one open file description: together they get each byte once.
void long_reads_of_one_position_share_no_byte(const Place& p) {
  constexpr size_t bytes = 512 * 1024, count = 12;
  std::string text;
  for (size_t i = 0; i < count; ++i) text += std::string(bytes, static_cast<char>('a' + i));
  p.write_file("f", text);
  Fd fd(p.open("f", O_RDONLY));
  const auto read_all = [&fd] {
    std::string buffer(bytes, 0), seen;
    while (read(fd, buffer.data(), bytes) == static_cast<ssize_t>(bytes)) {
      if (buffer != std::string(bytes, buffer[0])) _exit(99);
      seen += buffer[0];
    }
    return seen;
  };
  int ends[2];
  must(pipe(ends), "pipe");
  const pid_t child = fork();
  if (child == 0) {
    const std::string seen = read_all();
    _exit(write(ends[1], seen.data(), seen.size()) == static_cast<ssize_t>(seen.size()) ? 0 : 1);
  }
  close(ends[1]);
  std::string seen = read_all();
  int status = -1;
  must(waitpid(child, &status, 0), "waitpid");
  expect_equal(status, 0, "the other reader's end");
  char others[count];
  seen.append(others, static_cast<size_t>(must(read(ends[0], others, sizeof others), "read of the pipe")));
  close(ends[0]);
  std::sort(seen.begin(), seen.end());
  expect_equal(seen, std::string("abcdefghijkl"), "blocks read");
}

void the_file_size_limit_holds(const Place& p) {
  p.write_file("f", "");
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100, 100};
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string data(200, 'x');
    Fd fd(p.open("f", O_RDWR));
    int step = 0;
    const auto check = [&step](bool held) { held ? (void)++step : _exit(step + 1); };
    check(write(fd, data.data(), 200) == 100);
    check(pwrite(fd, data.data(), 10, 100) == -1 && errno == EFBIG);
    check(ftruncate(fd, 101) == -1 && errno == EFBIG);
    check(truncate(p.path("f").c_str(), 101) == -1 && errno == EFBIG);
    check(ftruncate(fd, 50) == 0 && ftruncate(fd, 100) == 0);
    signal(SIGXFSZ, SIG_DFL);
    (void)!pwrite(fd, data.data(), 1, 100);
    _exit(90);
  }
  int status = -1;
  must(waitpid(child, &status, 0), "waitpid");
  expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ, "SIGXFSZ: status " + std::to_string(status));
}

void truncation_forgets_what_was_behind(const Place& p) {
  p.write_file("f", std::string(10'000, 'x'));
  must(truncate(p.path("f").c_str(), 10), "truncate down");
  must(truncate(p.path("f").c_str(), 10'000), "truncate up");
  std::string text = p.read_file("f");
  expect(text.substr(0, 10) == std::string(10, 'x'), "what stayed");
  expect(text.substr(10) == std::string(9'990, '\0'), "zeros behind");
}

void open_with_truncate_empties(const Place& p) {
  p.write_file("f", "something");
  ::close(p.open("f", O_WRONLY | O_TRUNC));
  expect_equal<long>(p.status("f").st_size, 0, "size");
  expect_equal(p.read_file("f"), std::string(), "content");
}

void an_open_file_sees_a_truncation(const Place& p) {
  p.write_file("f", std::string(5000, 'x'));
  Fd fd(p.open("f", O_RDONLY));
  expect_equal<long>(static_cast<long>(pread_all(fd, 5000, 0).size()), 5000, "before");
  must(truncate(p.path("f").c_str(), 100), "truncate");
  expect_equal<long>(static_cast<long>(pread_all(fd, 5000, 0).size()), 100, "after");
}

void random_writes_match_a_copy(const Place& p) {
  std::mt19937 random(42);
  std::string copy;
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  for (int i = 0; i < 400; ++i) {
    size_t offset = random() % 300'000, length = 1 + random() % 20'000;
    if (random() % 8 == 0) {
      must(ftruncate(fd, static_cast<off_t>(offset)), "ftruncate");
      copy.resize(offset, '\0');
      continue;
    }
    std::string text = pattern(length, static_cast<unsigned>(i));
    must(pwrite(fd, text.data(), length, static_cast<off_t>(offset)), "pwrite");
    if (copy.size() < offset + length) copy.resize(offset + length, '\0');
    copy.replace(offset, length, text);
    if (i % 20 == 0) expect(pread_all(fd, copy.size() + 10, 0) == copy, "content at step " + std::to_string(i));
  }
  expect(p.read_file("f") == copy, "content at the end");
}

void vectors_are_gathered_and_scattered(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  char a[] = "abc", b[] = "defgh";
  iovec out[] = {{a, 3}, {b, 5}};
  expect_equal<long>(must(writev(fd, out, 2), "writev"), 8, "written");
  char c[5] = {}, d[5] = {};
  iovec in[] = {{c, 4}, {d, 4}};
  expect_equal<long>(must(preadv(fd, in, 2, 0), "preadv"), 8, "read");
  expect_equal(std::string(c) + d, std::string("abcdefgh"), "content");
}

void two_descriptors_see_each_other(const Place& p) {
  Fd writer(p.open("f", O_WRONLY | O_CREAT));
  Fd reader(p.open("f", O_RDONLY));
  must(write(writer, "first", 5), "write");
  expect_equal(pread_all(reader, 10, 0), std::string("first"), "first");
  must(pwrite(writer, "SEC", 3, 0), "write");
  expect_equal(pread_all(reader, 10, 0), std::string("SECst"), "second");
}

void a_dup_shares_the_offset(const Place& p) {
  p.write_file("f", "abcdef");
  Fd fd(p.open("f", O_RDONLY));
  Fd twin(static_cast<int>(must(dup(fd), "dup")));
  char a, b;
  must(read(fd, &a, 1), "read");
  must(read(twin, &b, 1), "read");
  expect(a == 'a' && b == 'b', "one offset");
}

void seeking_follows_the_rules(const Place& p) {
  p.write_file("f", "0123456789");
  Fd fd(p.open("f", O_RDONLY));
  expect_equal<long>(must(lseek(fd, -3, SEEK_END), "SEEK_END"), 7, "from the end");
  expect_equal<long>(must(lseek(fd, 2, SEEK_CUR), "SEEK_CUR"), 9, "from here");
  must_fail(lseek(fd, -1, SEEK_SET), EINVAL, "before the start");
  expect_equal<long>(must(lseek(fd, 1000, SEEK_SET), "behind"), 1000, "behind the end");
}

void data_and_holes_are_found(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  must(pwrite(fd, "data", 4, 1 << 20), "pwrite");
  must(ftruncate(fd, 4 << 20), "ftruncate");
  long data = must(lseek(fd, 0, SEEK_DATA), "SEEK_DATA");
  expect(data <= 1 << 20, "data is not missed");
  long hole = must(lseek(fd, 1 << 20, SEEK_HOLE), "SEEK_HOLE");
  expect(hole >= (1 << 20) + 4 && hole <= 4 << 20, "the hole lies behind the data");
  must_fail(lseek(fd, 4 << 20, SEEK_DATA), ENXIO, "SEEK_DATA at the end");
  must_fail(lseek(fd, 5 << 20, SEEK_HOLE), ENXIO, "SEEK_HOLE behind the end");
}

void sparse_files_take_little(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  must(pwrite(fd, "x", 1, 1L << 32), "pwrite at 4 GiB");
  auto status = p.status("f");
  expect_equal<long>(status.st_size, (1L << 32) + 1, "size");
  expect(status.st_blocks < 1024, "blocks: " + std::to_string(status.st_blocks));
}

void allocation_extends_with_zeros(const Place& p) {
  p.write_file("f", "abc");
  Fd fd(p.open("f", O_RDWR));
  must(fallocate(fd, 0, 0, 200'000), "fallocate");
  expect_equal<long>(p.status("f").st_size, 200'000, "size");
  expect(p.read_file("f") == "abc" + std::string(199'997, '\0'), "content");
  must(fallocate(fd, FALLOC_FL_KEEP_SIZE, 200'000, 100'000), "KEEP_SIZE");
  expect_equal<long>(p.status("f").st_size, 200'000, "size kept");
  expect(p.status("f").st_blocks * 512 >= 200'000, "blocks");
}

void punched_holes_read_as_zeros(const Place& p) {
  p.write_file("f", std::string(300'000, 'x'));
  Fd fd(p.open("f", O_RDWR));
  must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1000, 250'000), "PUNCH_HOLE");
  std::string wanted(300'000, 'x');
  wanted.replace(1000, 250'000, std::string(250'000, '\0'));
  expect(p.read_file("f") == wanted, "content");
  expect_equal<long>(p.status("f").st_size, 300'000, "size");
  must_fail(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10), EOPNOTSUPP, "PUNCH_HOLE without KEEP_SIZE");
}

void zeroed_ranges_read_as_zeros(const Place& p) {
  p.write_file("f", std::string(100'000, 'x'));
  Fd fd(p.open("f", O_RDWR));
  if (fallocate(fd, FALLOC_FL_ZERO_RANGE, 50'000, 100'000) != 0 && errno == EOPNOTSUPP) throw Skip{"no ZERO_RANGE"};
  expect_equal<long>(p.status("f").st_size, 150'000, "size");
  expect(p.read_file("f") == std::string(50'000, 'x') + std::string(100'000, '\0'), "content");
}

void a_negative_or_empty_range_is_einval(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  must_fail(fallocate(fd, 0, 0, 0), EINVAL, "length 0");
  must_fail(ftruncate(fd, -1), EINVAL, "negative size");
  must_fail(pwrite(fd, "x", 1, -1), EINVAL, "negative offset");
}

void unnamed_files_can_be_linked(const Place& p) {
  int fd = ::open(p.root().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0 && errno == EOPNOTSUPP) throw Skip{"no O_TMPFILE"};
  Fd file(static_cast<int>(must(fd, "O_TMPFILE")));
  must(write(file, "unnamed", 7), "write");
  expect(p.list().empty(), "no name yet");
  std::string self = "/proc/self/fd/" + std::to_string(fd);
  must(linkat(AT_FDCWD, self.c_str(), AT_FDCWD, p.path("f").c_str(), AT_SYMLINK_FOLLOW), "linkat");
  expect_equal(p.read_file("f"), std::string("unnamed"), "content");
  expect_equal<long>(p.status("f").st_nlink, 1, "nlink");
}

void syncing_succeeds(const Place& p) {
  Fd fd(p.open("f", O_RDWR | O_CREAT));
  must(write(fd, "x", 1), "write");
  must(fsync(fd), "fsync");
  must(fdatasync(fd), "fdatasync");
  Fd directory(p.open(".", O_RDONLY | O_DIRECTORY));
  must(fsync(directory), "fsync of a directory");
}

void statfs_counts_space(const Place& p) {
  struct statvfs before, after;
  must(statvfs(p.root().c_str(), &before), "statvfs");
  expect_equal<long>(static_cast<long>(before.f_namemax), 255, "namemax");
  expect(before.f_blocks > 0 && before.f_bfree <= before.f_blocks, "blocks");
  p.write_file("f", pattern(4 << 20, 3));
  must(statvfs(p.root().c_str(), &after), "statvfs");
  expect((before.f_bfree - after.f_bfree) * before.f_frsize >= 4 << 20, "space was used");
}

}  // namespace

#define RULE(name) \
  Rule { #name, name }
std::vector<Rule> file_rules() {
  return {RULE(what_is_written_is_read),
          RULE(reads_stop_at_the_end),
          RULE(access_modes_are_kept),
          RULE(writes_behind_the_end_leave_zeros),
          RULE(append_writes_go_to_the_end),
          RULE(long_appends_of_two_processes_are_whole),
          RULE(long_reads_of_one_position_share_no_byte),
          RULE(the_file_size_limit_holds),
          RULE(truncation_forgets_what_was_behind),
          RULE(open_with_truncate_empties),
          RULE(an_open_file_sees_a_truncation),
          RULE(random_writes_match_a_copy),
          RULE(vectors_are_gathered_and_scattered),
          RULE(two_descriptors_see_each_other),
          RULE(a_dup_shares_the_offset),
          RULE(seeking_follows_the_rules),
          RULE(data_and_holes_are_found),
          RULE(sparse_files_take_little),
          RULE(allocation_extends_with_zeros),
          RULE(punched_holes_read_as_zeros),
          RULE(zeroed_ranges_read_as_zeros),
          RULE(a_negative_or_empty_range_is_einval),
          RULE(unnamed_files_can_be_linked),
          RULE(syncing_succeeds),
          RULE(statfs_counts_space)};
}

}  // namespace fusewire::conformance
