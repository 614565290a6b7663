// MemFs under real system calls: the rules of every writable file system, on the real kernel's FUSE.
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <thread>

#include "filesystems/memfs.h"
#include "support/conformance.h"
#include "support/real_mount.h"

namespace fusewire::filesystems {
namespace {

using conformance::Outcome;
using conformance::Rule;

class Conformance : public testing::TestWithParam<Rule> {};

void check(const Rule& rule, const std::string& directory) {
  Outcome outcome = conformance::run_rule(rule, directory);
  if (outcome.kind == Outcome::skipped) GTEST_SKIP() << outcome.text;
  EXPECT_EQ(outcome.kind, Outcome::passed) << outcome.text;
}

TEST_P(Conformance, memfs) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  MemFsOptions options;
  options.root_mode = 0755;
  MemFs fs(options);
  {
    test::RealMount mount(fs, "default_permissions,allow_other,suid,dev");
    ASSERT_TRUE(mount.live()) << mount.why();
    check(GetParam(), mount.path());
  }
}

TEST_P(Conformance, memfs_without_caches) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  MemFsOptions options;
  options.root_mode = 0755;
  options.entry_timeout = options.attributes_timeout = {};
  MemFs fs(options);
  test::RealMount mount(fs, "default_permissions,allow_other,suid,dev", 1);
  ASSERT_TRUE(mount.live()) << mount.why();
  check(GetParam(), mount.path());
}

INSTANTIATE_TEST_SUITE_P(Rules, Conformance, testing::ValuesIn(conformance::rules()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(MemFsMounted, a_full_file_system_says_enospc_and_takes_what_fits) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  MemFsOptions options;
  options.size_limit = 1 << 20;
  MemFs fs(options);
  test::RealMount mount(fs, "default_permissions");
  ASSERT_TRUE(mount.live()) << mount.why();
  UniqueFd fd(open((mount.path() + "/f").c_str(), O_CREAT | O_RDWR, 0600));
  std::string data(2 << 20, 'x');
  size_t written = 0;
  ssize_t n;
  while ((n = pwrite(fd.get(), data.data(), data.size() - written, static_cast<off_t>(written))) > 0) {
    written += static_cast<size_t>(n);
  }
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_EQ(written, 1u << 20);
  EXPECT_EQ(ftruncate(fd.get(), 0), 0);
  EXPECT_EQ(fs.bytes_used(), 0u);
}

TEST(MemFsMounted, threads_at_once_keep_every_file_right) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  MemFs fs({});
  test::RealMount mount(fs, "default_permissions", 4);
  ASSERT_TRUE(mount.live()) << mount.why();
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      conformance::Place place(mount.path());
      try {
        for (int i = 0; i < 100; ++i) {
          std::string name = "t" + std::to_string(t), text(1000 + 37 * i, static_cast<char>('a' + t));
          place.write_file(name, text);
          if (place.read_file(name) != text) ++wrong;
          place.rename(name, "r" + name);
          place.list();
          unlink(place.path("r" + name).c_str());
        }
      } catch (const conformance::Failure& failure) {
        ADD_FAILURE() << failure.what;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(conformance::Place(mount.path()).list().empty());
}

}  // namespace
}  // namespace fusewire::filesystems
