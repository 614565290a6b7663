// The rule book of Device::write: which replies are taken, and what malformed ones do (K011-K013).
#include "support/kernel_fixture.h"

namespace fusewire::test {
namespace {

using kernel::Errno;
using wire::Opcode;

class WriteTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    mount_and_init();
  }
  // A call whose request the daemon has read.
  std::unique_ptr<RawCall> sent(std::unique_ptr<RawCall> call) {
    call->start();
    unique = daemon->next().header.unique;
    return call;
  }
  std::unique_ptr<RawCall> sent_getattr() { return sent(RawCall::getattr(*connection)); }
  void finish(RawCall& call) {
    daemon->reply_error(unique, Errno::enoent);
    EXPECT_EQ(call.error(), as_int(Errno::enoent));
  }
  int reply(const Bytes& payload, int32_t negative_error = 0) {
    return errno_of(daemon->try_reply(unique, payload, negative_error));
  }

  uint64_t unique = 0;
};

TEST_F(WriteTest, reply_reaches_its_sender) {
  auto call = sent_getattr();
  wire::AttrOut out{};
  out.attr.size = 42;
  EXPECT_EQ(reply(bytes_of(out)), 0);
  EXPECT_EQ(call->size(), sizeof(out));
  EXPECT_EQ(std::memcmp(call->out.data(), &out, sizeof(out)), 0);
}

TEST_F(WriteTest, write_returns_the_length_of_the_message) {
  auto call = sent_getattr();
  const auto written = daemon->try_reply(unique, bytes_of(wire::AttrOut{}));
  ASSERT_TRUE(written.has_value());
  EXPECT_EQ(*written, sizeof(wire::OutHeader) + sizeof(wire::AttrOut));
}

TEST_F(WriteTest, error_reaches_its_sender) {
  auto call = sent_getattr();
  EXPECT_EQ(reply({}, -13), 0);
  EXPECT_EQ(call->error(), 13);
}

TEST_F(WriteTest, message_shorter_than_a_header_is_einval) {
  EXPECT_EQ(errno_of(daemon->write({})), as_int(Errno::einval));
  EXPECT_EQ(errno_of(daemon->write(Bytes(15))), as_int(Errno::einval));
}

TEST_F(WriteTest, length_that_is_not_the_message_s_is_einval_and_the_request_stays) {
  auto call = sent_getattr();
  for (const uint32_t length : {0u, 15u, 17u, 4096u, UINT32_MAX})
    EXPECT_EQ(errno_of(daemon->write(bytes_of(wire::OutHeader{length, 0, unique}))), as_int(Errno::einval));
  EXPECT_FALSE(call->done());
  finish(*call);
}

TEST_F(WriteTest, error_out_of_range_is_einval_and_the_request_stays) {
  auto call = sent_getattr();
  for (const int32_t wrong : {1, 2, 512, -512, -513, -4001, INT32_MIN, INT32_MAX})
    EXPECT_EQ(reply({}, wrong), as_int(Errno::einval)) << wrong;
  EXPECT_FALSE(call->done());
  EXPECT_EQ(reply({}, -511), 0);
  EXPECT_EQ(call->error(), 511);
}

TEST_F(WriteTest, unknown_unique_is_enoent) {
  auto call = sent_getattr();
  EXPECT_EQ(errno_of(daemon->try_reply(unique + 2)), as_int(Errno::enoent));
  EXPECT_EQ(errno_of(daemon->try_reply(unique | wire::unique_resend)), as_int(Errno::enoent));
  finish(*call);
}

TEST_F(WriteTest, reply_before_the_read_is_enoent) {
  auto call = RawCall::getattr(*connection);
  call->start();
  EXPECT_EQ(errno_of(daemon->try_reply(4, bytes_of(wire::AttrOut{}))), as_int(Errno::enoent));
  unique = daemon->next().header.unique;
  EXPECT_EQ(unique, 4u);
  finish(*call);
}

TEST_F(WriteTest, second_reply_is_enoent) {
  auto call = sent_getattr();
  finish(*call);
  EXPECT_EQ(reply({}, -2), as_int(Errno::enoent));
}

