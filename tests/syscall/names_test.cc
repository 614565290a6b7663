// The rule book of making, moving and removing names, where several do it at once or something goes wrong in between
// (K080-K083). What goes over the wire is in the oracle's scenarios.
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

class NamesTest : public SyscallTest {
 protected:
  void serve_changes() {
    mount_tree();
    for (const Opcode opcode : {Opcode::unlink, Opcode::rmdir}) {
      daemon->on(opcode, [this](const DaemonRequest& request) {
        const bool there = names.erase({request.header.nodeid, request.name()}) != 0;
        return there ? DaemonReply::ok() : DaemonReply::failed(Errno::enoent);
      });
    }
    daemon->on(Opcode::rename, [this](const DaemonRequest& request) {
      const std::string from = request.name(sizeof(wire::RenameIn));
      const std::string to = request.name(sizeof(wire::RenameIn) + from.size() + 1);
      auto moved = names.extract({request.header.nodeid, from});
      if (moved.empty()) return DaemonReply::failed(Errno::enoent);
      names[{request.as<wire::RenameIn>().newdir, to}] = moved.mapped();
      return DaemonReply::ok();
    });
    daemon->on(Opcode::mkdir, [this](const DaemonRequest& request) {
      return DaemonReply::ok(entry_of(add(request.header.nodeid, request.name(sizeof(wire::MkdirIn)), directory)));
    });
  }
  int unlink(std::string_view path) { return error_of(fs->sys_unlinkat(caller, {nullptr, path}, 0, leave)); }
  int rename(std::string_view from, std::string_view to, uint32_t flags = 0) {
    return error_of(fs->sys_renameat2(caller, {nullptr, from}, {nullptr, to}, flags, leave));
  }
};

TEST_F(NamesTest, of_two_that_unlink_one_name_the_second_finds_nothing) {
  serve_changes();
  add(root, "file", regular);
  stat("file");
  auto one = start(fs->sys_unlinkat(caller, {nullptr, "file"}, 0, leave));
  auto two = start(fs->sys_unlinkat(other, {nullptr, "file"}, 0, leave));
  daemon->serve();
  EXPECT_TRUE(one.take());
  EXPECT_EQ(two.take().error(), Errno::enoent);
  EXPECT_EQ(daemon->count(Opcode::unlink), 1u);
}

TEST_F(NamesTest, a_lookup_asks_for_the_name_of_its_path_though_the_name_moves_meanwhile) {
  entry_valid = 0;
  serve_changes();
  add(root, "a name that is long enough to stand in memory of its own", regular);
  const std::string_view old_name = "a name that is long enough to stand in memory of its own";
  stat(old_name);
  auto moving = start(fs->sys_renameat2(caller, {nullptr, old_name}, {nullptr, "new"}, 0, leave));
  for (const Errno answer : {Errno{}, Errno::enoent}) {
    const DaemonRequest lookup = daemon->next(Opcode::lookup);
    if (answer == Errno::enoent)
      daemon->reply_error(lookup.header.unique, answer);
    else
      daemon->reply(lookup.header.unique, entry_of(2));
  }
  const DaemonRequest rename = daemon->next(Opcode::rename);
  auto looking = start(fs->sys_statx(other, {nullptr, old_name}, 0, basic_stats, leave));
  daemon->reply(rename.header.unique);
  const DaemonRequest again = daemon->next(Opcode::lookup);
  EXPECT_EQ(again.body, name_bytes(old_name));
  daemon->reply_error(again.header.unique, Errno::enoent);
  daemon->serve();
  EXPECT_TRUE(moving.take());
  EXPECT_TRUE(looking.take());
}

TEST_F(NamesTest, a_directory_that_shows_up_elsewhere_is_not_moved_while_its_name_is_worked_on) {
  serve_changes();
  const uint64_t dir = add(root, "dir", directory), second = add(root, "second", directory);
  stat("dir");
  stat("second");
  names[{second, "there"}] = dir;
  auto looking = start(fs->sys_statx(other, {nullptr, "second/there"}, 0, basic_stats, leave));
  const DaemonRequest lookup = daemon->next(Opcode::lookup);
  auto removing = start(fs->sys_unlinkat(caller, {nullptr, "dir"}, 0x200, leave));
  daemon->reply(lookup.header.unique, entry_of(dir));
  const DaemonRequest rmdir = daemon->next(Opcode::rmdir);
  EXPECT_EQ(rmdir.body, name_bytes("dir"));
  while (!looking.done()) {
    const DaemonRequest again = daemon->next(Opcode::lookup);
    daemon->reply(again.header.unique, entry_of(again.name() == "second" ? second : dir));
  }
  EXPECT_EQ(looking.take().error(), Errno::estale);
  daemon->reply(rmdir.header.unique);
  EXPECT_TRUE(removing.take());
}

TEST_F(NamesTest, estale_for_a_path_from_an_open_file_is_tried_again_though_the_file_is_closed_meanwhile) {
  serve_changes();
  const uint64_t dir = add(root, "dir", directory);
  const uint64_t file = add(dir, "file", regular);
  OpenFile* cwd = open("dir", o_path);
  auto looking = start(fs->sys_statx(other, {cwd, "file"}, 0, basic_stats, leave));
  const DaemonRequest lookup = daemon->next(Opcode::lookup);
  release(cwd);
  inval_entry(root, "dir");
  daemon->reply_error(lookup.header.unique, Errno::estale);
  const DaemonRequest again = daemon->next(Opcode::lookup);
  EXPECT_EQ(again.header.nodeid, dir);
  daemon->reply(again.header.unique, entry_of(file));
  EXPECT_TRUE(looking.take());
}

