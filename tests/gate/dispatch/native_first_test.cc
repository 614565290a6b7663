// Which native results are the truth, with a mount table in memory and the real file system around it.
#include "gate/dispatch/native_first.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "abi/mount_table.h"
#include "abi/ring.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/path_engine.h"
#include "gate/dispatch/process.h"
#include "support/name_tree.h"

namespace fusewire::gate {
namespace {

class NativeFirst : public NameTree {
 protected:
  void SetUp() override {
    make_tree({"parent", "parent/covered", "other"});
    std::ofstream(at("other/file")) << "text";
    link(at("parent/covered"), "to-covered");
    link("parent/covered/inside", "into-covered");
    link("parent", "to-parent");
    link("other", "to-other");
    link("other/file", "to-file");
    cover("parent/covered");
    set_namespace_directory("/run/fusewire-test");
    enter_tree();
  }
  void TearDown() override {
    process().cwd.fd = -1;
    possible.virtual_cwd = false;
    NameTree::TearDown();
  }

  // As the leader writes it for a mount there.
  void cover(const std::string& name) {
    struct stat st {};
    ASSERT_EQ(::stat(at(name).c_str(), &st), 0);
    abi::MountEntry& entry = mount_at_path(at(name));
    entry.covered_device = st.st_dev, entry.covered_inode = st.st_ino;
    table_->covered.native_first = 1;
    table_->covered.inodes.add(abi::hash_of(uint64_t{st.st_ino}));
    table_->covered.names.add(abi::hash_of(last_component(name)));
  }

  static NativeLook look(const std::string& path, int dirfd = AT_FDCWD) { return {dirfd, path}; }
  long stat(const std::string& path, long flags = 0) {
    struct stat st;
    return stat_first(look(path), flags, st);
  }
  // The kind of what it gave, which is closed.
  long open(const std::string& path, uint64_t flags, uint64_t mode = 0) {
    const long fd = open_first(look(path), flags, mode);
    if (fd < 0) return fd;
    ::close(static_cast<int>(fd));
    return opened;
  }
  bool exists(const std::string& name) const { return ::access(at(name).c_str(), F_OK) == 0; }

