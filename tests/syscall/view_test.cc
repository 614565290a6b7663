// What the half publishes of names and attributes, read as a client reads it: the fast walk answers what the half
// would, and what has changed is never answered as it was once the call that changed it is done.
#include "abi/view.h"

#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

using abi::ViewAnswer;

class ViewTest : public SyscallTest {
 protected:
  abi::ViewAnswer walk(std::string_view path, abi::ViewInode& row, bool follow = true) {
    const abi::MappedView rows = view_memory.mapped();
    abi::ViewWalk look(rows, {0, 0}, [this] { return host.now(); });
    abi::ViewStart start;
    if (look.start_of(0, start) != ViewAnswer::found) return ViewAnswer::miss;
    return look.walk(start, path, follow, row);
  }
  abi::ViewAnswer walk(std::string_view path) {
    abi::ViewInode row{};
    return walk(path, row);
  }
  // What stat would show without the half: the size, or -1.
  int64_t known_size(std::string_view path) {
    const abi::MappedView rows = view_memory.mapped();
    abi::ViewWalk look(rows, {0, 0}, [this] { return host.now(); });
    abi::ViewInode row{};
    if (walk(path, row) != ViewAnswer::found || !look.shows(row, basic_stats, false, false)) return -1;
    return static_cast<int64_t>(row.size);
  }
};

TEST_F(ViewTest, what_was_looked_up_is_known) {
  mount_tree();
  const uint64_t d = add(root, "d", directory);
  add(d, "f", regular, 123);
  EXPECT_EQ(walk("d/f"), ViewAnswer::miss);
  ASSERT_EQ(stat_error("d/f"), 0);
  EXPECT_EQ(known_size("d/f"), 123);
  const size_t asked = daemon->count(Opcode::lookup) + daemon->count(Opcode::getattr);
  EXPECT_EQ(stat("d/f")->size, 123u);
  EXPECT_EQ(daemon->count(Opcode::lookup) + daemon->count(Opcode::getattr), asked) << "the half, too, answers from its cache";
}

TEST_F(ViewTest, it_shows_what_stat_shows) {
  mount_tree();
  const uint64_t f = add(root, "f", regular, 4097);
  nodes[f].blocks = 16, nodes[f].uid = 5, nodes[f].gid = 6, nodes[f].nlink = 3, nodes[f].blksize = 5000;
  nodes[f].atime = 11, nodes[f].mtime = 22, nodes[f].ctime = 33, nodes[f].mtimensec = 999'999'999;
  const auto shown = stat("f");
  ASSERT_TRUE(shown.has_value());
  abi::ViewInode row{};
  ASSERT_EQ(walk("f", row), ViewAnswer::found);
  const abi::Stat known = abi::stat_of(row, shown->dev);
  EXPECT_EQ(std::memcmp(&known, &*shown, sizeof known), 0);
}

TEST_F(ViewTest, a_negative_name_is_known_as_long_as_the_daemon_said) {
  mount_tree();
  wire::EntryOut nothing{};
  nothing.entry_valid = 10;
  daemon->on_ok(Opcode::lookup, nothing);
  EXPECT_EQ(stat_error("gone"), ENOENT);
  EXPECT_EQ(walk("gone"), ViewAnswer::absent);
  EXPECT_EQ(walk("gone/further"), ViewAnswer::absent);
  host.advance_seconds(11);
  EXPECT_EQ(walk("gone"), ViewAnswer::miss);
}

TEST_F(ViewTest, an_enoent_without_a_time_is_not_known) {
  mount_tree();
  EXPECT_EQ(stat_error("gone"), ENOENT);
  EXPECT_EQ(walk("gone"), ViewAnswer::miss);
}

TEST_F(ViewTest, without_timeouts_nothing_is_known) {
  entry_valid = 0;
  mount_tree();
  add(root, "f", regular);
  EXPECT_EQ(stat_error("f"), 0);
  EXPECT_EQ(walk("f"), ViewAnswer::miss);
}

TEST_F(ViewTest, names_and_attributes_end_with_their_own_times) {
  entry_valid = 20, attr_valid = 10;
  mount_tree();
  add(root, "f", regular, 5);
  EXPECT_EQ(stat_error("f"), 0);
  EXPECT_EQ(known_size("f"), 5);
  host.advance_seconds(11);
  EXPECT_EQ(known_size("f"), -1);
  EXPECT_EQ(walk("f"), ViewAnswer::found);
  host.advance_seconds(10);
  EXPECT_EQ(walk("f"), ViewAnswer::miss);
}

