// ViewWalk: the fast walk. It finds what a path names in a connection's view (view_layout.h) as the half itself would,
// component by component, without a call and without a lock; or it says "miss", and the half is to be asked.
// Freestanding: plain functions, general registers, no allocation.
//
// A miss is always right. So everything that is not certain is one: symlinks on the way, "..", what is mounted in the
// mount, rows that are being written, expired or doubtful, names that must count (readdirplus), permissions that need
// the daemon or a capability, and every error but ENOENT.
//
// Nothing that is read is trusted: the memory is another process's. Cells are checked before they are read, loops have
// an end whatever stands there, and a writer that died in the middle of a row leaves that row a miss.
//
// Memory: what the walk reads. bytes(): how many there are, a multiple of a page; word(offset) and
// acquire(offset): 8 bytes at an offset that is a multiple of 8 and was checked.
// Thread rule: any thread; a walk belongs to one.
#pragma once

#include <cstdint>
#include <string_view>

#include "abi/mount_rules.h"
#include "abi/types.h"
#include "abi/view_layout.h"

namespace fusewire::abi {

// A view that is mapped.
class MappedView {
 public:
  MappedView() = default;
  MappedView(const void* base, uint64_t bytes) : base_(static_cast<const char*>(base)), bytes_(bytes) {}
  uint64_t bytes() const { return bytes_; }
  uint64_t word(uint64_t offset) const { return __atomic_load_n(at(offset), __ATOMIC_RELAXED); }
  uint64_t acquire(uint64_t offset) const { return __atomic_load_n(at(offset), __ATOMIC_ACQUIRE); }

 private:
  const uint64_t* at(uint64_t offset) const { return reinterpret_cast<const uint64_t*>(base_ + offset); }

  const char* base_ = nullptr;
  uint64_t bytes_ = 0;
};

enum class ViewAnswer : uint8_t { miss, found, absent };

// Who walks, as the host numbers ids. Only a client whose real, effective and file system ids agree gets a view.
struct ViewCaller {
  uint32_t uid = 0, gid = 0;
};

// Where a walk starts: at an inode that the mount of this number shows.
struct ViewStart {
  uint64_t inode = 0;
  uint32_t mount_flags = 0;
};

namespace view_bits {
// linux/stat.h and sys/stat.h
inline constexpr uint32_t s_ifmt = 0170000, s_ifdir = 0040000, s_iflnk = 0120000, s_ifreg = 0100000;
inline constexpr uint32_t statx_mode = 2, statx_uid = 8, statx_gid = 16, statx_basic_stats = 0x7ff, statx_btime = 0x800;
inline constexpr uint32_t may_exec = 1, may_write = 2, may_read = 4;
}  // namespace view_bits

// now: the host's CLOCK_MONOTONIC in nanoseconds, or later; asked only where something ends at all.
template <class Memory, class Now>
class ViewWalk {
 public:
  ViewWalk(const Memory& memory, ViewCaller caller, Now now) : memory_(memory), caller_(caller), now_(now) {}

  // Whether there is a view, and one that holds good.
  bool usable() const {
    return memory_.bytes() >= view_page_bytes && header(offsetof(ViewHeader, magic)) == view_magic &&
           (flags() & view_flag::ended) == 0;
  }

  // Whether the half has published more than what is mapped here.
  bool is_cut() const {
    return memory_.bytes() < view_page_bytes || header(offsetof(ViewHeader, used_bytes)) > memory_.bytes();
  }

