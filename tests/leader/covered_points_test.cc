// What lies at mount points, by the real file system.
#include "leader/covered_points.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "support/temporary_directory.h"

namespace fusewire::leader {
namespace {

using testing::ElementsAre;

class CoveredPointsTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::mkdir(at("empty").c_str(), 0700), 0); }

  std::string at(const std::string& name) const { return root_.at(name); }
  abi::Cover cover(const std::string& name) { return points_.cover(1, at(name), 0, 0).cover; }
  bool has_changes() const {
    pollfd ready{points_.changes(), POLLIN, 0};
    return ::poll(&ready, 1, 0) == 1;
  }

  const TemporaryDirectory root_;
  CoveredPoints points_;
};

TEST_F(CoveredPointsTest, an_empty_directory_is_bare_and_known_by_what_it_is) {
  const CoveredObject object = points_.cover(1, at("empty"), 0, 0);
  struct stat st;
  ASSERT_EQ(::stat(at("empty").c_str(), &st), 0);
  EXPECT_EQ(object.cover, abi::Cover::bare);
  EXPECT_EQ(object.device, st.st_dev);
  EXPECT_EQ(object.inode, st.st_ino);
}

TEST_F(CoveredPointsTest, nothing_is_bare) { EXPECT_EQ(cover("none"), abi::Cover::bare); }

TEST_F(CoveredPointsTest, a_file_and_a_directory_with_names_are_not) {
  std::ofstream(at("file")) << "x";
  EXPECT_EQ(cover("file"), abi::Cover::unknown);
  std::ofstream(at("empty/.hidden")) << "x";
  EXPECT_EQ(cover("empty"), abi::Cover::unknown);
}

TEST_F(CoveredPointsTest, what_the_mounter_saw_and_is_not_there_is_unknown) {
  struct stat st;
  ASSERT_EQ(::stat(at("empty").c_str(), &st), 0);
  EXPECT_EQ(points_.cover(1, at("empty"), st.st_dev, st.st_ino).cover, abi::Cover::bare);
  EXPECT_EQ(points_.cover(1, at("empty"), st.st_dev, st.st_ino + 1).cover, abi::Cover::unknown);
  EXPECT_EQ(points_.cover(1, at("none"), st.st_dev, st.st_ino).cover, abi::Cover::unknown);
}

TEST_F(CoveredPointsTest, a_name_that_comes_is_told_and_one_that_goes_makes_it_bare_again) {
  ASSERT_EQ(cover("empty"), abi::Cover::bare);
  EXPECT_FALSE(has_changes());
  std::ofstream(at("empty/file")) << "x";
  EXPECT_TRUE(has_changes());
  EXPECT_THAT(points_.take_changes(), testing::Contains(1u));
  EXPECT_FALSE(points_.is_bare(1));
  std::filesystem::remove(at("empty/file"));
  EXPECT_TRUE(has_changes());
  points_.take_changes();
  EXPECT_TRUE(points_.is_bare(1));
}

TEST_F(CoveredPointsTest, one_directory_may_be_covered_twice) {
  ASSERT_EQ(cover("empty"), abi::Cover::bare);
  ASSERT_EQ(points_.cover(2, at("empty"), 0, 0).cover, abi::Cover::bare);
  points_.uncover(1);
  ASSERT_EQ(::mkdir(at("empty/new").c_str(), 0700), 0);
  EXPECT_THAT(points_.take_changes(), ElementsAre(2u));
  points_.uncover(2);
  ASSERT_EQ(::mkdir(at("empty/newer").c_str(), 0700), 0);
  EXPECT_FALSE(points_.is_bare(2));
}

TEST_F(CoveredPointsTest, a_directory_that_is_renamed_is_held) {
  ASSERT_EQ(cover("empty"), abi::Cover::bare);
  std::filesystem::rename(at("empty"), at("renamed"));
  EXPECT_TRUE(points_.is_bare(1));
  std::ofstream(at("renamed/file")) << "x";
  EXPECT_FALSE(points_.is_bare(1));
}

}  // namespace
}  // namespace fusewire::leader
