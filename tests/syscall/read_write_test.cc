// The rule book of bytes: splitting, sizes, positions (K150-K175). No page cache: every read and write is a request.
#include "support/syscall_fixture.h"

namespace fusewire::test {
namespace {

class ReadWriteTest : public SyscallTest {
 protected:
  // A file whose bytes are in `content`, served as a daemon would.
  void serve_content() {
    mount_tree();
    node = add(root, "file", regular, content.size());
    daemon->on(Opcode::read, [this](const DaemonRequest& request) {
      const auto in = request.as<wire::ReadIn>();
      return DaemonReply::ok(content.substr(std::min<size_t>(in.offset, content.size()), in.size));
    });
    daemon->on(Opcode::write, [this](const DaemonRequest& request) {
      const auto in = request.as<wire::WriteIn>();
      const std::string data = request.data(sizeof(in));
      if (content.size() < in.offset + data.size()) content.resize(in.offset + data.size());
      content.replace(in.offset, data.size(), data);
      nodes[node].size = content.size();
      return DaemonReply::ok(wire::WriteOut{in.size, 0});
    });
  }
  std::vector<std::pair<uint64_t, uint32_t>> ranges(Opcode opcode) {
    std::vector<std::pair<uint64_t, uint32_t>> found;
    for (const auto& request : daemon->seen()) {
      if (request.opcode != opcode) continue;
      const auto in = request.as<wire::ReadIn>();
      found.emplace_back(in.offset, in.size);
    }
    return found;
  }
  using Ranges = std::vector<std::pair<uint64_t, uint32_t>>;
  std::string content = "hello world";
  uint64_t node = 0;
};

TEST_F(ReadWriteTest, a_read_is_whole_pages_and_ends_at_the_size) {
  serve_content();
  OpenFile* file = open("file");
  EXPECT_EQ(*read(file, 100), "hello world");
  EXPECT_EQ(*read(file, 100), "");
  EXPECT_EQ(ranges(Opcode::read), (Ranges{{0, 4096}}));
  close(file);
}

TEST_F(ReadWriteTest, an_unaligned_read_gets_the_bytes_it_asked_for) {
  content.clear();
  for (int i = 0; i < 3000; ++i) content += std::to_string(i) + ",";
  serve_content();
  OpenFile* file = open("file");
  EXPECT_EQ(*read(file, 5000, 4000), content.substr(4000, 5000));
  EXPECT_EQ(ranges(Opcode::read), (Ranges{{0, 12288}}));
  close(file);
}

TEST_F(ReadWriteTest, a_large_read_is_split_by_max_pages) {
  content.assign(300000, 'x');
  serve_content();
  OpenFile* file = open("file");
  EXPECT_EQ(*read(file, 400000), content);
  EXPECT_EQ(ranges(Opcode::read), (Ranges{{0, 131072}, {131072, 131072}, {262144, 40960}}));
  close(file);
}

TEST_F(ReadWriteTest, a_short_read_makes_the_file_shorter) {
  serve_content();
  nodes[node].size = 100;
  OpenFile* file = open("file");
  EXPECT_EQ(*read(file, 50), "hello world");
  EXPECT_EQ(file->inode->attr.size, 11u);
  close(file);
}

TEST_F(ReadWriteTest, a_read_past_the_known_end_asks_for_the_size_when_attributes_are_old) {
  serve_content();
  attr_valid = 0;
  OpenFile* file = open("file");
  content += ", and more";
  nodes[node].size = content.size();
  EXPECT_EQ(*read(file, 100), "hello world, and more");
  EXPECT_EQ(daemon->count(Opcode::getattr), 1u);
  close(file);
}

TEST_F(ReadWriteTest, the_position_moves_with_read_and_write_and_not_with_pread) {
  serve_content();
  OpenFile* file = open("file", o_rdwr);
  EXPECT_EQ(*read(file, 5), "hello");
  EXPECT_EQ(*read(file, 5, 0), "hello");
  EXPECT_EQ(*write(file, "-"), 1u);
  EXPECT_EQ(*read(file, 5), "world");
  EXPECT_EQ(content, "hello-world");
  EXPECT_EQ(*run(fs->sys_lseek(caller, *file, -5, 1)), 6u);
  close(file);
}

TEST_F(ReadWriteTest, two_readers_of_one_open_file_take_turns) {
  serve_content();
  OpenFile* file = open("file");
  std::array<std::byte, 5> a, b;
  auto one = start(fs->sys_read(caller, *file, a, -1));
  auto two = start(fs->sys_read(other, *file, b, -1));
  daemon->serve();
  EXPECT_EQ(*one.take(), 5u);
  EXPECT_EQ(*two.take(), 5u);
  EXPECT_EQ(std::string(reinterpret_cast<char*>(b.data()), 5), " worl");
  close(file);
}

TEST_F(ReadWriteTest, append_writes_at_the_end_as_it_grows) {
  serve_content();
  OpenFile* file = open("file", o_wronly | o_append);
  write(file, "!");
  write(file, "?", 0);
  EXPECT_EQ(content, "hello world!?");
  close(file);
}

TEST_F(ReadWriteTest, two_appends_at_once_do_not_overwrite_each_other) {
  serve_content();
  OpenFile* one = open("file", o_wronly | o_append);
  OpenFile* two = open("file", o_wronly | o_append);
  const std::string_view a = "AAA", b = "BBB";
  auto first = start(fs->sys_write(caller, *one, std::as_bytes(std::span(a)), -1));
  auto second = start(fs->sys_write(other, *two, std::as_bytes(std::span(b)), -1));
  daemon->serve();
  EXPECT_TRUE(first.take() && second.take());
  EXPECT_EQ(content, "hello worldAAABBB");
  close(one);
  close(two);
}

TEST_F(ReadWriteTest, a_write_is_split_by_max_write_and_by_page_without_big_writes) {
  serve_content();
  OpenFile* file = open("file", o_wronly);
  EXPECT_EQ(*write(file, std::string(200000, 'x'), 0), 200000u);
  EXPECT_EQ(ranges(Opcode::write), (Ranges{{0, 131072}, {131072, 68928}}));
  close(file);
}

TEST_F(ReadWriteTest, without_big_writes_a_write_is_one_page) {
  init_flags &= ~wire::init_flag::big_writes;
  serve_content();
  OpenFile* file = open("file", o_wronly);
  EXPECT_EQ(*write(file, std::string(5000, 'x'), 100), 5000u);
  EXPECT_EQ(ranges(Opcode::write), (Ranges{{100, 3996}, {4096, 1004}}));
  close(file);
}

TEST_F(ReadWriteTest, a_write_makes_the_size_grow_and_old_replies_do_not_shrink_it) {
  serve_content();
  OpenFile* file = open("file", o_wronly);
  daemon->on(Opcode::getattr, [](const DaemonRequest&) { return DaemonReply::none_yet(); });
  auto stale = attr_of(node);
  auto asked = start(fs->sys_statx(other, {nullptr, "file"}, 0x2000, basic_stats, leave));
  daemon->serve();
  const uint64_t unique = daemon->seen().back().header.unique;
  EXPECT_EQ(*write(file, "123", 11), 3u);
  daemon->reply(unique, stale);
  EXPECT_TRUE(asked.take());
  EXPECT_EQ(file->inode->attr.size, 14u);
  close(file);
}

TEST_F(ReadWriteTest, a_partial_failure_tells_what_was_written) {
  serve_content();
  OpenFile* file = open("file", o_wronly);
  daemon->on(Opcode::write, [](const DaemonRequest& request) {
    const auto in = request.as<wire::WriteIn>();
    if (in.offset > 0) return DaemonReply::failed(Errno::enospc);
    return DaemonReply::ok(wire::WriteOut{in.size, 0});
  });
  EXPECT_EQ(*write(file, std::string(200000, 'x'), 0), 131072u);
  EXPECT_EQ(write(file, "x", 131072).error(), Errno::enospc);
  close(file);
}

TEST_F(ReadWriteTest, offsets_at_the_limit_are_refused) {
  serve_content();
  OpenFile* file = open("file", o_rdwr);
  EXPECT_EQ(write(file, "x", INT64_MAX).error(), Errno::einval);
  EXPECT_EQ(write(file, "x", -2).error(), Errno::einval);
  EXPECT_EQ(read(file, 1, -2).error(), Errno::einval);
  EXPECT_EQ(error_of(fs->sys_lseek(caller, *file, -1, 0)), as_int(Errno::einval));
  EXPECT_EQ(error_of(fs->sys_lseek(caller, *file, 0, 9)), as_int(Errno::einval));
  close(file);
}

TEST_F(ReadWriteTest, the_wrong_way_is_ebadf) {
  serve_content();
  OpenFile* reader = open("file", o_rdonly);
  OpenFile* writer = open("file", o_wronly);
  OpenFile* path = open("file", o_path);
  EXPECT_EQ(write(reader, "x").error(), Errno::ebadf);
  EXPECT_EQ(read(writer, 1).error(), Errno::ebadf);
  EXPECT_EQ(read(path, 1).error(), Errno::ebadf);
  for (OpenFile* file : {reader, writer, path}) close(file);
}

TEST_F(ReadWriteTest, o_sync_sends_fsync_after_each_write) {
  serve_content();
  daemon->on_ok(Opcode::fsync);
  OpenFile* file = open("file", o_wronly | 04010000);
  EXPECT_EQ(*write(file, "x"), 1u);
  EXPECT_EQ(daemon->seen().back().opcode, Opcode::fsync);
  close(file);
}

TEST_F(ReadWriteTest, a_read_killed_while_pending_is_eintr_and_never_sent) {
  serve_content();
  OpenFile* file = open("file");
  std::array<std::byte, 5> bytes;
  auto call = start(fs->sys_read(other, *file, bytes, -1));
  kill(other);
  EXPECT_EQ(call.take().error(), Errno::eintr);
  EXPECT_EQ(daemon->count(Opcode::read), 0u);
  close(file);
}

TEST_F(ReadWriteTest, a_file_released_in_the_middle_of_a_read_lives_until_its_end) {
  serve_content();
  OpenFile* file = open("file");
  std::array<std::byte, 5> bytes;
  auto call = start(fs->sys_read(other, *file, bytes, -1));
  {
    kernel::Connection::Entry entry(*connection);
    fs->release(*file);
  }
  EXPECT_EQ(daemon->count(Opcode::release), 0u);
  daemon->serve();
  EXPECT_EQ(*call.take(), 5u);
  EXPECT_EQ(daemon->seen().back().opcode, Opcode::release);
}

}  // namespace
}  // namespace fusewire::test