  // The root of a mount. 0 is the number of the first. A miss: it is not known here.
  ViewAnswer start_of(uint32_t mount, ViewStart& start) const {
    constexpr uint64_t first = offsetof(ViewHeader, mount);
    const uint64_t sequence = memory_.acquire(offsetof(ViewHeader, mounts_sequence));
    if ((sequence & 1) != 0) return ViewAnswer::miss;
    ViewAnswer answer = ViewAnswer::miss;
    for (size_t i = 0; i < view_mounts && answer == ViewAnswer::miss; i++) {
      const uint64_t at = first + i * sizeof(ViewMount);
      const uint64_t root = header(at), rest = header(at + 8);
      if (root == 0 || static_cast<uint32_t>(rest) != mount) continue;
      start = {root, static_cast<uint32_t>(rest >> 32)};
      answer = ViewAnswer::found;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return header(offsetof(ViewHeader, mounts_sequence)) == sequence ? answer : ViewAnswer::miss;
  }

  // From start along path, which is relative, as the half walks it. found: row is a copy of the inode's row; what it
  // shows may be doubtful. A symlink at the end is found itself, and only where `follow` is false.
  ViewAnswer walk(ViewStart start, std::string_view path, bool follow, ViewInode& row) {
    if (!usable() || path.size() >= path_max || !read_inode(start.inode, row)) return ViewAnswer::miss;
    bool demands_directory = false;
    for (;;) {
      const bool slashes = take_slashes(path);
      if (path.empty()) {
        demands_directory = slashes;
        break;
      }
      if (!may_search(row)) return ViewAnswer::miss;
      const std::string_view name = take_name(path);
      if (name == ".") continue;
      if (name == ".." || name.size() > ViewName::text_max) return ViewAnswer::miss;
      const ViewAnswer answer = step(name, row);
      if (answer != ViewAnswer::found) return answer;
      const bool is_last = path.empty();
      if ((row.mode & view_bits::s_ifmt) == view_bits::s_iflnk && (!is_last || follow)) return ViewAnswer::miss;
    }
    const bool is_directory = (row.mode & view_bits::s_ifmt) == view_bits::s_ifdir;
    return demands_directory && !is_directory ? ViewAnswer::miss : ViewAnswer::found;
  }

  // The row of an inode by its handle; false: it is not there any more.
  bool find_inode(uint64_t handle, ViewInode& row) const { return usable() && read_inode(handle, row); }

  // Whether stat may show a row that was found: its values hold good, or the caller does not mind. mask: STATX_ bits.
  // exact: statx(2), which would tell of btime too.
  bool shows(const ViewInode& row, uint32_t mask, bool exact, bool may_be_old) const {
    if ((row.flags & view_inode::bad) != 0) return false;
    if (exact && (row.flags & view_inode::has_btime) != 0) return false;
    mask &= view_bits::statx_basic_stats | view_bits::statx_btime;
    if ((flags() & view_flag::no_statx) != 0) mask &= view_bits::statx_basic_stats;
    return mask == 0 || may_be_old || ((mask & row.doubtful) == 0 && holds(row.valid_until));
  }

  // access(2): whether it is certain that the row's file may be used so. mask: R_OK 4, W_OK 2, X_OK 1.
  bool allows(const ViewInode& row, uint32_t mask, uint32_t mount_flags) const {
    using namespace view_bits;
    const bool is_regular = (row.mode & s_ifmt) == s_ifreg;
    const bool executes = (mask & may_exec) != 0 && is_regular;
    if ((row.flags & view_inode::bad) != 0) return false;
    if (executes && (mount_flags & mount_flag::noexec) != 0) return false;
    const bool read_only = (flags() & view_flag::read_only) != 0 || (mount_flags & mount_flag::read_only) != 0;
    if ((mask & may_write) != 0 && read_only) return false;
    const bool decides = (flags() & view_flag::default_permissions) != 0;
    if ((decides || executes) && !knows_owner(row)) return false;
    return decides ? allows_by_mode(row, mask) : (flags() & view_flag::no_access) != 0;
  }

  // The text of a symlink that was found, into to. Its length, or 0: it is not known.
  size_t read_link(const ViewInode& row, char (&to)[view_chunk_bytes]) const {
    if (row.link_length == 0 || row.link_length > view_chunk_bytes || (row.flags & view_inode::bad) != 0) return 0;
    const uint64_t at = uint64_t{row.link_cell} * view_cell_bytes;
    const size_t words = view_words_for(row.link_length);
    if (!fits(at, words * 8)) return 0;
    for (size_t i = 0; i < words; i++) {
      const uint64_t word = memory_.word(at + i * 8);
      __builtin_memcpy(to + i * 8, &word, 8);
    }
    return is_unchanged(uint64_t{view_cell_of(row.handle)} * view_cell_bytes, row.sequence) ? row.link_length : 0;
  }

 private:
  static constexpr size_t path_max = 4096;
  static constexpr int looks = 4;  // at a row that is being written

  uint64_t header(uint64_t offset) const { return memory_.word(offset); }
  uint64_t flags() const { return header(offsetof(ViewHeader, flags)); }
  bool fits(uint64_t offset, uint64_t bytes) const {
    return offset >= view_page_bytes && offset <= memory_.bytes() && bytes <= memory_.bytes() - offset;
  }
  bool holds(uint64_t valid_until) const {
    return valid_until == UINT64_MAX || (valid_until != 0 && valid_until >= now_());
  }
  bool is_unchanged(uint64_t row_at, uint64_t sequence) const {
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return memory_.word(row_at) == sequence;
  }

  static bool take_slashes(std::string_view& path) {
    size_t n = 0;
    while (n < path.size() && path[n] == '/') n++;
    path.remove_prefix(n);
    return n != 0;
  }
  static std::string_view take_name(std::string_view& path) {
    size_t n = 0;
    while (n < path.size() && path[n] != '/') n++;
    const std::string_view name(path.data(), n);
    path.remove_prefix(n);
    return name;
  }

  // A whole row as it was at one moment; false: it is another kind, or being written.
  template <class Row>
  bool read_row(uint64_t at, ViewKind kind, Row& row) const {
    constexpr size_t words = sizeof(Row) / 8;
    uint64_t copy[words];
    if (!fits(at, sizeof(Row))) return false;
    for (int look = 0; look < looks; look++) {
      copy[0] = memory_.acquire(at);
      if ((copy[0] & 1) != 0) {
        __builtin_ia32_pause();
        continue;
      }
      if ((copy[0] & (view_sequence_step - 1)) != view_kind_bits(kind)) return false;
      for (size_t i = 1; i < words; i++) copy[i] = memory_.word(at + i * 8);
      if (!is_unchanged(at, copy[0])) continue;
      __builtin_memcpy(&row, copy, sizeof row);
      return true;
    }
    return false;
  }

  bool read_inode(uint64_t handle, ViewInode& row) const {
    return handle != 0 && read_row(uint64_t{view_cell_of(handle)} * view_cell_bytes, ViewKind::inode, row) &&
           row.handle == handle;
  }

  // kernel::permission(MAY_EXEC) of a directory.
  bool may_search(const ViewInode& row) const {
    if ((row.mode & view_bits::s_ifmt) != view_bits::s_ifdir) return false;
    if ((row.flags & (view_inode::bad | view_inode::dead)) != 0) return false;
    if ((flags() & view_flag::default_permissions) == 0) return true;
    return knows_owner(row) && allows_by_mode(row, view_bits::may_exec);
  }
  bool knows_owner(const ViewInode& row) const {
    using namespace view_bits;
    return (row.doubtful & (statx_mode | statx_uid | statx_gid)) == 0 && holds(row.valid_until);
  }
  // Whether the mode alone allows it. Supplementary groups are not known here: who may be in the group has what both
  // the group and the others have.
  bool allows_by_mode(const ViewInode& row, uint32_t mask) const {
    const uint32_t group = row.mode >> 3 & 7, others = row.mode & 7;
    uint32_t granted = group & others;
    if (caller_.uid == row.uid)
      granted = row.mode >> 6 & 7;
    else if (caller_.gid == row.gid)
      granted = group;
    return (mask & ~granted) == 0;
  }

  // kernel::lookup of a cached name. row: the directory's, then the child's.
  ViewAnswer step(std::string_view name, ViewInode& row) const {
    ViewName entry;
    if (!find(row.handle, name, entry)) return ViewAnswer::miss;
    if (entry.epoch != static_cast<uint32_t>(header(offsetof(ViewHeader, epoch)))) return ViewAnswer::miss;
    if ((entry.flags & view_name::mounted_on) != 0 || !holds(entry.valid_until)) return ViewAnswer::miss;
    if (entry.child == 0) return ViewAnswer::absent;
    // One use of what a READDIRPLUS brought is enough for the next to be one: the others need not be told.
    const uint32_t misses = view_inode::bad | ((row.flags & view_inode::advised) != 0 ? 0 : view_inode::counts);
    const bool usable = read_inode(entry.child, row) && (row.flags & misses) == 0;
    return usable ? ViewAnswer::found : ViewAnswer::miss;
  }

  bool find(uint64_t parent, std::string_view name, ViewName& entry) const {
    const uint64_t hash =
        view_hash(header(offsetof(ViewHeader, hash_key)), header(offsetof(ViewHeader, hash_key) + 8), parent, name);
    return look_in(offsetof(ViewHeader, index), hash, parent, name, entry) ||
           look_in(offsetof(ViewHeader, old_index), hash, parent, name, entry);
  }

  bool look_in(uint64_t which, uint64_t hash, uint64_t parent, std::string_view name, ViewName& entry) const {
    const uint64_t index = memory_.acquire(which);
    const auto bits = static_cast<uint32_t>(index & 0xff);
    const uint64_t page = index >> 8;
    if (bits < view_index_bits_min || bits > view_index_bits_max || page >= view_bytes_max / view_page_bytes)
      return false;
    const uint64_t base = page * view_page_bytes;
    if (!fits(base, view_index_bytes(bits))) return false;
    uint64_t bucket = hash & ((uint64_t{1} << bits) - 1);
    for (int side = 0; side < 2; side++, bucket ^= 1)
      if (look_in_bucket(base + bucket * view_bucket_bytes, view_tag_of(hash), parent, name, entry)) return true;
    return false;
  }

  bool look_in_bucket(uint64_t at, uint32_t tag, uint64_t parent, std::string_view name, ViewName& entry) const {
    for (uint32_t pair = 0; pair < view_bucket_entries / 2; pair++) {
      const uint64_t two = memory_.word(at + pair * 8);
      for (const uint32_t each : {static_cast<uint32_t>(two), static_cast<uint32_t>(two >> 32)})
        if (each != 0 && each >> view_cell_bits == tag && is_row(view_cell_of(each), parent, name, entry)) return true;
    }
    return false;
  }

  bool is_row(uint32_t cell, uint64_t parent, std::string_view name, ViewName& entry) const {
    const uint64_t at = cell * view_cell_bytes;
    return read_row(at, ViewKind::name, entry) && entry.parent == parent && entry.length == name.size() &&
           has_text(at, name, entry);
  }

  bool has_text(uint64_t row_at, std::string_view name, const ViewName& entry) const {
    const size_t words = view_words_for(name.size());
    uint64_t different = 0;
    if (name.size() <= ViewName::inline_bytes) {
      for (size_t i = 0; i < words; i++) different |= entry.text[i] ^ view_text_word(name, i);
      return different == 0;
    }
    const uint64_t at = (entry.text[0] & (view_cells_max - 1)) * view_cell_bytes;
    if (!fits(at, words * 8)) return false;
    for (size_t i = 0; i < words && different == 0; i++) different = memory_.word(at + i * 8) ^ view_text_word(name, i);
    return different == 0 && is_unchanged(row_at, entry.sequence);
  }

  const Memory& memory_;
  const ViewCaller caller_;
  Now now_;
};

// What stat shows of a row. dev: the mount's.
inline Stat stat_of(const ViewInode& row, uint64_t dev) {
  Stat stat{};
  stat.ino = row.ino, stat.size = row.size, stat.blocks = row.blocks, stat.dev = dev;
  stat.mode = row.mode, stat.nlink = row.nlink, stat.uid = row.uid, stat.gid = row.gid;
  stat.rdev = row.rdev, stat.blksize = row.blksize;
  stat.mask = view_bits::statx_basic_stats;
  stat.is_root = (row.flags & view_inode::root) != 0;
  stat.atime = row.atime, stat.mtime = row.mtime, stat.ctime = row.ctime;
  stat.atime_nsec = row.atime_nsec, stat.mtime_nsec = row.mtime_nsec, stat.ctime_nsec = row.ctime_nsec;
  return stat;
}

}  // namespace fusewire::abi
