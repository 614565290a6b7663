// The rule book of paths: dots, slashes, symlinks, and where a walk leaves the mount (fs/namei.c).
#include "abi/mount_rules.h"
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

class WalkTest : public SyscallTest {
 protected:
  void SetUp() override {
    SyscallTest::SetUp();
    mount_tree();
    dir = add(root, "dir", directory);
    add(dir, "file", regular);
  }
  // The errno of a stat that is to leave, and what it left.
  std::string left(std::string_view path, OpenFile* from = nullptr) { return left_from({from, path}); }
  std::string left_from(syscall::Place place) {
    leave.length = 0;
    leave.to = syscall::LeaveTo::root;
    auto result = run(fs->sys_statx(caller, place, 0, basic_stats, leave));
    if (result || result.error() != Errno::eleave) return "did not leave";
    const std::string into = leave.to == syscall::LeaveTo::mount ? "mount " + std::to_string(leave.mount) + ": " : "";
    return into + (leave.to == syscall::LeaveTo::parent ? "parent: " : "") + std::string(leave.rest());
  }
  void mount_on(std::string_view path, uint32_t mount) {
    OpenFile* point = open(std::string(path), o_path);
    {
      kernel::Connection::Entry entry(*connection);
      auto attached = fs->attach(mount, point, 0);
      EXPECT_TRUE(attached && *attached == 0);
    }
    release(point);
  }
  // All of it as mount 1, `dir` as mount 8.
  void mount_whole_and_directory() {
    OpenFile* start = open("dir", o_path);
    {
      kernel::Connection::Entry entry(*connection);
      ASSERT_TRUE(fs->add_mount(1, nullptr, 0));
      ASSERT_TRUE(fs->add_mount(8, start, 0));
    }
    release(start);
  }
  void detach(uint32_t mount) {
    kernel::Connection::Entry entry(*connection);
    fs->detach(mount);
  }
  uint64_t dir = 0;
};

TEST_F(WalkTest, dots_and_slashes_are_no_components) {
  for (const char* path : {"dir/file", "./dir//file", "/dir/./file", "dir/../dir/file", "//dir///file"})
    EXPECT_EQ(stat_error(path), 0) << path;
  EXPECT_EQ(daemon->count(Opcode::lookup), 2u);
}

TEST_F(WalkTest, a_trailing_slash_demands_a_directory) {
  EXPECT_EQ(stat_error("dir/"), 0);
  EXPECT_EQ(stat_error("dir/file/"), as_int(Errno::enotdir));
  EXPECT_EQ(stat_error("dir/file/x"), as_int(Errno::enotdir));
}

TEST_F(WalkTest, the_empty_path_is_enoent_from_a_file_and_the_root_from_the_mount) {
  EXPECT_EQ(stat_error(""), 0);
  OpenFile* file = open("dir", o_path);
  EXPECT_EQ(error_of(fs->sys_statx(caller, {file, ""}, 0, basic_stats, leave)), as_int(Errno::enoent));
  EXPECT_EQ(error_of(fs->sys_statx(caller, {file, ""}, 0x1000, basic_stats, leave)), 0);
  release(file);
}

TEST_F(WalkTest, dotdot_above_the_root_leaves_to_the_parent_of_the_mount_point) {
  EXPECT_EQ(left(".."), "parent: .");
  EXPECT_EQ(left("dir/../../etc/passwd"), "parent: etc/passwd");
  EXPECT_EQ(left("../x/"), "parent: x/");
}

TEST_F(WalkTest, dotdot_at_the_callers_root_stays_there) {
  OpenFile* file = open("dir", o_path);
  caller.root = file->dentry.get();
  EXPECT_EQ(error_of(fs->sys_statx(caller, {file, "../../file"}, 0, basic_stats, leave)), 0);
  EXPECT_EQ(error_of(fs->sys_statx(caller, {file, ".."}, 0, basic_stats, leave)), 0);
  // From outside of it nothing holds the walk.
  EXPECT_EQ(left("../x"), "parent: x");
  caller.root = nullptr;
  EXPECT_EQ(left("../../x", file), "parent: x");
  release(file);
}

TEST_F(WalkTest, a_link_to_an_absolute_path_leaves_with_the_rest_behind_it) {
  add_link(root, "abs", "/etc");
  EXPECT_EQ(left("abs"), "/etc");
  EXPECT_EQ(left("abs/passwd"), "/etc/passwd");
  EXPECT_EQ(left("abs/"), "/etc/");
}

