#include "wire/print.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "wire/encode.h"

namespace fusewire::wire {
namespace {

class Print : public testing::Test {
 protected:
  RequestBuilder request(Opcode opcode) { return RequestBuilder(buffer_, opcode, 12, 1).caller(0, 0, 33); }
  ReplyBuilder reply() { return ReplyBuilder(buffer_, 12); }

  static std::string request_line(Bytes message) {
    std::array<char, 512> text;
    return {text.data(), print_request(message, {}, text)};
  }
  static std::string reply_line(Opcode opcode, Bytes message, const ReplyContext& context = {}) {
    std::array<char, 512> text;
    return {text.data(), print_reply(opcode, context, message, text)};
  }

  std::array<std::byte, 1024> buffer_{};
};

TEST_F(Print, an_unlink_is_one_line) {
  EXPECT_EQ(request_line(request(Opcode::unlink).name("file").finish()), R"(UNLINK unique=12 nodeid=1 pid=33 "file")");
}

TEST_F(Print, fields_of_the_struct_stand_before_the_names) {
  EXPECT_EQ(request_line(request(Opcode::mkdir).add(MkdirIn{0755, 022}).name("d").finish()),
            R"(MKDIR unique=12 nodeid=1 pid=33 mode=0755 umask=022 "d")");
  EXPECT_EQ(request_line(request(Opcode::rename2).add(Rename2In{7, 1, 0}).name("a").name("b").finish()),
            R"(RENAME2 unique=12 nodeid=1 pid=33 newdir=7 flags=0x1 "a" "b")");
}

TEST_F(Print, names_cannot_break_the_line) {
  EXPECT_EQ(request_line(request(Opcode::lookup).name("a\n\"\\\x1b\xff").finish()),
            R"(LOOKUP unique=12 nodeid=1 pid=33 "a\x0a\"\\\x1b\xff")");
}

TEST_F(Print, a_setattr_prints_only_what_is_valid) {
  SetattrIn in{};
  in.valid = fattr::size | fattr::mtime;
  in.size = 5;
  in.mtime = static_cast<uint64_t>(-3);
  in.mtimensec = 20;
  in.mode = 0777;
  EXPECT_EQ(request_line(request(Opcode::setattr).add(in).finish()),
            "SETATTR unique=12 nodeid=1 pid=33 valid=0x28 size=5 mtime=-3.000000020");
}

TEST_F(Print, a_bad_request_says_what_is_wrong) {
  EXPECT_EQ(request_line(request(Opcode::lookup).data(bytes_of("abc")).finish()),
            "LOOKUP unique=12 nodeid=1 pid=33 bad message: name_not_terminated bytes=43");
  EXPECT_EQ(request_line({}), "? opcode=0 unique=0 nodeid=0 pid=0 bad message: short_header bytes=0");
}

TEST_F(Print, replies_print_error_or_result) {
  const OutHeader enoent = error_reply(12, 2);
  EXPECT_EQ(reply_line(Opcode::unlink, bytes_of_struct(enoent)), "UNLINK unique=12 error=-2");
  EXPECT_EQ(reply_line(Opcode::open, reply().add(OpenOut{3, fopen_flag::keep_cache, 0}).finish()),
            "OPEN unique=12 error=0 fh=3 open_flags=0x2");
  EXPECT_EQ(reply_line(Opcode::readlink, reply().data(bytes_of("target")).finish()),
            R"(READLINK unique=12 error=0 "target" data=6)");
}

TEST_F(Print, a_create_reply_of_an_old_minor_has_its_open_part_found) {
  EntryOut entry{};
  entry.nodeid = 2;
  entry.attr.mode = 0100600;
  const Bytes message = reply().add(entry, compat_entry_out_size).add(OpenOut{9, 0, 0}).finish();
  EXPECT_NE(reply_line(Opcode::create, message, {.dialect = {.minor = 8}}).find(" fh=9 "), std::string::npos);
}

TEST_F(Print, notifications_have_lines_too) {
  std::array<char, 256> text;
  const Bytes message =
      NotifyBuilder(buffer_, NotifyCode::inval_entry).add(NotifyInvalEntryOut{1, 4, 0}).name("file").finish();
  EXPECT_EQ(std::string(text.data(), print_notify(message, text)), R"(NOTIFY_INVAL_ENTRY parent=1 flags=0x0 "file")");
}

TEST_F(Print, a_line_that_does_not_fit_is_cut) {
  std::array<char, 16> text;
  text.fill('#');
  EXPECT_EQ(print_request(request(Opcode::unlink).name("file").finish(), {}, std::span(text).first(10)), 10u);
  EXPECT_EQ(std::string(text.data(), text.size()), "UNLINK uni######");
}

}  // namespace
}  // namespace fusewire::wire
