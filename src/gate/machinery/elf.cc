#include "gate/machinery/elf.h"

#include <elf.h>
#include <errno.h>
#include <linux/mman.h>

#include "gate/machinery/base.h"
#include "gate/machinery/machinery.h"

namespace fusewire::gate {

namespace {

constexpr size_t max_program_headers = 128;

struct Headers {
  Elf64_Ehdr file;
  Elf64_Phdr program[max_program_headers];
  const FileFront& front;

  explicit Headers(const FileFront& read) : front(read) {}

  bool read(int fd, void* to, size_t bytes, uint64_t offset) const {
    if (offset < front.length && bytes <= front.length - offset) {
      __builtin_memcpy(to, front.bytes + offset, bytes);
      return true;
    }
    return raw_syscall(__NR_pread64, fd, argument(to), static_cast<long>(bytes), static_cast<long>(offset)) ==
           static_cast<long>(bytes);
  }
};

bool read_headers(int fd, Headers& h) {
  if (!h.read(fd, &h.file, sizeof h.file, 0)) return false;
  if (elf_kind(h.file.e_ident, sizeof h.file) != ElfKind::ours) return false;
  if (h.file.e_phentsize != sizeof(Elf64_Phdr) || h.file.e_phnum == 0 || h.file.e_phnum > max_program_headers) {
    return false;
  }
  return h.read(fd, h.program, h.file.e_phnum * sizeof(Elf64_Phdr), h.file.e_phoff);
}

struct Extent {
  uint64_t low = ~0ull, high = 0, alignment = page_bytes;
  bool has_holes = false;  // pages between segments, or segments in another order than that of their addresses
};

// false: a segment that cannot be (its end before its beginning, more in the file than in memory).
bool extent_of(const Headers& h, Extent& e) {
  for (int i = 0; i < h.file.e_phnum; i++) {
    const Elf64_Phdr& p = h.program[i];
    if (p.p_type != PT_LOAD) continue;
    constexpr uint64_t user_end = 1ull << 47;
    if (p.p_memsz < p.p_filesz || p.p_vaddr >= user_end || p.p_memsz > user_end - p.p_vaddr) return false;
    if (e.high != 0 && page_floor(p.p_vaddr) != page_ceiling(e.high)) e.has_holes = true;
    if (p.p_vaddr < e.low) e.low = p.p_vaddr;
    if (p.p_vaddr + p.p_memsz > e.high) e.high = p.p_vaddr + p.p_memsz;
    if (p.p_align > e.alignment && (p.p_align & (p.p_align - 1)) == 0) e.alignment = p.p_align;
  }
  if (e.high == 0) return false;
  e.low = page_floor(e.low);
  e.high = page_ceiling(e.high);
  return true;
}

long map(uint64_t at, uint64_t bytes, int protection, int flags, int fd, uint64_t offset) {
  return raw_syscall(__NR_mmap, static_cast<long>(at), static_cast<long>(bytes), protection, flags, fd,
                     static_cast<long>(offset));
}

int protection_of(const Elf64_Phdr& p) {
  return ((p.p_flags & PF_R) != 0 ? PROT_READ : 0) | ((p.p_flags & PF_W) != 0 ? PROT_WRITE : 0) |
         ((p.p_flags & PF_X) != 0 ? PROT_EXEC : 0);
}

// The first segment where its mapping can be made as long as the whole extent, since others take the place of what it
// is too long; nullptr: it cannot.
const Elf64_Phdr* find_covering(const Headers& h, const Extent& e) {
  if (h.file.e_type != ET_DYN || e.has_holes || e.alignment != page_bytes) return nullptr;
  for (int i = 0; i < h.file.e_phnum; i++) {
    const Elf64_Phdr& p = h.program[i];
    if (p.p_type != PT_LOAD) continue;
    const bool is_plain = (p.p_flags & PF_W) == 0 && p.p_filesz == p.p_memsz && p.p_filesz != 0;
    return is_plain && p.p_offset % page_bytes == p.p_vaddr % page_bytes ? &p : nullptr;
  }
  return nullptr;
}

// Takes the whole extent, so that nothing else gets between the segments. covering: maps it by that. *bias: added to
// the file's addresses.
int reserve(int fd, const Headers& h, const Extent& e, const Elf64_Phdr* covering, uint64_t hint, uint64_t& bias) {
  const uint64_t bytes = e.high - e.low;
  if (covering != nullptr) {
    const long r = map(hint, bytes, protection_of(*covering), MAP_PRIVATE, fd, page_floor(covering->p_offset));
    if (failed(r)) return static_cast<int>(r);
    bias = static_cast<uint64_t>(r) - e.low;
    return 0;
  }
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  if (h.file.e_type == ET_EXEC) {
    bias = 0;
    const long r = map(e.low, bytes, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
    if (failed(r)) return static_cast<int>(r);
    return static_cast<uint64_t>(r) == e.low ? 0 : -ENOMEM;
  }
  // Room to align within; the kernel aligns to pages only.
  const uint64_t slack = e.alignment - page_bytes;
  const long r = map(hint, bytes + slack, PROT_NONE, flags, -1, 0);
  if (failed(r)) return static_cast<int>(r);
  const auto got = static_cast<uint64_t>(r);
  const uint64_t low = (got - e.low % e.alignment + e.alignment - 1) / e.alignment * e.alignment + e.low % e.alignment;
  const uint64_t start = low >= got && low + bytes <= got + bytes + slack ? low : got;
  if (start > got) raw_syscall(__NR_munmap, r, static_cast<long>(start - got));
  const uint64_t behind = got + slack - start;
  if (behind > 0) raw_syscall(__NR_munmap, static_cast<long>(start + bytes), static_cast<long>(behind));
  bias = start - e.low;
  return 0;
}

int map_segment(int fd, const Elf64_Phdr& p, uint64_t bias, const abi::PreparedCode* code) {
  const int protection = protection_of(p);
  const uint64_t start = bias + p.p_vaddr, first_page = page_floor(start);
  const uint64_t file_end = start + p.p_filesz, memory_end = start + p.p_memsz;
  uint64_t mapped_end = first_page;
  if (p.p_filesz > 0) {
    mapped_end = page_ceiling(file_end);
    const uint64_t offset = p.p_offset - (start - first_page);
    const bool is_prepared = code != nullptr && protection == (PROT_READ | PROT_EXEC) &&
                             map_prepared(*code, first_page, mapped_end - first_page, offset);
    const long r =
        is_prepared ? 0 : map(first_page, mapped_end - first_page, protection, MAP_PRIVATE | MAP_FIXED, fd, offset);
    if (failed(r)) return static_cast<int>(r);
    if (protection == (PROT_READ | PROT_EXEC)) note_code(first_page, mapped_end);
    // The rest of the last page holds whatever follows in the file, where zeros belong.
    if (memory_end > file_end && (protection & PROT_WRITE) != 0) {
      __builtin_memset(reinterpret_cast<void*>(file_end), 0, mapped_end - file_end);
    }
  }
  if (page_ceiling(memory_end) <= mapped_end) return 0;
  const long r = map(mapped_end, page_ceiling(memory_end) - mapped_end, protection,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  return failed(r) ? static_cast<int>(r) : 0;
}

void note_segment(const Headers& h, const Elf64_Phdr& p, uint64_t bias, Image& image) {
  const uint64_t low = bias + p.p_vaddr, high = low + p.p_filesz;
  if ((p.p_flags & PF_X) != 0) {
    image.code_low = low;
    image.code_high = high;
  } else if ((p.p_flags & PF_W) != 0) {
    image.data_low = low;
    image.data_high = high;
  }
  const bool holds_headers = p.p_offset <= h.file.e_phoff && h.file.e_phoff < p.p_offset + p.p_filesz;
  if (holds_headers && image.program_headers == 0) image.program_headers = low + (h.file.e_phoff - p.p_offset);
}

bool is_go_note(int fd, const Headers& h, const Elf64_Phdr& p) {
  struct {
    Elf64_Nhdr head;
    char name[4];
  } note;
  if (p.p_filesz < sizeof note || !h.read(fd, &note, sizeof note, p.p_offset)) return false;
  return note.head.n_namesz == 4 && __builtin_memcmp(note.name, "Go\0\0", 4) == 0;
}

int read_interpreter(int fd, const Headers& h, const Elf64_Phdr& p, char (&interpreter)[path_room]) {
  if (p.p_filesz < 2 || p.p_filesz > sizeof interpreter) return -ENOEXEC;
  if (!h.read(fd, interpreter, p.p_filesz, p.p_offset)) return -EIO;
  return interpreter[p.p_filesz - 1] == 0 ? 0 : -ENOEXEC;
}

int take_segment(int fd, const Headers& h, const Elf64_Phdr& p, uint64_t bias, const abi::PreparedCode* code,
                 Image& image) {
  switch (p.p_type) {
    case PT_LOAD:
      note_segment(h, p, bias, image);
      return map_segment(fd, p, bias, code);
    case PT_PHDR:
      image.program_headers = bias + p.p_vaddr;
      return 0;
    case PT_GNU_STACK:
      image.executable_stack = (p.p_flags & PF_X) != 0;
      return 0;
    case PT_NOTE:
      if (is_go_note(fd, h, p)) image.is_go = true;
      return 0;
    default:
      return 0;
  }
}

}  // namespace

int FileFront::read(int fd) {
  const long n = raw_syscall(__NR_pread64, fd, argument(bytes), room, 0);
  length = n > 0 ? static_cast<size_t>(n) : 0;
  return n < 0 ? static_cast<int>(n) : 0;
}

ElfKind elf_kind(const unsigned char* head, size_t bytes) {
  if (bytes < SELFMAG || __builtin_memcmp(head, ELFMAG, SELFMAG) != 0) return ElfKind::none;
  if (bytes < sizeof(Elf64_Ehdr)) return ElfKind::none;
  if (head[EI_CLASS] != ELFCLASS64) return ElfKind::foreign;
  Elf64_Ehdr h;
  __builtin_memcpy(&h, head, sizeof h);
  if (h.e_machine != EM_X86_64) return ElfKind::foreign;
  return h.e_type == ET_EXEC || h.e_type == ET_DYN ? ElfKind::ours : ElfKind::none;
}

int check_elf(int fd, const FileFront& front, char (&interpreter)[path_room]) {
  interpreter[0] = 0;
  Headers h(front);
  if (!read_headers(fd, h)) return -ENOEXEC;
  Extent e;
  if (!extent_of(h, e)) return -ENOEXEC;
  for (int i = 0; i < h.file.e_phnum; i++) {
    if (h.program[i].p_type == PT_INTERP) return read_interpreter(fd, h, h.program[i], interpreter);
  }
  return 0;
}

int load_elf(int fd, uint64_t hint, const abi::PreparedCode* code, Image& image) {
  FileFront front;
  if (const int r = front.read(fd); r < 0) return r;
  Headers h(front);
  if (!read_headers(fd, h)) return -ENOEXEC;
  Extent e;
  if (!extent_of(h, e)) return -ENOEXEC;
  uint64_t bias = 0;
  const Elf64_Phdr* covering = find_covering(h, e);
  if (const int r = reserve(fd, h, e, covering, hint, bias); r < 0) return r;
  for (int i = 0; i < h.file.e_phnum; i++) {
    if (&h.program[i] == covering) {
      note_segment(h, *covering, bias, image);
      continue;
    }
    if (const int r = take_segment(fd, h, h.program[i], bias, code, image); r < 0) return r;
  }
  image.base = bias;
  image.entry = bias + h.file.e_entry;
  image.program_header_count = h.file.e_phnum;
  return 0;
}

}  // namespace fusewire::gate
