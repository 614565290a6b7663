// What one image of the gate leaves to the next across execve: two strings at the front of the environment, taken out
// before the program sees it. They are two so that what is left of the stack block stays aligned to 16 bytes.
#pragma once

#include <cstddef>
#include <string_view>

#include "gate/machinery/set_id.h"
#include "gate/text.h"

namespace fusewire::gate {

struct Inheritance {
  int descriptor = -1;          // of the file to load
  int held = -1;                // ProgramFile::held
  int interpreter = -1;         // that the program's file names, opened; -1: it names none
  int interpreter_code = -1;    // its prepared code; -1: none
  SetId ids;                    // that the program gets
  bool trap = false;            // the seccomp filter is installed
  int filters = -1;             // a descriptor of the seccomp filters, -1: there are none
  bool ignored[3] = {};         // SIGSEGV, SIGBUS, SIGSYS are ignored by the program
  std::string_view name_space;  // the namespace's directory
  std::string_view exe;         // what /proc/self/exe shall say
  std::string_view state;       // what before_exec wrote
  std::string_view file_name;   // AT_EXECFN
};

inline constexpr std::string_view state_variable = "FUSEWIRE_GATE=";
inline constexpr std::string_view file_variable = "FUSEWIRE_FILE=";
using StateText = Text<3 * path_room + 1024>;
using FileText = Text<path_room + 64>;

void write_inheritance(const Inheritance& from, StateText& state, FileText& file);
// false: these two are not a gate's.
bool read_inheritance(const char* state, const char* file, Inheritance& to);

}  // namespace fusewire::gate
