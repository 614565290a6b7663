// copy_file_range between two files of a mount: the two opcodes, and what is done without them (K174).
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

class CopyTest : public SyscallTest {
 protected:
  static constexpr uint64_t source_size = uint64_t{6} << 30;

  void SetUp() override {
    SyscallTest::SetUp();
    mount_tree();
    source = add(root, "source", regular, source_size);
    add(root, "target", regular, 0);
    daemon->on_error(Opcode::copy_file_range_64, Errno::enosys);
    daemon->on_error(Opcode::copy_file_range, Errno::enosys);
    from = open("source");
    to = open("target", o_rdwr);
  }
  void TearDown() override {
    close(from);
    close(to);
    SyscallTest::TearDown();
  }
  kernel::Result<size_t> copy(uint64_t bytes, int64_t in = 0, int64_t out = 0) {
    return run(fs->sys_copy_file_range(caller, *from, *to, {in, out, bytes}));
  }
  // What of a copy the daemon was asked.
  std::vector<wire::CopyFileRangeIn> asked(Opcode opcode) {
    std::vector<wire::CopyFileRangeIn> found;
    for (const auto& request : daemon->seen())
      if (request.opcode == opcode) found.push_back(request.as<wire::CopyFileRangeIn>());
    return found;
  }
  uint64_t source = 0;
  OpenFile* from = nullptr;
  OpenFile* to = nullptr;
};

TEST_F(CopyTest, the_long_opcode_is_asked_first_and_carries_all_of_it) {
  daemon->on(Opcode::copy_file_range_64, [](const DaemonRequest& request) {
    return DaemonReply::ok(wire::CopyFileRangeOut{request.as<wire::CopyFileRangeIn>().len});
  });
  EXPECT_EQ(*copy(source_size, 0, 10), source_size);
  const auto requests = asked(Opcode::copy_file_range_64);
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].len, source_size);
  EXPECT_EQ(requests[0].fh_in, from->fh);
  EXPECT_EQ(requests[0].fh_out, to->fh);
  EXPECT_EQ(requests[0].nodeid_out, to->inode->nodeid);
  EXPECT_EQ(requests[0].off_out, 10u);
  EXPECT_EQ(to->inode->attr.size, source_size + 10) << "the target has grown by what was copied";
}

TEST_F(CopyTest, the_older_opcode_is_asked_for_whole_pages_below_its_limit) {
  daemon->on(Opcode::copy_file_range, [](const DaemonRequest& request) {
    return DaemonReply::ok(wire::WriteOut{static_cast<uint32_t>(request.as<wire::CopyFileRangeIn>().len), 0});
  });
  EXPECT_EQ(*copy(source_size), 0xfffff000u);
  EXPECT_EQ(*copy(100), 100u);
  EXPECT_EQ(asked(Opcode::copy_file_range_64).size(), 1u) << "its ENOSYS is remembered";
  EXPECT_EQ(asked(Opcode::copy_file_range).size(), 2u);
}

TEST_F(CopyTest, a_daemon_that_knows_neither_reads_and_writes) {
  daemon->on(Opcode::read, [](const DaemonRequest& request) {
    return DaemonReply::ok(std::string(request.as<wire::ReadIn>().size, 'x'));
  });
  std::string written;
  daemon->on(Opcode::write, [&](const DaemonRequest& request) {
    written += request.data(sizeof(wire::WriteIn));
    return DaemonReply::ok(wire::WriteOut{request.as<wire::WriteIn>().size, 0});
  });
  EXPECT_EQ(*copy(300'000), 300'000u);
  EXPECT_EQ(*copy(5, 0, 300'000), 5u);
  EXPECT_EQ(written, std::string(300'005, 'x'));
  EXPECT_EQ(asked(Opcode::copy_file_range_64).size(), 1u);
  EXPECT_EQ(asked(Opcode::copy_file_range).size(), 1u);
}

TEST_F(CopyTest, exdev_of_the_daemon_reads_and_writes_and_is_not_remembered) {
  daemon->on_error(Opcode::copy_file_range_64, Errno::exdev);
  daemon->on(Opcode::read, [](const DaemonRequest& request) {
    return DaemonReply::ok(std::string(request.as<wire::ReadIn>().size, 'x'));
  });
  daemon->on(Opcode::write, [](const DaemonRequest& request) {
    return DaemonReply::ok(wire::WriteOut{request.as<wire::WriteIn>().size, 0});
  });
  EXPECT_EQ(*copy(10), 10u);
  EXPECT_EQ(*copy(10), 10u);
  EXPECT_EQ(asked(Opcode::copy_file_range_64).size(), 2u);
}

TEST_F(CopyTest, another_error_is_the_callers_and_more_than_was_asked_for_is_eio) {
  daemon->on_error(Opcode::copy_file_range_64, Errno::enospc);
  EXPECT_EQ(error_of(fs->sys_copy_file_range(caller, *from, *to, {0, 0, 10})), as_int(Errno::enospc));
  daemon->on(Opcode::copy_file_range_64,
             [](const DaemonRequest&) { return DaemonReply::ok(wire::CopyFileRangeOut{11}); });
  EXPECT_EQ(error_of(fs->sys_copy_file_range(caller, *from, *to, {0, 0, 10})), as_int(Errno::eio));
  EXPECT_EQ(to->inode->attr.size, 0u);
}

TEST_F(CopyTest, positions_move_by_what_was_copied) {
  daemon->on(Opcode::copy_file_range_64,
             [](const DaemonRequest&) { return DaemonReply::ok(wire::CopyFileRangeOut{7}); });
  EXPECT_EQ(*copy(10, -1, -1), 7u);
  EXPECT_EQ(*copy(10, -1, 0), 7u);
  EXPECT_EQ(from->position, 14u);
  EXPECT_EQ(to->position, 7u);
}

}  // namespace
}  // namespace fusewire::test
