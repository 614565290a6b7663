// The rule book of names: the dentry cache, timeouts, identity (K060-K080).
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

class LookupTest : public SyscallTest {};

TEST_F(LookupTest, a_name_is_looked_up_again_when_its_timeout_has_passed) {
  mount_tree();
  add(root, "file", regular);
  stat("file");
  host.advance_seconds(99);
  stat("file");
  EXPECT_EQ(daemon->count(Opcode::lookup), 1u);
  host.advance_seconds(2);
  stat("file");
  EXPECT_EQ(daemon->count(Opcode::lookup), 2u);
}

TEST_F(LookupTest, a_timeout_that_overflows_lasts_for_ever) {
  mount_tree();
  entry_valid = attr_valid = UINT64_MAX;
  add(root, "file", regular);
  stat("file");
  host.advance_seconds(1'000'000'000);
  stat("file");
  EXPECT_EQ(daemon->count(Opcode::lookup), 1u);
  EXPECT_EQ(daemon->count(Opcode::getattr), 0u);
}

TEST_F(LookupTest, a_negative_entry_is_looked_up_afresh_when_expired) {
  mount_tree();
  wire::EntryOut nothing{};
  nothing.entry_valid = 10;
  daemon->on_ok(Opcode::lookup, nothing);
  EXPECT_EQ(stat_error("file"), as_int(Errno::enoent));
  EXPECT_EQ(stat_error("file"), as_int(Errno::enoent));
  EXPECT_EQ(daemon->count(Opcode::lookup), 1u);
  host.advance_seconds(11);
  EXPECT_EQ(stat_error("file"), as_int(Errno::enoent));
  EXPECT_EQ(daemon->count(Opcode::lookup), 2u);
}

TEST_F(LookupTest, an_older_epoch_makes_all_names_stale) {
  mount_tree();
  add(root, "file", regular);
  stat("file");
  EXPECT_EQ(notify(wire::NotifyCode::inc_epoch, {}), 0);
  stat("file");
  EXPECT_EQ(daemon->count(Opcode::lookup), 2u);
}

TEST_F(LookupTest, another_generation_makes_the_open_inode_bad) {
  mount_tree();
  const uint64_t node = add(root, "file", regular, 5);
  OpenFile* file = open("file");
  auto entry = entry_of(node);
  entry.generation = 9;
  daemon->on_ok(Opcode::lookup, entry);
  inval_entry(root, "file");
  EXPECT_EQ(stat_error("file"), 0);
  EXPECT_EQ(error_of(fs->sys_fstat(caller, *file, basic_stats)), as_int(Errno::eio));
  EXPECT_EQ(read(file, 5).error(), Errno::eio);
  close(file);
}

TEST_F(LookupTest, a_directory_found_under_another_name_moves_there) {
  mount_tree();
  const uint64_t dir = add(root, "old", directory);
  add(dir, "file", regular);
  OpenFile* file = open("old/file", o_path);
  names.erase({root, "old"});
  names[{root, "new"}] = dir;
  EXPECT_EQ(stat_error("new"), 0);
  EXPECT_EQ(path_of(file), "/new/file");
  release(file);
}

TEST_F(LookupTest, a_directory_found_below_itself_is_a_loop) {
  mount_tree();
  const uint64_t dir = add(root, "dir", directory);
  names[{dir, "self"}] = dir;
  EXPECT_EQ(stat_error("dir/self"), as_int(Errno::eloop));
}

TEST_F(LookupTest, two_lookups_of_one_name_at_once_are_counted_both) {
  mount_tree();
  const uint64_t node = add(root, "file", regular);
  auto one = start(fs->sys_statx(caller, {nullptr, "file"}, 0, basic_stats, leave));
  auto two = start(fs->sys_statx(other, {nullptr, "file"}, 0, basic_stats, leave));
  daemon->serve();
  EXPECT_TRUE(one.take() && two.take());
  inval_entry(root, "file");
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().at(node), daemon->count(Opcode::lookup));
}

TEST_F(LookupTest, without_parallel_dirops_the_daemon_sees_one_lookup_of_a_directory_at_a_time) {
  init_flags &= ~wire::init_flag::parallel_dirops;
  mount_tree();
  add(root, "a", regular);
  add(root, "b", regular);
  auto one = start(fs->sys_statx(caller, {nullptr, "a"}, 0, basic_stats, leave));
  auto two = start(fs->sys_statx(other, {nullptr, "b"}, 0, basic_stats, leave));
  const auto first = daemon->next(Opcode::lookup);
  EXPECT_TRUE(daemon->quiet());
  daemon->reply(first.header.unique, entry_of(names[{root, "a"}]));
  daemon->serve();
  EXPECT_TRUE(one.take() && two.take());
}

TEST_F(LookupTest, who_waits_for_a_directorys_lock_can_be_killed) {
  init_flags &= ~wire::init_flag::parallel_dirops;
  mount_tree();
  add(root, "a", regular);
  auto one = start(fs->sys_statx(caller, {nullptr, "a"}, 0, basic_stats, leave));
  auto two = start(fs->sys_statx(other, {nullptr, "a"}, 0, basic_stats, leave));
  kill(other);
  EXPECT_EQ(two.take().error(), Errno::eintr);
  daemon->serve();
  EXPECT_TRUE(one.take());
}

TEST_F(LookupTest, names_of_1024_bytes_pass_and_longer_ones_do_not) {
  init_flags &= ~wire::init_flag::max_pages;
  mount_tree();
  const std::string longest(1024, 'n');
  add(root, longest, regular);
  EXPECT_EQ(stat_error(longest), 0);
  EXPECT_EQ(stat_error(longest + "n"), as_int(Errno::enametoolong));
}

TEST_F(LookupTest, a_lookup_that_finds_no_memory_is_enomem_and_leaks_nothing) {
  mount_tree();
  add(root, "file", regular);
  uint64_t allowed = 0;
  host.limit_allocations(allowed);
  EXPECT_EQ(stat_error("file"), as_int(Errno::enomem));
  int result;
  do {
    host.limit_allocations(++allowed);
    result = stat_error("file");
    EXPECT_TRUE(result == 0 || result == as_int(Errno::enomem)) << result;
  } while (result != 0 && allowed < 100);
  EXPECT_EQ(result, 0);
  // What a failed look-up took it has given back: as often as it fails, no page more is out.
  const uint64_t pages = host.bytes_out();
  for (int i = 0; i < 100; ++i) {
    host.limit_allocations(0);
    (void)stat_error("file");
    host.limit_allocations(UINT64_MAX);
    EXPECT_EQ(stat_error("file"), 0);
  }
  EXPECT_EQ(host.bytes_out(), pages);
}

}  // namespace
}  // namespace fusewire::test
