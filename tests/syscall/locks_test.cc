// The rule book of file locks: local tables, waiting, deadlocks, the daemon's locks (K138-K143).
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

constexpr uint32_t rdlck = 0, wrlck = 1, unlck = 2;
constexpr uint32_t lock_sh = 1, lock_ex = 2, lock_nb = 4, lock_un = 8;

class LocksTest : public SyscallTest {
 protected:
  void SetUp() override {
    SyscallTest::SetUp();
    other.tgid = other.pid = 4712;
  }
  void open_files() {
    mount_tree();
    node = add(root, "file", regular, 100);
    mine = open("file", o_rdwr);
    theirs = open("file", o_rdwr);
  }
  void TearDown() override {
    if (mine) close(mine);
    if (theirs) close(theirs);
    SyscallTest::TearDown();
  }
  static syscall::Lock range(uint32_t type, uint64_t start, uint64_t end) { return {start, end, type, 0}; }
  int set(uint32_t type, uint64_t start, uint64_t end) {
    return error_of(fs->sys_setlk(caller, *mine, range(type, start, end), false));
  }
  int set_other(uint32_t type, uint64_t start, uint64_t end) {
    return error_of(fs->sys_setlk(other, *theirs, range(type, start, end), false));
  }
  syscall::Lock seen_by_other(uint64_t start, uint64_t end) {
    return *run(fs->sys_getlk(other, *theirs, range(wrlck, start, end)));
  }
  uint64_t node = 0;
  OpenFile *mine = nullptr, *theirs = nullptr;
};

TEST_F(LocksTest, read_locks_share_and_write_locks_exclude) {
  open_files();
  EXPECT_EQ(set(rdlck, 0, 9), 0);
  EXPECT_EQ(set_other(rdlck, 0, 9), 0);
  EXPECT_EQ(set_other(wrlck, 5, 5), as_int(Errno::eagain));
  EXPECT_EQ(set_other(wrlck, 10, 19), 0);
}

TEST_F(LocksTest, a_range_is_split_by_an_unlock_in_its_middle) {
  open_files();
  EXPECT_EQ(set(wrlck, 0, 99), 0);
  EXPECT_EQ(set(unlck, 40, 59), 0);
  EXPECT_EQ(seen_by_other(40, 59).type, unlck);
  EXPECT_EQ(seen_by_other(0, 39).end, 39u);
  EXPECT_EQ(seen_by_other(60, 200).start, 60u);
  EXPECT_EQ(seen_by_other(60, 200).pid, caller.tgid);
}

TEST_F(LocksTest, ranges_of_one_owner_that_touch_become_one) {
  open_files();
  set(wrlck, 0, 9);
  set(wrlck, 20, 29);
  set(wrlck, 10, 19);
  const auto whole = seen_by_other(15, 15);
  EXPECT_EQ(whole.start, 0u);
  EXPECT_EQ(whole.end, 29u);
}

// Start of the lock that F_GETLK names to one who has none.
TEST_F(LocksTest, the_first_conflict_is_the_lowest_of_the_owner_who_came_first) {
  open_files();
  kernel::Caller third = caller;
  third.lock_owner = 3;
  const auto named = [&] { return run(fs->sys_getlk(third, *mine, range(wrlck, 0, 1000)))->start; };
  set_other(wrlck, 500, 509);
  set(wrlck, 100, 109);
  set(wrlck, 10, 19);
  set_other(wrlck, 300, 309);
  EXPECT_EQ(named(), 300u);
  set_other(unlck, 0, 1000);
  EXPECT_EQ(named(), 10u);
  set_other(wrlck, 800, 809);
  EXPECT_EQ(named(), 10u) << "who comes back stands last";
  set(rdlck, 0, 4);
  set(rdlck, 0, 200);
  EXPECT_EQ(named(), 0u) << "whose lock is replaced keeps its place";
  set(unlck, 0, 50);
  EXPECT_EQ(named(), 51u);
}

TEST_F(LocksTest, the_tail_of_a_split_lock_stands_behind_what_split_it) {
  open_files();
  set(wrlck, 0, 99);
  set(rdlck, 40, 59);
  const auto seen = [&](uint64_t from) { return seen_by_other(from, 1000).start; };
  EXPECT_EQ(seen(0), 0u);
  EXPECT_EQ(seen(40), 40u);
  EXPECT_EQ(seen(60), 60u);
}

