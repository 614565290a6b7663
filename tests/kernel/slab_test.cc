// The rule book of memory: slab caches, kmalloc, and what Module::exit proves.
#include "kernel/slab.h"

#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "support/kernel_fixture.h"

namespace fusewire::test {
namespace {

using kernel::Kmalloc;
using kernel::SlabCache;

class SlabTest : public ::testing::Test {
 protected:
  TestHost host;
  SlabCache cache;
};

TEST_F(SlabTest, objects_do_not_overlap_and_are_aligned) {
  cache.init(host, "test", 100);
  EXPECT_EQ(cache.object_size(), 112u);
  std::vector<void*> objects;
  for (int i = 0; i < 1000; ++i) {
    void* object = cache.alloc();
    ASSERT_NE(object, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(object) % 16, 0u);
    std::memset(object, i, cache.object_size());
    objects.push_back(object);
  }
  for (int i = 0; i < 1000; ++i) {
    const auto* bytes = static_cast<const unsigned char*>(objects[static_cast<size_t>(i)]);
    EXPECT_EQ(bytes[0], static_cast<unsigned char>(i));
    EXPECT_EQ(bytes[111], static_cast<unsigned char>(i));
  }
  EXPECT_EQ(cache.in_use(), 1000u);
  for (void* object : objects) cache.free(object);
  cache.destroy();
  EXPECT_EQ(host.bytes_out(), 0u);
}

TEST_F(SlabTest, freed_objects_are_given_again_before_new_pages) {
  cache.init(host, "test", 64);
  void* first = cache.alloc();
  const auto bytes = host.bytes_out();
  cache.free(first);
  EXPECT_EQ(cache.alloc(), first);
  EXPECT_EQ(host.bytes_out(), bytes);
  cache.free(first);
  cache.destroy();
}

TEST_F(SlabTest, an_empty_slab_goes_back_and_one_stays) {
  cache.init(host, "test", 176);
  std::vector<void*> objects;
  for (int i = 0; i < 1000; ++i) objects.push_back(cache.alloc());
  const auto full = host.bytes_out();
  EXPECT_LE(full, 1000 * 176 + 176 * 1000 / 50 + 16 * 1024) << "slabs waste little";
  // In an order that empties no slab before the last objects.
  for (size_t i = 0; i < objects.size(); i += 2) cache.free(objects[i]);
  EXPECT_EQ(host.bytes_out(), full);
  for (size_t i = 1; i < objects.size(); i += 2) cache.free(objects[i]);
  EXPECT_EQ(host.bytes_out(), 16u * 1024);
  cache.destroy();
  EXPECT_EQ(host.bytes_out(), 0u);
}

TEST_F(SlabTest, a_full_slab_is_used_again_once_an_object_came_back) {
  cache.init(host, "test", 2048);
  std::vector<void*> objects;
  for (int i = 0; i < 21; ++i) objects.push_back(cache.alloc());
  const auto full = host.bytes_out();
  for (const size_t i : {0u, 8u, 15u}) cache.free(objects[i]);
  for (const size_t i : {0u, 8u, 15u}) objects[i] = cache.alloc();
  EXPECT_EQ(host.bytes_out(), full);
  EXPECT_EQ(std::set<void*>(objects.begin(), objects.end()).size(), objects.size());
  for (void* object : objects) cache.free(object);
  cache.destroy();
}

TEST_F(SlabTest, without_pages_alloc_gives_nullptr) {
  host.limit_allocations(0);
  cache.init(host, "test", 64);
  EXPECT_EQ(cache.alloc(), nullptr);
  EXPECT_EQ(cache.in_use(), 0u);
  cache.destroy();
}

TEST_F(SlabTest, threads_share_a_cache) {
  cache.init(host, "test", 64);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 2000; ++i) {
        void* object = cache.alloc();
        std::memset(object, t, 64);
        cache.free(object);
      }
    });
  }
  threads.clear();
  cache.destroy();
}

using SlabDeathTest = SlabTest;

TEST_F(SlabDeathTest, destroying_a_cache_with_objects_out_panics_with_its_name) {
  cache.init(host, "fuse_something", 64);
  void* object = cache.alloc();
  EXPECT_DEATH(cache.destroy(), "panic: slab is not empty at exit: fuse_something");
  cache.free(object);
  cache.destroy();
}

TEST(KmallocTest, every_size_is_served_in_full) {
  TestHost host;
  Kmalloc kmalloc;
  kmalloc.init(host);
  for (const size_t bytes : {1u, 63u, 64u, 65u, 128u, 129u, 4096u, 8191u, 8192u, 8193u, 100'000u}) {
    void* memory = kmalloc.alloc(bytes);
    ASSERT_NE(memory, nullptr) << bytes;
    std::memset(memory, 0xff, bytes);
    EXPECT_EQ(kmalloc.in_use(), 1u);
    kmalloc.free(memory, bytes);
    EXPECT_EQ(kmalloc.in_use(), 0u);
  }
  kmalloc.destroy();
  EXPECT_EQ(host.bytes_out(), 0u);
}

TEST(KmallocTest, impossible_size_gives_nullptr) {
  TestHost host;
  Kmalloc kmalloc;
  kmalloc.init(host);
  EXPECT_EQ(kmalloc.alloc(SIZE_MAX), nullptr);
  kmalloc.destroy();
}

TEST(ModuleTest, init_and_exit_leave_no_page_behind) {
  TestHost host;
  kernel::Module module(host);
  ASSERT_TRUE(module.init().has_value());
  module.exit();
  EXPECT_EQ(host.bytes_out(), 0u);
}

TEST(ModuleTest, unmounted_connection_is_freed_by_its_last_close) {
  TestHost host;
  kernel::Module module(host);
  ASSERT_TRUE(module.init().has_value());
  auto connection = module.open_connection();
  ASSERT_TRUE(connection.has_value());
  (*connection)->device().close();
  module.exit();
}

TEST(ModuleTest, connections_have_ids_of_their_own_and_are_listed) {
  TestHost host;
  kernel::Module module(host);
  ASSERT_TRUE(module.init().has_value());
  auto first = module.open_connection(), second = module.open_connection();
  std::set<uint32_t> ids;
  module.for_each_connection([&](kernel::Connection& connection) { ids.insert(connection.id()); });
  EXPECT_EQ(ids, (std::set<uint32_t>{1, 2}));
  (*first)->device().close();
  (*second)->device().close();
  module.exit();
}

TEST(ModuleTest, no_memory_for_a_connection_is_enomem) {
  TestHost host;
  kernel::Module module(host);
  ASSERT_TRUE(module.init().has_value());
  for (const uint64_t pages : {0u, 1u}) {
    host.limit_allocations(pages);
    auto connection = module.open_connection();
    ASSERT_FALSE(connection.has_value());
    EXPECT_EQ(connection.error(), kernel::Errno::enomem);
  }
  module.exit();
}

TEST(ModuleDeathTest, exit_with_an_open_connection_panics) {
  TestHost host;
  kernel::Module module(host);
  ASSERT_TRUE(module.init().has_value());
  auto connection = module.open_connection();
  EXPECT_DEATH(module.exit(), "a connection is left at exit");
  (*connection)->device().close();
  module.exit();
}

}  // namespace
}  // namespace fusewire::test
