// The rule book of permissions (K110-K117).
#include "abi/mount_rules.h"
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

class PermissionsTest : public SyscallTest {
 protected:
  void SetUp() override {
    SyscallTest::SetUp();
    user = caller;
    user.uid = user.ruid = user.euid = user.suid = 1000;
    user.gid = user.rgid = user.egid = user.sgid = 1000;
    user.capabilities = user.permitted = 0;
  }
  void serve_user() {
    options.allow_other = true;
    options.default_permissions = true;
    mount_tree();
  }
  void chmod_node(uint64_t node, uint32_t permission, uint32_t uid, uint32_t gid) {
    nodes[node].mode = (nodes[node].mode & 0170000) | permission;
    nodes[node].uid = uid;
    nodes[node].gid = gid;
  }
  int user_opens(std::string_view path, uint32_t flags) {
    auto file = run(fs->sys_openat(user, {nullptr, path}, flags, 0644, leave));
    if (!file) return as_int(file.error());
    release(*file);
    return 0;
  }
  int user_removes(std::string_view path) { return error_of(fs->sys_unlinkat(user, {nullptr, path}, 0, leave)); }
  kernel::Caller user;
};

TEST_F(PermissionsTest, without_allow_other_all_six_ids_must_be_the_owners) {
  options.user_id = options.group_id = 1000;
  mount_tree();
  add(root, "file", regular);
  EXPECT_EQ(error_of(fs->sys_statx(user, {nullptr, "file"}, 0, basic_stats, leave)), 0);
  for (uint32_t kernel::Caller::*id : {&kernel::Caller::ruid, &kernel::Caller::euid, &kernel::Caller::suid,
                                       &kernel::Caller::rgid, &kernel::Caller::egid, &kernel::Caller::sgid}) {
    kernel::Caller foreign = user;
    foreign.*id = 0;
    EXPECT_EQ(error_of(fs->sys_statx(foreign, {nullptr, "file"}, 0, basic_stats, leave)), as_int(Errno::eacces));
  }
  EXPECT_EQ(stat_error("file"), as_int(Errno::eacces));
}

TEST_F(PermissionsTest, the_file_system_ids_are_the_daemons_and_do_not_matter_for_entry) {
  options.user_id = options.group_id = 1000;
  mount_tree();
  add(root, "file", regular);
  user.uid = user.gid = 77;
  EXPECT_EQ(error_of(fs->sys_statx(user, {nullptr, "file"}, 0, basic_stats, leave)), 0);
  EXPECT_EQ(daemon->seen().back().header.uid, 77u);
  EXPECT_EQ(daemon->seen().back().header.gid, 77u);
}

// capabilities(7): each gives its own right and no other.
TEST_F(PermissionsTest, dac_read_search_reads_and_dac_override_writes) {
  using kernel::Capability;
  serve_user();
  const uint64_t file = add(root, "file", regular);
  chmod_node(file, 0, 1, 1);
  EXPECT_EQ(user_opens("file", o_rdonly), as_int(Errno::eacces));
  user.capabilities = uint64_t{1} << static_cast<uint32_t>(Capability::dac_read_search);
  EXPECT_EQ(user_opens("file", o_rdonly), 0);
  EXPECT_EQ(user_opens("file", o_wronly), as_int(Errno::eacces));
  EXPECT_EQ(user_opens("file", o_rdwr), as_int(Errno::eacces));
  user.capabilities = uint64_t{1} << static_cast<uint32_t>(Capability::dac_override);
  EXPECT_EQ(user_opens("file", o_rdwr), 0);
  EXPECT_EQ(error_of(fs->sys_fchmodat(user, {nullptr, "file"}, 0600, 0, leave)), as_int(Errno::eperm));
  EXPECT_EQ(error_of(fs->sys_fchownat(user, {nullptr, "file"}, 5, 5, 0, leave)), as_int(Errno::eperm));
}

TEST_F(PermissionsTest, access_has_capabilities_for_the_real_root_alone) {
  serve_user();
  const uint64_t file = add(root, "file", regular);
  chmod_node(file, 0, 1, 1);
  const auto access = [&](uint32_t flags) {
    return error_of(fs->sys_faccessat(user, {nullptr, "file"}, 4, flags, leave));
  };
  user.capabilities = user.permitted = kernel::all_capabilities;
  EXPECT_EQ(access(0), as_int(Errno::eacces));
  EXPECT_EQ(access(0x200), 0);
  user.ruid = 0;
  user.capabilities = 0;
  EXPECT_EQ(access(0), 0);
  EXPECT_EQ(access(0x200), as_int(Errno::eacces));
}

TEST_F(PermissionsTest, a_foreigner_learns_the_device_when_he_asks_for_nothing) {
  mount_tree();
  OpenFile* top = open("", o_path);
  auto shown = run(fs->sys_statx(user, {top, ""}, 0x1000, 0, leave));
  ASSERT_TRUE(shown.has_value());
  EXPECT_EQ(shown->dev, 77u);
  EXPECT_EQ(shown->mask, 0u);
  EXPECT_EQ(error_of(fs->sys_statx(user, {top, ""}, 0x1000, basic_stats, leave)), as_int(Errno::eacces));
  release(top);
}

