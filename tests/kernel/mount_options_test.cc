// The rule book of mount(2)'s data (K002, K004).
#include "kernel/mount_options.h"

#include <gtest/gtest.h>

#include <string>

namespace fusewire::test {
namespace {

using kernel::Errno;
using kernel::parse_mount_data;

const std::string required = "fd=3,rootmode=40000,user_id=0,group_id=0";

bool refused(const std::string& data) {
  const auto parsed = parse_mount_data(data);
  return !parsed && parsed.error() == Errno::einval;
}

TEST(MountOptionsTest, the_four_mandatory_options_are_enough) {
  const auto parsed = parse_mount_data("fd=3,rootmode=100644,user_id=1000,group_id=100");
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->fd, 3u);
  EXPECT_EQ(parsed->options.rootmode, 0100644u);
  EXPECT_EQ(parsed->options.user_id, 1000u);
  EXPECT_EQ(parsed->options.group_id, 100u);
  EXPECT_FALSE(parsed->options.allow_other);
  EXPECT_FALSE(parsed->options.default_permissions);
  EXPECT_EQ(parsed->options.max_read, UINT32_MAX);
}

TEST(MountOptionsTest, each_of_the_four_is_mandatory) {
  EXPECT_TRUE(refused(""));
  EXPECT_TRUE(refused("rootmode=40000,user_id=0,group_id=0"));
  EXPECT_TRUE(refused("fd=3,user_id=0,group_id=0"));
  EXPECT_TRUE(refused("fd=3,rootmode=40000,group_id=0"));
  EXPECT_TRUE(refused("fd=3,rootmode=40000,user_id=0"));
}

TEST(MountOptionsTest, all_options_of_fuse_are_understood) {
  const std::string data =
      required + ",allow_other,default_permissions,max_read=131072,subtype=sshfs,source=host:dir,ro";
  const auto parsed = parse_mount_data(data);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_TRUE(parsed->options.allow_other);
  EXPECT_TRUE(parsed->options.default_permissions);
  EXPECT_TRUE(parsed->options.read_only);
  EXPECT_EQ(parsed->options.max_read, 131072u);
  EXPECT_EQ(parsed->subtype, "sshfs");
  EXPECT_EQ(parsed->source, "host:dir");
}

TEST(MountOptionsTest, unknown_options_are_einval) {
  EXPECT_TRUE(refused(required + ",nonsense"));
  EXPECT_TRUE(refused(required + ",nonsense=1"));
  EXPECT_TRUE(refused(required + ",auto_unmount"));
}

TEST(MountOptionsTest, blksize_is_for_block_devices_only) { EXPECT_TRUE(refused(required + ",blksize=4096")); }

TEST(MountOptionsTest, mandatory_locking_is_refused) { EXPECT_TRUE(refused(required + ",mand")); }

TEST(MountOptionsTest, flags_take_no_value_and_values_need_one) {
  EXPECT_TRUE(refused(required + ",allow_other=1"));
  EXPECT_TRUE(refused(required + ",max_read"));
  EXPECT_TRUE(refused(required + ",max_read="));
}

TEST(MountOptionsTest, values_must_be_numbers_of_32_bits) {
  for (const char* wrong : {"x", "-1", "1x", "4294967296", "99999999999999999999", " 1", "0x", "1 ", "08"})
    EXPECT_TRUE(refused(required + ",max_read=" + wrong)) << wrong;
}

TEST(MountOptionsTest, numbers_take_linux_s_prefixes) {
  EXPECT_EQ(parse_mount_data(required + ",max_read=0x1000")->options.max_read, 4096u);
  EXPECT_EQ(parse_mount_data(required + ",max_read=010000")->options.max_read, 4096u);
  EXPECT_EQ(parse_mount_data(required + ",max_read=0X10")->options.max_read, 16u);
  EXPECT_EQ(parse_mount_data(required + ",max_read=+5")->options.max_read, 5u);
  EXPECT_EQ(parse_mount_data(required + ",max_read=5\n")->options.max_read, 5u);
  EXPECT_EQ(parse_mount_data(required + ",max_read=0")->options.max_read, 0u);
}

TEST(MountOptionsTest, rootmode_is_octal_and_a_file_type) {
  EXPECT_TRUE(refused("fd=3,rootmode=0x4000,user_id=0,group_id=0"));
  EXPECT_TRUE(refused("fd=3,rootmode=755,user_id=0,group_id=0"));
  EXPECT_TRUE(refused("fd=3,rootmode=80000,user_id=0,group_id=0"));
}

TEST(MountOptionsTest, ids_must_not_be_the_invalid_one) {
  EXPECT_TRUE(refused("fd=3,rootmode=40000,user_id=4294967295,group_id=0"));
  EXPECT_TRUE(refused("fd=3,rootmode=40000,user_id=0,group_id=4294967295"));
}

TEST(MountOptionsTest, empty_options_are_skipped_and_the_last_of_two_counts) {
  const std::string data = ",," + required + ",,max_read=1,max_read=2,";
  const auto parsed = parse_mount_data(data);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->options.max_read, 2u);
}

TEST(MountOptionsTest, two_subtypes_or_sources_or_an_empty_one_are_refused) {
  EXPECT_TRUE(refused(required + ",subtype="));
  EXPECT_TRUE(refused(required + ",subtype=a,subtype=b"));
  EXPECT_TRUE(refused(required + ",source=a,source=b"));
}

TEST(MountOptionsTest, flags_common_to_all_file_systems_are_accepted) {
  EXPECT_FALSE(refused(required + ",rw,async,nomand,lazytime,dirsync,nolazytime"));
  EXPECT_FALSE(refused(required + ",sync=1")) << "Linux does not look at their values";
  EXPECT_TRUE(refused(required + ",nosuid")) << "a flag of the mount, not of the file system";
}

TEST(MountOptions, blksize_is_for_block_devices_alone) {
  const char* data = "fd=3,rootmode=40000,user_id=0,group_id=0,blksize=1024";
  EXPECT_FALSE(kernel::parse_mount_data(data));
  EXPECT_TRUE(kernel::parse_mount_data(data, true));
  EXPECT_FALSE(kernel::parse_mount_data("fd=3,rootmode=40000,user_id=0,group_id=0,blksize=1000", true));
}

TEST(MountOptions, of_a_remount_only_the_superblocks_flags_count) {
  EXPECT_EQ(kernel::parse_remount_data("", true), true);
  EXPECT_EQ(kernel::parse_remount_data("rw", true), false);
  EXPECT_EQ(kernel::parse_remount_data("bogus,fd=x,ro", false), true);
  EXPECT_FALSE(kernel::parse_remount_data("ro,mand", false));
}

}  // namespace
}  // namespace fusewire::test
