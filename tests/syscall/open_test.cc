// The rule book of open and close (K130-K143). What goes over the wire for each flag is in the oracle's scenarios.
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

class OpenTest : public SyscallTest {
 protected:
  void serve_create() {
    daemon->on(Opcode::create, [this](const DaemonRequest& request) {
      const uint64_t node = add(request.header.nodeid, request.name(sizeof(wire::CreateIn)), regular);
      return DaemonReply::ok(entry_of(node), wire::OpenOut{next_handle++, 0, 0});
    });
  }
};

TEST_F(OpenTest, a_file_that_was_never_closed_is_flushed_before_release) {
  mount_tree();
  add(root, "file", regular);
  OpenFile* file = open("file");
  release(file);
  const auto& seen = daemon->seen();
  EXPECT_EQ(seen.back().opcode, Opcode::release);
  EXPECT_EQ(seen[seen.size() - 2].opcode, Opcode::flush);
  EXPECT_EQ(seen[seen.size() - 2].header.pid, caller.pid);
}

TEST_F(OpenTest, release_waits_for_the_answer_to_that_flush) {
  mount_tree();
  add(root, "file", regular);
  OpenFile* file = open("file");
  daemon->on(Opcode::flush, [](const DaemonRequest&) { return DaemonReply::none_yet(); });
  release(file);
  EXPECT_EQ(daemon->count(Opcode::release), 0u);
  daemon->reply(daemon->seen().back().header.unique);
  daemon->serve();
  EXPECT_EQ(daemon->count(Opcode::release), 1u);
}

TEST_F(OpenTest, a_closed_file_is_not_flushed_again) {
  mount_tree();
  add(root, "file", regular);
  close(open("file"));
  EXPECT_EQ(daemon->count(Opcode::flush), 1u);
  EXPECT_EQ(daemon->count(Opcode::release), 1u);
}

TEST_F(OpenTest, two_creators_of_one_name_end_with_one_file) {
  mount_tree();
  serve_create();
  auto one = start(fs->sys_openat(caller, {nullptr, "new"}, o_rdwr | o_creat, 0644, leave));
  auto two = start(fs->sys_openat(other, {nullptr, "new"}, o_rdwr | o_creat, 0644, leave));
  daemon->serve();
  auto first = one.take(), second = two.take();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(daemon->count(Opcode::create), 1u);
  EXPECT_EQ((*first)->inode.get(), (*second)->inode.get());
  close(*first);
  close(*second);
}

TEST_F(OpenTest, of_two_exclusive_creators_one_gets_eexist) {
  mount_tree();
  serve_create();
  auto one = start(fs->sys_openat(caller, {nullptr, "new"}, o_rdwr | o_creat | o_excl, 0644, leave));
  auto two = start(fs->sys_openat(other, {nullptr, "new"}, o_rdwr | o_creat | o_excl, 0644, leave));
  daemon->serve();
  auto first = one.take(), second = two.take();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(second.error(), Errno::eexist);
  close(*first);
}

TEST_F(OpenTest, a_fifo_is_opened_without_the_daemon) {
  mount_tree();
  add(root, "fifo", 0010644);
  OpenFile* file = open("fifo", o_rdwr);
  release(file);
  EXPECT_EQ(daemon->count(Opcode::open), 0u);
  EXPECT_EQ(daemon->count(Opcode::release), 0u);
}

TEST_F(OpenTest, a_socket_and_a_device_are_refused) {
  mount_tree();
  add(root, "fifo", 0010644);
  add(root, "socket", 0140644);
  add(root, "device", 0020644);
  EXPECT_EQ(open_error("socket", o_rdonly), as_int(Errno::enxio));
  EXPECT_EQ(open_error("device", o_rdonly), as_int(Errno::eacces));
  EXPECT_EQ(open_error("fifo", o_path), 0);
}

TEST_F(OpenTest, execution_needs_a_regular_file_with_an_x_bit) {
  mount_tree();
  add(root, "program", 0100755);
  add(root, "text", regular);
  add(root, "dir", directory);
  auto file = run(fs->sys_open_exec(caller, {nullptr, "program"}, leave));
  ASSERT_TRUE(file.has_value());
  close(*file);
  EXPECT_EQ(error_of(fs->sys_open_exec(caller, {nullptr, "text"}, leave)), as_int(Errno::eacces));
  EXPECT_EQ(error_of(fs->sys_open_exec(caller, {nullptr, "dir"}, leave)), as_int(Errno::eacces));
}

