// Asking the namespace's leader, and telling people what the gate refused.
// Thread rule: any thread; each request has a socket pair of its own, on which its answer comes.
#pragma once

#include <cstdint>
#include <string_view>

#include "abi/leader_protocol.h"

namespace fusewire::gate {

// Fills the request's operation and pid, all else zero.
void start_request(abi::LeaderRequest& request, abi::LeaderOperation operation);
// Copies text into a field of the request; false when it does not fit.
template <size_t room>
bool set_field(char (&field)[room], std::string_view text) {
  if (text.size() >= room) return false;
  __builtin_memcpy(field, text.data(), text.size());
  field[text.size()] = 0;
  return true;
}

// Sends it, with the descriptor `attached` unless -1, and waits. The leader's error, or -errno of the way there.
// received: where a descriptor that came with the answer goes (close-on-exec), -1 when none did; may be nullptr.
long ask_leader(const abi::LeaderRequest& request, int attached, int* received);

// A call that would have touched a virtual file and is not supported: one line in the namespace's log, and error
// (negative) as the call's result.
long refuse(long error, const char* call, std::string_view about, const char* why);

// At each call: the report of refusals wants the one that comes after one.
void tell_what_follows(long nr);

// Sends a request on the line and does not wait: the socket on which the answer will come (close-on-exec), or -errno:
// ENOTCONN when the leader is gone, EMFILE or ENFILE without descriptors.
int send_to_leader(const abi::LeaderRequest& request, int attached);

}  // namespace fusewire::gate
