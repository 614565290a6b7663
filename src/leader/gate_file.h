// What a namespace executes as the gate: the one that `fusewire` carries, as a file that can be executed. Containers
// differ in what they allow, so there are several ways, tried in turn: a sealed memfd, a file in the namespace's
// directory, and the program itself, which becomes the gate when it is executed as that (gate/image).
#pragma once

#include <cstddef>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "abi/unique_fd.h"
#include "leader/prepared_code.h"

namespace fusewire::leader {

struct GateFile {
  UniqueFd fd;                           // to be executed by execveat(2)
  std::string name;                      // for a person: "a sealed memfd"
  std::vector<abi::PreparedCode> codes;  // that it carries
};

// The next way, or why there is none. Thread rule: none; one caller.
class GateFiles {
 public:
  // directory: where a file may be made; empty: none is made. code: to be carried, where the file can be mapped.
  GateFiles(std::span<const std::byte> image, std::string directory, std::vector<PreparedFile> code = {});
  // The ways in turn; no value: there is no other one.
  bool next(GateFile& file);
  // What went wrong with each way so far: "a sealed memfd: Operation not permitted; …".
  void failed(const std::string& name, int error);
  const std::string& failures() const { return failures_; }

 private:
  std::expected<UniqueFd, int> make_memfd(std::vector<abi::PreparedCode>& codes) const;
  std::expected<UniqueFd, int> make_file() const;

  std::span<const std::byte> image_;
  std::string directory_;
  std::vector<PreparedFile> code_;
  std::string failures_;
  unsigned at_ = 0;
};

// Executes it with these arguments and this process's environment. Returns only with the errno.
int execute(const GateFile& file, const std::vector<const char*>& arguments);

// The way that works here, tried in a child: its name, or why there is none.
std::expected<std::string, std::string> try_gate(std::span<const std::byte> image);

}  // namespace fusewire::leader