TEST_F(WriteTest, error_with_payload_is_einval_for_the_daemon_and_eio_for_the_sender) {
  auto call = sent_getattr();
  EXPECT_EQ(reply(bytes_of(wire::AttrOut{}), -2), as_int(Errno::einval));
  EXPECT_EQ(call->error(), as_int(Errno::eio));
  EXPECT_EQ(reply({}), as_int(Errno::enoent)) << "the request is gone";
}

TEST_F(WriteTest, fixed_reply_must_have_its_exact_length) {
  for (const size_t wrong : {size_t{0}, sizeof(wire::AttrOut) - 1, sizeof(wire::AttrOut) + 1, size_t{100'000}}) {
    auto call = sent_getattr();
    EXPECT_EQ(reply(Bytes(wrong)), as_int(Errno::einval)) << wrong;
    EXPECT_EQ(call->error(), as_int(Errno::eio));
  }
}

TEST_F(WriteTest, reply_without_payload_must_be_bare) {
  auto call = sent(std::make_unique<RawCall>(*connection, Opcode::unlink, name_bytes("a"), 0));
  EXPECT_EQ(reply(Bytes(1)), as_int(Errno::einval));
  EXPECT_EQ(call->error(), as_int(Errno::eio));
}

TEST_F(WriteTest, variable_reply_may_be_short_or_empty) {
  auto call = sent(RawCall::read(*connection, 4096));
  EXPECT_EQ(reply(bytes_of("hello")), 0);
  EXPECT_EQ(call->text(), "hello");
  call = sent(RawCall::read(*connection, 4096));
  EXPECT_EQ(reply({}), 0);
  EXPECT_EQ(call->size(), 0u);
}

TEST_F(WriteTest, variable_reply_must_not_be_longer_than_asked) {
  auto call = sent(RawCall::read(*connection, 4096));
  EXPECT_EQ(reply(Bytes(4097)), as_int(Errno::einval));
  EXPECT_EQ(call->error(), as_int(Errno::eio));
}

TEST_F(WriteTest, long_variable_reply_arrives_whole) {
  Bytes data(131072);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 13);
  auto call = sent(RawCall::read(*connection, data.size()));
  EXPECT_EQ(reply(data), 0);
  EXPECT_EQ(call->size(), data.size());
  EXPECT_EQ(call->out, data);
}

TEST_F(WriteTest, only_the_last_of_two_arguments_may_be_short) {
  const auto make = [this] {
    auto call = std::make_unique<RawCall>(*connection, Opcode::ioctl, bytes_of(wire::IoctlIn{}), 0);
    call->args.out_count = 0;
    call->out.resize(sizeof(wire::IoctlOut) + 64);
    const std::span<std::byte> all(call->out);
    call->args.add_out_bytes(all.first(sizeof(wire::IoctlOut)), false);
    call->args.add_out_bytes(all.subspan(sizeof(wire::IoctlOut)), true);
    return call;
  };
  auto call = sent(make());
  EXPECT_EQ(reply(bytes_of(wire::IoctlOut{}, "abc")), 0);
  EXPECT_EQ(call->size(), 3u);
  call = sent(make());
  EXPECT_EQ(reply(Bytes(sizeof(wire::IoctlOut) - 1)), as_int(Errno::einval));
  EXPECT_EQ(call->error(), as_int(Errno::eio));
}

TEST_F(WriteTest, malformed_messages_are_counted) {
  auto call = sent_getattr();
  EXPECT_EQ(reply({}, 5), as_int(Errno::einval));
  EXPECT_EQ(reply(Bytes(3)), as_int(Errno::einval));
  EXPECT_EQ(connection->counters().rejected, 2u);
  EXPECT_EQ(call->error(), as_int(Errno::eio));
}

TEST_F(WriteTest, forget_s_unique_is_not_a_request) {
  forget(5, 1);
  const auto request = daemon->next(Opcode::forget);
  EXPECT_EQ(errno_of(daemon->try_reply(request.header.unique)), as_int(Errno::enoent));
}

}  // namespace
}  // namespace fusewire::test