TEST_F(LocksTest, an_owner_changes_its_own_lock_in_place) {
  open_files();
  set(wrlck, 0, 99);
  EXPECT_EQ(set(rdlck, 10, 19), 0);
  EXPECT_EQ(set_other(rdlck, 10, 19), 0);
  EXPECT_EQ(set_other(rdlck, 9, 9), as_int(Errno::eagain));
}

TEST_F(LocksTest, any_close_of_the_owner_drops_its_locks) {
  open_files();
  set(wrlck, 0, 9);
  OpenFile* again = open("file");
  close(again);
  EXPECT_EQ(set_other(wrlck, 0, 9), 0);
}

TEST_F(LocksTest, the_locks_of_a_dead_owner_go) {
  open_files();
  set(wrlck, 0, 9);
  {
    kernel::Connection::Entry entry(*connection);
    fs->release_locks(caller.lock_owner);
  }
  EXPECT_EQ(set_other(wrlck, 0, 9), 0);
}

TEST_F(LocksTest, a_waiter_gets_the_lock_when_it_is_free) {
  open_files();
  set(wrlck, 0, 9);
  auto waits = start(fs->sys_setlk(other, *theirs, range(wrlck, 5, 5), true));
  EXPECT_FALSE(waits.done());
  set(unlck, 0, 9);
  EXPECT_TRUE(waits.take());
}

TEST_F(LocksTest, a_signal_and_a_kill_end_the_wait_for_a_lock) {
  open_files();
  set(wrlck, 0, 9);
  kernel::Caller third = other;
  auto one = start(fs->sys_setlk(other, *theirs, range(wrlck, 5, 5), true));
  auto two = start(fs->sys_setlk(third, *theirs, range(wrlck, 5, 5), true));
  interrupt(other);
  kill(third);
  EXPECT_EQ(one.take().error(), Errno::eintr);
  EXPECT_EQ(two.take().error(), Errno::eintr);
}

TEST_F(LocksTest, a_circle_of_waiters_is_edeadlk) {
  open_files();
  set(wrlck, 0, 0);
  set_other(wrlck, 1, 1);
  auto waits = start(fs->sys_setlk(other, *theirs, range(wrlck, 0, 0), true));
  EXPECT_EQ(error_of(fs->sys_setlk(caller, *mine, range(wrlck, 1, 1), true)), as_int(Errno::edeadlk));
  set(unlck, 0, 0);
  EXPECT_TRUE(waits.take());
}

TEST_F(LocksTest, a_circle_of_waiters_of_any_length_that_linux_walks_is_edeadlk) {
  constexpr uint64_t owners = 11;
  open_files();
  std::vector<kernel::Caller> callers(owners, caller);
  std::vector<std::unique_ptr<PendingCall<void>>> waiting;
  for (uint64_t i = 0; i < owners; ++i) {
    callers[i].lock_owner = 100 + i;
    ASSERT_EQ(error_of(fs->sys_setlk(callers[i], *mine, range(wrlck, i, i), false)), 0);
  }
  for (uint64_t i = 1; i < owners; ++i)
    waiting.push_back(std::make_unique<PendingCall<void>>(
        *connection, fs->sys_setlk(callers[i], *mine, range(wrlck, i - 1, i - 1), true)));
  EXPECT_EQ(error_of(fs->sys_setlk(callers[0], *mine, range(wrlck, owners - 1, owners - 1), true)),
            as_int(Errno::edeadlk));
  for (uint64_t i = 0; i < owners; ++i)
    EXPECT_EQ(error_of(fs->sys_setlk(callers[i], *mine, range(unlck, 0, 100), false)), 0);
  for (auto& each : waiting) EXPECT_TRUE(each->take());
}

class OpenFileLocksTest : public LocksTest {
 protected:
  static constexpr auto of_file = kernel::LockOf::open_file;
  int set_of_file(OpenFile& file, uint32_t type, uint64_t start, uint64_t end) {
    return error_of(fs->sys_setlk(caller, file, range(type, start, end), false, of_file));
  }
};

