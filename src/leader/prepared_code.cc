#include "leader/prepared_code.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>

#include "abi/unique_fd.h"
#include "code/decode.h"
#include "code/trampoline.h"

namespace fusewire::leader {
namespace {

using code::jump_bytes, code::number_bytes, code::syscall_bytes, code::Trampoline;

constexpr uint64_t page_bytes = 4096;
constexpr uint64_t longest_displaced = 16, largest_code = 16 << 20;
constexpr int32_t call_numbers = 512;

uint64_t page_floor(uint64_t n) { return n & ~(page_bytes - 1); }
uint64_t page_ceiling(uint64_t n) { return page_floor(n + page_bytes - 1); }

template <class T>
std::optional<T> read_at(std::span<const std::byte> bytes, uint64_t offset) {
  if (offset > bytes.size() || sizeof(T) > bytes.size() - offset) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// The program headers of an ELF file of this machine; empty: it is none.
std::vector<Elf64_Phdr> headers_of(std::span<const std::byte> file) {
  const auto head = read_at<Elf64_Ehdr>(file, 0);
  if (!head || std::memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_ident[EI_CLASS] != ELFCLASS64 ||
      head->e_machine != EM_X86_64 || head->e_phentsize != sizeof(Elf64_Phdr))
    return {};
  std::vector<Elf64_Phdr> headers;
  for (uint64_t i = 0; i < head->e_phnum; ++i) {
    const auto header = read_at<Elf64_Phdr>(file, head->e_phoff + i * sizeof(Elf64_Phdr));
    if (!header) return {};
    headers.push_back(*header);
  }
  return headers;
}

// A place that becomes a jump: that of the `syscall`, or of the number's `mov` in front of it.
struct Site {
  uint64_t jump, syscall;  // in the segment, bytes
  uint64_t displaced;      // 0: the number's
};

// The executable segment of a library.
class Segment {
 public:
  // address: of its first byte, in the file's own addresses.
  Segment(std::span<const std::byte> bytes, uint64_t address)
      : bytes_(reinterpret_cast<const uint8_t*>(bytes.data())), size_(bytes.size()), address_(address) {}

  // What a jump may lead into is left alone.
  std::vector<Site> find_sites() const {
    constexpr std::string_view syscall = "\x0f\x05";
    const std::string_view text(reinterpret_cast<const char*>(bytes_), size_);
    std::vector<Site> sites;
    for (size_t at = text.find(syscall, number_bytes);
         at != std::string_view::npos && at + syscall_bytes + longest_displaced <= size_;
         at = text.find(syscall, at + 1)) {
      const auto site = site_at(at);
      if (site && (sites.empty() || sites.back().syscall + jump_bytes <= site->jump)) sites.push_back(*site);
    }
    const std::vector<bool> jumped = find_jumped(sites);
    std::vector<Site> kept;
    for (size_t i = 0; i < sites.size(); ++i)
      if (!jumped[i]) kept.push_back(sites[i]);
    return kept;
  }

  // code: a copy of the segment. trampolines: room for one a site; at: the address that they will have.
  void rewrite(const std::vector<Site>& sites, std::byte* code, std::byte* trampolines, uint64_t at,
               uint64_t entry) const {
    for (const Site& site : sites) {
      Trampoline trampoline{};
      const uint64_t syscall = address_ + site.syscall;
      if (site.displaced == 0) {
        code::build_number_trampoline(trampoline, at, syscall, bytes_ + site.jump, entry);
      } else {
        const uint8_t* behind = bytes_ + site.syscall + syscall_bytes;
        code::build_trampoline(trampoline, at, syscall, behind, site.displaced, entry);
      }
      std::memcpy(trampolines, &trampoline, sizeof trampoline);
      put_jump(code + site.jump, address_ + site.jump, at);
      trampolines += sizeof trampoline;
      at += sizeof trampoline;
    }
  }

 private:
  static void put_jump(std::byte* place, uint64_t address, uint64_t target) {
    const auto distance = static_cast<int32_t>(static_cast<int64_t>(target - (address + jump_bytes)));
    *place = std::byte{0xe9};
    std::memcpy(place + 1, &distance, sizeof distance);
  }

  // Two bytes may be a part of anything. What is behind or in front of them says that they are a `syscall`: the check
  // for an error, or the number that is loaded; where an instruction's last four bytes are that, the next one begins.
  std::optional<Site> site_at(uint64_t at) const {
    const uint8_t* p = bytes_ + at;
    if (const uint64_t n = code::error_check_bytes(p + syscall_bytes); n != 0) return Site{at, at, n};
    int32_t number;
    std::memcpy(&number, p - sizeof number, sizeof number);
    if (p[-static_cast<int>(number_bytes)] != 0xb8 || number < 0 || number >= call_numbers) return std::nullopt;
    if (const uint64_t n = code::displaceable_bytes(p + syscall_bytes); n != 0) return Site{at, at, n};
    const uint64_t start = at - number_bytes;
    if (!begins_function(start) || !code::is_number_stub(bytes_ + start, address_ + start, number)) return std::nullopt;
    return Site{start, at, 0};
  }

  // In front of it is the landing of an indirect call, a return, or what fills the room between functions.
  bool begins_function(uint64_t start) const {
    constexpr std::array<uint8_t, 4> ends = {0xc3, 0xcc, 0x90, 0x00};
    if (start < number_bytes) return false;
    if (code::follows_landing(bytes_ + start)) return true;
    return std::ranges::find(ends, bytes_[start - 1]) != ends.end();
  }

  // Where an instruction begins behind the first one that the site's jump takes: calls f(place).
  template <class F>
  void for_each_inner(const Site& site, F f) const {
    if (site.displaced == 0) return;
    for (uint64_t at = site.syscall + syscall_bytes; at < site.jump + jump_bytes;) {
      f(at);
      const uint64_t checked = code::error_check_bytes(bytes_ + at);
      at += checked != 0 ? checked : code::movable_bytes(bytes_ + at, 1);
    }
  }

  // Whether a jump may lead to such a place, for each site.
  std::vector<bool> find_jumped(const std::vector<Site>& sites) const {
    std::vector<Inner> inners;
    for (size_t i = 0; i < sites.size(); ++i) for_each_inner(sites[i], [&](uint64_t at) { inners.push_back({at, i}); });
    std::vector<bool> jumped(sites.size());
    for (const Inner& inner : inners)
      if (is_target_of_short_jump(inner.place)) jumped[inner.site] = true;
    constexpr uint64_t opcode_bytes = 2;
    for (uint64_t at = opcode_bytes; at + sizeof(int32_t) <= size_; ++at) {
      const uint8_t* p = bytes_ + at;
      if (!code::has_near_opcode(p)) continue;
      int32_t distance;
      std::memcpy(&distance, p, sizeof distance);
      const uint64_t target = at + sizeof distance + static_cast<uint64_t>(int64_t{distance});
      const auto inner = std::ranges::lower_bound(inners, target, {}, &Inner::place);
      if (inner != inners.end() && inner->place == target) jumped[inner->site] = true;
    }
    return jumped;
  }

  bool is_target_of_short_jump(uint64_t place) const {
    constexpr uint64_t reach = 130;
    const uint64_t end = std::min(place + reach, size_ - sizeof(int32_t));
    for (uint64_t at = std::max<uint64_t>(place, reach + 2) - reach; at <= end; ++at) {
      const uint64_t target = at + 1 + static_cast<uint64_t>(int64_t{static_cast<int8_t>(bytes_[at])});
      if (target == place && code::is_short_jump(bytes_[at - 1]) && !is_distance_of_data(at - 1)) return true;
    }
    return false;
  }

  // Whether the byte belongs to the distance of an operand relative to the instruction, as in `lea name(%rip), %rdi`:
  // by the opcode and the ModRM byte in front of it.
  bool is_distance_of_data(uint64_t at) const {
    constexpr std::array<uint8_t, 6> opcodes = {0x8b, 0x8d, 0x89, 0x83, 0x80, 0x3b};
    constexpr uint64_t distance_bytes = 4;
    for (uint64_t k = 1; k <= distance_bytes && at > k; ++k) {
      const bool is_relative = (bytes_[at - k] & 0xc7) == 0x05;
      if (is_relative && std::ranges::find(opcodes, bytes_[at - k - 1]) != opcodes.end()) return true;
    }
    return false;
  }

  struct Inner {
    uint64_t place;
    size_t site;
  };

  const uint8_t* bytes_;
  uint64_t size_;
  uint64_t address_;
};

// The file's bytes, mapped to be read.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd || ::fstat(fd.get(), &status_) != 0 || !S_ISREG(status_.st_mode)) return;
    void* memory = ::mmap(nullptr, size(), PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (memory != MAP_FAILED) memory_ = static_cast<const std::byte*>(memory);
  }
  ~MappedFile() {
    if (memory_) ::munmap(const_cast<std::byte*>(memory_), size());
  }
  MappedFile(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return {memory_, memory_ ? size() : 0}; }
  const struct stat& status() const { return status_; }

 private:
  size_t size() const { return static_cast<size_t>(status_.st_size); }
  struct stat status_ {};
  const std::byte* memory_ = nullptr;
};

struct Layout {
  Elf64_Phdr code{};
  uint64_t low = ~uint64_t{0};  // the lowest page of the library
};

std::optional<Layout> layout_of(std::span<const std::byte> file) {
  Layout layout;
  int codes = 0;
  for (const Elf64_Phdr& header : headers_of(file)) {
    if (header.p_type != PT_LOAD) continue;
    layout.low = std::min(layout.low, page_floor(header.p_vaddr));
    if ((header.p_flags & PF_X) == 0) continue;
    layout.code = header;
    ++codes;
  }
  const Elf64_Phdr& p = layout.code;
  const bool fits = p.p_offset < file.size() && p.p_filesz <= file.size() - p.p_offset && p.p_filesz == p.p_memsz;
  if (codes != 1 || p.p_flags != (PF_R | PF_X) || !fits || p.p_filesz > largest_code) return std::nullopt;
  if (p.p_offset % page_bytes != p.p_vaddr % page_bytes) return std::nullopt;
  return layout;
}

std::optional<PreparedFile> prepare_file(const std::string& path, uint64_t entry) {
  const MappedFile file(path);
  const auto layout = layout_of(file.bytes());
  if (!layout || path.size() >= sizeof(abi::PreparedCode::path)) return std::nullopt;
  const Segment segment(file.bytes().subspan(layout->code.p_offset, layout->code.p_filesz), layout->code.p_vaddr);
  const std::vector<Site> sites = segment.find_sites();
  if (sites.empty()) return std::nullopt;
  const uint64_t offset = page_floor(layout->code.p_offset);
  const uint64_t bytes = page_ceiling(layout->code.p_offset + layout->code.p_filesz) - offset;
  const uint64_t trampoline_bytes = page_ceiling(sites.size() * sizeof(Trampoline));

  PreparedFile prepared;
  prepared.code = {.file = abi::identity_of(file.status()),
                   .offset = offset,
                   .bytes = bytes,
                   .place = 0,
                   .trampoline_bytes = trampoline_bytes,
                   .below = page_floor(layout->code.p_vaddr) - layout->low + trampoline_bytes,
                   .path = {}};
  std::memcpy(prepared.code.path, path.data(), path.size());
  prepared.bytes.resize(trampoline_bytes + bytes);
  // Whole pages, as a mapping shows them: behind the segment whatever follows in the file.
  std::byte* const code = prepared.bytes.data() + trampoline_bytes;
  std::memcpy(code, file.bytes().data() + offset, std::min<uint64_t>(bytes, file.bytes().size() - offset));
  segment.rewrite(sites, code + (layout->code.p_offset - offset), prepared.bytes.data(), layout->low - trampoline_bytes,
                  entry);
  return prepared;
}

}  // namespace

uint64_t entry_of_gate(std::span<const std::byte> image) {
  struct Note {
    Elf64_Nhdr head;
    char name[12];
    uint64_t entry;
  } __attribute__((packed));
  for (const Elf64_Phdr& header : headers_of(image)) {
    if (header.p_type != PT_NOTE) continue;
    const auto note = read_at<Note>(image, header.p_offset);
    if (note && std::string_view(note->name) == "fusewire") return note->entry;
  }
  return 0;
}

std::vector<PreparedFile> prepare(const std::vector<std::string>& paths, uint64_t entry) {
  std::vector<PreparedFile> files;
  for (const std::string& path : paths) {
    if (entry == 0 || files.size() == abi::prepared_codes_max) break;
    if (auto file = prepare_file(path, entry)) files.push_back(std::move(*file));
  }
  return files;
}

std::vector<std::string> usual_libraries() {
  std::vector<std::string> paths;
  const auto add = [&](const std::filesystem::path& name) {
    std::error_code error;
    const auto path = std::filesystem::canonical(name, error);
    if (!error) paths.push_back(path.string());
    return path.parent_path();
  };
  const auto directory = add("/lib64/ld-linux-x86-64.so.2");
  if (!directory.empty()) add(directory / "libc.so.6");
  add("/lib/ld-musl-x86_64.so.1");
  return paths;
}

}  // namespace fusewire::leader
