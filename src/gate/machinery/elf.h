// Maps an ELF program or interpreter as the kernel would.
#pragma once

#include <cstddef>
#include <cstdint>

#include "abi/mount_table.h"
#include "gate/text.h"

namespace fusewire::gate {

struct Image {
  uint64_t base = 0;  // what AT_BASE says of an interpreter: where the file's address 0 lies
  uint64_t entry = 0;
  uint64_t program_headers = 0;
  uint64_t program_header_count = 0;
  uint64_t code_low = 0, code_high = 0;
  uint64_t data_low = 0, data_high = 0;
  bool executable_stack = false;
  bool is_go = false;  // its runtime reads its own code
};

// The first bytes of a file: where headers, the interpreter's name and notes stand as a rule. One read serves for all.
struct FileFront {
  static constexpr size_t room = 1024;
  unsigned char bytes[room];
  size_t length = 0;

  // 0 or -errno.
  int read(int fd);
};

enum class ElfKind { none, foreign, ours };
// What the first bytes of a file say: no ELF file at all, one of another architecture, or one that load_elf can take.
ElfKind elf_kind(const unsigned char* head, size_t bytes);

// What load_elf would find wrong before it maps anything: 0, -ENOEXEC or -EIO. interpreter: the one that the file
// names, or "".
int check_elf(int fd, const FileFront& front, char (&interpreter)[path_room]);

// Maps the file behind fd. hint: where a position independent one should lie, 0: anywhere. code: what is prepared of
// its code, nullptr: nothing. 0 or -errno; after an error parts may stay mapped.
int load_elf(int fd, uint64_t hint, const abi::PreparedCode* code, Image& image);

}  // namespace fusewire::gate
