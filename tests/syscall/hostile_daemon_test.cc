// A daemon that lies gets EIO for who asked, and harms nothing else (D10, K063, K075, K154, K191).
#include "support/syscall_fixture.h"

#include <random>

namespace fusewire::test {
namespace {

class HostileDaemonTest : public SyscallTest {};

TEST_F(HostileDaemonTest, entries_that_cannot_be_are_eio_and_not_forgotten) {
  mount_tree();
  const uint64_t node = add(root, "file", regular);
  auto bad_mode = entry_of(node), bad_size = entry_of(node), the_root = entry_of(node);
  bad_mode.attr.mode = 0644;
  bad_size.attr.size = UINT64_MAX;
  the_root.nodeid = root;
  the_root.attr.mode = directory;
  for (const auto& entry : {bad_mode, bad_size, the_root}) {
    daemon->on_ok(Opcode::lookup, entry);
    EXPECT_EQ(stat_error("file"), as_int(Errno::eio));
  }
  daemon->serve();
  EXPECT_TRUE(daemon->forgotten().empty());
}

TEST_F(HostileDaemonTest, a_created_thing_of_another_kind_is_eio) {
  mount_tree();
  const uint64_t node = add(0, "", regular);
  daemon->on_ok(Opcode::mkdir, entry_of(node));
  EXPECT_EQ(error_of(fs->sys_mkdirat(caller, {nullptr, "dir"}, 0755, leave)), as_int(Errno::eio));
  auto nothing = entry_of(node);
  nothing.nodeid = 0;
  daemon->on_ok(Opcode::create, nothing, wire::OpenOut{});
  EXPECT_EQ(open_error("new", o_rdwr | o_creat), as_int(Errno::eio));
}

TEST_F(HostileDaemonTest, a_create_that_gives_the_node_of_a_directory_in_use_is_eio) {
  mount_tree();
  const uint64_t dir = add(root, "dir", directory);
  stat("dir");
  daemon->on_ok(Opcode::mkdir, entry_of(dir));
  OpenFile* cwd = open("dir", o_path);
  EXPECT_EQ(error_of(fs->sys_mkdirat(caller, {cwd, "below"}, 0755, leave)), as_int(Errno::eloop));
  release(cwd);
}

TEST_F(HostileDaemonTest, a_write_reply_of_more_than_was_sent_is_eio) {
  mount_tree();
  add(root, "file", regular);
  OpenFile* file = open("file", o_wronly);
  daemon->on_ok(Opcode::write, wire::WriteOut{100, 0});
  EXPECT_EQ(write(file, "x").error(), Errno::eio);
  daemon->on_ok(Opcode::write, wire::WriteOut{0, 0});
  EXPECT_EQ(write(file, "x").error(), Errno::eio);
  close(file);
}

TEST_F(HostileDaemonTest, a_type_that_changes_makes_the_inode_bad) {
  mount_tree();
  const uint64_t node = add(root, "file", regular);
  OpenFile* file = open("file");
  nodes[node].mode = directory;
  EXPECT_EQ(stat_error("file", 0x2000), as_int(Errno::eio));
  EXPECT_EQ(error_of(fs->sys_fstat(caller, *file, basic_stats)), as_int(Errno::eio));
  nodes[node].mode = regular;
  EXPECT_EQ(error_of(fs->sys_fstat(caller, *file, basic_stats)), as_int(Errno::eio));
  close(file);
}

TEST_F(HostileDaemonTest, an_empty_link_is_enoent_and_one_with_a_nul_is_cut) {
  mount_tree();
  add_link(root, "empty", "");
  add_link(root, "cut", std::string("file\0/../../etc", 14));
  add(root, "file", regular);
  EXPECT_EQ(stat_error("empty"), as_int(Errno::enoent));
  EXPECT_EQ(stat_error("cut"), 0);
}

TEST_F(HostileDaemonTest, the_root_that_is_no_directory_is_eio) {
  mount_tree();
  nodes[root].mode = regular;
  EXPECT_EQ(stat_error(""), as_int(Errno::eio));
}

TEST_F(HostileDaemonTest, getlk_with_an_impossible_range_is_eio) {
  init_flags |= wire::init_flag::posix_locks;
  mount_tree();
  add(root, "file", regular);
  OpenFile* file = open("file");
  for (const wire::FileLock lie :
       {wire::FileLock{5, 4, 0, 1}, wire::FileLock{0, UINT64_MAX, 1, 1}, wire::FileLock{0, 1, 77, 1}}) {
    daemon->on_ok(Opcode::getlk, wire::LkOut{lie});
    EXPECT_EQ(error_of(fs->sys_getlk(caller, *file, {0, 0, 0, 0})), as_int(Errno::eio));
  }
  close(file);
}

// Whatever bytes come back, every call ends and every slab is empty in the end.
TEST_F(HostileDaemonTest, random_replies_of_the_right_length_leave_nothing_behind) {
  init_flags |= wire::init_flag::do_readdirplus;
  mount_tree();
  std::mt19937 random(1);
  auto noise = [&random](const DaemonRequest& request) {
    wire::EntryOut entry{};
    entry.nodeid = random() % 6;
    entry.generation = random() % 2;
    entry.entry_valid = random() % 2;
    entry.attr_valid = random() % 2;
    entry.attr.mode = (random() % 2 ? directory : regular) ^ (random() % 20 == 0 ? 0170000 : 0);
    entry.attr.size = random() % 5 ? 10 : random();
    entry.attr.nlink = 1;
    const wire::AttrOut attr{entry.attr_valid, 0, 0, entry.attr};
    const wire::OpenOut opened{random(), 0, 0};
    if (random() % 10 == 0) return DaemonReply::failed(static_cast<Errno>(random() % 40 + 1));
    switch (request.opcode) {
      case Opcode::lookup:
      case Opcode::mkdir:
      case Opcode::mknod:
      case Opcode::symlink:
      case Opcode::link:
        return DaemonReply::ok(entry);
      case Opcode::create:
        return DaemonReply::ok(entry, opened);
      case Opcode::getattr:
      case Opcode::setattr:
        return DaemonReply::ok(attr);
      case Opcode::open:
      case Opcode::opendir:
        return DaemonReply::ok(opened);
      case Opcode::write:
        return DaemonReply::ok(wire::WriteOut{static_cast<uint32_t>(random() % 10), 0});
      case Opcode::readdirplus: {
        const wire::Dirent dirent{1, random(), static_cast<uint32_t>(random() % 9), 8};
        return DaemonReply::ok(entry, dirent, std::string_view("abcdefgh"));
      }
      default:
        return DaemonReply::ok();
    }
  };
  for (const Opcode opcode :
       {Opcode::lookup, Opcode::mkdir, Opcode::mknod, Opcode::symlink, Opcode::link, Opcode::create, Opcode::getattr,
        Opcode::setattr, Opcode::open, Opcode::opendir, Opcode::write, Opcode::readdirplus, Opcode::unlink,
        Opcode::rmdir, Opcode::rename, Opcode::read, Opcode::rename2, Opcode::tmpfile})
    daemon->on(opcode, noise);
  const std::vector<std::string> paths = {"a", "b", "a/b", "b/a/c", "a/../b", "c/"};
  std::vector<std::byte> buffer(4096);
  for (int i = 0; i < 3000; ++i) {
    const std::string one = paths[random() % paths.size()], two = paths[random() % paths.size()];
    switch (random() % 7) {
      case 0:
        stat_error(one);
        break;
      case 1:
        error_of(fs->sys_mkdirat(caller, {nullptr, one}, 0755, leave));
        break;
      case 2:
        error_of(fs->sys_unlinkat(caller, {nullptr, one}, random() % 2 ? 0x200 : 0, leave));
        break;
      case 3:
        error_of(fs->sys_renameat2(caller, {nullptr, one}, {nullptr, two}, random() % 3, leave));
        break;
      case 4:
        error_of(fs->sys_linkat(caller, {nullptr, one}, {nullptr, two}, 0, leave));
        break;
      case 5:
        error_of(fs->sys_symlinkat(caller, two, {nullptr, one}, leave));
        break;
      default: {
        auto file = run(fs->sys_openat(caller, {nullptr, one}, random() % 2 ? o_creat | o_rdwr : 0, 0644, leave));
        if (!file) break;
        error_of(fs->sys_getdents64(caller, **file, buffer));
        error_of(fs->sys_write(caller, **file, buffer, -1));
        error_of(fs->sys_read(caller, **file, buffer, 0));
        close(*file);
      }
    }
    if (random() % 10 == 0) inval_entry(random() % 6, random() % 2 ? "a" : "b");
    if (random() % 50 == 0) notify(wire::NotifyCode::inc_epoch, {});
  }
}

}  // namespace
}  // namespace fusewire::test