TEST_F(PermissionsTest, mode_bits_count_for_owner_group_and_others) {
  serve_user();
  const uint64_t node = add(root, "file", regular);
  attr_valid = 0;
  chmod_node(node, 0400, 1000, 0);
  EXPECT_EQ(user_opens("file", o_rdonly), 0);
  EXPECT_EQ(user_opens("file", o_wronly), as_int(Errno::eacces));
  chmod_node(node, 0040, 0, 1000);
  EXPECT_EQ(user_opens("file", o_rdonly), 0);
  chmod_node(node, 0704, 0, 1000);
  EXPECT_EQ(user_opens("file", o_rdonly), as_int(Errno::eacces));
  chmod_node(node, 0004, 0, 0);
  EXPECT_EQ(user_opens("file", o_rdonly), 0);
  const uint32_t groups[] = {5, 6};
  user.groups = groups;
  chmod_node(node, 0060, 0, 6);
  EXPECT_EQ(user_opens("file", o_rdwr), 0);
}

TEST_F(PermissionsTest, a_denial_is_checked_once_more_with_fresh_attributes) {
  serve_user();
  const uint64_t node = add(root, "file", regular);
  chmod_node(node, 0600, 0, 0);
  EXPECT_EQ(user_opens("file", o_rdonly), as_int(Errno::eacces));
  chmod_node(node, 0644, 0, 0);
  EXPECT_EQ(user_opens("file", o_rdonly), 0);
}

TEST_F(PermissionsTest, a_directory_without_x_is_not_walked_through) {
  serve_user();
  const uint64_t dir = add(root, "dir", directory);
  add(dir, "file", regular);
  chmod_node(dir, 0644, 1000, 0);
  EXPECT_EQ(user_opens("dir/file", o_rdonly), as_int(Errno::eacces));
  EXPECT_EQ(user_opens("dir", o_rdonly), 0);
}

TEST_F(PermissionsTest, names_in_a_sticky_directory_belong_to_their_owners) {
  serve_user();
  const uint64_t tmp = add(root, "tmp", directory);
  const uint64_t mine = add(tmp, "mine", regular), theirs = add(tmp, "theirs", regular);
  chmod_node(tmp, 01777, 0, 0);
  chmod_node(mine, 0644, 1000, 1000);
  chmod_node(theirs, 0666, 0, 0);
  daemon->on_ok(Opcode::unlink);
  EXPECT_EQ(user_removes("tmp/theirs"), as_int(Errno::eperm));
  EXPECT_EQ(user_removes("tmp/mine"), 0);
}

TEST_F(PermissionsTest, only_owners_chmod_and_only_root_gives_away) {
  serve_user();
  const uint64_t mine = add(root, "mine", regular), theirs = add(root, "theirs", regular);
  chmod_node(mine, 0644, 1000, 1000);
  daemon->on(Opcode::setattr, [this](const DaemonRequest& r) { return DaemonReply::ok(attr_of(r.header.nodeid)); });
  auto chmod = [this](std::string_view p) { return error_of(fs->sys_fchmodat(user, {nullptr, p}, 0600, 0, leave)); };
  auto chown = [this](std::string_view p, uint32_t uid, uint32_t gid) {
    return error_of(fs->sys_fchownat(user, {nullptr, p}, uid, gid, 0, leave));
  };
  EXPECT_EQ(chmod("mine"), 0);
  EXPECT_EQ(chmod("theirs"), as_int(Errno::eperm));
  EXPECT_EQ(chown("mine", 0, UINT32_MAX), as_int(Errno::eperm));
  EXPECT_EQ(chown("mine", UINT32_MAX, 55), as_int(Errno::eperm));
  EXPECT_EQ(chown("mine", UINT32_MAX, 1000), 0);
  EXPECT_EQ(nodes[theirs].uid, 0u);
}

TEST_F(PermissionsTest, a_member_of_no_such_group_loses_the_set_group_bit) {
  serve_user();
  const uint64_t mine = add(root, "mine", regular);
  chmod_node(mine, 0755, 1000, 55);
  daemon->on(Opcode::setattr, [this](const DaemonRequest& r) { return DaemonReply::ok(attr_of(r.header.nodeid)); });
  EXPECT_EQ(error_of(fs->sys_fchmodat(user, {nullptr, "mine"}, 02755, 0, leave)), 0);
  EXPECT_EQ(daemon->seen().back().as<wire::SetattrIn>().mode, 0100755u);
}

TEST_F(PermissionsTest, a_write_takes_set_id_bits_off) {
  serve_user();
  const uint64_t node = add(root, "suid", regular, 3);
  chmod_node(node, 06777, 0, 0);
  daemon->on_ok(Opcode::write, wire::WriteOut{1, 0});
  daemon->on(Opcode::setattr, [this](const DaemonRequest& r) { return DaemonReply::ok(attr_of(r.header.nodeid)); });
  auto file = run(fs->sys_openat(user, {nullptr, "suid"}, o_wronly, 0, leave));
  ASSERT_TRUE(file.has_value());
  daemon->clear_seen();
  const std::byte byte{1};
  EXPECT_EQ(*run(fs->sys_write(user, **file, std::span(&byte, 1), 0)), 1u);
  std::vector<Opcode> opcodes;
  for (const auto& request : daemon->seen()) opcodes.push_back(request.opcode);
  EXPECT_EQ(opcodes, (std::vector<Opcode>{Opcode::getxattr, Opcode::getattr, Opcode::setattr, Opcode::write}));
  EXPECT_EQ(daemon->seen()[2].as<wire::SetattrIn>().mode, 0100777u);
  release(*file);
}

