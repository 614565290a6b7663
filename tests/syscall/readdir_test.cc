// The rule book of directories' contents (K060, K064, K190-K194).
#include "support/syscall_fixture.h"

#include "wire/dirent.h"

namespace fusewire::test {
namespace {

struct Record {
  uint64_t ino, offset;
  uint32_t type;
  std::string name;
};

class ReaddirTest : public SyscallTest {
 protected:
  // What a daemon answers to READDIR: records from an offset on, as many as fit.
  void serve_directory(std::vector<std::string> names_in_order) {
    mount_tree();
    listing = std::move(names_in_order);
    for (const auto& name : listing) add(root, name, regular);
    daemon->on(Opcode::readdir, [this](const DaemonRequest& request) { return answer<false>(request); });
    daemon->on(Opcode::readdirplus, [this](const DaemonRequest& request) { return answer<true>(request); });
  }
  template <bool plus>
  DaemonReply answer(const DaemonRequest& request) {
    const auto in = request.as<wire::ReadIn>();
    Bytes bytes(in.size);
    std::conditional_t<plus, wire::DirentplusWriter, wire::DirentWriter> writer{std::span(bytes)};
    for (uint64_t i = in.offset; i < listing.size(); ++i) {
      const uint64_t node = names.at({root, listing[i]});
      wire::AddResult added;
      if constexpr (plus)
        added = writer.add(entry_of(node), node, i + 1, 8, listing[i]);
      else
        added = writer.add(node, i + 1, 8, listing[i]);
      if (added != wire::AddResult::added) break;
    }
    bytes.resize(writer.size());
    return DaemonReply::ok(bytes);
  }
  kernel::Result<std::vector<Record>> list(OpenFile* dir, size_t bytes = 32768) {
    std::vector<std::byte> buffer(bytes);
    auto got = run(fs->sys_getdents64(caller, *dir, buffer));
    if (!got) return kernel::error(got.error());
    std::vector<Record> records;
    for (size_t at = 0; at < *got;) {
      uint16_t length;
      Record record;
      std::memcpy(&record.ino, &buffer[at], 8);
      std::memcpy(&record.offset, &buffer[at + 8], 8);
      std::memcpy(&length, &buffer[at + 16], 2);
      record.type = static_cast<uint32_t>(buffer[at + 18]);
      record.name = reinterpret_cast<const char*>(&buffer[at + 19]);
      EXPECT_EQ(length % 8, 0);
      records.push_back(record);
      at += length;
    }
    return records;
  }
  std::vector<std::string> list_all(OpenFile* dir, size_t bytes) {
    std::vector<std::string> all;
    for (;;) {
      auto records = list(dir, bytes);
      if (!records || records->empty()) return all;
      for (auto& record : *records) all.push_back(record.name);
    }
  }
  std::vector<std::string> many(int count) {
    std::vector<std::string> made;
    for (int i = 0; i < count; ++i) made.push_back("name" + std::to_string(i));
    return made;
  }
  std::vector<std::string> listing;
};

TEST_F(ReaddirTest, records_carry_inode_type_cookie_and_name) {
  serve_directory({"a", "bc"});
  OpenFile* dir = open("", o_directory);
  auto records = list(dir);
  ASSERT_EQ(records->size(), 2u);
  EXPECT_EQ((*records)[1].name, "bc");
  EXPECT_EQ((*records)[1].ino, names.at({root, "bc"}));
  EXPECT_EQ((*records)[1].offset, 2u);
  EXPECT_EQ((*records)[1].type, 8u);
  EXPECT_TRUE(list(dir)->empty());
  close(dir);
}

TEST_F(ReaddirTest, small_buffers_lose_and_repeat_nothing) {
  serve_directory(many(500));
  OpenFile* dir = open("", o_directory);
  EXPECT_EQ(list_all(dir, 100), listing);
  close(dir);
}

TEST_F(ReaddirTest, a_buffer_for_no_record_is_einval) {
  serve_directory({"name"});
  OpenFile* dir = open("", o_directory);
  EXPECT_EQ(list(dir, 16).error(), Errno::einval);
  EXPECT_EQ(list(dir)->size(), 1u);
  close(dir);
}

TEST_F(ReaddirTest, seeking_goes_to_a_cookie) {
  serve_directory(many(10));
  OpenFile* dir = open("", o_directory);
  auto all = list(dir);
  run(fs->sys_lseek(caller, *dir, static_cast<int64_t>((*all)[6].offset), 0));
  EXPECT_EQ((*list(dir))[0].name, "name7");
  run(fs->sys_lseek(caller, *dir, 0, 0));
  EXPECT_EQ((*list(dir))[0].name, "name0");
  close(dir);
}

TEST_F(ReaddirTest, readdirplus_makes_names_and_counts_their_lookups) {
  init_flags |= wire::init_flag::do_readdirplus;
  serve_directory({"a", "b"});
  OpenFile* dir = open("", o_directory);
  list(dir);
  stat("a");
  stat("b");
  EXPECT_EQ(daemon->count(Opcode::lookup) + daemon->count(Opcode::getattr), 0u);
  inval_entry(root, "a");
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().at(names.at({root, "a"})), 1u);
  close(dir);
}

TEST_F(ReaddirTest, entries_behind_the_full_buffer_are_linked_all_the_same) {
  init_flags |= wire::init_flag::do_readdirplus;
  serve_directory(many(10));
  OpenFile* dir = open("", o_directory);
  EXPECT_EQ(list(dir, 64)->size(), 2u);
  EXPECT_EQ(stat_error("name9"), 0);
  EXPECT_EQ(daemon->count(Opcode::lookup), 0u);
  close(dir);
}

TEST_F(ReaddirTest, an_entry_that_cannot_be_linked_is_given_back) {
  init_flags |= wire::init_flag::do_readdirplus;
  serve_directory({"good", "bad"});
  const uint64_t bad = names.at({root, "bad"});
  nodes[bad].mode = 0;
  OpenFile* dir = open("", o_directory);
  EXPECT_EQ(list(dir)->size(), 2u);
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().at(bad), 1u);
  close(dir);
}

