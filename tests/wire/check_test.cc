#include "wire/check.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "wire/encode.h"

namespace fusewire::wire {
namespace {

constexpr Dialect newest{};

class Check : public testing::Test {
 protected:
  RequestBuilder request(Opcode opcode) { return RequestBuilder(buffer_, opcode, 12, 1); }
  ReplyBuilder reply() { return ReplyBuilder(buffer_, 12); }
  NotifyBuilder notify(NotifyCode code) { return NotifyBuilder(buffer_, code); }

  static CheckError request_error(Bytes message, const Dialect& dialect = newest) {
    return check_request(message, dialect).error();
  }
  static CheckError reply_error(Opcode opcode, Bytes message, const ReplyContext& context = {}) {
    return check_reply(opcode, context, message).error();
  }

  static Attr regular_file() {
    Attr attr{};
    attr.mode = 0100644;
    return attr;
  }

  std::array<std::byte, 8192> buffer_{};
};

TEST_F(Check, a_request_is_taken_apart) {
  const Bytes message = request(Opcode::mkdir).caller(1000, 100, 33).add(MkdirIn{0755, 022}).name("dir").finish();
  const auto view = check_request(message, newest);
  ASSERT_TRUE(view) << check_error_name(view.error());
  EXPECT_EQ(view->header.pid, 33u);
  EXPECT_EQ(view->get<MkdirIn>().mode, 0755u);
  EXPECT_EQ(view->names[0], "dir");
  EXPECT_TRUE(view->data.empty());
}

TEST_F(Check, two_names_are_told_apart) {
  const auto view = check_request(request(Opcode::rename).add(RenameIn{5}).name("old").name("new").finish(), newest);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->names[0], "old");
  EXPECT_EQ(view->names[1], "new");
}

TEST_F(Check, any_cut_of_a_request_is_refused) {
  const Bytes whole = request(Opcode::rename).add(RenameIn{5}).name("old").name("new").finish();
  for (size_t size = 0; size < whole.size(); ++size) {
    std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_NE(request_error(cut), CheckError::none);
    if (size >= sizeof(InHeader)) {
      const auto len = static_cast<uint32_t>(size);
      __builtin_memcpy(cut.data(), &len, sizeof(len));
      EXPECT_NE(request_error(cut), CheckError::none) << size;
    }
  }
}

TEST_F(Check, len_must_be_the_size_of_the_message) {
  const Bytes message = request(Opcode::lookup).name("a").finish();
  EXPECT_EQ(request_error(message), CheckError::none);
  EXPECT_EQ(request_error(message.first(message.size() - 1)), CheckError::length_mismatch);
  EXPECT_EQ(request_error(Bytes(buffer_).first(message.size() + 1)), CheckError::length_mismatch);
  EXPECT_EQ(request_error(message.first(39)), CheckError::short_header);
}

TEST_F(Check, an_unknown_opcode_still_has_a_header_to_answer) {
  const Bytes message = request(static_cast<Opcode>(54)).finish();
  EXPECT_EQ(request_error(message), CheckError::unknown_opcode);
  ASSERT_TRUE(check_request_header(message));
  EXPECT_EQ(check_request_header(message)->unique, 12u);
}

TEST_F(Check, names_are_checked_by_what_they_name) {
  EXPECT_EQ(request_error(request(Opcode::lookup).name("").finish()), CheckError::empty_name);
  EXPECT_EQ(request_error(request(Opcode::lookup).name("a/b").finish()), CheckError::slash_in_name);
  EXPECT_EQ(request_error(request(Opcode::lookup).data(bytes_of("abc")).finish()), CheckError::name_not_terminated);
  EXPECT_EQ(request_error(request(Opcode::symlink).name("link").name("/to/there").finish()), CheckError::none);
  EXPECT_EQ(request_error(request(Opcode::symlink).name("a/link").name("x").finish()), CheckError::slash_in_name);
  EXPECT_EQ(request_error(request(Opcode::removexattr).name("user.a/b").finish()), CheckError::none);
  EXPECT_EQ(request_error(request(Opcode::removexattr).name("").finish()), CheckError::empty_name);
  EXPECT_EQ(request_error(request(Opcode::tmpfile).add(CreateIn{}).name("/").finish()), CheckError::none);
}

TEST_F(Check, nothing_may_stand_behind_the_end) {
  EXPECT_EQ(request_error(request(Opcode::unlink).name("a").name("b").finish()), CheckError::trailing_bytes);
  EXPECT_EQ(request_error(request(Opcode::open).add(OpenIn{}).data(bytes_of("x")).finish()),
            CheckError::trailing_bytes);
}

TEST_F(Check, data_are_as_long_as_the_struct_says) {
  WriteIn write{};
  write.size = 5;
  EXPECT_EQ(request_error(request(Opcode::write).add(write).data(bytes_of("hello")).finish()), CheckError::none);
  EXPECT_EQ(request_error(request(Opcode::write).add(write).data(bytes_of("hell")).finish()),
            CheckError::data_mismatch);
  EXPECT_EQ(request_error(request(Opcode::write).add(write).data(bytes_of("hello!")).finish()),
            CheckError::data_mismatch);
  const auto view = check_request(
      request(Opcode::setxattr).add(SetxattrIn{3, 0, 0, 0}).name("user.a").data(bytes_of("abc")).finish(), newest);
  ASSERT_TRUE(view);
  EXPECT_EQ(text_of(view->data), "abc");
}

TEST_F(Check, the_count_of_a_batch_forget_is_its_length) {
  const auto batch = [&](uint32_t count) {
    return request(Opcode::batch_forget)
        .add(BatchForgetIn{count, 0})
        .add(ForgetOne{2, 1})
        .add(ForgetOne{3, 1})
        .finish();
  };
  EXPECT_EQ(request_error(batch(2)), CheckError::none);
  EXPECT_EQ(request_error(batch(1)), CheckError::data_mismatch);
  EXPECT_EQ(request_error(batch(3)), CheckError::data_mismatch);
  // 2 + 2^28: wraps to 32 bytes in 32 bits.
  EXPECT_EQ(request_error(batch(2 + (1u << 28))), CheckError::data_mismatch);
}

TEST_F(Check, old_dialects_have_small_structs) {
  const Dialect minor8{.minor = 8, .setxattr_ext = false};
  WriteIn write{};
  write.size = 2;
  const Bytes message = request(Opcode::write).add(write, compat_write_in_size).data(bytes_of("ab")).finish();
  const auto view = check_request(message, minor8);
  ASSERT_TRUE(view);
  EXPECT_EQ(text_of(view->data), "ab");
  EXPECT_EQ(view->get<WriteIn>().lock_owner, 0u);
  EXPECT_NE(request_error(message), CheckError::none);
}

TEST_F(Check, init_is_read_by_its_own_minor) {
  EXPECT_EQ(request_error(request(Opcode::init).add(InitIn{7, 35, 0, 0, 0, {}}, 16).finish()), CheckError::none);
  EXPECT_EQ(request_error(request(Opcode::init).add(InitIn{7, 36, 0, 0, 0, {}}, 16).finish()), CheckError::short_fixed);
  EXPECT_EQ(request_error(request(Opcode::init).add(InitIn{7, 45, 0, 0, 0, {}}).finish()), CheckError::none);
  // A kernel of the future has more to say.
  EXPECT_EQ(request_error(request(Opcode::init).add(InitIn{7, 99, 0, 0, 0, {}}).data(bytes_of("12345678")).finish()),
            CheckError::none);
}

TEST_F(Check, extensions_stand_at_the_end_of_creates_only) {
  const struct {
    ExtHeader header{16, ext_groups};
    uint32_t nr_groups = 1, group = 1000;
  } groups;
  const Bytes block = bytes_of_struct(groups);
  const auto view = check_request(request(Opcode::mkdir).add(MkdirIn{}).name("d").extensions(block).finish(), newest);
  ASSERT_TRUE(view) << check_error_name(view.error());
  EXPECT_EQ(view->extensions.size(), 16u);
  EXPECT_EQ(request_error(request(Opcode::unlink).name("d").extensions(block).finish()), CheckError::bad_extensions);
}

TEST_F(Check, extension_records_must_add_up) {
  const auto with_size = [&](uint32_t size) {
    const uint32_t block[4] = {size, ext_groups, 0, 0};
    return request_error(request(Opcode::mkdir).add(MkdirIn{}).name("d").extensions(bytes_of_struct(block)).finish());
  };
  EXPECT_EQ(with_size(16), CheckError::none);
  for (const uint32_t size : {0u, 4u, 12u, 24u, UINT32_MAX}) EXPECT_EQ(with_size(size), CheckError::bad_extensions);
}

TEST_F(Check, extensions_do_not_reach_into_the_struct) {
  const Bytes message = request(Opcode::symlink).name("1234567").extensions(Bytes(buffer_).first(0)).finish();
  auto header = load<InHeader>(message);
  header.total_extlen = 2;
  __builtin_memcpy(buffer_.data(), &header, sizeof(header));
  EXPECT_EQ(request_error(message), CheckError::bad_extensions);
}

TEST_F(Check, a_reply_is_taken_apart) {
  EntryOut entry{};
  entry.nodeid = 2;
  entry.attr = regular_file();
  const auto view = check_reply(Opcode::lookup, {}, reply().add(entry).finish());
  ASSERT_TRUE(view) << check_error_name(view.error());
  EXPECT_EQ(view->get<EntryOut>().nodeid, 2u);
}

TEST_F(Check, errors_of_replies_lie_between_minus_511_and_0) {
  const auto with_error = [](int32_t error) {
    const OutHeader header{16, error, 12};
    return reply_error(Opcode::unlink, bytes_of_struct(header));
  };
  EXPECT_EQ(with_error(0), CheckError::none);
  EXPECT_EQ(with_error(-2), CheckError::none);
  EXPECT_EQ(with_error(-511), CheckError::none);
  EXPECT_EQ(with_error(-512), CheckError::error_range);
  EXPECT_EQ(with_error(1), CheckError::error_range);
  EXPECT_EQ(with_error(INT32_MIN), CheckError::error_range);
}

TEST_F(Check, an_error_has_no_payload) {
  const Bytes message = reply().add(OpenOut{}).finish();
  const int32_t error = -5;
  __builtin_memcpy(buffer_.data() + offsetof(OutHeader, error), &error, sizeof(error));
  EXPECT_EQ(reply_error(Opcode::open, message), CheckError::error_with_payload);
}

TEST_F(Check, fixed_replies_are_exact) {
  EXPECT_EQ(reply_error(Opcode::open, reply().add(OpenOut{}, 15).finish()), CheckError::reply_too_short);
  EXPECT_EQ(reply_error(Opcode::open, reply().add(OpenOut{}).data(bytes_of("x")).finish()), CheckError::reply_too_long);
  EXPECT_EQ(reply_error(Opcode::unlink, reply().data(bytes_of("x")).finish()), CheckError::reply_too_long);
}

TEST_F(Check, variable_replies_stay_within_what_was_asked_for) {
  const Bytes message = reply().data(bytes_of("12345")).finish();
  EXPECT_EQ(reply_error(Opcode::read, message, {.room = 5}), CheckError::none);
  EXPECT_EQ(reply_error(Opcode::read, message, {.room = 4}), CheckError::reply_too_long);
  EXPECT_EQ(reply_error(Opcode::read, reply().finish(), {.room = 4}), CheckError::none);
}

TEST_F(Check, xattr_replies_follow_the_size_that_was_asked) {
  const Bytes size = reply().add(GetxattrOut{100, 0}).finish();
  EXPECT_EQ(reply_error(Opcode::getxattr, size, {.size_probe = true}), CheckError::none);
  EXPECT_EQ(reply_error(Opcode::getxattr, size, {.room = 4}), CheckError::reply_too_long);
  const Bytes value = reply().data(bytes_of("abc")).finish();
  EXPECT_EQ(reply_error(Opcode::getxattr, value, {.size_probe = true}), CheckError::reply_too_short);
  EXPECT_EQ(reply_error(Opcode::getxattr, value, {.room = 3}), CheckError::none);
  EXPECT_EQ(reply_error(Opcode::listxattr, value, {.room = 3}), CheckError::bad_name_list);
}

TEST_F(Check, a_short_init_reply_is_taken) {
  InitOut init{};
  init.major = 7;
  init.minor = 22;
  for (const size_t size : {8u, 24u, 64u}) {
    const auto view = check_reply(Opcode::init, {}, reply().add(init, size).finish());
    ASSERT_TRUE(view) << size;
    EXPECT_EQ(view->get<InitOut>().minor, 22u);
  }
}

TEST_F(Check, an_interrupt_is_answered_by_a_header_alone) {
  EXPECT_EQ(reply_error(Opcode::interrupt, reply().finish()), CheckError::none);
  EXPECT_EQ(reply_error(Opcode::interrupt, reply().data(bytes_of("12345678")).finish()), CheckError::reply_too_long);
}

TEST_F(Check, requests_without_reply_get_none) {
  EXPECT_EQ(reply_error(Opcode::forget, reply().finish()), CheckError::unexpected_reply);
  EXPECT_EQ(reply_error(Opcode::unlink, notify(NotifyCode::resend).finish()), CheckError::unexpected_reply);
}

TEST_F(Check, attributes_need_a_file_type_and_a_size_of_63_bits) {
  Attr attr = regular_file();
  EXPECT_TRUE(attributes_are_sane(attr));
  for (const uint32_t mode : {0u, 0030000u, 0150000u, 0170000u}) {
    attr.mode = mode;
    EXPECT_FALSE(attributes_are_sane(attr)) << mode;
  }
  for (const uint32_t mode : {0010000u, 0020000u, 0040000u, 0060000u, 0120000u, 0140000u}) {
    attr.mode = mode;
    EXPECT_TRUE(attributes_are_sane(attr)) << mode;
  }
  attr.size = uint64_t{1} << 63;
  EXPECT_FALSE(attributes_are_sane(attr));
}

TEST_F(Check, a_negative_entry_needs_no_attributes) {
  EntryOut negative{};
  EXPECT_EQ(reply_error(Opcode::lookup, reply().add(negative).finish()), CheckError::none);
  negative.nodeid = 2;
  EXPECT_EQ(reply_error(Opcode::lookup, reply().add(negative).finish()), CheckError::bad_attributes);
}

TEST_F(Check, a_directory_reply_is_walked) {
  const Bytes good = reply().add(Dirent{1, 1, 1, 8}).data(bytes_of(std::string("a\0\0\0\0\0\0\0", 8))).finish();
  EXPECT_EQ(reply_error(Opcode::readdir, good), CheckError::none);
  const Bytes bad = reply().add(Dirent{1, 1, 1, 8}).data(bytes_of(std::string("/\0\0\0\0\0\0\0", 8))).finish();
  EXPECT_EQ(reply_error(Opcode::readdir, bad), CheckError::bad_directory_record);
}

TEST_F(Check, notifications_have_exact_sizes) {
  EXPECT_EQ(check_notify(notify(NotifyCode::poll).add(NotifyPollWakeupOut{1}).finish()).error(), CheckError::none);
  EXPECT_EQ(check_notify(notify(NotifyCode::poll).finish()).error(), CheckError::short_fixed);
  EXPECT_EQ(check_notify(notify(NotifyCode::poll).add(NotifyPollWakeupOut{1}).data(bytes_of("x")).finish()).error(),
            CheckError::trailing_bytes);
  EXPECT_EQ(check_notify(notify(static_cast<NotifyCode>(10)).finish()).error(), CheckError::unknown_notify);
  EXPECT_EQ(check_notify(reply().finish()).error(), CheckError::unexpected_reply);
}

TEST_F(Check, a_notified_name_is_as_long_as_it_says) {
  const auto inval = [&](uint32_t namelen, std::string_view name) {
    return check_notify(notify(NotifyCode::inval_entry).add(NotifyInvalEntryOut{1, namelen, 0}).name(name).finish());
  };
  ASSERT_TRUE(inval(4, "file"));
  EXPECT_EQ(inval(4, "file")->name, "file");
  EXPECT_EQ(inval(3, "file").error(), CheckError::data_mismatch);
  EXPECT_EQ(inval(5, "file").error(), CheckError::data_mismatch);
  EXPECT_EQ(inval(UINT32_MAX, "file").error(), CheckError::name_too_long);
  EXPECT_EQ(inval(4096, std::string(4096, 'x')).error(), CheckError::name_too_long);
  EXPECT_EQ(check_error_errno(CheckError::name_too_long), 36);
}

TEST_F(Check, stored_data_and_pruned_nodes_are_counted) {
  EXPECT_TRUE(check_notify(notify(NotifyCode::store).add(NotifyStoreOut{1, 0, 3, 0}).data(bytes_of("abc")).finish()));
  EXPECT_EQ(
      check_notify(notify(NotifyCode::store).add(NotifyStoreOut{1, 0, 4, 0}).data(bytes_of("abc")).finish()).error(),
      CheckError::data_mismatch);
  const uint64_t nodes[2] = {2, 3};
  EXPECT_TRUE(check_notify(notify(NotifyCode::prune).add(NotifyPruneOut{2, 0, 0}).add(nodes).finish()));
  EXPECT_FALSE(check_notify(notify(NotifyCode::prune).add(NotifyPruneOut{3, 0, 0}).add(nodes).finish()));
}

TEST_F(Check, a_builder_without_room_writes_nothing_behind_its_buffer) {
  std::array<std::byte, 64> memory{};
  memory.fill(std::byte{0xee});
  const auto room = std::span(memory).first(44);
  EXPECT_TRUE(RequestBuilder(room, Opcode::lookup, 2, 1).name("too long for it").finish().empty());
  for (size_t i = room.size(); i < memory.size(); ++i) EXPECT_EQ(memory[i], std::byte{0xee});
  EXPECT_EQ(RequestBuilder(room, Opcode::lookup, 2, 1).name("fit").finish().size(), 44u);
  EXPECT_TRUE(RequestBuilder(room.first(39), Opcode::lookup, 2, 1).finish().empty());
}

}  // namespace
}  // namespace fusewire::wire