  static constexpr long opened = 1;
};

TEST_F(NativeFirst, what_is_beside_a_mount_is_the_truth) {
  for (const std::string& path : {at("other/file"), at("to-file"), std::string("other/file"), std::string("parent"),
                                  at("to-parent/."), std::string("other/../other/file"), std::string("/")}) {
    EXPECT_EQ(stat(path), 0) << path;
  }
  EXPECT_EQ(open("other/file", O_RDONLY), opened);
  EXPECT_EQ(open("other", O_RDONLY | O_DIRECTORY), opened);
}

TEST_F(NativeFirst, a_path_with_the_name_of_a_mount_point_is_not_tried) {
  for (const char* path : {"parent/covered", "parent/covered/x", "covered", "other/covered"}) {
    EXPECT_FALSE(look(path).allowed) << path;
    EXPECT_EQ(stat(path), unsure) << path;
    EXPECT_EQ(open(path, O_RDONLY), unsure) << path;
  }
}

TEST_F(NativeFirst, a_symlink_to_or_through_a_mount_point_tells_nothing) {
  for (const char* path : {"to-covered", "to-covered/", "to-covered/inside", "into-covered"}) {
    EXPECT_EQ(stat(path), unsure) << path;
    EXPECT_EQ(open(path, O_RDONLY), unsure) << path;
    EXPECT_EQ(open(path, O_RDONLY | O_PATH), unsure) << path;
    EXPECT_EQ(access_first(look(path), F_OK, 0), unsure) << path;
    EXPECT_FALSE(is_native_path(look(path), true, false)) << path;
  }
  EXPECT_EQ(stat("to-covered", AT_SYMLINK_NOFOLLOW), 0);
}

TEST_F(NativeFirst, what_changes_something_is_made_only_where_no_symlink_is_on_the_way) {
  EXPECT_EQ(open("other/new", O_CREAT | O_WRONLY, 0600), opened);
  EXPECT_EQ(open("to-other/newer", O_CREAT | O_WRONLY, 0600), unsure);
  EXPECT_FALSE(exists("other/newer"));
  EXPECT_EQ(open("to-covered/newer", O_CREAT | O_WRONLY, 0600), unsure);
  EXPECT_FALSE(exists("parent/covered/newer"));
  EXPECT_EQ(open("to-file", O_WRONLY | O_TRUNC), unsure);
  EXPECT_EQ(std::filesystem::file_size(at("other/file")), 4u);
}

TEST_F(NativeFirst, an_error_is_true_when_no_symlink_leads_into_a_mount) {
  EXPECT_EQ(stat("other/none"), -ENOENT);
  EXPECT_EQ(stat("to-other/none"), -ENOENT);
  EXPECT_EQ(stat("other/file/x"), -ENOTDIR);
  EXPECT_EQ(open("other/none", O_RDONLY), -ENOENT);
  EXPECT_EQ(open("other/file", O_WRONLY | O_CREAT | O_EXCL, 0600), -EEXIST);
  EXPECT_EQ(access_first(look("other/none"), F_OK, 0), -ENOENT);
  EXPECT_EQ(access_first(look("other/file"), F_OK, 0), 0);
}

TEST_F(NativeFirst, an_open_by_a_symlink_is_passed_on) {
  EXPECT_EQ(open("to-file", O_RDONLY), pass_on);
  EXPECT_EQ(open("to-file", O_RDONLY | O_NOFOLLOW), pass_on);
}

TEST_F(NativeFirst, a_link_is_read_unless_it_may_be_one_of_proc) {
  char text[256];
  const auto read = [&](const std::string& path) { return readlink_first(look(path), text, sizeof text); };
  ASSERT_EQ(read(at("to-file")), 10);
  EXPECT_EQ(std::string_view(text, 10), "other/file");
  EXPECT_EQ(read("other/file"), -EINVAL);
  EXPECT_EQ(read("other/none"), -ENOENT);
  EXPECT_EQ(read("/proc/self/exe"), unsure);
  EXPECT_EQ(read("/dev/fd/0"), unsure);
  ASSERT_EQ(::chdir("/proc/self"), 0);
  EXPECT_EQ(read("exe"), unsure);
  EXPECT_FALSE(is_native_path(look("exe"), false, false));
}

TEST_F(NativeFirst, own_attributes_of_a_link_into_a_mount_are_the_links) {
  const auto get = [&](const std::string& path) {
    CallFrame f{SYS_lgetxattr, {reinterpret_cast<long>(path.c_str()), reinterpret_cast<long>("user.none"), 0, 0, 0, 0}};
    return xattr_first(look(path), f);
  };
  EXPECT_EQ(get("to-covered"), raw_syscall(SYS_lgetxattr, reinterpret_cast<long>(at("to-covered").c_str()),
                                           reinterpret_cast<long>("user.none"), 0, 0));
  EXPECT_EQ(get("to-covered/"), unsure);
  EXPECT_EQ(get("to-covered/."), unsure);
  EXPECT_EQ(get("to-covered/inside"), unsure);
  EXPECT_EQ(get("other/none"), -ENOENT);
}

TEST_F(NativeFirst, the_gates_own_things_tell_nothing) {
  struct stat st;
  const int shadow = ::memfd_create("shadow", MFD_CLOEXEC);
  ASSERT_EQ(::fchmod(shadow, abi::shadow_mode), 0);
  EXPECT_EQ(stat("/proc/self/fd/" + std::to_string(shadow)), unsure);
  EXPECT_EQ(open("/dev/fd/" + std::to_string(shadow), O_RDONLY), unsure);
  ::close(shadow);
  ASSERT_EQ(::stat(at("other/file").c_str(), &st), 0);
  table_->gate_device = st.st_dev, table_->gate_inode = st.st_ino;
  EXPECT_EQ(stat("other/file"), unsure);
  // The directory that stands for a working directory in a mount is removed already.
  ASSERT_EQ(::mkdir(at("gone").c_str(), 0755), 0);
  ASSERT_EQ(::chdir(at("gone").c_str()), 0);
  ASSERT_EQ(::rmdir(at("gone").c_str()), 0);
  EXPECT_EQ(stat("."), unsure);
}

TEST_F(NativeFirst, files_of_proc_with_contents_of_the_gates_are_not_opened_by_a_symlink) {
  link("/proc/self/mounts", "to-mounts");
  EXPECT_EQ(open("to-mounts", O_RDONLY), unsure);
  EXPECT_EQ(open("/proc/self/mounts", O_RDONLY), unsure);
  EXPECT_EQ(open("/proc/" + std::to_string(::getpid()) + "/status", O_RDONLY), opened);
}

TEST_F(NativeFirst, a_relative_path_of_a_process_in_a_mount_is_not_tried) {
  process().cwd.fd = 0;
  possible.virtual_cwd = true;
  EXPECT_EQ(stat("other/file"), unsure);
  EXPECT_EQ(stat(at("other/file")), 0);
  // Another thread may have left its directory by now.
  process().cwd.fd = -1;
  EXPECT_EQ(stat("other/none"), unsure);
}

TEST_F(NativeFirst, a_virtual_directory_is_not_taken_for_none) {
  const int file = ::open(at("other/file").c_str(), O_RDONLY);
  struct stat st;
  EXPECT_EQ(stat_first(look("x", file), 0, st), unsure);
  EXPECT_EQ(open_first(look("x", file), O_RDONLY, 0), unsure);
  ::close(file);
}

TEST_F(NativeFirst, while_the_table_changes_nothing_is_the_truth) {
  table_->generation = 1;
  EXPECT_EQ(stat("other/file"), unsure);
}

TEST_F(NativeFirst, what_only_looks_like_a_mount_point_is_tried) {
  for (auto& word : table_->covered.names.word) word = ~uint64_t{0};
  for (auto& word : table_->covered.inodes.word) word = ~uint64_t{0};
  EXPECT_EQ(stat("other/file"), 0);
  EXPECT_EQ(stat("to-covered"), unsure);
  EXPECT_EQ(stat("parent/covered"), unsure);
}

TEST_F(NativeFirst, where_something_lies_at_a_mount_point_nothing_is_tried) {
  table_->covered.native_first = 0;
  EXPECT_EQ(stat("other/file"), unsure);
  EXPECT_EQ(open("other/file", O_RDONLY), unsure);
}

TEST_F(NativeFirst, a_file_system_that_lies_at_mount_points_alone_is_known_by_its_device) {
  struct stat st;
  ASSERT_EQ(::stat(at("other").c_str(), &st), 0);
  table_->covered.devices.add(abi::hash_of(uint64_t{st.st_dev}));
  EXPECT_EQ(stat("to-file"), 0);
  table_->entry[0].cover = abi::Cover::own_device;
  EXPECT_EQ(stat("to-file"), unsure);
}

}  // namespace
}  // namespace fusewire::gate
