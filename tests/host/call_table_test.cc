#include "host/call_table.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "support/host_rig.h"

namespace fusewire::test {
namespace {

using abi::CallNumber;
using host::find_call;
using host::StandsOn;

constexpr uint32_t beyond_any_number = 300;

TEST(CallTable, a_row_is_found_by_its_own_number_alone) {
  uint32_t rows = 0;
  for (uint32_t i = 0; i < beyond_any_number; ++i) {
    const host::CallInfo* row = find_call(CallNumber{i});
    if (!row) continue;
    EXPECT_EQ(row->number, CallNumber{i});
    ++rows;
  }
  EXPECT_GE(rows, 46u);
  EXPECT_FALSE(find_call(CallNumber::none));
  EXPECT_FALSE(find_call(CallNumber{0xffffffff}));
}

TEST(CallTable, a_call_on_an_open_file_wants_a_token) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  for (uint32_t i = 0; i < beyond_any_number; ++i) {
    const host::CallInfo* row = find_call(CallNumber{i});
    if (!row || (row->on != StandsOn::open_file && row->on != StandsOn::two_files)) continue;
    EXPECT_EQ(client->call({.number = row->number}), abi::stale_token) << i;
    EXPECT_EQ(client->call({.number = row->number, .file = 0x1234}), abi::stale_token) << i;
  }
}

TEST(CallTable, more_data_than_a_call_may_bring_is_refused) {
  HostRig rig;
  rig.go();
  auto client = rig.client();
  auto file = client->open("file", O_RDWR);
  ASSERT_EQ(file.result, 0);
  for (uint32_t i = 0; i < beyond_any_number; ++i) {
    const host::CallInfo* row = find_call(CallNumber{i});
    if (!row) continue;
    const std::string data(row->data.max + 1, 'x');
    EXPECT_EQ(client->call({.number = row->number, .file = file.token, .data = data}), -row->data.too_much) << i;
  }
}

}  // namespace
}  // namespace fusewire::test
