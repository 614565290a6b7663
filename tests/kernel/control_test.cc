// The rule book of the control file system (K230, K231).
#include <string>

#include "support/kernel_fixture.h"

namespace fusewire::test {
namespace {

using kernel::ControlFile;
using kernel::Errno;

class ControlTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    mount_and_init();
  }
  std::string read(ControlFile file) {
    char text[kernel::Control::longest_text];
    const auto length = module.control().read(connection->id(), file, text);
    return length ? std::string(text, *length) : "errno " + std::to_string(static_cast<int>(length.error()));
  }
  int write(ControlFile file, std::string_view text, bool privileged = false) {
    return errno_of(module.control().write(connection->id(), file, text, privileged));
  }
};

TEST_F(ControlTest, waiting_is_the_number_of_requests_under_way) {
  EXPECT_EQ(read(ControlFile::waiting), "0\n");
  auto call = RawCall::lookup(*connection, "a");
  call->start();
  EXPECT_EQ(read(ControlFile::waiting), "1\n");
  daemon->reply_error(daemon->next().header.unique, Errno::enoent);
}

TEST_F(ControlTest, any_write_to_abort_aborts) {
  EXPECT_EQ(write(ControlFile::abort, "x"), 0);
  EXPECT_FALSE(connection->connected());
}

TEST_F(ControlTest, limits_are_read_and_written) {
  EXPECT_EQ(read(ControlFile::max_background), "12\n");
  EXPECT_EQ(read(ControlFile::congestion_threshold), "9\n");
  EXPECT_EQ(write(ControlFile::max_background, "100\n"), 0);
  EXPECT_EQ(write(ControlFile::congestion_threshold, "0x20"), 0);
  EXPECT_EQ(read(ControlFile::max_background), "100\n");
  EXPECT_EQ(read(ControlFile::congestion_threshold), "32\n");
}

TEST_F(ControlTest, limits_above_65535_or_not_numbers_are_einval) {
  EXPECT_EQ(write(ControlFile::max_background, "65536", true), as_int(Errno::einval));
  EXPECT_EQ(write(ControlFile::max_background, "many", true), as_int(Errno::einval));
  EXPECT_EQ(write(ControlFile::max_background, "", true), as_int(Errno::einval));
  EXPECT_EQ(write(ControlFile::max_background, "65535", true), 0);
}

TEST_F(ControlTest, unprivileged_limits_are_bounded) {
  EXPECT_EQ(write(ControlFile::max_background, "60000"), as_int(Errno::einval));
  EXPECT_EQ(write(ControlFile::max_background, std::to_string(kernel::max_user_background)), 0);
}

TEST_F(ControlTest, after_the_end_reads_give_nothing) {
  abort_connection();
  EXPECT_EQ(read(ControlFile::waiting), "");
}

TEST_F(ControlTest, abort_is_not_readable_and_waiting_not_writable) {
  EXPECT_EQ(read(ControlFile::abort), "errno 22");
  EXPECT_EQ(write(ControlFile::waiting, "1"), as_int(Errno::einval));
}

TEST_F(ControlTest, unknown_connection_is_enoent) {
  char text[kernel::Control::longest_text];
  EXPECT_EQ(errno_of(module.control().read(99, ControlFile::waiting, text)), as_int(Errno::enoent));
  EXPECT_EQ(errno_of(module.control().write(99, ControlFile::abort, "1", true)), as_int(Errno::enoent));
}

}  // namespace
}  // namespace fusewire::test