TEST_F(ViewTest, what_the_daemon_takes_back_is_not_known) {
  mount_tree();
  const uint64_t d = add(root, "d", directory);
  const uint64_t f = add(d, "f", regular, 5);
  EXPECT_EQ(stat_error("d/f"), 0);
  EXPECT_EQ(notify(wire::NotifyCode::inval_inode, bytes_of(wire::NotifyInvalInodeOut{f, 0, 0})), 0);
  EXPECT_EQ(known_size("d/f"), -1);
  EXPECT_EQ(walk("d/f"), ViewAnswer::found);
  EXPECT_EQ(inval_entry(d, "f"), 0);
  EXPECT_EQ(walk("d/f"), ViewAnswer::miss);
  EXPECT_EQ(stat_error("d/f"), 0);
  EXPECT_EQ(notify(wire::NotifyCode::inc_epoch, {}), 0);
  EXPECT_EQ(walk("d/f"), ViewAnswer::miss);
  EXPECT_EQ(stat_error("d/f"), 0);
  EXPECT_EQ(known_size("d/f"), 5);
}

TEST_F(ViewTest, a_removed_name_is_gone_and_a_renamed_one_is_where_it_went) {
  mount_tree();
  const uint64_t d = add(root, "d", directory);
  add(d, "f", regular, 1);
  add(root, "g", regular, 2);
  daemon->on_ok(Opcode::rename);
  daemon->on_ok(Opcode::unlink);
  EXPECT_EQ(stat_error("d/f"), 0);
  EXPECT_EQ(stat_error("g"), 0);
  EXPECT_EQ(error_of(fs->sys_renameat2(caller, {nullptr, "g"}, {nullptr, "d/f"}, 0, leave)), 0);
  EXPECT_EQ(walk("g"), ViewAnswer::miss);
  abi::ViewInode row{};
  EXPECT_EQ(walk("d/f", row), ViewAnswer::found);
  EXPECT_EQ(row.size, 2u);
  EXPECT_EQ(known_size("d/f"), -1) << "its ctime is asked again";
  EXPECT_EQ(error_of(fs->sys_unlinkat(caller, {nullptr, "d/f"}, 0, leave)), 0);
  EXPECT_EQ(walk("d/f"), ViewAnswer::miss);
}

TEST_F(ViewTest, a_directory_takes_its_names_along) {
  mount_tree();
  const uint64_t d = add(root, "d", directory);
  add(d, "f", regular, 7);
  daemon->on_ok(Opcode::rename);
  EXPECT_EQ(stat_error("d/f"), 0);
  EXPECT_EQ(error_of(fs->sys_renameat2(caller, {nullptr, "d"}, {nullptr, "e"}, 0, leave)), 0);
  EXPECT_EQ(walk("d/f"), ViewAnswer::miss);
  EXPECT_EQ(known_size("e/f"), 7);
}

TEST_F(ViewTest, another_file_under_the_same_nodeid_is_never_the_first) {
  mount_tree();
  const uint64_t f = add(root, "f", regular, 5);
  EXPECT_EQ(stat_error("f"), 0);
  nodes[f].mode = directory;
  names[{root, "other"}] = f;
  EXPECT_EQ(stat_error("other"), 0);
  EXPECT_EQ(walk("f"), ViewAnswer::miss);
  EXPECT_EQ(walk("other"), ViewAnswer::found);
}

TEST_F(ViewTest, texts_of_links_are_known_with_cache_symlinks_alone) {
  init_flags |= wire::init_flag::cache_symlinks;
  mount_tree();
  add_link(root, "l", "the/target");
  char text[4096];
  const auto known = [&] {
    const abi::MappedView rows = view_memory.mapped();
    abi::ViewWalk look(rows, {0, 0}, [this] { return host.now(); });
    abi::ViewInode row{};
    char to[abi::view_chunk_bytes];
    if (walk("l", row, false) != ViewAnswer::found) return std::string("a miss");
    return std::string(to, look.read_link(row, to));
  };
  EXPECT_EQ(stat_error("l", 0x100 /* AT_SYMLINK_NOFOLLOW */), 0);
  EXPECT_EQ(known(), "");
  EXPECT_TRUE(run(fs->sys_readlinkat(caller, {nullptr, "l"}, text, leave)).has_value());
  EXPECT_EQ(known(), "the/target");
  EXPECT_EQ(walk("l/x"), ViewAnswer::miss);
}