TEST_F(WalkTest, a_relative_link_out_of_the_mount_leaves) {
  add_link(dir, "out", "../../elsewhere");
  EXPECT_EQ(left("dir/out/x/"), "parent: elsewhere/x/");
}

TEST_F(WalkTest, an_absolute_path_from_a_file_leaves) {
  OpenFile* file = open("dir", o_path);
  EXPECT_EQ(left("/etc/passwd", file), "/etc/passwd");
  release(file);
}

TEST_F(WalkTest, a_walk_leaves_into_what_is_mounted_on_the_way_and_at_the_end) {
  mount_on("dir", 5);
  EXPECT_EQ(left("dir"), "mount 5: ");
  EXPECT_EQ(left("dir/"), "mount 5: ");
  EXPECT_EQ(left("dir/file"), "mount 5: file");
  add_link(root, "link", "dir/x");
  EXPECT_EQ(left("link"), "mount 5: x");
  EXPECT_EQ(left("./dir/../a/"), "mount 5: ../a/");
  detach(5);
  EXPECT_EQ(stat_error("dir/file"), 0);
}

TEST_F(WalkTest, the_way_up_ends_in_what_is_mounted_on_the_parent) {
  const uint64_t below = add(dir, "below", directory);
  add(below, "deep", directory);
  OpenFile* inside = open("dir/below/deep", o_path);
  mount_on("dir", 5);
  EXPECT_EQ(left("../../x", inside), "mount 5: x");
  EXPECT_EQ(left("../..", inside), "mount 5: ");
  EXPECT_EQ(left("..", inside), "did not leave");
  release(inside);
}

TEST_F(WalkTest, who_comes_out_of_a_mount_goes_up_from_its_mount_point) {
  mount_on("dir", 5);
  const uint32_t point = 5 | fusewire::abi::mount_point;
  EXPECT_EQ(error_of(fs->sys_statx(caller, {.path = "..", .mount = point}, 0, basic_stats, leave)), 0);
  EXPECT_EQ(error_of(fs->sys_statx(caller, {.path = "../nothing", .mount = point}, 0, basic_stats, leave)),
            as_int(Errno::enoent));
  EXPECT_EQ(left_from({.path = "../dir/x", .mount = point}), "mount 5: x");
  EXPECT_EQ(left_from({.path = "../..", .mount = point}), "parent: .");
}

TEST_F(WalkTest, what_something_is_mounted_on_is_busy) {
  mount_on("dir", 5);
  EXPECT_EQ(error_of(fs->sys_unlinkat(caller, {nullptr, "dir"}, 0x200, leave)), as_int(Errno::ebusy));
  EXPECT_EQ(error_of(fs->sys_renameat2(caller, {nullptr, "dir"}, {nullptr, "other"}, 0, leave)), as_int(Errno::ebusy));
  add(root, "more", directory);
  EXPECT_EQ(error_of(fs->sys_renameat2(caller, {nullptr, "more"}, {nullptr, "dir"}, 0, leave)), as_int(Errno::ebusy));
  EXPECT_EQ(daemon->count(Opcode::rename) + daemon->count(Opcode::rename2) + daemon->count(Opcode::rmdir), 0u);
}

TEST_F(WalkTest, a_mount_of_a_directory_ends_at_it) {
  ASSERT_NO_FATAL_FAILURE(mount_whole_and_directory());
  EXPECT_EQ(error_of(fs->sys_statx(caller, {.path = "file", .mount = 8}, 0, basic_stats, leave)), 0);
  EXPECT_EQ(left_from({.path = "../file", .mount = 8}), "parent: file");
  EXPECT_EQ(error_of(fs->sys_renameat2(caller, {.path = "file", .mount = 8}, {nullptr, "file"}, 0, leave)),
            as_int(Errno::exdev));
}

TEST_F(WalkTest, the_way_up_in_a_mount_that_is_gone_ends_at_its_root) {
  ASSERT_NO_FATAL_FAILURE(mount_whole_and_directory());
  auto inside = run(fs->sys_openat(caller, {.path = ".", .mount = 8}, o_path, 0, leave));
  ASSERT_TRUE(inside);
  {
    kernel::Connection::Entry entry(*connection);
    fs->remove_mount(8);
  }
  EXPECT_EQ(error_of(fs->sys_statx(caller, {*inside, "../../file"}, 0, basic_stats, leave)), 0);
  release(*inside);
  EXPECT_EQ(error_of(fs->sys_statx(caller, {.path = "file", .mount = 8}, 0, basic_stats, leave)),
            as_int(Errno::enotconn));
}

