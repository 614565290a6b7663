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

// Answers any LOOKUP of a number with a node of its own.
class ManyNames : public ForgetTest {
 protected:
  static constexpr uint64_t first_node = 10;

  void mount_numbers(size_t names_that_fit) {
    has_view = false;  // which is compared with all names after each call
    host.names_bound = names_that_fit * (sizeof(kernel::Dentry) + sizeof(kernel::Inode));
    mount_tree();
    daemon->on(Opcode::lookup, [this](const DaemonRequest& request) {
      const uint64_t node = std::stoull(request.name()) + first_node;
      nodes[node] = nodes[root];
      nodes[node].mode = regular;
      return DaemonReply::ok(entry_of(node));
    });
  }
};

TEST_F(ManyNames, cached_names_stay_within_the_memory_bound_and_each_is_forgotten_once) {
  constexpr size_t count = 30'000, fit = 5'000;
  mount_numbers(fit);
  for (size_t i = 0; i < count; ++i) {
    ASSERT_EQ(stat_error(std::to_string(i)), 0);
    ASSERT_LE(fs->cached_names(), fit);
  }
  EXPECT_GE(fs->cached_names(), fit - 2) << "no more are dropped than must be";
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().size(), count - fs->cached_names());
  for (const auto& [node, lookups] : daemon->forgotten()) {
    EXPECT_EQ(lookups, 1u);
    EXPECT_LT(node - first_node, count - fs->cached_names()) << "the oldest go first";
  }
}

TEST_F(ManyNames, a_name_in_use_is_not_dropped_and_a_few_are_kept_whatever_the_bound) {
  mount_numbers(1);
  OpenFile* open_file = open("0", o_path);
  for (size_t i = 1; i < 5'000; ++i) ASSERT_EQ(stat_error(std::to_string(i)), 0);
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().count(first_node), 0u);
  EXPECT_EQ(fs->cached_names(), 1024u + 1);
  const uint64_t asked = daemon->count(Opcode::lookup);
  for (const char* known : {"0", "4999", "4500", "4000"}) EXPECT_EQ(stat_error(known), 0);
  EXPECT_EQ(daemon->count(Opcode::lookup), asked);
  release(open_file);
}

TEST_F(ManyNames, memory_goes_back_to_the_host_with_the_names) {
  mount_numbers(SIZE_MAX / 1024);
  stat_error("0");
  const uint64_t before = host.bytes_out();
  for (size_t i = 1; i < 20'000; ++i) ASSERT_EQ(stat_error(std::to_string(i)), 0);
  const uint64_t full = host.bytes_out();
  EXPECT_LE((full - before) / 20'000, 512u) << "bytes of a name and its inode, hash tables included";
  {
    kernel::Connection::Entry entry(*connection);
    fs->shrink();
  }
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().size(), 20'000u);
  EXPECT_LE(host.bytes_out(), before + (full - before) / 8) << "but for hash tables and a slab of each kind";
}

// Names that were cached while they lay in one line of hard links, dropped in any order.
TEST_F(ForgetTest, hard_links_are_forgotten_one_by_one) {
  mount_tree();
  const uint64_t node = add(root, "0", regular);
  for (const char* name : {"1", "2", "3", "4"}) names[{root, name}] = node;
  for (const char* name : {"0", "1", "2", "3", "4"}) ASSERT_EQ(stat_error(name), 0);
  for (const char* name : {"2", "4", "0", "1"}) EXPECT_EQ(inval_entry(root, name), 0);
  daemon->serve();
  EXPECT_TRUE(daemon->forgotten().empty());
  EXPECT_EQ(inval_entry(root, "3"), 0);
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().at(node), 5u);
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