TEST_F(OpenTest, a_tmpfile_has_no_name_and_tmpfile_enosys_is_eopnotsupp_for_ever) {
  mount_tree();
  daemon->on(Opcode::tmpfile, [this](const DaemonRequest&) {
    const uint64_t node = add(0, "", regular);
    return DaemonReply::ok(entry_of(node), wire::OpenOut{next_handle++, 0, 0});
  });
  OpenFile* file = open("", o_rdwr | 020200000);
  EXPECT_EQ(path_of(file), "/#tmpfile (deleted)");
  const uint64_t node = file->inode->nodeid;
  close(file);
  EXPECT_EQ(daemon->forgotten().at(node), 1u);
  daemon->on_error(Opcode::tmpfile, Errno::enosys);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(open_error("", o_rdwr | 020200000), as_int(Errno::eopnotsupp));
  EXPECT_EQ(daemon->count(Opcode::tmpfile), 2u);
}

TEST_F(OpenTest, chdir_wants_a_directory_and_asks_for_access) {
  mount_tree();
  add(root, "dir", directory);
  add(root, "file", regular);
  daemon->on_error(Opcode::access, Errno::eacces);
  EXPECT_EQ(error_of(fs->sys_chdir(caller, {nullptr, "file"}, leave)), as_int(Errno::enotdir));
  EXPECT_EQ(error_of(fs->sys_chdir(caller, {nullptr, "dir"}, leave)), as_int(Errno::eacces));
  daemon->on_ok(Opcode::access);
  auto cwd = run(fs->sys_chdir(caller, {nullptr, "dir"}, leave));
  ASSERT_TRUE(cwd.has_value());
  release(*cwd);
}

TEST_F(OpenTest, setfl_changes_only_what_may_change) {
  mount_tree();
  add(root, "file", regular);
  OpenFile* file = open("file", o_rdonly);
  EXPECT_EQ(*fs->sys_getfl(*file), 0100000u);
  EXPECT_TRUE(fs->sys_setfl(*file, o_append | o_rdwr | o_trunc));
  EXPECT_EQ(*fs->sys_getfl(*file), 0100000u | o_append);
  close(file);
}

TEST_F(OpenTest, an_open_whose_caller_was_killed_after_it_was_sent_can_still_be_released) {
  mount_tree();
  add(root, "file", regular);
  stat("file");
  auto call = start(fs->sys_openat(other, {nullptr, "file"}, o_rdonly, 0, leave));
  const auto request = daemon->next(Opcode::open);
  kill(other);
  daemon->reply(request.header.unique, wire::OpenOut{5, 0, 0});
  daemon->serve();
  auto file = call.take();
  ASSERT_TRUE(file.has_value());
  release(*file);
  EXPECT_EQ(daemon->count(Opcode::release), 1u);
}

TEST_F(OpenTest, an_unmounted_tree_lives_until_its_last_file_is_released) {
  mount_tree();
  const uint64_t dir = add(root, "dir", directory);
  add(dir, "file", regular, 5);
  daemon->on_ok(Opcode::read, 'h', 'e', 'l', 'l', 'o');
  OpenFile* file = open("dir/file");
  Mount* mount = fs;
  unmount_tree();
  fs = mount;
  EXPECT_EQ(stat_error("dir"), as_int(Errno::enotconn));
  EXPECT_EQ(*read(file, 5), "hello");
  EXPECT_TRUE(connection->connected());
  {
    kernel::Connection::Entry entry(*connection);
    fs->release(*file);
  }
  fs = nullptr;
  daemon->serve();
  EXPECT_EQ(daemon->seen().back().opcode, Opcode::release);
  EXPECT_EQ(daemon->read().error(), Errno::enodev);
}

TEST_F(OpenTest, an_unmount_waits_for_calls_under_way) {
  mount_tree();
  add(root, "file", regular);
  auto call = start(fs->sys_statx(caller, {nullptr, "file"}, 0, basic_stats, leave));
  unmount_tree();
  EXPECT_TRUE(connection->connected());
  daemon->serve();
  EXPECT_TRUE(call.take());
  EXPECT_EQ(daemon->read().error(), Errno::enodev);
}

TEST_F(OpenTest, the_end_of_the_daemon_frees_files_and_calls) {
  mount_tree();
  add(root, "file", regular, 5);
  OpenFile* file = open("file");
  std::array<std::byte, 5> bytes;
  auto call = start(fs->sys_read(caller, *file, bytes, -1));
  daemon->next(Opcode::read);
  abort_connection();
  EXPECT_EQ(call.take().error(), Errno::econnaborted);
  EXPECT_EQ(read(file, 5).error(), Errno::enotconn);
  EXPECT_EQ(close(file), as_int(Errno::enotconn));
}

}  // namespace
}  // namespace fusewire::test