TEST_F(OpenFileLocksTest, two_open_files_of_one_process_exclude_each_other) {
  open_files();
  EXPECT_EQ(set_of_file(*mine, wrlck, 0, 9), 0);
  EXPECT_EQ(set_of_file(*mine, rdlck, 0, 4), 0);
  EXPECT_EQ(set_of_file(*theirs, wrlck, 0, 9), as_int(Errno::eagain));
  EXPECT_EQ(set_of_file(*theirs, rdlck, 0, 4), 0);
}

TEST_F(OpenFileLocksTest, they_exclude_the_process_and_name_none) {
  open_files();
  EXPECT_EQ(set_of_file(*mine, wrlck, 0, 9), 0);
  EXPECT_EQ(set(wrlck, 5, 5), as_int(Errno::eagain));
  EXPECT_EQ(seen_by_other(5, 5).pid, UINT32_MAX);
  EXPECT_EQ(set(wrlck, 20, 20), 0);
  EXPECT_EQ(set_of_file(*mine, wrlck, 20, 20), as_int(Errno::eagain));
  EXPECT_EQ(run(fs->sys_getlk(caller, *mine, range(wrlck, 20, 20), of_file))->pid, caller.tgid);
}

TEST_F(OpenFileLocksTest, the_last_close_alone_drops_them) {
  open_files();
  EXPECT_EQ(set_of_file(*mine, wrlck, 0, 9), 0);
  OpenFile* again = open("file");
  close(again);
  EXPECT_EQ(run(fs->sys_flush(caller, *mine)), kernel::Result<void>());
  {
    kernel::Connection::Entry entry(*connection);
    fs->release_locks(caller.lock_owner);
  }
  auto waits = start(fs->sys_setlk(other, *theirs, range(wrlck, 5, 5), true, of_file));
  EXPECT_FALSE(waits.done());
  close(std::exchange(mine, nullptr));
  EXPECT_TRUE(waits.take());
}

TEST_F(OpenFileLocksTest, a_process_id_is_einval) {
  open_files();
  EXPECT_EQ(error_of(fs->sys_setlk(caller, *mine, {0, 9, wrlck, 1}, false, of_file)), as_int(Errno::einval));
  EXPECT_EQ(error_of(fs->sys_getlk(caller, *mine, {0, 9, wrlck, 1}, of_file)), as_int(Errno::einval));
}

TEST_F(OpenFileLocksTest, asked_for_no_lock_the_own_one_is_named) {
  open_files();
  EXPECT_EQ(set_of_file(*mine, wrlck, 10, 19), 0);
  EXPECT_EQ(run(fs->sys_getlk(caller, *mine, range(unlck, 0, 99), of_file))->start, 10u);
  EXPECT_EQ(run(fs->sys_getlk(caller, *theirs, range(unlck, 0, 99), of_file))->type, unlck);
  EXPECT_EQ(error_of(fs->sys_getlk(caller, *mine, range(unlck, 0, 99))), as_int(Errno::einval));
}

TEST_F(OpenFileLocksTest, they_are_no_part_of_a_circle) {
  open_files();
  EXPECT_EQ(set_of_file(*mine, wrlck, 0, 0), 0);
  EXPECT_EQ(set_of_file(*theirs, wrlck, 1, 1), 0);
  auto one = start(fs->sys_setlk(caller, *mine, range(wrlck, 1, 1), true, of_file));
  auto two = start(fs->sys_setlk(other, *theirs, range(wrlck, 0, 0), true, of_file));
  EXPECT_FALSE(two.done());
  interrupt(other);
  EXPECT_EQ(two.take().error(), Errno::eintr);
  EXPECT_EQ(set_of_file(*theirs, unlck, 0, 9), 0);
  EXPECT_TRUE(one.take());
}

TEST_F(OpenFileLocksTest, the_daemon_sees_an_owner_for_each_open_file) {
  init_flags |= wire::init_flag::posix_locks;
  open_files();
  daemon->on_ok(Opcode::setlk);
  set_of_file(*mine, wrlck, 0, 9);
  set_of_file(*mine, unlck, 0, 9);
  set_of_file(*theirs, wrlck, 0, 9);
  set(wrlck, 0, 9);
  std::vector<uint64_t> owners;
  for (const auto& request : daemon->seen()) {
    if (request.opcode == Opcode::setlk) owners.push_back(request.as<wire::LkIn>().owner);
  }
  ASSERT_EQ(owners.size(), 4u);
  EXPECT_EQ(owners[0], owners[1]);
  EXPECT_NE(owners[0], owners[2]);
  EXPECT_NE(owners[0], owners[3]);
  EXPECT_NE(owners[2], owners[3]);
}

