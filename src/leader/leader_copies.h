// Copies of a mount and of what stands in it, under way (Linux copy_tree).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "leader/leader.h"

namespace fusewire::leader {

struct Leader::Copies {
  abi::LeaderRequest request;         // where the copy is to stand; options: the path of what is copied
  uint32_t mount = 0;                 // the copy at the top
  std::vector<uint32_t> originals{};  // still to be copied, each behind what it stands in
  size_t next = 0;
  std::map<uint32_t, uint32_t> copy_of{};     // by original
  std::move_only_function<void(int)> done{};  // 0 or -errno; once
};

}  // namespace fusewire::leader
