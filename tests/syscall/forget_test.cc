// The rule book of forgetting: every lookup is given back, exactly once (K060-K067, K042).
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

class ForgetTest : public SyscallTest {};

TEST_F(ForgetTest, an_evicted_inode_gives_all_its_lookups_back_in_one_forget) {
  mount_tree();
  entry_valid = 0;
  const uint64_t node = add(root, "file", regular);
  stat("file");
  stat("file");
  inval_entry(root, "file");
  daemon->serve();
  EXPECT_EQ(daemon->count(Opcode::forget), 1u);
  EXPECT_EQ(daemon->forgotten().at(node), 2u);
}

TEST_F(ForgetTest, an_open_file_keeps_its_inode_until_release_is_answered) {
  mount_tree();
  const uint64_t node = add(root, "file", regular);
  OpenFile* file = open("file");
  inval_entry(root, "file");
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().count(node), 0u);
  close(file);
  const auto& seen = daemon->seen();
  EXPECT_EQ(seen.back().opcode, Opcode::forget);
  EXPECT_EQ(seen[seen.size() - 2].opcode, Opcode::release);
}

TEST_F(ForgetTest, an_inode_with_two_names_stays_until_both_are_gone) {
  mount_tree();
  const uint64_t node = add(root, "one", regular);
  names[{root, "two"}] = node;
  stat("one");
  stat("two");
  inval_entry(root, "one");
  daemon->serve();
  EXPECT_TRUE(daemon->forgotten().empty());
  inval_entry(root, "two");
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().at(node), 2u);
}

TEST_F(ForgetTest, an_invalidated_directory_takes_what_is_unused_below_along) {
  mount_tree();
  const uint64_t dir = add(root, "dir", directory), sub = add(dir, "sub", directory), leaf = add(sub, "leaf", regular);
  stat("dir/sub/leaf");
  inval_entry(root, "dir");
  daemon->serve();
  for (const uint64_t node : {dir, sub, leaf}) EXPECT_EQ(daemon->forgotten().at(node), 1u);
}

TEST_F(ForgetTest, what_is_in_use_below_an_invalidated_directory_stays) {
  mount_tree();
  const uint64_t dir = add(root, "dir", directory), sub = add(dir, "sub", directory);
  add(sub, "leaf", regular);
  OpenFile* cwd = open("dir/sub", o_path | o_directory);
  inval_entry(root, "dir");
  daemon->serve();
  EXPECT_TRUE(daemon->forgotten().empty());
  EXPECT_EQ(error_of(fs->sys_statx(caller, {cwd, "leaf"}, 0, basic_stats, leave)), 0);
  release(cwd);
}

TEST_F(ForgetTest, unmount_sends_no_forget) {
  mount_tree();
  add(root, "file", regular);
  stat("file");
  unmount_tree();
  EXPECT_EQ(daemon->read().error(), Errno::enodev);
  EXPECT_TRUE(daemon->forgotten().empty());
}

TEST_F(ForgetTest, unused_names_are_bounded_and_the_oldest_go_first) {
  has_view = false;  // which is compared with all names after each call
  mount_tree();
  const size_t bound = 16384;
  daemon->on(Opcode::lookup, [this](const DaemonRequest& request) {
    const uint64_t node = std::stoull(request.name()) + 10;
    nodes[node] = nodes[root];
    nodes[node].mode = regular;
    return DaemonReply::ok(entry_of(node));
  });
  for (size_t i = 0; i < bound + 3; ++i) ASSERT_EQ(stat_error(std::to_string(i)), 0);
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().size(), 3u);
  for (uint64_t node : {10, 11, 12}) EXPECT_EQ(daemon->forgotten().count(node), 1u);
}

TEST_F(ForgetTest, a_deep_tree_is_dropped_without_deep_recursion) {
  mount_tree();
  daemon->on(Opcode::lookup, [this](const DaemonRequest& request) {
    const uint64_t node = request.header.nodeid + 1;
    nodes[node] = nodes[root];
    return DaemonReply::ok(entry_of(node));
  });
  std::string path;
  for (int i = 0; i < 2000; ++i) path += "d/";
  ASSERT_EQ(stat_error(path), 0);
  inval_entry(root, "d");
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().size(), 2000u);
}

TEST_F(ForgetTest, prune_drops_unused_names_of_the_nodes) {
  mount_tree();
  const uint64_t used = add(root, "used", regular), unused = add(root, "unused", regular);
  OpenFile* file = open("used", o_path);
  stat("unused");
  wire::NotifyPruneOut out{};
  out.count = 2;
  EXPECT_EQ(notify(wire::NotifyCode::prune, bytes_of(out, used, unused)), 0);
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().count(unused), 1u);
  EXPECT_EQ(daemon->forgotten().count(used), 0u);
  release(file);
}

}  // namespace
}  // namespace fusewire::test
