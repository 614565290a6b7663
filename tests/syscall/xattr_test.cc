// The rule book of extended attributes (K114, K121).
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

class XattrTest : public SyscallTest {
 protected:
  void serve_file() {
    mount_tree();
    add(root, "file", regular);
  }
  kernel::Result<std::string> list(size_t room) {
    std::string names_list(room, '\0');
    auto got = run(fs->sys_listxattr(caller, {nullptr, "file"}, names_list, 0, leave));
    if (!got) return kernel::error(got.error());
    if (room) names_list.resize(*got);
    return names_list;
  }
  int set(std::string_view name, size_t bytes = 1) {
    const std::vector<std::byte> value(bytes);
    return error_of(fs->sys_setxattr(caller, {nullptr, "file"}, name, value, 0, 0, leave));
  }
};

TEST_F(XattrTest, a_value_comes_whole_and_a_size_without_room) {
  serve_file();
  daemon->on(Opcode::getxattr, [](const DaemonRequest& request) {
    if (request.as<wire::GetxattrIn>().size == 0) return DaemonReply::ok(wire::GetxattrOut{5, 0});
    return DaemonReply::ok(std::string_view("value"));
  });
  std::array<std::byte, 100> room;
  EXPECT_EQ(*run(fs->sys_getxattr(caller, {nullptr, "file"}, "user.a", {}, 0, leave)), 5u);
  EXPECT_EQ(*run(fs->sys_getxattr(caller, {nullptr, "file"}, "user.a", room, 0, leave)), 5u);
  EXPECT_EQ(daemon->seen().back().name(sizeof(wire::GetxattrIn)), "user.a");
}

TEST_F(XattrTest, each_operation_learns_enosys_by_itself) {
  serve_file();
  daemon->on_error(Opcode::setxattr, Errno::enosys);
  daemon->on_error(Opcode::listxattr, Errno::enosys);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(set("user.a"), as_int(Errno::eopnotsupp));
    EXPECT_EQ(list(10).error(), Errno::eopnotsupp);
  }
  EXPECT_EQ(daemon->count(Opcode::setxattr), 1u);
  EXPECT_EQ(daemon->count(Opcode::listxattr), 1u);
}

TEST_F(XattrTest, a_list_that_is_no_list_is_eio) {
  serve_file();
  for (const std::string_view bad : {std::string_view("user.a"), std::string_view("\0user.a\0", 8)}) {
    daemon->on_ok(Opcode::listxattr, bad);
    EXPECT_EQ(list(100).error(), Errno::eio);
  }
  daemon->on_ok(Opcode::listxattr, std::string_view("a\0b\0", 4));
  EXPECT_EQ(*list(100), std::string("a\0b\0", 4));
}

TEST_F(XattrTest, names_and_values_have_limits) {
  serve_file();
  daemon->on_ok(Opcode::setxattr);
  EXPECT_EQ(set(std::string(255, 'n')), 0);
  EXPECT_EQ(set(std::string(256, 'n')), as_int(Errno::erange));
  EXPECT_EQ(set("user.a", 65536), 0);
  EXPECT_EQ(set("user.a", 65537), as_int(Errno::e2big));
}

TEST_F(XattrTest, setting_makes_the_change_time_doubtful) {
  serve_file();
  daemon->on_ok(Opcode::setxattr);
  stat("file");
  EXPECT_EQ(set("user.a"), 0);
  stat("file");
  EXPECT_EQ(daemon->count(Opcode::getattr), 1u);
}

TEST_F(XattrTest, a_read_only_mount_refuses_changes) {
  options.read_only = true;
  serve_file();
  EXPECT_EQ(set("user.a"), as_int(Errno::erofs));
  EXPECT_EQ(error_of(fs->sys_removexattr(caller, {nullptr, "file"}, "user.a", 0, leave)), as_int(Errno::erofs));
}

}  // namespace
}  // namespace fusewire::test
