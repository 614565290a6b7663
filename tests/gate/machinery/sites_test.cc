// Call sites that become hot and are rewritten: code and calls stay what they are.
#include <sys/mman.h>

#include <cstring>
#include <thread>
#include <vector>

#include "subject.h"

namespace {

// Code with a call site at every place of a cache line, mapped from a file as a library's is.
class CodeOfSites {
 public:
  static constexpr int count = 512, room = 64 + 7;
  // These two make their own call and go on behind that of site 0 and of site 1, as compilers share what is alike.
  static constexpr int joins_checked = 4, joins_moved = count - 1;
  CodeOfSites() : file_(directory_.file("code", code())) {
    const int fd = open(file_.c_str(), O_RDONLY | O_CLOEXEC);
    memory_ = static_cast<char*>(mmap(nullptr, bytes(), PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0));
    close(fd);
  }
  ~CodeOfSites() { munmap(memory_, bytes()); }
  CodeOfSites(const CodeOfSites&) = delete;
  // The parent's process id, or 1000 more than its negative on an error.
  long call(int i) const { return reinterpret_cast<long (*)()>(memory_ + i * room)(); }

 private:
  static size_t bytes() { return static_cast<size_t>(count) * room; }
  static void put_joining(std::string& text, int site, int other) {
    // mov $getppid, %eax; syscall; jmp behind the other's syscall
    unsigned char joining[] = {0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xe9, 0, 0, 0, 0};
    const int32_t distance = other * room + 7 - (site * room + static_cast<int>(sizeof joining));
    memcpy(joining + 8, &distance, sizeof distance);
    memcpy(&text[static_cast<size_t>(site * room)], joining, sizeof joining);
  }
  static std::string code() {
    // mov $getppid, %eax; syscall; cmp $-4096, %rax; ja +1; ret; hlt   and, every other one, without the comparison
    static const unsigned char checked[] = {0xb8, SYS_getppid, 0,    0,    0,    0x0f, 0x05, 0x48, 0x3d,
                                            0x00, 0xf0,        0xff, 0xff, 0x77, 0x01, 0xc3, 0xf4};
    static const unsigned char moved[] = {0xb8, SYS_getppid, 0,    0,    0,    0x0f, 0x05, 0x48,
                                          0x89, 0xc1,        0x31, 0xc0, 0x48, 0x89, 0xc8, 0xc3};
    std::string text(bytes(), '\xf4');
    for (int i = 0; i < count; i++) {
      if (i % 2 == 0) memcpy(&text[static_cast<size_t>(i * room)], checked, sizeof checked);
      if (i % 2 != 0) memcpy(&text[static_cast<size_t>(i * room)], moved, sizeof moved);
    }
    put_joining(text, joins_checked, 0);
    put_joining(text, joins_moved, 1);
    return text;
  }
  Directory directory_;
  std::string file_;
  char* memory_;
};

}  // namespace

TEST(Sites, call_sites_can_become_hot_under_many_threads) {
  for (int round = 0; round < 5; round++) {
    const CodeOfSites sites;
    const pid_t parent = getppid();
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; t++) {
      threads.emplace_back([&] {
        for (int i = 0; i < CodeOfSites::count; i++) {
          for (int k = 0; k < 20; k++) wrong += sites.call(i) != parent;
        }
      });
    }
    for (std::thread& t : threads) t.join();
    ASSERT_EQ(0, wrong);
  }
}

TEST(Sites, code_that_is_shared_behind_a_hot_call_stays_whole) {
  const pid_t parent = getppid();
  const CodeOfSites sites;
  for (int i = 0; i < 1500; i++) {
    ASSERT_EQ(parent, sites.call(0));
    ASSERT_EQ(parent, sites.call(1));
  }
  EXPECT_EQ(parent, sites.call(CodeOfSites::joins_checked));
  EXPECT_EQ(parent, sites.call(CodeOfSites::joins_moved));
}

TEST(Sites, a_call_that_sleeps_while_its_site_becomes_hot_returns) {
  const Pipe p;
  std::atomic<pid_t> tid{0};
  std::thread sleeper([&] {
    tid = thread_id();
    char byte = 0;
    EXPECT_EQ(1, read(p.end[0], &byte, 1));
  });
  while (tid == 0) sched_yield();
  wait_until_sleeping(tid);
  const Pipe other;
  for (int i = 0; i < 100; i++) {
    char byte;
    ASSERT_EQ(1, write(other.end[1], "x", 1));
    ASSERT_EQ(1, read(other.end[0], &byte, 1));
  }
  ASSERT_EQ(1, write(p.end[1], "x", 1));
  sleeper.join();
}

TEST(Sites, code_mapped_where_other_code_was_is_not_confused) {
  // Two files of sites, mapped in turn at one address.
  const pid_t parent = getppid();
  for (int i = 0; i < 8; i++) {
    const CodeOfSites sites;
    for (int k = 0; k < 2 + i % 3; k++) ASSERT_EQ(parent, sites.call(1));
    for (int k = 0; k < 2 + i % 3; k++) ASSERT_EQ(parent, sites.call(2));
  }
}
