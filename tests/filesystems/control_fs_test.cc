#include "filesystems/control_fs.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "support/conformance.h"
#include "support/real_mount.h"
#include "wire/protocol.h"

namespace fusewire::filesystems {
namespace {

using daemon::Errno;
using daemon::FileHandle;
using daemon::NodeId;

class FakeConnections final : public ConnectionsView {
 public:
  std::vector<ConnectionStatus> list() override {
    std::lock_guard lock(mutex);
    return connections;
  }
  daemon::Result<void> abort(uint32_t id) override {
    std::lock_guard lock(mutex);
    aborted.push_back(id);
    return {};
  }
  daemon::Result<void> set_limits(uint32_t id, std::optional<uint32_t> background,
                                  std::optional<uint32_t> congestion) override {
    std::lock_guard lock(mutex);
    for (auto& connection : connections) {
      if (connection.id != id) continue;
      connection.max_background = background.value_or(connection.max_background);
      connection.congestion_threshold = congestion.value_or(connection.congestion_threshold);
    }
    return {};
  }

  std::vector<uint32_t> aborted_so_far() {
    std::lock_guard lock(mutex);
    return aborted;
  }

  std::mutex mutex;
  std::vector<ConnectionStatus> connections = {{41, 1000, 100, 3, 12, 9}, {7, 0, 0, 0, 12, 9}};
  std::vector<uint32_t> aborted;
};

class ControlFsTest : public testing::Test {
 protected:
  NodeId node(std::string_view connection, std::string_view name) {
    auto directory = fs.lookup(root, NodeId::root, connection);
    return name.empty() ? directory->node : fs.lookup(root, directory->node, name)->node;
  }
  std::string read(NodeId file, FileHandle handle, uint64_t offset = 0) {
    char buffer[64];
    auto n = fs.read(root, file, handle, offset, std::as_writable_bytes(std::span(buffer)));
    return n ? std::string(buffer, *n) : "error";
  }
  daemon::Result<size_t> write(NodeId file, std::string_view text, uint64_t offset = 0) {
    return fs.write(root, file, {}, offset, std::as_bytes(std::span(text.data(), text.size())), {});
  }

