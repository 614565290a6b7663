// The rule book of attributes: caching, versions, setting (K090-K105).
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

constexpr uint32_t force_sync = 0x2000, dont_sync = 0x4000, btime = 0x800;

class AttrTest : public SyscallTest {};

TEST_F(AttrTest, attributes_expire_apart_from_their_name) {
  mount_tree();
  attr_valid = 10;
  add(root, "file", regular);
  stat("file");
  host.advance_seconds(11);
  stat("file");
  EXPECT_EQ(daemon->count(Opcode::lookup), 1u);
  EXPECT_EQ(daemon->count(Opcode::getattr), 1u);
}

TEST_F(AttrTest, force_sync_asks_and_dont_sync_does_not) {
  mount_tree();
  add(root, "file", regular);
  stat("file", force_sync);
  EXPECT_EQ(daemon->count(Opcode::getattr), 1u);
  attr_valid = 0;
  stat("file", force_sync);
  stat("file", dont_sync);
  EXPECT_EQ(daemon->count(Opcode::getattr), 2u);
}

TEST_F(AttrTest, an_older_reply_does_not_undo_a_newer_one) {
  mount_tree();
  const uint64_t node = add(root, "file", regular, 1);
  stat("file");
  daemon->on(Opcode::getattr, [](const DaemonRequest&) { return DaemonReply::none_yet(); });
  auto one = start(fs->sys_statx(caller, {nullptr, "file"}, force_sync, basic_stats, leave));
  auto two = start(fs->sys_statx(other, {nullptr, "file"}, force_sync, basic_stats, leave));
  daemon->serve();
  const uint64_t first = daemon->seen()[1].header.unique, second = daemon->seen()[2].header.unique;
  const auto old = attr_of(node);
  nodes[node].size = 2;
  daemon->reply(second, attr_of(node));
  daemon->reply(first, old);
  EXPECT_TRUE(one.take() && two.take());
  EXPECT_EQ(stat("file")->size, 2u);
}

TEST_F(AttrTest, times_are_made_sane_and_blksize_a_power_of_two) {
  mount_tree();
  const uint64_t node = add(root, "file", regular);
  nodes[node].mtimensec = 4'000'000'000;
  nodes[node].blksize = 5000;
  EXPECT_EQ(stat("file")->mtime_nsec, 999'999'999u);
  EXPECT_EQ(stat("file")->blksize, 4096u);
  EXPECT_EQ(stat("file")->dev, 77u);
}

TEST_F(AttrTest, birth_time_is_asked_once_by_statx) {
  mount_tree();
  const uint64_t node = add(root, "file", regular);
  daemon->on(Opcode::statx, [this, node](const DaemonRequest&) {
    wire::StatxOut out{};
    out.attr_valid = 100;
    out.stat.mask = basic_stats | btime;
    out.stat.mode = regular;
    out.stat.ino = nodes[node].ino;
    out.stat.btime.tv_sec = 12345;
    return DaemonReply::ok(out);
  });
  for (int i = 0; i < 2; ++i) {
    auto shown = run(fs->sys_statx(caller, {nullptr, "file"}, 0, basic_stats | btime, leave));
    EXPECT_EQ(shown->btime, 12345);
    EXPECT_TRUE(shown->mask & btime);
  }
  EXPECT_EQ(daemon->count(Opcode::statx), 1u);
}

TEST_F(AttrTest, attributes_of_a_new_inode_are_doubtful_when_one_was_evicted_meanwhile) {
  mount_tree();
  add(root, "gone", regular);
  add(root, "file", regular);
  stat("gone");
  auto call = start(fs->sys_statx(caller, {nullptr, "file"}, dont_sync, basic_stats, leave));
  const auto request = daemon->next(Opcode::lookup);
  inval_entry(root, "gone");
  daemon->reply(request.header.unique, entry_of(names[{root, "file"}]));
  daemon->serve();
  EXPECT_TRUE(call.take());
  stat("file");
  EXPECT_EQ(daemon->count(Opcode::getattr), 1u);
}

TEST_F(AttrTest, a_setattr_reply_overtaken_by_a_change_is_not_kept) {
  mount_tree();
  const uint64_t node = add(root, "file", regular, 10);
  stat("file");
  auto call = start(fs->sys_fchmodat(caller, {nullptr, "file"}, 0600, 0, leave));
  const auto request = daemon->next(Opcode::setattr);
  notify(wire::NotifyCode::inval_inode, bytes_of(wire::NotifyInvalInodeOut{node, 0, 0}));
  daemon->reply(request.header.unique, attr_of(node));
  EXPECT_TRUE(call.take());
  stat("file");
  EXPECT_EQ(daemon->count(Opcode::getattr), 1u);
}

TEST_F(AttrTest, times_to_be_left_alone_both_ask_nothing) {
  mount_tree();
  const syscall::Timespec omit{0, 0x3ffffffe};
  EXPECT_EQ(error_of(fs->sys_utimensat(caller, {nullptr, "missing"}, omit, omit, 0, leave)), 0);
  EXPECT_EQ(daemon->seen().size(), 0u);
}

TEST_F(AttrTest, times_are_cut_to_the_granularity_of_the_daemon) {
  init.time_gran = 1000;
  mount_tree();
  const uint64_t node = add(root, "file", regular);
  daemon->on(Opcode::setattr, [this, node](const DaemonRequest&) { return DaemonReply::ok(attr_of(node)); });
  const syscall::Timespec time{5, 123'456'789};
  EXPECT_EQ(error_of(fs->sys_utimensat(caller, {nullptr, "file"}, time, time, 0, leave)), 0);
  const auto in = daemon->seen().back().as<wire::SetattrIn>();
  EXPECT_EQ(in.mtimensec, 123'456'000u);
}

TEST_F(AttrTest, a_size_beyond_the_limit_is_einval_and_a_directory_eisdir) {
  mount_tree();
  add(root, "file", regular);
  add(root, "dir", directory);
  EXPECT_EQ(error_of(fs->sys_truncate(caller, {nullptr, "file"}, UINT64_MAX, leave)), as_int(Errno::einval));
  EXPECT_EQ(error_of(fs->sys_truncate(caller, {nullptr, "dir"}, 0, leave)), as_int(Errno::eisdir));
}

}  // namespace
}  // namespace fusewire::test