TEST_F(ReaddirTest, a_known_name_with_another_node_is_replaced) {
  init_flags |= wire::init_flag::do_readdirplus;
  serve_directory({"a"});
  const uint64_t old = names.at({root, "a"});
  stat("a");
  const uint64_t now = add(root, "a", regular, 7);
  OpenFile* dir = open("", o_directory);
  list(dir);
  daemon->serve();
  EXPECT_EQ(daemon->forgotten().at(old), 1u);
  EXPECT_EQ(stat("a")->ino, now + 1000);
  close(dir);
}

TEST_F(ReaddirTest, plus_entries_without_a_node_make_no_name) {
  init_flags |= wire::init_flag::do_readdirplus;
  serve_directory({"a"});
  daemon->on(Opcode::readdirplus, [](const DaemonRequest& request) {
    if (request.as<wire::ReadIn>().offset) return DaemonReply::ok();
    Bytes bytes(4096);
    wire::DirentplusWriter writer{std::span(bytes)};
    writer.add(wire::EntryOut{}, 5, 1, 8, "a");
    bytes.resize(writer.size());
    return DaemonReply::ok(bytes);
  });
  OpenFile* dir = open("", o_directory);
  EXPECT_EQ(list(dir)->size(), 1u);
  daemon->serve();
  EXPECT_TRUE(daemon->forgotten().empty());
  stat("a");
  EXPECT_EQ(daemon->count(Opcode::lookup), 1u);
  close(dir);
}

TEST_F(ReaddirTest, two_readers_of_one_open_directory_take_turns) {
  serve_directory(many(100));
  OpenFile* dir = open("", o_directory);
  std::vector<std::byte> a(1000), b(1000);
  auto one = start(fs->sys_getdents64(caller, *dir, a));
  auto two = start(fs->sys_getdents64(other, *dir, b));
  daemon->serve();
  EXPECT_TRUE(one.take() && two.take());
  EXPECT_NE(a, b);
  close(dir);
}

TEST_F(ReaddirTest, files_and_path_handles_are_no_directories_to_read) {
  serve_directory({"a"});
  OpenFile* file = open("a");
  OpenFile* path = open("", o_path);
  EXPECT_EQ(list(file).error(), Errno::enotdir);
  EXPECT_EQ(list(path).error(), Errno::ebadf);
  close(file);
  close(path);
}

}  // namespace
}  // namespace fusewire::test
