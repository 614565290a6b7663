// How the view of a connection lies in memory: what the half knows of names and attributes, published in rows that its
// clients read without a call. The half writes them (kernel/view.h), clients have the memory read-only (abi/view.h
// walks it). Freestanding; flat, without pointers: everything is named by its offset, in cells of 64 bytes.
//
// A row is the authority on itself; the index is a hint where rows may be. Each row begins with a sequence: odd while
// it is written, moved on at each change, and telling which kind of row it is, so that no row is taken for another.
// An inode is named by its handle: the cell of its row, and an incarnation that is never used again. So a row that
// serves another file by now answers nobody who asks for the first.
//
// Nothing ever moves: cells are handed out page by page, each page to one kind, and an index that became too small is
// read beside its successor until all of it was taken over.
//
// Thread rule: one writer, under the connection lock; any number of readers. Words are 64 bits, read and written whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fusewire::abi {

inline constexpr uint64_t view_magic = 0x3177656976775746;
inline constexpr uint64_t view_cell_bytes = 64, view_page_bytes = 4096;
inline constexpr uint64_t view_page_cells = view_page_bytes / view_cell_bytes;
inline constexpr uint32_t view_cell_bits = 24;  // of a handle and of an entry of the index
inline constexpr uint64_t view_cells_max = uint64_t{1} << view_cell_bits;
inline constexpr uint64_t view_bytes_max = view_cells_max * view_cell_bytes;

constexpr uint32_t view_cell_of(uint64_t handle) { return static_cast<uint32_t>(handle & (view_cells_max - 1)); }

// Words of a row begin with its sequence: bit 0 odd, then two bits of kind, then a number.
enum class ViewKind : uint64_t { none = 0, name = 1, inode = 2 };
inline constexpr uint64_t view_sequence_step = 8;
constexpr uint64_t view_kind_bits(ViewKind kind) { return static_cast<uint64_t>(kind) << 1; }

// One name in one directory. Text of at most inline_bytes stands in the row, padded with NULs; else the first word of
// text is the first cell of a chunk that holds it, padded likewise.
struct ViewName {
  static constexpr size_t inline_bytes = 24, text_max = 255;

  uint64_t sequence;
  uint64_t parent;       // handle of the directory's inode; 0: the row is free
  uint64_t child;        // handle; 0: there is no such file, which is known until valid_until
  uint64_t valid_until;  // CLOCK_MONOTONIC of the host, nanoseconds; UINT64_MAX: for ever
  uint32_t epoch;        // of the connection when it was looked up
  uint8_t length, flags;
  uint16_t unused;
  uint64_t text[inline_bytes / 8];
};
static_assert(sizeof(ViewName) == view_cell_bytes);
namespace view_name {
inline constexpr uint8_t mounted_on = 1;  // something is mounted there, in whichever mount of the file system
}

// What stat shows of a file. Texts of symlinks as those of long names: in a chunk.
struct ViewInode {
  uint64_t sequence;
  uint64_t handle;       // 0: the row is free
  uint64_t valid_until;  // of the attributes; as above
  uint32_t doubtful;     // STATX_ bits that the daemon is to be asked for
  uint32_t flags;
  uint32_t mode, uid, gid, nlink;
  uint64_t ino, size;
  uint64_t blocks;
  int64_t atime, mtime, ctime;
  uint32_t atime_nsec, mtime_nsec, ctime_nsec;
  uint32_t rdev, blksize, unused;
  uint32_t link_cell, link_length;  // length 0: no text is known
};
static_assert(sizeof(ViewInode) == 2 * view_cell_bytes && offsetof(ViewInode, link_cell) % 8 == 0);
namespace view_inode {
inline constexpr uint32_t bad = 1;        // another file took its nodeid
inline constexpr uint32_t dead = 2;       // a directory that was removed
inline constexpr uint32_t counts = 4;     // the half wants to know of its next use (readdirplus), unless the
inline constexpr uint32_t advised = 32;   // directory's next READDIR will be a READDIRPLUS already
inline constexpr uint32_t has_btime = 8;  // which is not in the row
inline constexpr uint32_t root = 16;      // the file system's
}  // namespace view_inode

// Chunks of text: one cell, or four.
inline constexpr uint32_t view_chunk_cells = 4;
inline constexpr size_t view_chunk_bytes = view_chunk_cells * view_cell_bytes;
constexpr uint32_t view_chunk_cells_for(size_t bytes) { return bytes <= view_cell_bytes ? 1 : view_chunk_cells; }

// A place where the file system is mounted.
struct ViewMount {
  uint64_t root;    // handle; 0: none
  uint32_t number;  // of the mount; 0: where a path leads that names none
  uint32_t flags;   // mount_rules.h, mount_flag::kept
};
inline constexpr size_t view_mounts = 16;

struct ViewHeader {
  uint64_t magic;
  uint64_t hash_key[2];
  uint64_t index, old_index;  // first page << 8 | bits: 2^bits buckets. old_index 0: there is none
  uint64_t epoch;             // rows of another are stale
  uint64_t flags;
  uint64_t used_bytes;       // all that is used lies below
  uint64_t mounts_sequence;  // of the following, odd while they change
  ViewMount mount[view_mounts];
};
static_assert(sizeof(ViewHeader) <= view_page_bytes);
namespace view_flag {
inline constexpr uint64_t ended = 1;                // nothing here is true any more
inline constexpr uint64_t default_permissions = 2;  // the mode decides
inline constexpr uint64_t no_access = 4;            // the daemon knows no ACCESS
inline constexpr uint64_t no_statx = 8;             // nor STATX
inline constexpr uint64_t read_only = 16;           // the file system itself is
}  // namespace view_flag

// Index: buckets of sixteen entries; one is searched together with its neighbour. Entry: eight bits of the name's hash
// << view_cell_bits | cell of a row; 0: free.
inline constexpr uint32_t view_bucket_entries = 16;
inline constexpr uint64_t view_bucket_bytes = view_bucket_entries * 4;
inline constexpr uint32_t view_index_bits_min = 6, view_index_bits_max = 20;
constexpr uint32_t view_tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 56); }
constexpr uint64_t view_index_bytes(uint32_t bits) { return view_bucket_bytes << bits; }

// A name as words, padded with NULs.
constexpr size_t view_words_for(size_t bytes) { return (bytes + 7) / 8; }
inline uint64_t view_text_word(std::string_view text, size_t word) {
  const size_t at = word * 8;
  if (at + 8 <= text.size()) {
    uint64_t whole;
    __builtin_memcpy(&whole, text.data() + at, 8);
    return whole;
  }
  uint64_t part = 0;
  for (size_t i = at; i < text.size(); i++) part |= uint64_t{static_cast<unsigned char>(text[i])} << (i - at) * 8;
  return part;
}

// Keyed by the host: who chooses names does not choose buckets.
inline uint64_t view_hash(uint64_t key0, uint64_t key1, uint64_t parent, std::string_view name) {
  const auto mix = [](uint64_t a, uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  };
  uint64_t state = mix(parent ^ key0, name.size() ^ key1);
  for (size_t word = 0; word < view_words_for(name.size()); word++)
    state = mix(state ^ view_text_word(name, word), key1);
  return mix(state ^ key0, 0x9e3779b97f4a7c15);
}

}  // namespace fusewire::abi
