// The oracle's trace: what each system call made the kernel's half send, and what the call answered; one text a
// scenario, the same for the real kernel and for ours but for what normalise() evens out.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "wire/protocol.h"

namespace fusewire::oracle {

// Lines, written by the user process and the daemon process of one scenario, in the order of events: an O_APPEND memfd.
// Thread rule: none; a line is one write(2).
class Log {
 public:
  Log();
  ~Log();
  Log(const Log&) = delete;
  void line(std::string text);
  std::string text() const;

 private:
  int fd_;
};

// Turns requests into lines. Remembers lock owners, to name them A, B, ... in order of appearance.
class Describer {
 public:
  Describer(uint32_t minor, uint64_t init_flags) : minor_(minor), init_flags_(init_flags) {}
  // Opcode, nodeid, fields, names. A request that breaks the rules of framing is described as such.
  std::string operator()(std::span<const std::byte> request);

 private:
  std::string batch_forget(std::span<const std::byte> body);
  std::string fields(wire::Opcode opcode, std::span<const std::byte> body);
  std::string owner(uint64_t lock_owner);
  uint32_t minor_;
  uint64_t init_flags_;
  std::map<uint64_t, char> owners_;
};

// FORGETs and RELEASEs are asynchronous: moved behind the other requests of their call, and sorted; a BATCH_FORGET is
// described one line a node to begin with. Requests are indented under their call.
std::string normalise(std::string_view log);

// A line-by-line comparison, "" when equal: first lines with ' ', kernel's with '-', ours with '+'.
std::string difference(std::string_view kernel, std::string_view ours);

std::string quoted(std::string_view bytes);

}  // namespace fusewire::oracle
