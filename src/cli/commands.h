// The commands of the program, after their arguments were parsed. Each returns the exit status and has told the user
// what went wrong.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "abi/mount_table.h"

namespace fusewire::cli {

struct RunArguments {
  std::string trace_file;  // empty: no trace
  std::string gate;        // empty: the one that this program carries
  bool verbose = false;
  bool report = false;
  bool native_setid = false;
  uint32_t view_after = abi::view_after_default;
  std::vector<std::string> command;  // empty: the user's shell
};
int run_command(const RunArguments& arguments);

struct TraceArguments {
  std::string on;    // a directory on a mount of this namespace; empty: the command gets a namespace of its own
  std::string call;  // draw only runs about this system call or opcode; empty: all
  bool json = false;
  std::string gate;
  std::vector<std::string> command;
};
int trace_command(const TraceArguments& arguments);

int ps_command(bool json);
int abort_command(const std::string& id_or_directory);
int umount_command(const std::string& directory, bool force, bool lazy);
int doctor_command(bool json, const std::string& gate);

}  // namespace fusewire::cli
