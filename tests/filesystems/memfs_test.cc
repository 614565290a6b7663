#include "filesystems/memfs.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cstring>

#include "filesystems/serve.h"
#include "support/daemon_pair.h"

namespace fusewire::filesystems {
namespace {

using daemon::Errno;
using daemon::FileHandle;
using daemon::NodeId;

std::span<const std::byte> bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

class MemFsTest : public testing::Test {
 protected:
  static MemFsOptions small() {
    MemFsOptions options;
    options.size_limit = 1 << 20;
    options.inode_limit = 100;
    return options;
  }
  NodeId file(std::string_view name, NodeId parent = NodeId::root) {
    return fs.mknod(me, parent, name, S_IFREG | 0644, 0)->node;
  }
  std::string content(NodeId node) {
    std::string out(1 << 20, '\0');
    auto n = fs.read(me, node, {}, 0, {reinterpret_cast<std::byte*>(out.data()), out.size()});
    out.resize(n ? *n : 0);
    return out;
  }
  uint32_t nlink(NodeId node) { return fs.get_attributes(me, node, {})->attributes.nlink; }

  daemon::RequestContext me{daemon::Unique{2}, 0, 0, 1, 0};
  MemFs fs{small()};
};

TEST_F(MemFsTest, a_node_dies_with_its_last_link_lookup_and_open) {
  NodeId node = file("f");
  ASSERT_TRUE(fs.open(me, node, O_RDWR, false));
  ASSERT_TRUE(fs.lookup(me, NodeId::root, "f"));
  ASSERT_TRUE(fs.unlink(me, NodeId::root, "f"));
  EXPECT_EQ(fs.node_count(), 2u) << "unlinked";
  fs.forget(node, 1);
  EXPECT_EQ(fs.node_count(), 2u) << "one of two lookups forgotten";
  ASSERT_TRUE(fs.release(me, node, {}, 0));
  EXPECT_EQ(fs.node_count(), 2u) << "released";
  fs.forget(node, 1);
  EXPECT_EQ(fs.node_count(), 1u) << "all forgotten";
  EXPECT_EQ(fs.get_attributes(me, node, {}).error(), Errno::estale);
}

TEST_F(MemFsTest, a_linked_node_outlives_being_forgotten) {
  NodeId node = file("f");
  fs.forget(node, 1);
  EXPECT_EQ(fs.lookup(me, NodeId::root, "f")->node, node);
}

TEST_F(MemFsTest, forgetting_too_much_harms_nothing) {
  NodeId node = file("f");
  fs.forget(node, UINT64_MAX);
  fs.forget(NodeId::root, UINT64_MAX);
  fs.forget(NodeId{4711}, 1);
  EXPECT_EQ(fs.lookup(me, NodeId::root, "f")->node, node);
}

TEST_F(MemFsTest, memory_comes_back_when_the_node_is_gone) {
  NodeId node = file("f");
  ASSERT_TRUE(fs.write(me, node, {}, 100'000, bytes("data"), {}));
  ASSERT_TRUE(fs.setxattr(me, node, "user.x", bytes("value"), 0));
  EXPECT_GT(fs.bytes_used(), 0u);
  ASSERT_TRUE(fs.unlink(me, NodeId::root, "f"));
  fs.forget(node, 1);
  EXPECT_EQ(fs.bytes_used(), 0u);
}

TEST_F(MemFsTest, a_capability_goes_with_a_write_and_its_space_comes_back) {
  NodeId node = file("f");
  ASSERT_TRUE(fs.setxattr(me, node, "security.capability", bytes("cap"), 0));
  ASSERT_TRUE(fs.write(me, node, {}, 0, bytes("x"), {}));
  EXPECT_EQ(fs.getxattr(me, node, "security.capability", {}).error(), Errno::enodata);
  ASSERT_TRUE(fs.set_attributes(me, node, {.size = 0}));
  EXPECT_EQ(fs.bytes_used(), 0u);
}

TEST_F(MemFsTest, inodes_are_limited) {
  daemon::Result<daemon::Entry> made;
  for (int i = 0; i < 99; ++i) made = fs.mknod(me, NodeId::root, std::to_string(i), S_IFREG, 0);
  EXPECT_TRUE(made);
  EXPECT_EQ(fs.mknod(me, NodeId::root, "one more", S_IFREG, 0).error(), Errno::enospc);
  EXPECT_EQ(fs.statfs(me, NodeId::root)->files_free, 0u);
}

TEST_F(MemFsTest, a_write_that_does_not_fit_is_cut_then_refused) {
  NodeId node = file("f");
  std::string data(2 << 20, 'x');
  EXPECT_EQ(fs.write(me, node, {}, 0, bytes(data), {}).value(), 1u << 20);
  EXPECT_EQ(fs.write(me, node, {}, 1 << 20, bytes(data), {}).error(), Errno::enospc);
  EXPECT_EQ(fs.write(me, node, {}, 10, bytes("over"), {}).value(), 4u) << "what is there can be changed";
}

TEST_F(MemFsTest, an_allocation_that_does_not_fit_changes_nothing) {
  NodeId node = file("f");
  ASSERT_TRUE(fs.write(me, node, {}, 0, bytes("abc"), {}));
  uint64_t used = fs.bytes_used();
  EXPECT_EQ(fs.fallocate(me, node, {}, 0, (1 << 20) + 1, 0).error(), Errno::enospc);
  EXPECT_EQ(fs.fallocate(me, node, {}, 1 << 20, 1 << 20, 0).error(), Errno::enospc);
  EXPECT_EQ(fs.bytes_used(), used);
  EXPECT_EQ(content(node), "abc");
  EXPECT_EQ(fs.fallocate(me, node, {}, 0, 10, FALLOC_FL_COLLAPSE_RANGE).error(), Errno::eopnotsupp);
}

TEST_F(MemFsTest, offsets_near_the_end_of_the_world_are_efbig) {
  NodeId node = file("f");
  EXPECT_EQ(fs.write(me, node, {}, INT64_MAX, bytes("x"), {}).error(), Errno::efbig);
  EXPECT_EQ(fs.write(me, node, {}, UINT64_MAX, bytes("x"), {}).error(), Errno::efbig);
  EXPECT_EQ(fs.fallocate(me, node, {}, INT64_MAX, 2, 0).error(), Errno::efbig);
  EXPECT_EQ(fs.set_attributes(me, node, {.size = UINT64_MAX}).error(), Errno::efbig);
  ASSERT_TRUE(fs.set_attributes(me, node, {.size = INT64_MAX}));
  EXPECT_EQ(fs.get_attributes(me, node, {})->attributes.blocks, 0u);
  EXPECT_EQ(fs.lseek(me, node, {}, 0, SEEK_DATA).error(), Errno::enxio);
  EXPECT_EQ(fs.lseek(me, node, {}, 5, SEEK_HOLE).value(), 5u);
}

TEST_F(MemFsTest, names_come_back_from_a_cookie_however_small_the_buffer) {
  for (int i = 0; i < 50; ++i) file("n" + std::to_string(i));
  std::vector<std::string> seen;
  uint64_t offset = 0;
  for (;;) {
    std::array<std::byte, 64> buffer;
    daemon::DirectoryWriter writer(buffer);
    ASSERT_TRUE(fs.readdir(me, NodeId::root, {}, offset, writer));
    if (writer.size() == 0) break;
    wire::DirentReader reader{wire::Bytes(buffer).first(writer.size())};
    wire::Dirent record;
    std::string_view name;
    while (reader.next(record, name) == wire::WalkStep::record) {
      seen.emplace_back(name);
      offset = record.off;
    }
    if (seen.size() == 20) {
      ASSERT_TRUE(fs.unlink(me, NodeId::root, seen.back()));
    }
  }
  ASSERT_EQ(seen.size(), 52u);
  EXPECT_EQ(seen[0], ".");
  EXPECT_EQ(seen[1], "..");
  for (int i = 0; i < 50; ++i) EXPECT_EQ(seen[static_cast<size_t>(i) + 2], "n" + std::to_string(i));
}

TEST_F(MemFsTest, readdirplus_counts_a_lookup_for_each_name_that_fits) {
  NodeId first = file("first"), second = file("second");
  std::array<std::byte, 152 * 3 + 8 * 3 + 40> buffer;
  daemon::DirectoryPlusWriter writer(buffer);
  ASSERT_TRUE(fs.readdirplus(me, NodeId::root, {}, 0, writer));
  wire::DirentplusReader reader{wire::Bytes(buffer).first(writer.size())};
  wire::Direntplus record;
  std::string_view name;
  std::vector<uint64_t> nodes;
  while (reader.next(record, name) == wire::WalkStep::record) nodes.push_back(record.entry.nodeid);
  EXPECT_THAT(nodes, testing::ElementsAre(0, 0, static_cast<uint64_t>(first)));
  ASSERT_TRUE(fs.unlink(me, NodeId::root, "first"));
  ASSERT_TRUE(fs.unlink(me, NodeId::root, "second"));
  fs.forget(first, 1);
  fs.forget(second, 1);
  EXPECT_EQ(fs.node_count(), 2u);
  fs.forget(first, 1);
  EXPECT_EQ(fs.node_count(), 1u);
}

TEST_F(MemFsTest, a_whiteout_stays_behind) {
  file("a");
  ASSERT_TRUE(fs.rename(me, NodeId::root, "a", NodeId::root, "b", RENAME_WHITEOUT));
  auto whiteout = fs.lookup(me, NodeId::root, "a");
  ASSERT_TRUE(whiteout);
  EXPECT_TRUE(S_ISCHR(whiteout->attributes.mode));
  EXPECT_EQ(whiteout->attributes.rdev, 0u);
}

TEST_F(MemFsTest, unknown_rename_flags_are_einval) {
  file("a");
  EXPECT_EQ(fs.rename(me, NodeId::root, "a", NodeId::root, "b", 8).error(), Errno::einval);
}

TEST_F(MemFsTest, a_moved_directory_is_counted_where_it_is) {
  NodeId a = fs.mkdir(me, NodeId::root, "a", 0755)->node;
  NodeId b = fs.mkdir(me, NodeId::root, "b", 0755)->node;
  ASSERT_TRUE(fs.mkdir(me, a, "inner", 0755));
  file("plain", b);
  ASSERT_TRUE(fs.rename(me, a, "inner", b, "plain", RENAME_EXCHANGE));
  EXPECT_EQ(nlink(a), 2u);
  EXPECT_EQ(nlink(b), 3u);
  EXPECT_EQ(fs.rename(me, NodeId::root, "b", b, "plain", RENAME_EXCHANGE).error(), Errno::einval);
}

TEST_F(MemFsTest, requests_of_nodes_of_the_wrong_kind_are_refused) {
  NodeId node = file("f");
  NodeId link = fs.symlink(me, NodeId::root, "l", "f")->node;
  EXPECT_EQ(fs.lookup(me, node, "x").error(), Errno::enotdir);
  EXPECT_EQ(fs.opendir(me, node, 0).error(), Errno::enotdir);
  EXPECT_EQ(fs.open(me, NodeId::root, 0, false).error(), Errno::eisdir);
  EXPECT_EQ(fs.open(me, link, 0, false).error(), Errno::einval);
  std::byte byte;
  EXPECT_EQ(fs.read(me, NodeId::root, {}, 0, {&byte, 1}).error(), Errno::eisdir);
  std::array<char, 16> text;
  EXPECT_EQ(fs.readlink(me, node, text).error(), Errno::einval);
  EXPECT_EQ(fs.link(me, NodeId::root, NodeId::root, "x").error(), Errno::eperm);
  EXPECT_EQ(fs.mknod(me, NodeId::root, "d", S_IFDIR | 0755, 0).error(), Errno::einval);
}

TEST_F(MemFsTest, trusted_attributes_are_listed_for_root_alone) {
  NodeId node = file("f");
  ASSERT_TRUE(fs.setxattr(me, node, "trusted.t", bytes("1"), 0));
  ASSERT_TRUE(fs.setxattr(me, node, "user.u", bytes("2"), 0));
  auto user = me;
  user.uid = 1000;
  EXPECT_EQ(fs.listxattr(me, node, {}).value(), sizeof("trusted.t") + sizeof("user.u"));
  EXPECT_EQ(fs.listxattr(user, node, {}).value(), sizeof("user.u"));
  EXPECT_EQ(fs.setxattr(me, node, "system.posix_acl_access", bytes("1"), 0).error(), Errno::eopnotsupp);
}

TEST_F(MemFsTest, missing_names_are_cached_only_when_asked_for) {
  EXPECT_EQ(fs.lookup(me, NodeId::root, "none").error(), Errno::enoent);
  MemFsOptions options = small();
  options.negative_timeout = std::chrono::seconds(3);
  MemFs caching(options);
  auto entry = caching.lookup(me, NodeId::root, "none");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->node, NodeId::none);
  EXPECT_EQ(entry->entry_timeout, std::chrono::seconds(3));
}

TEST(MemFsOverTheWire, create_write_read_unlink) {
  MemFs fs({});
  test::DaemonPair pair(fs);
  ASSERT_EQ(pair.init().error(), 0);
  auto created = pair.ask_struct(wire::Opcode::create, 1, wire::CreateIn{O_RDWR, S_IFREG | 0644, 022, 0}, "f");
  ASSERT_EQ(created.error(), 0);
  ASSERT_EQ(created.body.size(), sizeof(wire::EntryOut) + sizeof(wire::OpenOut));
  uint64_t node = created.get<wire::EntryOut>().nodeid;
  auto written = pair.ask(wire::Opcode::write, node, [](auto& request) {
    request.add(wire::WriteIn{0, 0, 5, 0, 0, 0, 0}).data(wire::bytes_of("hello"));
  });
  EXPECT_EQ(written.get<wire::WriteOut>().size, 5u);
  EXPECT_EQ(pair.ask_struct(wire::Opcode::read, node, wire::ReadIn{0, 1, 100, 0, 0, 0, 0}).text(), "ello");
  EXPECT_EQ(pair.ask(wire::Opcode::unlink, 1, [](auto& request) { request.name("f"); }).error(), 0);
  EXPECT_EQ(pair.ask_struct(wire::Opcode::release, node, wire::ReleaseIn{}).error(), 0);
  pair.post(wire::Opcode::forget, node, [](auto& request) { request.add(wire::ForgetIn{1}); });
  EXPECT_TRUE(pair.end());
  EXPECT_EQ(fs.node_count(), 1u);
}

TEST(MemFsOptionsText, are_parsed_and_the_rest_is_passed_on) {
  std::string rest;
  auto options = parse_memfs_options("size=10m,ro,mode=1777,uid=5,attr_timeout=0.5,allow_other", rest);
  ASSERT_TRUE(options) << options.error();
  EXPECT_EQ(options->size_limit, 10u << 20);
  EXPECT_EQ(options->root_mode, 01777u);
  EXPECT_EQ(options->root_uid, 5u);
  EXPECT_EQ(options->attributes_timeout, std::chrono::milliseconds(500));
  EXPECT_EQ(rest, "ro,allow_other");
}

TEST(MemFsOptionsText, nonsense_is_refused) {
  for (const char* text : {"size=", "size=0", "size=x", "size=99999999999999999999", "size=18446744073709551615k",
                           "mode=8", "mode=77777", "uid=-1", "attr_timeout=-1", "attr_timeout=nan", "size"}) {
    std::string rest;
    EXPECT_FALSE(parse_memfs_options(text, rest)) << text;
  }
}

}  // namespace
}  // namespace fusewire::filesystems