TEST_F(LocksTest, flocks_belong_to_the_open_file_and_go_with_it) {
  open_files();
  EXPECT_EQ(error_of(fs->sys_flock(caller, *mine, lock_ex)), 0);
  EXPECT_EQ(error_of(fs->sys_flock(caller, *theirs, lock_sh | lock_nb)), as_int(Errno::eagain));
  auto waits = start(fs->sys_flock(other, *theirs, lock_ex));
  close(std::exchange(mine, nullptr));
  EXPECT_TRUE(waits.take());
}

TEST_F(LocksTest, a_flock_is_converted_and_dropped) {
  open_files();
  EXPECT_EQ(error_of(fs->sys_flock(caller, *mine, lock_ex)), 0);
  EXPECT_EQ(error_of(fs->sys_flock(caller, *mine, lock_sh)), 0);
  EXPECT_EQ(error_of(fs->sys_flock(caller, *theirs, lock_sh | lock_nb)), 0);
  EXPECT_EQ(error_of(fs->sys_flock(caller, *theirs, lock_ex | lock_nb)), as_int(Errno::eagain));
  EXPECT_EQ(error_of(fs->sys_flock(caller, *mine, lock_un)), 0);
  EXPECT_EQ(error_of(fs->sys_flock(caller, *theirs, lock_ex | lock_nb)), 0);
}

TEST_F(LocksTest, the_wrong_mode_is_ebadf_and_a_bad_range_einval) {
  open_files();
  OpenFile* reader = open("file");
  EXPECT_EQ(error_of(fs->sys_setlk(caller, *reader, range(wrlck, 0, 0), false)), as_int(Errno::ebadf));
  EXPECT_EQ(set(wrlck, 5, 4), as_int(Errno::einval));
  EXPECT_EQ(set(7, 0, 1), as_int(Errno::einval));
  close(reader);
}

TEST_F(LocksTest, the_daemon_sees_a_scrambled_owner_the_same_for_one_owner) {
  init_flags |= wire::init_flag::posix_locks;
  open_files();
  daemon->on_ok(Opcode::setlk);
  set(wrlck, 0, 9);
  set(wrlck, 10, 19);
  set_other(wrlck, 20, 29);
  std::vector<uint64_t> owners;
  for (const auto& request : daemon->seen()) {
    if (request.opcode == Opcode::setlk) owners.push_back(request.as<wire::LkIn>().owner);
  }
  ASSERT_EQ(owners.size(), 3u);
  EXPECT_EQ(owners[0], owners[1]);
  EXPECT_NE(owners[0], owners[2]);
  EXPECT_NE(owners[0], caller.lock_owner);
}

TEST_F(LocksTest, the_daemon_is_told_by_flush_when_an_owner_of_its_locks_dies) {
  init_flags |= wire::init_flag::posix_locks;
  open_files();
  daemon->on_ok(Opcode::setlk);
  set(wrlck, 0, 9);
  const uint64_t owner = daemon->seen().back().as<wire::LkIn>().owner;
  {
    kernel::Connection::Entry entry(*connection);
    fs->release_locks(caller.lock_owner);
  }
  daemon->serve();
  EXPECT_EQ(daemon->seen().back().opcode, Opcode::flush);
  EXPECT_EQ(daemon->seen().back().as<wire::FlushIn>().lock_owner, owner);
}

TEST_F(LocksTest, a_wait_at_the_daemon_is_interrupted_by_the_daemon) {
  init_flags |= wire::init_flag::posix_locks;
  open_files();
  auto waits = start(fs->sys_setlk(other, *theirs, range(wrlck, 0, 0), true));
  const auto request = daemon->next(Opcode::setlkw);
  interrupt(other);
  daemon->serve();
  EXPECT_EQ(daemon->interrupted(), std::vector<uint64_t>{request.header.unique});
  daemon->reply_error(request.header.unique, Errno::eintr);
  EXPECT_EQ(waits.take().error(), Errno::eintr);
}

}  // namespace
}  // namespace fusewire::test
