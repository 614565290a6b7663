// Where paths lead, with a mount table in memory and the real file system around it.
#include "gate/dispatch/paths.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

#include "abi/mount_rules.h"
#include "abi/ring.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/places.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"
#include "support/name_tree.h"

namespace fusewire::gate {
namespace {

constexpr uint32_t connection = 7;

class Paths : public NameTree {
 protected:
  void SetUp() override {
    make_tree({"mnt", "mnt/m", "other", "other/sub"});
    link(at("mnt"), "absolute");
    link("mnt/m", "to-mount");
    link("../mnt", "other/up");
    link("loop", "loop");
    mount(at("mnt/m"), connection);
    enter_tree();
  }

  void mount(const std::string& path, uint32_t id) { mount_at_path(path).connection = id; }
  // On the root of the one that was mounted last.
  void cover(uint32_t id) {
    mount(at("mnt/m"), id);
    abi::MountEntry& e = table_->entry[table_->mounted - 1];
    e.parent = e.id - 1;
    e.on_root = 1;
  }
  // In the view that a `fusewire run` within the namespace made.
  void mount_in_view(uint32_t view, const std::string& path, uint32_t id) {
    mount(path, id);
    table_->entry[table_->mounted - 1].view = view;
  }
  // A descriptor as a host would have handed it over.
  int shadow(uint64_t token) const {
    char name[64];
    ::snprintf(name, sizeof name, "%s%u:%u:%016lx", abi::shadow_name_prefix, table_->leader_pid, connection, token);
    const int fd = ::memfd_create(name, MFD_CLOEXEC);
    EXPECT_EQ(::fchmod(fd, abi::shadow_mode), 0);
    return fd;
  }

  // "native", "native <path to use>", "<connection>:<rest>" or "<connection>@<token>:<rest>", or the error.
  std::string where(int dirfd, const std::string& path, How how = {}) {
    Where w;
    const long r = resolve(dirfd, path.c_str(), how, w);
    return describe(r, w);
  }
  std::string where(const std::string& path, How how = {}) { return where(AT_FDCWD, path, how); }
  std::string describe(long r, const Where& w) {
    if (r < 0) return ::strerrorname_np(static_cast<int>(-r));
    if (!w.is_virtual) return w.rewritten ? std::string("native ") + w.text.c_str() : "native";
    std::string text = std::to_string(w.start.connection);
    if (w.start.token != 0) text += "@" + std::to_string(w.start.token);
    return text + ":" + w.text.c_str();
  }

