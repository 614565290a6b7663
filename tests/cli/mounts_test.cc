#include "cli/mounts.h"

#include <gtest/gtest.h>

#include <filesystem>

namespace fusewire::cli {
namespace {

leader::MountInfo mount(uint32_t connection, const char* path, abi::MountState state = abi::MountState::mounted) {
  leader::MountInfo info{};
  info.state = state;
  info.connection = connection;
  info.path = path;
  return info;
}

const Namespaces one{{"/run/a", 1, {mount(1, "/mnt"), mount(2, "/mnt/inner"), mount(3, "", abi::MountState::opened)}}};

TEST(Mounts, a_path_lies_on_the_longest_mount_point_above_it) {
  EXPECT_EQ(find_mount_of(one, "/mnt/inner/x")->mount.connection, 2u);
  EXPECT_EQ(find_mount_of(one, "/mnt/inner")->mount.connection, 2u);
  EXPECT_EQ(find_mount_of(one, "/mnt/innermost")->mount.connection, 1u);
  EXPECT_FALSE(find_mount_of(one, "/mntx"));
  EXPECT_FALSE(find_mount_of(one, "/"));
}

TEST(Mounts, a_mount_point_is_the_whole_path) {
  EXPECT_EQ(find_mount_point(one, "/mnt")->mount.connection, 1u);
  EXPECT_FALSE(find_mount_point(one, "/mnt/x"));
}

TEST(Mounts, the_topmost_of_stacked_mounts_is_meant) {
  const Namespaces stacked{{"/run/a", 1, {mount(1, "/mnt"), mount(2, "/mnt")}}};
  EXPECT_EQ(find_mount_point(stacked, "/mnt")->mount.connection, 2u);
}

TEST(Mounts, a_mount_whose_daemon_is_gone_is_still_found) {
  const Namespaces ended{{"/run/a", 1, {mount(1, "/mnt", abi::MountState::ended)}}};
  EXPECT_TRUE(find_mount_point(ended, "/mnt"));
}

TEST(Mounts, a_number_means_a_connection_even_before_it_is_mounted) {
  EXPECT_EQ(find_by_id_or_path(one, "3")->mount.connection, 3u);
  EXPECT_FALSE(find_by_id_or_path(one, "4"));
  EXPECT_FALSE(find_by_id_or_path(one, "0"));
}

TEST(Mounts, a_number_that_two_namespaces_have_is_refused) {
  const Namespaces two{{"/run/a", 1, {mount(1, "/mnt")}}, {"/run/b", 2, {mount(1, "/other")}}};
  const auto found = find_connection(two, 1);
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().find("more than one namespace"), std::string::npos);
}

TEST(Mounts, paths_are_absolute_and_plain) {
  const auto here = std::filesystem::canonical(".").string();
  EXPECT_EQ(canonical_path("."), here);
  EXPECT_EQ(canonical_path("/./tmp/../tmp/"), std::filesystem::canonical("/tmp").string());
  EXPECT_EQ(canonical_path("no-such-name/"), here + "/no-such-name");
}

}  // namespace
}  // namespace fusewire::cli
