#include "leader/namespace_directory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "abi/leader_protocol.h"
#include "leader/leader_client.h"
#include "leader/mount_table_file.h"

namespace fusewire::leader {
namespace {

class NamespaceDirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fusewire-ns-XXXXXX";
    runtime = ::mkdtemp(name);
    ::setenv("XDG_RUNTIME_DIR", runtime.c_str(), 1);
    ::unsetenv("FUSEWIRE_NAMESPACE");
  }
  void TearDown() override {
    std::filesystem::remove_all(runtime);
    ::unsetenv("XDG_RUNTIME_DIR");
    ::unsetenv("TMPDIR");
  }
  // Others may run namespaces at the same time.
  std::vector<std::string> live_here() {
    std::vector<std::string> live = live_namespaces();
    std::erase_if(live, [&](const std::string& path) { return !path.starts_with(runtime); });
    return live;
  }
  std::string runtime;
};

TEST_F(NamespaceDirectoryTest, it_is_private_and_leaves_nothing) {
  auto directory = NamespaceDirectory::create();
  ASSERT_TRUE(directory) << directory.error();
  struct stat status;
  ASSERT_EQ(::stat(directory->path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  EXPECT_EQ(live_here(), std::vector<std::string>{directory->path()});
  directory->remove();
  EXPECT_TRUE(std::filesystem::is_empty(runtime));
}

// Programs stand there when they stand in a mount: a call that none of the gate's rules knows shall make nothing there.
// A process that has become another user stands in it too, by a descriptor.
TEST_F(NamespaceDirectoryTest, anybody_may_stand_in_the_void_and_make_nothing) {
  auto directory = NamespaceDirectory::create();
  ASSERT_TRUE(directory) << directory.error();
  struct stat status;
  ASSERT_EQ(::stat((directory->path() + "/" + abi::void_name).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0555u);
  directory->remove();
  EXPECT_TRUE(std::filesystem::is_empty(runtime));
}

TEST_F(NamespaceDirectoryTest, what_a_dead_leader_left_is_removed_by_the_next_one) {
  const pid_t leader = ::fork();
  if (leader == 0) {
    auto directory = NamespaceDirectory::create();
    ::_exit(directory ? 0 : 1);
  }
  int status;
  ::waitpid(leader, &status, 0);
  ASSERT_EQ(status, 0);
  using std::filesystem::directory_iterator;
  const std::filesystem::path parent = runtime + "/fusewire";
  ASSERT_EQ(std::distance(directory_iterator(parent), directory_iterator()), 1);
  EXPECT_TRUE(live_here().empty());
  auto mine = NamespaceDirectory::create();
  ASSERT_TRUE(mine);
  EXPECT_EQ(std::distance(directory_iterator(parent), directory_iterator()), 1);
  auto other = NamespaceDirectory::create();
  ASSERT_TRUE(other);
  EXPECT_EQ(live_here().size(), 2u);
  mine->remove();
  other->remove();
}

TEST_F(NamespaceDirectoryTest, a_parent_that_others_may_enter_is_refused) {
  const std::string parent = runtime + "/fusewire";
  ::mkdir(parent.c_str(), 0755);
  ::chmod(parent.c_str(), 0755);
  auto directory = NamespaceDirectory::create();
  ASSERT_FALSE(directory);
  EXPECT_NE(directory.error().find("chmod 700"), std::string::npos) << directory.error();
}

TEST_F(NamespaceDirectoryTest, a_parent_of_another_user_is_refused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make one";
  const std::string parent = runtime + "/fusewire";
  ::mkdir(parent.c_str(), 0700);
  ASSERT_EQ(::chown(parent.c_str(), 65534, 65534), 0);
  auto directory = NamespaceDirectory::create();
  ASSERT_FALSE(directory);
  EXPECT_NE(directory.error().find("belongs to user 65534"), std::string::npos) << directory.error();
}

TEST_F(NamespaceDirectoryTest, a_link_as_parent_is_refused) {
  std::filesystem::create_symlink("/tmp", runtime + "/fusewire");
  EXPECT_FALSE(NamespaceDirectory::create());
}

TEST_F(NamespaceDirectoryTest, a_runtime_directory_that_is_not_there_is_not_used) {
  ::setenv("XDG_RUNTIME_DIR", (runtime + "/nowhere").c_str(), 1);
  ::unsetenv("TMPDIR");
  auto directory = NamespaceDirectory::create();
  ASSERT_TRUE(directory) << directory.error();
  EXPECT_TRUE(directory->path().starts_with("/tmp/fusewire-")) << directory->path();
  directory->remove();
}

TEST_F(NamespaceDirectoryTest, without_a_runtime_directory_it_is_made_where_temporary_files_are) {
  ::unsetenv("XDG_RUNTIME_DIR");
  ::setenv("TMPDIR", runtime.c_str(), 1);
  auto directory = NamespaceDirectory::create();
  ASSERT_TRUE(directory) << directory.error();
  EXPECT_TRUE(directory->path().starts_with(runtime + "/fusewire-")) << directory->path();
  // This user may have others elsewhere.
  const std::vector<std::string> live = live_namespaces();
  EXPECT_NE(std::find(live.begin(), live.end(), directory->path()), live.end());
  directory->remove();
}

TEST_F(NamespaceDirectoryTest, a_mount_table_has_all_its_space_from_the_start) {
  auto table = MountTableFile::create(runtime + "/mounts");
  ASSERT_TRUE(table) << table.error();
  struct stat status;
  ASSERT_EQ(::stat((runtime + "/mounts").c_str(), &status), 0);
  EXPECT_GE(status.st_blocks * 512, status.st_size);
}

TEST_F(NamespaceDirectoryTest, asking_a_dead_leader_is_a_sentence) {
  abi::LeaderRequest request{};
  auto reply = ask_leader(runtime, request);
  ASSERT_FALSE(reply);
  EXPECT_NE(reply.error().find("cannot reach the leader"), std::string::npos) << reply.error();
}

}  // namespace
}  // namespace fusewire::leader