  static constexpr How no_follow{.follow = false};
};

TEST_F(Paths, of_mounts_over_each_other_the_one_on_top_is_entered) {
  cover(connection + 1);
  cover(connection + 2);
  EXPECT_EQ(where("mnt/m/a"), std::to_string(connection + 2) + ":a");
  EXPECT_EQ(where("to-mount/a"), std::to_string(connection + 2) + ":a");
  table_->entry[2].state = static_cast<uint32_t>(abi::MountState::free);
  table_->mounted--;
  EXPECT_EQ(where("mnt/m/a"), std::to_string(connection + 1) + ":a");
}

TEST_F(Paths, the_way_out_of_a_covering_mount_leads_out_of_all) {
  cover(connection + 1);
  Where w;
  ASSERT_EQ(resolve_leave(abi::LeaveTo::parent, 2, "x", {}, w), 0);
  EXPECT_EQ(describe(0, w), "native " + at("mnt/x"));
}

TEST_F(Paths, what_is_beside_a_mount_passes_untouched) {
  EXPECT_EQ(where(at("mnt")), "native");
  EXPECT_EQ(where(at("mnt/mm")), "native");
  EXPECT_EQ(where(at("other/sub/x")), "native");
  EXPECT_EQ(where("other"), "native");
  EXPECT_EQ(where("/"), "native");
}

TEST_F(Paths, a_mount_point_is_always_entered) {
  EXPECT_EQ(where(at("mnt/m")), "7:");
  EXPECT_EQ(where(at("mnt/m"), no_follow), "7:");
  EXPECT_EQ(where(at("mnt//m/")), "7:");
  EXPECT_EQ(where("mnt/./m"), "7:");
}

TEST_F(Paths, the_rest_keeps_its_dots_and_its_last_slash) {
  EXPECT_EQ(where(at("mnt/m/a/../b//c/")), "7:a/../b//c/");
  EXPECT_EQ(where(at("mnt/m/..")), "7:..");
}

TEST_F(Paths, symlinks_on_the_way_are_followed) {
  EXPECT_EQ(where("absolute/m/f"), "7:f");
  EXPECT_EQ(where(at("other/up/m/f")), "7:f");
  EXPECT_EQ(where("to-mount/f"), "7:f");
}

TEST_F(Paths, a_symlink_at_the_end_is_followed_only_if_the_call_follows) {
  EXPECT_EQ(where("to-mount"), "7:");
  EXPECT_EQ(where("to-mount", no_follow), "native");
  EXPECT_EQ(where("to-mount/", no_follow), "7:");
}

TEST_F(Paths, dot_dot_is_walked_after_symlinks) {
  EXPECT_EQ(where("other/sub/../../mnt/m/f"), "7:f");
  link(at("other/sub"), "far");
  EXPECT_EQ(where("far/../mnt/m"), "native");
  EXPECT_EQ(where("far/../../mnt/m"), "7:");
}

TEST_F(Paths, a_symlink_loop_is_left_to_the_kernel) { EXPECT_EQ(where("loop/x"), "native"); }

TEST_F(Paths, a_mount_point_below_missing_directories_is_reached) {
  mount("/no-such-directory/fs/fuse/connections", 0);
  EXPECT_EQ(where("/no-such-directory/fs/fuse/connections/7/abort"), "0:7/abort");
  EXPECT_EQ(where("/no-such-directory/fs"), "native");
  link("/no-such-directory/fs", "to-missing");
  EXPECT_EQ(where("to-missing/fuse/connections/7"), "0:7");
}

TEST_F(Paths, the_outer_of_two_mounts_is_entered_and_the_newest_of_two_on_one_point) {
  mount(at("mnt"), 8);
  EXPECT_EQ(where(at("mnt/m/f")), "8:m/f");
  mount(at("mnt"), 9);
  EXPECT_EQ(where(at("mnt/m/f")), "9:m/f");
}

TEST_F(Paths, a_native_dirfd_is_a_base) {
  const int fd = ::open(at("mnt").c_str(), O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(where(fd, "m/f"), "7:f");
  EXPECT_EQ(where(fd, "../other"), "native");
  EXPECT_EQ(where(fd, "", {.empty_path = true}), "native");
  ::close(fd);
}

TEST_F(Paths, a_virtual_dirfd_is_a_start) {
  const int fd = shadow(0x51);
  EXPECT_EQ(where(fd, "a/b"), "7@81:a/b");
  EXPECT_EQ(where(fd, "../x"), "7@81:../x");
  EXPECT_EQ(where(fd, at("other")), "native");
  EXPECT_EQ(where(fd, "", {.empty_path = true}), "7@81:");
  EXPECT_EQ(where(fd, ""), "ENOENT");
  ::close(fd);
}

TEST_F(Paths, magic_links_to_virtual_files_lead_to_the_open_file) {
  const int fd = shadow(0x52);
  const std::string n = std::to_string(fd);
  for (const std::string dir : {"/proc/self/fd/", "/dev/fd/", "/proc/thread-self/fd/"}) {
    EXPECT_EQ(where(dir + n), "7@82:");
    EXPECT_EQ(where(dir + n + "/x"), "7@82:x");
  }
  EXPECT_EQ(where("/proc/" + std::to_string(::getpid()) + "/fd/" + n), "7@82:");
  Where w;
  ASSERT_EQ(resolve(AT_FDCWD, ("/proc/self/fd/" + n).c_str(), no_follow, w), 0);
  EXPECT_EQ(describe(0, w), "native");
  EXPECT_EQ(w.magic, Magic::file);
  EXPECT_EQ(w.start.token, 0x52u);
  ::close(fd);
}

TEST_F(Paths, a_magic_link_to_a_native_directory_is_walked_through) {
  const int fd = ::open(at("mnt").c_str(), O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(where("/proc/self/fd/" + std::to_string(fd) + "/m/f"), "7:f");
  EXPECT_EQ(where("/proc/self/fd/" + std::to_string(fd)), "native");
  ::close(fd);
  EXPECT_EQ(where("/proc/self/cwd/mnt/m/f"), "7:f");
  EXPECT_EQ(where("/proc/self/root" + at("mnt/m/f")), "7:f");
}

TEST_F(Paths, the_own_executable_is_the_program_not_the_gate) {
  EXPECT_EQ(where("/proc/self/exe"), "native /opt/program/of/the/test");
  Where w;
  ASSERT_EQ(resolve(AT_FDCWD, "/proc/self/exe", no_follow, w), 0);
  EXPECT_EQ(w.magic, Magic::exe);
}

TEST_F(Paths, a_walk_that_left_by_the_parent_goes_on_beside_the_mount_point) {
  Where w;
  EXPECT_EQ(describe(resolve_leave(abi::LeaveTo::parent, 1, "", {}, w), w), "native " + at("mnt"));
  EXPECT_EQ(describe(resolve_leave(abi::LeaveTo::parent, 1, "../other/f", {}, w), w), "native " + at("other/f"));
  EXPECT_EQ(describe(resolve_leave(abi::LeaveTo::parent, 1, "m/f", {}, w), w), "7:f");
}

TEST_F(Paths, a_walk_that_left_by_an_absolute_symlink_goes_on_at_the_root) {
  Where w;
  EXPECT_EQ(describe(resolve_leave(abi::LeaveTo::root, 1, at("other/f"), {}, w), w), "native " + at("other/f"));
  EXPECT_EQ(describe(resolve_leave(abi::LeaveTo::root, 1, at("to-mount/f"), {}, w), w), "7:f");
}

TEST_F(Paths, a_walk_goes_on_in_what_is_mounted_there_on_top) {
  cover(connection + 1);
  table_->entry[1].on_root = 0;  // somewhere in it
  Where w;
  EXPECT_EQ(describe(resolve_leave(abi::LeaveTo::mount, 2, "x/y", {}, w), w), std::to_string(connection + 1) + ":x/y");
  EXPECT_EQ(w.start.mount, 2u);
  cover(connection + 2);
  EXPECT_EQ(describe(resolve_leave(abi::LeaveTo::mount, 2, "", {}, w), w), std::to_string(connection + 2) + ":");
  EXPECT_TRUE(w.is_mount_root());
}

TEST_F(Paths, a_path_does_not_name_what_is_mounted_inside_a_mount) {
  cover(connection + 1);
  table_->entry[1].on_root = 0;
  EXPECT_EQ(where("mnt/m/a"), "7:a");
}

TEST_F(Paths, the_way_up_from_a_mount_in_a_mount_goes_on_in_the_outer_one) {
  cover(connection + 1);
  table_->entry[1].on_root = 0;
  Where w;
  EXPECT_EQ(describe(resolve_leave(abi::LeaveTo::parent, 2, "x", {}, w), w), "7:../x");
  EXPECT_EQ(w.start.mount, 2u | abi::mount_point);
  EXPECT_EQ(describe(resolve_leave(abi::LeaveTo::parent, 2, ".", {}, w), w), "7:..");
}

TEST_F(Paths, a_walk_into_what_has_just_been_unmounted_is_made_anew) {
  Where w;
  ASSERT_EQ(resolve(AT_FDCWD, at("mnt/m/a").c_str(), {}, w), 0);
  EXPECT_EQ(describe(resolve_leave(abi::LeaveTo::mount, 9, "x", {}, w), w), "7:a");
}

TEST_F(Paths, bad_pointers_and_long_paths_are_errors) {
  Where w;
  EXPECT_EQ(resolve(AT_FDCWD, reinterpret_cast<const char*>(8), {}, w), -EFAULT);
  EXPECT_EQ(resolve(AT_FDCWD, std::string(5000, 'a').c_str(), {}, w), -ENAMETOOLONG);
}

TEST_F(Paths, nothing_mounted_passes_without_a_look) {
  table_->mounted = 0;
  possible.virtual_file = false;
  EXPECT_EQ(where(at("mnt/m/f")), "native");
}

TEST_F(Paths, what_is_mounted_in_a_view_is_seen_by_who_stands_in_it_and_lies_on_top) {
  mount_in_view(3, at("other"), 8);
  mount_in_view(4, at("mnt/m"), 9);
  mount(at("mnt/m"), 10);
  EXPECT_EQ(where(at("other/f")), "native");
  EXPECT_EQ(where(at("mnt/m/f")), "10:f");
  Views& views = process().views;
  ASSERT_TRUE(views.enter(3));
  EXPECT_EQ(where(at("other/f")), "8:f");
  EXPECT_EQ(where(at("mnt/m/f")), "10:f");
  ASSERT_TRUE(views.enter(4));
  EXPECT_EQ(where(at("other/f")), "8:f");
  EXPECT_EQ(where(at("mnt/m/f")), "9:f");
  while (views.depth < abi::views_max) ASSERT_TRUE(views.enter(5));
  EXPECT_FALSE(views.enter(5));
  views.copy(Views());
}

TEST_F(Paths, where_native_mounts_have_changed_a_mount_is_seen_where_its_mount_point_is_reached) {
  abi::LeaderRequest request{};
  const int fd = ::open(at("mnt/m").c_str(), O_PATH);
  describe_point(fd, request);
  ::close(fd);
  ASSERT_NE(request.point_inode, 0u);
  abi::MountEntry& e = table_->entry[0];
  const auto change = [&](const char* path, uint64_t inode) {
    e.path_length = static_cast<uint32_t>(std::strlen(path));
    std::strcpy(table_->path[0], path);
    e.point_inode = inode;
    table_->generation += 2;
  };
  e.point_device = request.point_device;
  e.point_file_system = request.point_file_system;
  std::strcpy(table_->point[0], request.point);
  table_->native_changes = 1;
  change("/as/it/was/called/elsewhere", request.point_inode);
  EXPECT_EQ(where(at("mnt/m/f")), "7:f");
  EXPECT_EQ(where("/as/it/was/called/elsewhere/f"), "native");
  PathText path;
  EXPECT_TRUE(mount_path_of(e.id, path));
  EXPECT_EQ(path.view(), at("mnt/m"));
  EXPECT_FALSE(mount_path_of(e.id, path, 1));
  // Something else is there now.
  change(at("mnt/m").c_str(), request.point_inode + 1);
  EXPECT_EQ(where(at("mnt/m/f")), "native");
  // What it is, is not known: its path is all there is.
  change(at("mnt/m").c_str(), 0);
  EXPECT_EQ(where(at("mnt/m/f")), "7:f");
}

TEST(ShadowNames, only_the_hosts_form_is_taken) {
  VirtualFile file;
  EXPECT_TRUE(parse_shadow_link("/memfd:fusewire:0:12:00000000000000ff (deleted)", file));
  EXPECT_EQ(file.connection, 12u);
  EXPECT_EQ(file.token, 0xffu);
  for (const char* bad : {"/memfd:fusewire:0:12:ff (deleted)", "/memfd:other:0:12:00000000000000ff",
                          "/memfd:fusewire:0::00000000000000ff", "/memfd:fusewire:12:00000000000000ff",
                          "/memfd:fusewire:7:12:00000000000000ff",  // of another namespace
                          "/tmp/memfd:fusewire:0:12:00000000000000ff", ""}) {
    EXPECT_FALSE(parse_shadow_link(bad, file)) << bad;
  }
}

TEST_F(Paths, a_memfd_of_the_programs_own_is_not_virtual) {
  const int fd = ::memfd_create("fusewire:0:7:0000000000000051", MFD_CLOEXEC);
  VirtualFile file;
  EXPECT_EQ(identify(fd, file), Descriptor::native);
  ::close(fd);
}

}  // namespace
}  // namespace fusewire::gate
