#include "abi/spin.h"

#include <gtest/gtest.h>

namespace fusewire::abi {
namespace {

constexpr auto no_yield = [] {};

// How often it looks for something that does not come.
uint64_t looks_in_vain(Spin& spin) {
  uint64_t looks = 0;
  EXPECT_FALSE(spin.until([&] { return ++looks, false; }, no_yield));
  return looks;
}

TEST(Spin, without_a_second_cpu_it_looks_once) {
  Spin spin(false);
  EXPECT_EQ(looks_in_vain(spin), 1u);
}

TEST(Spin, what_is_there_already_is_seen_at_once) {
  Spin spin(true);
  uint64_t looks = 0;
  EXPECT_TRUE(spin.until([&] { return ++looks == 1; }, no_yield));
  EXPECT_EQ(looks, 1u);
}

// Whom it waits for may need this very CPU.
TEST(Spin, what_comes_by_yielding_is_seen) {
  Spin spin(true);
  bool done = false;
  EXPECT_TRUE(spin.until([&] { return done; }, [&] { done = true; }));
}

TEST(Spin, after_vain_looks_it_looks_longer_only_now_and_then) {
  Spin spin(true);
  for (uint32_t i = 0; i < Spin::vain_max; ++i) looks_in_vain(spin);
  uint64_t longer = 0;
  for (uint32_t i = 0; i < 16 * Spin::probe; ++i) longer += looks_in_vain(spin) > 1;
  EXPECT_LE(longer, 16u);
  EXPECT_GE(longer, 1u) << "fewer than 16 where the thread lost its CPU meanwhile";
}

TEST(Spin, looks_on_once_that_has_paid) {
  Spin spin(true);
  for (uint32_t i = 0; i < Spin::vain_max; ++i) looks_in_vain(spin);
  bool paid = false;
  for (uint32_t i = 0; i < 16 * Spin::probe && !paid; ++i) {
    uint64_t looks = 0;
    paid = spin.until([&] { return ++looks == 2; }, no_yield);
  }
  ASSERT_TRUE(paid);
  uint64_t looks = 0;
  for (uint32_t i = 0; i < Spin::vain_max; ++i) looks += looks_in_vain(spin);
  EXPECT_GT(looks, Spin::vain_max);
}

}  // namespace
}  // namespace fusewire::abi
