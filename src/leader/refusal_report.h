// RefusalReport: what programs of the namespace asked for and did not get, counted, for `fusewire run --report`: which
// program met which refusal, how often, and the call it made next. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "abi/leader_protocol.h"

namespace fusewire::leader {

class RefusalReport {
 public:
  // A line of LeaderOperation::log: a refusal has a program (source), a call (type), a reason (path) and an errno
  // (value[1]); abi::log_next tells of the call that its process made next. Other lines are nothing to it.
  void take(uint32_t pid, const abi::LeaderRequest& request);
  // For a person: a header and a line a refusal, the most frequent first.
  std::string text() const;

  static constexpr size_t refusals_max = 500;  // different ones; what comes later is counted as one

 private:
  using Key = std::tuple<std::string, std::string, std::string, int>;  // program, call, reason, errno
  struct Refusal {
    uint64_t count = 0;
    std::map<std::string, uint64_t> next = {};
  };

  void take_refusal(uint32_t pid, Key key);

  std::map<Key, Refusal> refusals_;
  std::map<uint32_t, Key> last_;  // by pid
  uint64_t left_out_ = 0;
};

}  // namespace fusewire::leader
