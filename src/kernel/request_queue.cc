#include "kernel/request_queue.h"

namespace fusewire::kernel {

namespace {

constexpr int32_t forgets_in_a_row = 16;
constexpr int32_t requests_in_a_row = 8;

}  // namespace

InputQueue::Next InputQueue::choose_next() {
  if (!interrupts.empty()) return Next::interrupt;
  if (forgets.empty()) return pending.empty() ? Next::nothing : Next::request;
  if (pending.empty() || forget_turn-- > 0) return Next::forget;
  if (forget_turn <= -requests_in_a_row) forget_turn = forgets_in_a_row;
  return Next::request;
}

}  // namespace fusewire::kernel