TEST_F(NamesTest, an_unlinked_open_file_goes_on_and_is_forgotten_at_its_end) {
  serve_changes();
  const uint64_t node = add(root, "file", regular);
  OpenFile* file = open("file");
  EXPECT_EQ(unlink("file"), 0);
  EXPECT_EQ(error_of(fs->sys_fstat(caller, *file, basic_stats)), 0);
  EXPECT_EQ(daemon->forgotten().count(node), 0u);
  close(file);
  EXPECT_EQ(daemon->forgotten().at(node), 1u);
}

TEST_F(NamesTest, a_moved_name_is_found_at_once_and_the_old_one_is_asked) {
  serve_changes();
  add(root, "dir", directory);
  add(root, "a", regular);
  EXPECT_EQ(rename("a", "dir/b"), 0);
  daemon->clear_seen();
  EXPECT_EQ(stat_error("dir/b"), 0);
  EXPECT_EQ(daemon->count(Opcode::lookup), 0u);
  EXPECT_EQ(stat_error("a"), as_int(Errno::enoent));
}

TEST_F(NamesTest, a_replaced_file_is_forgotten) {
  serve_changes();
  add(root, "a", regular);
  const uint64_t victim = add(root, "b", regular);
  stat("b");
  EXPECT_EQ(rename("a", "b"), 0);
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().at(victim), 2u);
}

TEST_F(NamesTest, exchanged_names_keep_their_inodes) {
  serve_changes();
  const uint64_t a = add(root, "a", regular), dir = add(root, "dir", directory), b = add(dir, "b", regular);
  daemon->on_ok(Opcode::rename2);
  EXPECT_EQ(rename("a", "dir/b", 2), 0);
  EXPECT_EQ(stat("a")->ino, b + 1000);
  EXPECT_EQ(stat("dir/b")->ino, a + 1000);
}

TEST_F(NamesTest, a_directory_does_not_go_below_itself) {
  serve_changes();
  const uint64_t dir = add(root, "dir", directory);
  add(dir, "sub", directory);
  EXPECT_EQ(rename("dir", "dir/sub/x"), as_int(Errno::einval));
  EXPECT_EQ(rename("dir/sub", "dir"), as_int(Errno::enotempty));
  EXPECT_EQ(daemon->count(Opcode::rename), 0u);
}

TEST_F(NamesTest, crossing_renames_do_not_block_each_other_for_ever) {
  serve_changes();
  const uint64_t a = add(root, "a", directory), b = add(root, "b", directory);
  add(a, "x", regular);
  add(b, "y", regular);
  auto one = start(fs->sys_renameat2(caller, {nullptr, "a/x"}, {nullptr, "b/x"}, 0, leave));
  auto two = start(fs->sys_renameat2(other, {nullptr, "b/y"}, {nullptr, "a/y"}, 0, leave));
  daemon->serve();
  EXPECT_TRUE(one.take() && two.take());
  EXPECT_EQ(stat_error("b/x"), 0);
  EXPECT_EQ(stat_error("a/y"), 0);
}

TEST_F(NamesTest, a_rename_killed_before_it_was_sent_leaves_both_names) {
  serve_changes();
  add(root, "a", regular);
  stat("a");
  wire::EntryOut nothing{};
  nothing.entry_valid = 100;
  auto call = start(fs->sys_renameat2(other, {nullptr, "a"}, {nullptr, "b"}, 0, leave));
  const auto lookup = daemon->next(Opcode::lookup);
  daemon->reply(lookup.header.unique, nothing);
  kill(other);
  EXPECT_EQ(call.take().error(), Errno::eintr);
  EXPECT_EQ(stat_error("a"), 0);
  EXPECT_EQ(daemon->count(Opcode::rename), 0u);
}

TEST_F(NamesTest, mkdir_and_rmdir_of_the_special_names) {
  serve_changes();
  add(root, "dir", directory);
  auto mkdir = [this](std::string_view path) {
    return error_of(fs->sys_mkdirat(caller, {nullptr, path}, 0755, leave));
  };
  auto rmdir = [this](std::string_view path) {
    return error_of(fs->sys_unlinkat(caller, {nullptr, path}, 0x200, leave));
  };
  EXPECT_EQ(mkdir("dir/."), as_int(Errno::eexist));
  EXPECT_EQ(mkdir("dir/.."), as_int(Errno::eexist));
  EXPECT_EQ(mkdir(""), as_int(Errno::eexist));
  EXPECT_EQ(mkdir("new/"), 0);
  EXPECT_EQ(rmdir("dir/."), as_int(Errno::einval));
  EXPECT_EQ(rmdir("dir/.."), as_int(Errno::enotempty));
  EXPECT_EQ(rmdir(""), as_int(Errno::ebusy));
  EXPECT_EQ(rmdir("new/"), 0);
}

TEST_F(NamesTest, a_path_of_two_thousand_cached_names_is_walked) {
  mount_tree();
  daemon->on(Opcode::lookup, [this](const DaemonRequest& request) {
    const uint64_t node = request.header.nodeid + 1;
    nodes[node] = nodes[root];
    return DaemonReply::ok(entry_of(node));
  });
  std::string path;
  for (int i = 0; i < 2000; ++i) path += "d/";
  ASSERT_EQ(stat_error(path), 0);
  EXPECT_EQ(stat_error(path), 0);
  EXPECT_EQ(daemon->count(Opcode::lookup), 2000u);
}

}  // namespace
}  // namespace fusewire::test