TEST_F(ViewTest, where_something_is_mounted_the_half_is_asked) {
  mount_tree();
  const uint64_t d = add(root, "d", directory);
  add(d, "f", regular, 7);
  OpenFile* file = open("d", o_path);
  EXPECT_EQ(stat_error("d/f"), 0);
  EXPECT_EQ(known_size("d/f"), 7);
  {
    kernel::Connection::Entry entry(*connection);
    ASSERT_TRUE(fs->attach(99, file, 0).has_value());
  }
  EXPECT_EQ(walk("d/f"), ViewAnswer::miss);
  {
    kernel::Connection::Entry entry(*connection);
    fs->detach(99);
  }
  EXPECT_EQ(known_size("d/f"), 7);
  release(file);
}

TEST_F(ViewTest, mounts_are_known_by_their_numbers_with_their_flags) {
  mount_tree();
  const uint64_t d = add(root, "d", directory);
  add(d, "f", regular, 7);
  OpenFile* file = open("d", o_path);
  EXPECT_EQ(stat_error("d/f"), 0);
  const abi::MappedView rows = view_memory.mapped();
  abi::ViewWalk look(rows, {0, 0}, [this] { return host.now(); });
  abi::ViewStart start;
  EXPECT_EQ(look.start_of(5, start), ViewAnswer::miss);
  {
    kernel::Connection::Entry entry(*connection);
    ASSERT_TRUE(fs->add_mount(5, file, abi::mount_flag::noexec).has_value());
  }
  ASSERT_EQ(look.start_of(5, start), ViewAnswer::found);
  EXPECT_EQ(start.mount_flags, abi::mount_flag::noexec);
  abi::ViewInode row{};
  EXPECT_EQ(look.walk(start, "f", true, row), ViewAnswer::found);
  {
    kernel::Connection::Entry entry(*connection);
    fs->remove_mount(5);
  }
  EXPECT_EQ(look.start_of(5, start), ViewAnswer::miss);
  release(file);
}

TEST_F(ViewTest, the_view_ends_with_the_mount) {
  mount_tree();
  add(root, "f", regular);
  EXPECT_EQ(stat_error("f"), 0);
  EXPECT_EQ(walk("f"), ViewAnswer::found);
  unmount_tree();
  EXPECT_EQ(walk("f"), ViewAnswer::miss);
}

TEST_F(ViewTest, without_memory_the_half_goes_on_alone) {
  view_memory.limit = 5 * abi::view_page_bytes;
  mount_tree();
  for (int i = 0; i < 200; ++i) add(root, "f" + std::to_string(i), regular);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(stat_error("f" + std::to_string(i)), 0);
  EXPECT_EQ(walk("f0"), ViewAnswer::found);
  EXPECT_EQ(walk("f199"), ViewAnswer::miss);
}

TEST_F(ViewTest, only_who_may_see_everything_and_is_alone_gets_it) {
  options.user_id = 1000, options.group_id = 100;
  mount_tree();
  kernel::Caller owner = caller;
  owner.uid = owner.ruid = owner.euid = owner.suid = 1000;
  owner.gid = owner.rgid = owner.egid = owner.sgid = 100;
  EXPECT_TRUE(fs->may_see_view(owner));
  for (uint32_t kernel::Caller::*id :
       {&kernel::Caller::uid, &kernel::Caller::gid, &kernel::Caller::ruid, &kernel::Caller::euid, &kernel::Caller::suid,
        &kernel::Caller::rgid, &kernel::Caller::egid, &kernel::Caller::sgid}) {
    kernel::Caller stranger = owner;
    stranger.*id = 7;
    EXPECT_FALSE(fs->may_see_view(stranger));
  }
  kernel::UserNamespace lower;
  kernel::Caller below = owner;
  below.lower = &lower;
  EXPECT_FALSE(fs->may_see_view(below));
}

class SharedViewTest : public ViewTest {};

TEST_F(SharedViewTest, with_allow_other_nobody_gets_it) {
  options.allow_other = true;
  mount_tree();
  EXPECT_FALSE(fs->may_see_view(caller));
}

}  // namespace
}  // namespace fusewire::test
