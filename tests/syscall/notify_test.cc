// The rule book of notifications and the caches (K210-K217): none waits for a request, so none can deadlock.
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

using wire::NotifyCode;

class NotifyTest : public SyscallTest {
 protected:
  int delete_entry(uint64_t parent, uint64_t child, std::string_view name) {
    const wire::NotifyDeleteOut out{parent, child, static_cast<uint32_t>(name.size()), 0};
    return notify(NotifyCode::delete_entry, bytes_of(out, name, '\0'));
  }
};

TEST_F(NotifyTest, inval_entry_answers_by_what_is_known) {
  mount_tree();
  const uint64_t node = add(root, "file", regular);
  stat("file");
  EXPECT_EQ(inval_entry(99, "file"), as_int(Errno::enoent));
  EXPECT_EQ(inval_entry(root, "other"), as_int(Errno::enoent));
  EXPECT_EQ(inval_entry(node, "x"), as_int(Errno::enotdir));
  EXPECT_EQ(inval_entry(root, std::string(5000, 'n')), as_int(Errno::enametoolong));
  EXPECT_EQ(inval_entry(root, "file"), 0);
  EXPECT_EQ(inval_entry(root, "file"), as_int(Errno::enoent));
}

TEST_F(NotifyTest, expire_only_keeps_the_inode) {
  mount_tree();
  add(root, "file", regular);
  stat("file");
  EXPECT_EQ(inval_entry(root, "file", wire::expire_only), 0);
  daemon->serve();
  EXPECT_TRUE(daemon->forgotten().empty());
  stat("file");
  EXPECT_EQ(daemon->count(Opcode::lookup), 2u);
}

TEST_F(NotifyTest, a_notification_about_a_directory_in_use_does_not_wait) {
  init_flags &= ~wire::init_flag::parallel_dirops;
  mount_tree();
  add(root, "a", regular);
  add(root, "b", regular);
  stat("b");
  auto call = start(fs->sys_statx(caller, {nullptr, "a"}, 0, basic_stats, leave));
  const auto request = daemon->next(Opcode::lookup);
  EXPECT_EQ(inval_entry(root, "b"), 0);
  daemon->reply(request.header.unique, entry_of(names[{root, "a"}]));
  daemon->serve();
  EXPECT_TRUE(call.take());
}

TEST_F(NotifyTest, a_name_invalidated_while_it_is_revalidated_is_looked_up_again) {
  mount_tree();
  entry_valid = 0;
  add(root, "file", regular);
  stat("file");
  auto call = start(fs->sys_statx(caller, {nullptr, "file"}, 0, basic_stats, leave));
  const auto request = daemon->next(Opcode::lookup);
  EXPECT_EQ(inval_entry(root, "file"), 0);
  daemon->reply(request.header.unique, entry_of(names[{root, "file"}]));
  daemon->serve();
  EXPECT_TRUE(call.take());
  EXPECT_EQ(daemon->count(Opcode::lookup), 2u);
}

TEST_F(NotifyTest, delete_with_the_wrong_child_is_enoent_yet_the_name_goes) {
  mount_tree();
  const uint64_t node = add(root, "file", regular);
  stat("file");
  EXPECT_EQ(delete_entry(root, node + 1, "file"), as_int(Errno::enoent));
  stat("file");
  EXPECT_EQ(daemon->count(Opcode::lookup), 2u);
  EXPECT_EQ(delete_entry(root, node, "file"), 0);
}

TEST_F(NotifyTest, delete_of_a_directory_in_use_below_is_enotempty) {
  mount_tree();
  const uint64_t dir = add(root, "dir", directory);
  add(dir, "file", regular);
  OpenFile* file = open("dir/file", o_path);
  EXPECT_EQ(delete_entry(root, dir, "dir"), as_int(Errno::enotempty));
  release(file);
}

TEST_F(NotifyTest, store_makes_the_size_doubtful) {
  mount_tree();
  const uint64_t node = add(root, "file", regular, 3);
  const wire::NotifyStoreOut out{node, 10, 4, 0};
  EXPECT_EQ(notify(NotifyCode::store, bytes_of(out, std::string("data"))), as_int(Errno::enoent));
  stat("file");
  EXPECT_EQ(notify(NotifyCode::store, bytes_of(out, std::string("data"))), 0);
  EXPECT_EQ(notify(NotifyCode::store, bytes_of(out, std::string("dat"))), as_int(Errno::einval));
  EXPECT_EQ(stat("file")->size, 3u);
  EXPECT_EQ(daemon->count(Opcode::getattr), 1u);
}

TEST_F(NotifyTest, retrieve_of_nothing_cached_answers_with_size_0) {
  mount_tree();
  const uint64_t node = add(root, "file", regular, 3);
  stat("file");
  const wire::NotifyRetrieveOut out{0x1234, node, 4096, 100, 0};
  EXPECT_EQ(notify(NotifyCode::retrieve, bytes_of(out)), 0);
  const auto reply = daemon->next(Opcode::notify_reply);
  EXPECT_EQ(reply.header.unique, 0x1234u);
  EXPECT_EQ(reply.as<wire::NotifyRetrieveIn>().size, 0u);
  EXPECT_EQ(reply.as<wire::NotifyRetrieveIn>().offset, 4096u);
}

TEST_F(NotifyTest, malformed_notifications_are_einval_and_harm_nothing) {
  mount_tree();
  add(root, "file", regular);
  stat("file");
  const wire::NotifyInvalEntryOut lies{root, 100, 0};
  EXPECT_EQ(notify(NotifyCode::inval_entry, bytes_of(lies, std::string("file"), '\0')), as_int(Errno::einval));
  const wire::NotifyPruneOut many{UINT32_MAX, 0, 0};
  EXPECT_EQ(notify(NotifyCode::prune, bytes_of(many, uint64_t{2})), as_int(Errno::einval));
  const wire::NotifyStoreOut huge{root, 0, UINT32_MAX, 0};
  EXPECT_EQ(notify(NotifyCode::store, bytes_of(huge)), as_int(Errno::einval));
  stat("file");
  EXPECT_EQ(daemon->count(Opcode::lookup), 1u);
}

TEST_F(NotifyTest, a_cached_link_is_read_again_after_inval_inode) {
  init_flags |= wire::init_flag::cache_symlinks;
  mount_tree();
  const uint64_t link = add_link(root, "link", "one");
  add(root, "one", regular);
  stat("link");
  stat("link");
  EXPECT_EQ(daemon->count(Opcode::readlink), 1u);
  EXPECT_EQ(notify(NotifyCode::inval_inode, bytes_of(wire::NotifyInvalInodeOut{link, 0, 0})), 0);
  stat("link");
  EXPECT_EQ(daemon->count(Opcode::readlink), 2u);
}

}  // namespace
}  // namespace fusewire::test
