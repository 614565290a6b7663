// What may be known of a descriptor without a look: rules of the order in which looks and changes come.
#include "gate/dispatch/known_descriptors.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "gate/dispatch/process.h"

namespace fusewire::gate {
namespace {

constexpr int fd = 7;
constexpr VirtualFile file{3, 0x55, 0};

class KnownDescriptors : public testing::Test {
 protected:
  void SetUp() override {
    process_start();
    forget_known_descriptors();
  }
  void TearDown() override {
    share_known_descriptors(false);
    forget_known_descriptors();
  }
  // "native", "virtual" or "unknown".
  static std::string known() {
    VirtualFile there;
    if (is_known_native(fd)) return "native";
    if (!is_known_virtual(fd, there)) return "unknown";
    return there.connection == file.connection && there.token == file.token ? "virtual" : "wrong";
  }
};

TEST_F(KnownDescriptors, a_look_tells_what_is_there) {
  EXPECT_EQ(known(), "unknown");
  found_native(fd, look_begins());
  EXPECT_EQ(known(), "native");
  found_virtual(fd, file, look_begins());
  EXPECT_EQ(known(), "virtual");
  EXPECT_TRUE(is_expected_virtual(fd));
}

TEST_F(KnownDescriptors, of_a_number_that_was_closed_nothing_is_known_until_a_file_is_opened_there) {
  found_virtual(fd, file, look_begins());
  closes(fd);
  EXPECT_EQ(known(), "unknown");
  EXPECT_FALSE(is_expected_virtual(fd));
  // Somebody looks while it is being closed.
  found_native(fd, look_begins());
  EXPECT_EQ(known(), "unknown");
  found_virtual(fd, file, look_begins());
  EXPECT_EQ(known(), "unknown");
  opened_native(fd, look_begins());
  EXPECT_EQ(known(), "native");
}

TEST_F(KnownDescriptors, while_something_takes_its_place_nothing_is_known_nor_learnt) {
  found_native(fd, look_begins());
  {
    const ChangesHands first(fd);
    EXPECT_EQ(known(), "unknown");
    found_native(fd, look_begins());
    { const ChangesHands second(fd); }
    found_native(fd, look_begins());
    EXPECT_EQ(known(), "unknown");
  }
  EXPECT_EQ(known(), "unknown");
  found_native(fd, look_begins());
  EXPECT_EQ(known(), "native");
}

TEST_F(KnownDescriptors, a_look_or_an_open_that_began_before_a_change_tells_nothing) {
  const uint32_t look = look_begins();
  { const ChangesHands change(fd); }
  found_native(fd, look);
  EXPECT_EQ(known(), "unknown");
  opened_virtual(fd, file, look);
  EXPECT_EQ(known(), "unknown");
}

TEST_F(KnownDescriptors, what_was_known_before_a_fork_is_not_known_after_it) {
  found_native(fd, look_begins());
  forget_known_descriptors();
  EXPECT_EQ(known(), "unknown");
  found_native(fd, look_begins());
  EXPECT_EQ(known(), "native");
}

TEST_F(KnownDescriptors, in_a_shared_table_nothing_is_known) {
  found_native(fd, look_begins());
  share_known_descriptors(true);
  EXPECT_EQ(known(), "unknown");
  found_native(fd, look_begins());
  share_known_descriptors(false);
  forget_known_descriptors();
  EXPECT_EQ(known(), "unknown");
}

TEST_F(KnownDescriptors, while_another_process_is_in_this_memory_nothing_is_known) {
  found_native(fd, look_begins());
  Process* guest = prepare_guest({.shares_descriptors = true, .is_awaited = true, .is_numbered = true});
  ASSERT_NE(guest, nullptr);
  EXPECT_EQ(known(), "unknown");
  guest->pid = 1;
  end_guest(*guest);
  EXPECT_EQ(known(), "native");
}

TEST_F(KnownDescriptors, what_was_learnt_of_a_file_is_not_known_of_another_at_its_number) {
  learn_inode(fd, file.token, 12);
  learn_position(fd, file.token, 34);
  EXPECT_EQ(known_inode(fd, file.token), 12u);
  EXPECT_EQ(known_position(fd, file.token), 34u);
  EXPECT_EQ(known_inode(fd, file.token + 1), 0u);
  EXPECT_EQ(known_position(fd, file.token + 1), 0u);
}

TEST_F(KnownDescriptors, numbers_beyond_the_table_are_looked_at) {
  constexpr int high = 1 << 20;
  found_native(high, look_begins());
  EXPECT_FALSE(is_known_native(high));
  EXPECT_TRUE(is_expected_virtual(high));
}

// One thread looks and publishes, one has the number change hands; what was there is kept beside.
TEST_F(KnownDescriptors, of_two_threads_none_is_told_what_is_not_there) {
  std::atomic<bool> done{false};
  std::atomic<uint64_t> there{0};  // 0: native; else the file's token. Odd steps of `version`: it changes.
  std::atomic<uint64_t> version{0};
  std::thread changer([&] {
    for (uint64_t i = 1; i < 200'000; ++i) {
      ++version;
      {
        const ChangesHands change(fd);
        there = i % 2 == 0 ? 0 : i;
      }
      ++version;
    }
    done = true;
  });
  std::thread looker([&] {
    while (!done) {
      const uint32_t look = look_begins();
      const uint64_t seen = there;
      if (seen == 0) found_native(fd, look);
      if (seen != 0) found_virtual(fd, {1, seen, 0}, look);
    }
  });
  uint64_t wrong = 0;
  while (!done) {
    const uint64_t before = version;
    VirtualFile told;
    const bool native = is_known_native(fd), is_virtual = is_known_virtual(fd, told);
    const uint64_t seen = there;
    if (version != before) continue;
    if (before % 2 != 0) continue;
    wrong += native && seen != 0;
    wrong += is_virtual && told.token != seen;
  }
  changer.join();
  looker.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace fusewire::gate