TEST_F(WalkTest, what_stands_in_a_mount_is_copied_where_the_copy_shows_its_mount_point) {
  OpenFile* start = open("dir", o_path);
  add(root, "beside", directory);
  OpenFile* beside = open("beside", o_path);
  {
    kernel::Connection::Entry entry(*connection);
    ASSERT_TRUE(fs->add_mount(1, nullptr, 0));
    ASSERT_TRUE(fs->copy_mount(7, 1));
    ASSERT_TRUE(fs->add_mount(8, start, 0));
    ASSERT_TRUE(fs->attach(5, beside, 0));
    EXPECT_TRUE(fs->attach_copy(6, 5, 7));
    EXPECT_EQ(as_int(fs->attach_copy(9, 5, 8).error()), as_int(Errno::enoent));
  }
  release(start);
  release(beside);
  EXPECT_EQ(left_from({.path = "beside/x", .mount = 7}), "mount 6: x");
}

TEST_F(WalkTest, the_second_path_of_a_rename_says_that_it_was_the_second) {
  const int result = error_of(fs->sys_renameat2(caller, {nullptr, "dir/file"}, {nullptr, "../x/y"}, 0, leave));
  EXPECT_EQ(result, as_int(Errno::eleave));
  EXPECT_EQ(leave.which, 1);
  EXPECT_EQ(leave.rest(), "x/y");
}

TEST_F(WalkTest, forty_links_are_followed_and_forty_one_are_not) {
  for (int i = 0; i < 41; ++i) add_link(root, "l" + std::to_string(i), "l" + std::to_string(i + 1));
  add(root, "l41", regular);
  EXPECT_EQ(stat_error("l1"), 0);
  EXPECT_EQ(stat_error("l0"), as_int(Errno::eloop));
}

TEST_F(WalkTest, a_walk_goes_on_behind_a_link_in_the_middle) {
  add_link(root, "to_dir", "./dir/");
  EXPECT_EQ(stat_error("to_dir/file"), 0);
  EXPECT_EQ(stat_error("to_dir/../dir/file"), 0);
}

TEST_F(WalkTest, a_link_at_the_end_is_followed_when_a_slash_is_behind_it) {
  add_link(root, "to_dir", "dir");
  constexpr uint32_t nofollow = 0x100;
  EXPECT_EQ(stat("to_dir", nofollow)->mode, symbolic_link);
  EXPECT_EQ(stat("to_dir/", nofollow)->mode, directory);
}

TEST_F(WalkTest, paths_of_path_max_are_too_long) {
  EXPECT_EQ(stat_error(std::string(4096, '/')), as_int(Errno::enametoolong));
  EXPECT_EQ(stat_error(std::string(4095, '/')), 0);
}

TEST_F(WalkTest, the_path_of_a_file_follows_its_renames_and_ends) {
  OpenFile* file = open("dir/file", o_path);
  EXPECT_EQ(path_of(file), "/dir/file");
  daemon->on_ok(Opcode::rename);
  EXPECT_EQ(error_of(fs->sys_renameat2(caller, {nullptr, "dir/file"}, {nullptr, "moved"}, 0, leave)), 0);
  EXPECT_EQ(path_of(file), "/moved");
  daemon->on_ok(Opcode::unlink);
  EXPECT_EQ(error_of(fs->sys_unlinkat(caller, {nullptr, "moved"}, 0, leave)), 0);
  EXPECT_EQ(path_of(file), "/moved (deleted)");
  release(file);
  OpenFile* top = open("", o_path);
  EXPECT_EQ(path_of(top), "/");
  release(top);
}

TEST_F(WalkTest, nothing_is_found_or_made_in_a_removed_directory) {
  OpenFile* cwd = open("dir", o_path);
  daemon->on_ok(Opcode::rmdir);
  EXPECT_EQ(error_of(fs->sys_unlinkat(caller, {nullptr, "dir"}, 0x200, leave)), 0);
  EXPECT_EQ(error_of(fs->sys_statx(caller, {cwd, "file"}, 0, basic_stats, leave)), as_int(Errno::enoent));
  EXPECT_EQ(error_of(fs->sys_mkdirat(caller, {cwd, "new"}, 0755, leave)), as_int(Errno::enoent));
  release(cwd);
}

}  // namespace
}  // namespace fusewire::test
