#include "wire/dirent.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

namespace fusewire::wire {
namespace {

using Buffer = std::vector<std::byte>;

// A record with a name length that need not be the name's.
Buffer record(std::string_view name, uint32_t namelen) {
  Buffer bytes(record_align(sizeof(Dirent) + name.size()));
  const Dirent header{7, 1, namelen, 8};
  __builtin_memcpy(bytes.data(), &header, sizeof(header));
  __builtin_memcpy(bytes.data() + sizeof(header), name.data(), name.size());
  return bytes;
}

Buffer concat(Buffer a, const Buffer& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(Dirent, records_come_back_as_they_were_written) {
  std::array<std::byte, 256> buffer{};
  DirentWriter writer(buffer);
  ASSERT_EQ(writer.add(1, 10, 4, "."), AddResult::added);
  ASSERT_EQ(writer.add(2, 20, 8, "eight-88"), AddResult::added);
  EXPECT_EQ(writer.size(), 32u + 32u);

  DirentReader reader(writer.written());
  Dirent header{};
  std::string_view name;
  ASSERT_EQ(reader.next(header, name), WalkStep::record);
  EXPECT_EQ(name, ".");
  EXPECT_EQ(header.off, 10u);
  ASSERT_EQ(reader.next(header, name), WalkStep::record);
  EXPECT_EQ(name, "eight-88");
  EXPECT_EQ(header.ino, 2u);
  EXPECT_EQ(header.type, 8u);
  EXPECT_EQ(reader.next(header, name), WalkStep::end);
}

TEST(Dirent, a_record_that_does_not_fit_leaves_the_buffer_as_it_was) {
  std::array<std::byte, 63> buffer{};
  DirentWriter writer(buffer);
  ASSERT_EQ(writer.add(1, 1, 8, "a"), AddResult::added);
  EXPECT_EQ(writer.add(2, 2, 8, "b"), AddResult::full);
  EXPECT_EQ(writer.size(), 32u);
  EXPECT_EQ(buffer[32], std::byte{0});
}

TEST(Dirent, padding_is_zero) {
  std::array<std::byte, 64> buffer;
  buffer.fill(std::byte{0xff});
  DirentWriter writer(buffer);
  ASSERT_EQ(writer.add(1, 1, 8, "abc"), AddResult::added);
  for (size_t i = sizeof(Dirent) + 3; i < 32; ++i) EXPECT_EQ(buffer[i], std::byte{0}) << i;
  EXPECT_EQ(buffer[32], std::byte{0xff});
}

TEST(Dirent, names_that_no_kernel_takes_are_not_written) {
  std::array<std::byte, 5000> buffer{};
  DirentWriter writer(buffer);
  EXPECT_EQ(writer.add(1, 1, 8, ""), AddResult::bad_name);
  EXPECT_EQ(writer.add(1, 1, 8, "a/b"), AddResult::bad_name);
  EXPECT_EQ(writer.add(1, 1, 8, std::string(name_max + 1, 'x')), AddResult::bad_name);
  EXPECT_EQ(writer.size(), 0u);
  EXPECT_EQ(writer.add(1, 1, 8, std::string(name_max, 'x')), AddResult::added);
}

TEST(Dirent, a_bad_name_is_reported_behind_good_ones) {
  for (const Buffer& bad : {record("", 0), record("x", name_max + 1), record("x", UINT32_MAX), record("a/b", 3)}) {
    const Buffer bytes = concat(record("good", 4), bad);
    DirentReader reader(bytes);
    Dirent header{};
    std::string_view name;
    EXPECT_EQ(reader.next(header, name), WalkStep::record);
    EXPECT_EQ(name, "good");
    EXPECT_EQ(reader.next(header, name), WalkStep::bad_name);
    EXPECT_EQ(reader.next(header, name), WalkStep::bad_name);
  }
}

TEST(Dirent, a_partial_record_at_the_end_is_ignored) {
  const Buffer bytes = concat(record("good", 4), record("another", 7));
  for (size_t size = 32; size < bytes.size(); ++size) {
    DirentReader reader(Bytes(bytes).first(size));
    Dirent header{};
    std::string_view name;
    EXPECT_EQ(reader.next(header, name), WalkStep::record);
    EXPECT_EQ(reader.next(header, name), WalkStep::end) << size;
  }
}

TEST(Dirent, records_at_odd_addresses_are_read) {
  Buffer shifted(1);
  const Buffer bytes = concat(shifted, record("name", 4));
  DirentReader reader(Bytes(bytes).subspan(1));
  Dirent header{};
  std::string_view name;
  EXPECT_EQ(reader.next(header, name), WalkStep::record);
  EXPECT_EQ(header.ino, 7u);
}

TEST(Direntplus, records_come_back_as_they_were_written) {
  std::array<std::byte, 512> buffer{};
  DirentplusWriter writer(buffer);
  EntryOut entry{};
  entry.nodeid = 42;
  ASSERT_EQ(writer.add(entry, 1, 10, 8, "file"), AddResult::added);
  EXPECT_EQ(writer.size(), 160u);
  DirentplusReader reader(writer.written());
  Direntplus header{};
  std::string_view name;
  ASSERT_EQ(reader.next(header, name), WalkStep::record);
  EXPECT_EQ(header.entry.nodeid, 42u);
  EXPECT_EQ(header.dirent.off, 10u);
  EXPECT_EQ(name, "file");
  EXPECT_EQ(reader.next(header, name), WalkStep::end);
}

}  // namespace
}  // namespace fusewire::wire
