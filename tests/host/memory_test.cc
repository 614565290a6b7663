// The rule book of a host process's memory: pages of the half, and how much of it names may take.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <vector>

#include "host/memory_bound.h"
#include "host/page_pool.h"

namespace fusewire::host {
namespace {

constexpr size_t slab = 16 * 1024;

TEST(PagePoolTest, powers_of_two_up_to_64_KiB_are_aligned_to_themselves) {
  PagePool pool;
  for (const size_t bytes : {4096u, 8192u, 16384u, 32768u, 65536u, 12288u, 1u << 20}) {
    void* pages = pool.alloc(bytes);
    ASSERT_NE(pages, nullptr);
    const size_t unit = bytes == 12288 || bytes > 65536 ? 4096 : bytes;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pages) % unit, 0u) << bytes;
    std::memset(pages, 1, bytes);
    pool.free(pages, bytes);
  }
  EXPECT_EQ(pool.bytes_out(), 0u);
}

TEST(PagePoolTest, slabs_do_not_overlap_and_come_back_as_zeros) {
  PagePool pool;
  std::set<char*> all;
  for (int i = 0; i < 300; ++i) all.insert(static_cast<char*>(pool.alloc(slab)));
  ASSERT_EQ(all.size(), 300u);
  for (char* each : all) std::memset(each, 0xff, slab);
  EXPECT_EQ(pool.bytes_out(), 300 * slab);
  std::vector<char*> some(all.begin(), all.end());
  for (size_t i = 0; i < some.size(); i += 3) pool.free(some[i], slab);
  for (size_t i = 0; i < some.size(); i += 3) {
    some[i] = static_cast<char*>(pool.alloc(slab));
    EXPECT_TRUE(std::all_of(some[i], some[i] + slab, [](char c) { return c == 0; }));
  }
  EXPECT_EQ(std::set<char*>(some.begin(), some.end()).size(), some.size());
  for (char* each : some) pool.free(each, slab);
  EXPECT_EQ(pool.bytes_out(), 0u);
}

TEST(MemoryBoundTest, a_quarter_of_the_memory_and_half_of_what_is_available) {
  EXPECT_EQ(names_bound({.total = 1000, .available = 900}, 0), 250u);
  EXPECT_EQ(names_bound({.total = 1000, .available = 100}, 0), 50u);
  EXPECT_EQ(names_bound({.total = 1000, .available = 100}, 120), 170u);
  EXPECT_EQ(names_bound({.total = 1000, .available = 0}, 120), 120u);
}

TEST(MemoryBoundTest, meminfo_is_read_or_refused) {
  const auto read = parse_meminfo("MemTotal:       24000 kB\nMemFree: 1 kB\nMemAvailable:   12000 kB\n");
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->total, 24000u * 1024);
  EXPECT_EQ(read->available, 12000u * 1024);
  for (const char* text : {"", "MemTotal: 5 kB\n", "MemTotal:\nMemAvailable: x", "MemAvailable: 7 kB\n"})
    EXPECT_FALSE(parse_meminfo(text).has_value()) << text;
}

TEST(MemoryBoundTest, this_machine_has_some) {
  const auto memory = memory_state();
  ASSERT_TRUE(memory.has_value());
  EXPECT_GT(memory->total, 0u);
  EXPECT_LE(memory->available, memory->total);
}

}  // namespace
}  // namespace fusewire::host