  daemon::RequestContext root{};
  FakeConnections connections;
  ControlFs fs{connections};
};

TEST_F(ControlFsTest, each_connection_has_four_files_of_its_owner) {
  auto directory = fs.lookup(root, NodeId::root, "41");
  ASSERT_TRUE(directory);
  EXPECT_EQ(directory->attributes.mode, S_IFDIR | 0500u);
  EXPECT_EQ(directory->entry_timeout.count(), 0);
  for (auto [name, mode] :
       {std::pair{"waiting", 0400u}, {"abort", 0200u}, {"max_background", 0600u}, {"congestion_threshold", 0600u}}) {
    auto file = fs.lookup(root, directory->node, name);
    ASSERT_TRUE(file) << name;
    EXPECT_EQ(file->attributes.mode, S_IFREG | mode) << name;
    EXPECT_EQ(file->attributes.uid, 1000u);
    EXPECT_EQ(file->attributes.gid, 100u);
  }
  EXPECT_EQ(fs.lookup(root, directory->node, "other").error(), Errno::enoent);
  EXPECT_EQ(fs.lookup(root, NodeId::root, "041").error(), Errno::enoent);
  EXPECT_EQ(fs.get_attributes(root, NodeId::root, {})->attributes.nlink, 4u);
}

TEST_F(ControlFsTest, waiting_is_taken_when_the_read_begins) {
  NodeId file = node("41", "waiting");
  auto opened = fs.open(root, file, O_RDONLY, false);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->flags, wire::fopen_flag::direct_io);
  EXPECT_EQ(read(file, opened->handle), "3\n");
  connections.connections[0].waiting = 50;
  EXPECT_EQ(read(file, opened->handle, 1), "\n");
  EXPECT_EQ(read(file, opened->handle), "50\n");
}

TEST_F(ControlFsTest, any_write_to_abort_aborts) {
  EXPECT_EQ(write(node("41", "abort"), "0").value(), 1u);
  EXPECT_THAT(connections.aborted_so_far(), testing::ElementsAre(41));
}

TEST_F(ControlFsTest, limits_are_numbers_up_to_65535) {
  NodeId file = node("7", "max_background");
  EXPECT_EQ(write(file, "100\n").value(), 4u);
  EXPECT_EQ(connections.connections[1].max_background, 100u);
  EXPECT_EQ(connections.connections[1].congestion_threshold, 9u);
  EXPECT_EQ(read(file, {}), "100\n");
  EXPECT_TRUE(write(file, "0x10"));
  EXPECT_EQ(connections.connections[1].max_background, 16u);
  EXPECT_TRUE(write(node("7", "congestion_threshold"), "65535"));
  EXPECT_EQ(connections.connections[1].congestion_threshold, 65535u);
  EXPECT_EQ(write(file, "65536").error(), Errno::einval);
  EXPECT_EQ(write(file, "1", 1).error(), Errno::einval);
  EXPECT_EQ(write(file, "x").error(), Errno::einval);
  EXPECT_EQ(write(file, "").error(), Errno::einval);
  EXPECT_EQ(write(file, "-1").error(), Errno::einval);
  EXPECT_EQ(write(file, "99999999999999999999999").error(), Errno::erange);
  EXPECT_EQ(connections.connections[1].max_background, 16u);
}

TEST_F(ControlFsTest, files_of_a_connection_that_is_gone_are_empty) {
  NodeId file = node("41", "max_background");
  NodeId abort = node("41", "abort");
  connections.connections.erase(connections.connections.begin());
  EXPECT_EQ(read(file, {}), "");
  EXPECT_TRUE(write(abort, "1"));
  EXPECT_TRUE(connections.aborted.empty());
}

TEST_F(ControlFsTest, only_the_owner_and_root_may_open) {
  auto owner = root, other = root;
  owner.uid = 1000;
  other.uid = 1001;
  NodeId file = node("41", "waiting");
  EXPECT_TRUE(fs.open(owner, file, O_RDONLY, false));
  EXPECT_EQ(fs.open(owner, file, O_RDWR, false).error(), Errno::eacces);
  EXPECT_EQ(fs.open(other, file, O_RDONLY, false).error(), Errno::eacces);
  EXPECT_TRUE(fs.open(owner, node("41", "abort"), O_WRONLY, false));
}

TEST_F(ControlFsTest, node_ids_that_were_never_given_are_stale) {
  for (uint64_t id : {0ull, 2ull, 7ull, 13ull, 0xffffffffffffffffull}) {
    EXPECT_FALSE(fs.get_attributes(root, NodeId{id}, {})) << id;
    EXPECT_FALSE(fs.open(root, NodeId{id}, O_RDONLY, false)) << id;
  }
}

TEST_F(ControlFsTest, works_under_real_system_calls) {
  if (auto why = test::no_real_fuse(); !why.empty()) GTEST_SKIP() << why;
  test::RealMount mount(fs, "default_permissions,allow_other");
  ASSERT_TRUE(mount.live()) << mount.why();
  conformance::Place place(mount.path());
  try {
    EXPECT_THAT(place.list(), testing::ElementsAre("41", "7"));
    EXPECT_THAT(place.list("7"), testing::ElementsAre("abort", "congestion_threshold", "max_background", "waiting"));
    EXPECT_EQ(place.read_file("41/waiting"), "3\n");
    place.write_file("7/max_background", "33\n");
    EXPECT_EQ(place.read_file("7/max_background"), "33\n");
    place.write_file("41/abort", "1\n");
    EXPECT_THAT(connections.aborted_so_far(), testing::ElementsAre(41));
  } catch (const conformance::Failure& failure) {
    ADD_FAILURE() << failure.what;
  }
}

}  // namespace
}  // namespace fusewire::filesystems