TEST_F(PermissionsTest, access_asks_with_the_real_ids) {
  options.allow_other = true;
  mount_tree();
  add(root, "file", regular);
  daemon->on_ok(Opcode::access);
  kernel::Caller setuid = caller;
  setuid.ruid = setuid.rgid = 1000;
  EXPECT_EQ(error_of(fs->sys_faccessat(setuid, {nullptr, "file"}, 4, 0, leave)), 0);
  EXPECT_EQ(daemon->seen().back().header.uid, 1000u);
  EXPECT_EQ(error_of(fs->sys_faccessat(setuid, {nullptr, "file"}, 4, 0x200, leave)), 0);
  EXPECT_EQ(daemon->seen().back().header.uid, 0u);
}

TEST_F(PermissionsTest, a_noexec_mount_executes_no_file_and_lets_its_directories_be_searched) {
  options.default_permissions = true;
  mount_tree();
  ASSERT_TRUE(fs->add_mount(1, nullptr, fusewire::abi::mount_flag::noexec));
  add(root, "program", 0100755);
  add(root, "directory", 0040755);
  constexpr uint32_t x_ok = 1;
  EXPECT_EQ(error_of(fs->sys_open_exec(caller, {nullptr, "program"}, leave)), as_int(Errno::eacces));
  EXPECT_EQ(error_of(fs->sys_faccessat(caller, {nullptr, "program"}, x_ok, 0, leave)), as_int(Errno::eacces));
  EXPECT_EQ(error_of(fs->sys_faccessat(caller, {nullptr, "program"}, 0, 0, leave)), 0);
  EXPECT_EQ(error_of(fs->sys_faccessat(caller, {nullptr, "directory"}, x_ok, 0, leave)), 0);
  fs->set_mount_flags(1, 0);
  EXPECT_EQ(error_of(fs->sys_faccessat(caller, {nullptr, "program"}, x_ok, 0, leave)), 0);
}

TEST_F(PermissionsTest, a_file_system_is_read_only_through_one_of_its_mounts) {
  mount_tree();
  add(root, "file", regular);
  ASSERT_TRUE(fs->add_mount(1, nullptr, 0));
  ASSERT_TRUE(fs->add_mount(2, nullptr, fusewire::abi::mount_flag::read_only));
  daemon->on_ok(Opcode::access);
  const int erofs = as_int(Errno::erofs);
  const syscall::Place file{.path = "file", .mount = 2}, name{.path = "name", .mount = 2};
  EXPECT_EQ(error_of(fs->sys_openat(caller, file, o_wronly, 0, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_openat(caller, file, o_trunc, 0, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_openat(caller, name, o_wronly | o_creat, 0644, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_mkdirat(caller, name, 0755, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_symlinkat(caller, "text", name, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_linkat(caller, file, name, 0, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_renameat2(caller, file, name, 0, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_unlinkat(caller, file, 0, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_truncate(caller, file, 0, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_fchmodat(caller, file, 0600, 0, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_setxattr(caller, file, "user.x", {}, 0, 0, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_faccessat(caller, file, 2, 0, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_faccessat(caller, file, 4, 0, leave)), 0);
  OpenFile* reading = *run(fs->sys_openat(caller, file, o_rdonly, 0, leave));
  EXPECT_EQ(error_of(fs->sys_fchmod(caller, *reading, 0600)), erofs);
  release(reading);
  OpenFile* writing = *run(fs->sys_openat(caller, {.path = "file", .mount = 1}, o_wronly, 0, leave));
  release(writing);
}

TEST_F(PermissionsTest, a_read_only_mount_refuses_every_change) {
  options.read_only = true;
  mount_tree();
  add(root, "file", regular);
  const int erofs = as_int(Errno::erofs);
  EXPECT_EQ(open_error("file", o_wronly), erofs);
  EXPECT_EQ(open_error("new", o_wronly | o_creat), erofs);
  EXPECT_EQ(error_of(fs->sys_mkdirat(caller, {nullptr, "new"}, 0755, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_unlinkat(caller, {nullptr, "file"}, 0, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_fchmodat(caller, {nullptr, "file"}, 0600, 0, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_truncate(caller, {nullptr, "file"}, 0, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_renameat2(caller, {nullptr, "file"}, {nullptr, "x"}, 0, leave)), erofs);
  EXPECT_EQ(error_of(fs->sys_faccessat(caller, {nullptr, "file"}, 2, 0, leave)), erofs);
  EXPECT_EQ(open_error("file", o_rdonly), 0);
}

}  // namespace
}  // namespace fusewire::test
