// ViewRows: writes the rows and the index of a view (abi/view_layout.h). It knows nothing of inodes and dentries, which
// keep the numbers of their rows (view.h).
//
// Memory: what it writes. bytes(): how many there may be; back(offset, bytes): makes sure that this part can be
// written, false when there is no memory; word, acquire as for readers; store and release(offset, word).
// Thread rule: one writer.
#pragma once

#include <cstdint>
#include <string_view>

#include "abi/view_layout.h"

namespace fusewire::kernel {

namespace layout = fusewire::abi;  // kernel::abi is the numbers of Linux

template <class Memory>
class ViewRows {
 public:
  explicit ViewRows(Memory& memory) : memory_(memory) {}

  // Once, in memory of zeros. false: there is no memory.
  bool format(uint64_t key0, uint64_t key1) {
    next_page_ = 1;
    if (!memory_.back(0, layout::view_page_bytes)) return false;
    const uint64_t index = make_index(layout::view_index_bits_min);
    if (index == 0) return false;
    put(offsetof(Header, hash_key), key0);
    put(offsetof(Header, hash_key) + 8, key1);
    put(offsetof(Header, index), index);
    memory_.release(offsetof(Header, magic), layout::view_magic);
    return true;
  }

  // A new row: its handle, or 0 when there is no room. row: everything but its sequence and handle.
  uint64_t add_inode(const layout::ViewInode& row, std::string_view link) {
    const uint32_t cell = take_cells(inodes_, layout::ViewKind::inode);
    if (cell == 0) return 0;
    const uint64_t handle = ++incarnation_ << layout::view_cell_bits | cell;
    write_inode(handle, row, link);
    return handle;
  }
  // Of a row that is in use.
  uint64_t handle_of(uint32_t cell) const { return memory_.word(at_cell(cell) + offsetof(layout::ViewInode, handle)); }
  void write_inode(uint64_t handle, layout::ViewInode row, std::string_view link) {
    const uint64_t at = at_cell(layout::view_cell_of(handle));
    row.handle = handle;
    const uint64_t old = memory_.word(at + link_at);
    const auto old_cell = static_cast<uint32_t>(old), old_length = static_cast<uint32_t>(old >> 32);
    begin(at);
    const bool same = old_length == link.size() && old_length != 0 && has_text(old_cell, link);
    if (!same && old_length != 0) give_chunk(old_cell, old_length);
    row.link_cell = same ? old_cell : put_chunk(link);
    row.link_length = row.link_cell != 0 ? static_cast<uint32_t>(link.size()) : 0;
    put_row(at, row);
    end(at, layout::ViewKind::inode);
  }
  void drop_inode(uint64_t handle) {
    const uint32_t cell = layout::view_cell_of(handle);
    const uint64_t at = at_cell(cell), link = memory_.word(at + link_at);
    begin(at);
    put(at + offsetof(layout::ViewInode, handle), 0);
    put(at + link_at, 0);
    if (link >> 32 != 0) give_chunk(static_cast<uint32_t>(link), static_cast<uint32_t>(link >> 32));
    give_cells(inodes_, at);
    end(at, layout::ViewKind::inode);
  }

  // A new row: its cell, or 0 when there is no room for it. Of the row, parent, child, valid_until, epoch and flags
  // count. name: 1 to ViewName::text_max bytes.
  uint32_t add_name(const layout::ViewName& row, std::string_view name) {
    grow_a_little();
    const uint32_t cell = take_cells(names_, layout::ViewKind::name);
    if (cell == 0) return 0;
    if (!write_name(cell, row, name) ||
        !insert(word_of_header(offsetof(Header, index)), hash(row.parent, name), cell)) {
      free_name(cell);
      return 0;
    }
    ++count_;
    return cell;
  }
  // Another child, or another time to live: of the row as for add_name, but its parent and name stay.
  void change_name(uint32_t cell, const layout::ViewName& row) {
    const uint64_t at = at_cell(cell);
    begin(at);
    put(at + offsetof(layout::ViewName, child), row.child);
    put(at + offsetof(layout::ViewName, valid_until), row.valid_until);
    const uint64_t length = memory_.word(at + offsetof(layout::ViewName, epoch)) >> 32 & 0xff;
    put(at + offsetof(layout::ViewName, epoch), row.epoch | length << 32 | uint64_t{row.flags} << 40);
    end(at, layout::ViewKind::name);
  }
  // The name that the row has is given, since the index is searched by it.
  void drop_name(uint32_t cell, std::string_view name) {
    const uint64_t by = hash(memory_.word(at_cell(cell) + offsetof(layout::ViewName, parent)), name);
    free_name(cell);  // from here on nobody finds it
    for (const uint64_t which : {offsetof(Header, index), offsetof(Header, old_index)})
      if (const uint64_t index = word_of_header(which); index != 0) remove(index, by, cell);
    --count_;
  }

  // Whether the row says this; for tests.
  bool has_inode(uint64_t handle, layout::ViewInode row, std::string_view link) const {
    const uint64_t at = at_cell(layout::view_cell_of(handle)), stands = memory_.word(at + link_at);
    const auto cell = static_cast<uint32_t>(stands), length = static_cast<uint32_t>(stands >> 32);
    row.handle = handle;
    row.link_cell = cell, row.link_length = length;
    return has_row(at, row, sizeof row / 8) && (length == 0 || (length == link.size() && has_text(cell, link)));
  }
  bool has_name(uint32_t cell, layout::ViewName row, std::string_view name) const {
    char text[layout::ViewName::text_max + 8];
    row.length = static_cast<uint8_t>(name.size());
    return has_row(at_cell(cell), row, offsetof(layout::ViewName, text) / 8) && text_of(cell, text) == name;
  }

  void set_epoch(uint64_t epoch) { memory_.release(offsetof(Header, epoch), epoch); }
  void set_flags(uint64_t flags) { memory_.release(offsetof(Header, flags), flags); }
  uint64_t epoch() const { return word_of_header(offsetof(Header, epoch)); }
  uint64_t flags() const { return word_of_header(offsetof(Header, flags)); }
  // The whole table; `of(i)` gives the i-th, an empty one behind the last.
  template <class Of>
  void set_mounts(Of of) {
    constexpr uint64_t sequence = offsetof(Header, mounts_sequence);
    put(sequence, word_of_header(sequence) | 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    for (size_t i = 0; i < layout::view_mounts; i++)
      put_row(offsetof(Header, mount) + i * sizeof(layout::ViewMount), of(i), 0);
    memory_.release(sequence, (word_of_header(sequence) | 1) + 1);
  }

  // Up to here the memory is used.
  uint64_t used_bytes() const { return next_page_ * layout::view_page_bytes; }
  size_t names() const { return count_; }

 private:
  using Header = layout::ViewHeader;

  static constexpr uint64_t link_at = offsetof(layout::ViewInode, link_cell);

  // Free cells of one kind, linked through their second word.
  struct Cells {
    uint32_t cells;  // of one row
    uint32_t first = 0;
  };

  static uint64_t at_cell(uint32_t cell) { return cell * layout::view_cell_bytes; }
  uint64_t word_of_header(uint64_t offset) const { return memory_.word(offset); }
  void put(uint64_t offset, uint64_t word) { memory_.store(offset, word); }

  // All words of a row but its first ones.
  template <class Row>
  void put_row(uint64_t at, const Row& row, size_t from = 1) {
    uint64_t words[sizeof(Row) / 8];
    __builtin_memcpy(words, &row, sizeof row);
    for (size_t i = from; i < sizeof(Row) / 8; i++) put(at + i * 8, words[i]);
  }

  template <class Row>
  bool has_row(uint64_t at, const Row& row, size_t words) const {
    uint64_t wanted[sizeof(Row) / 8];
    __builtin_memcpy(wanted, &row, sizeof row);
    for (size_t i = 1; i < words; i++)
      if (memory_.word(at + i * 8) != wanted[i]) return false;
    return true;
  }

  // Whoever died here would have left it odd.
  void begin(uint64_t at) {
    put(at, memory_.word(at) | 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
  }
  void end(uint64_t at, layout::ViewKind kind) {
    constexpr uint64_t low = layout::view_sequence_step - 1;
    const uint64_t next = (memory_.word(at) & ~low) + layout::view_sequence_step;
    memory_.release(at, next | layout::view_kind_bits(kind));
  }

  // The first of pages in a row, or 0.
  uint64_t take_pages(uint64_t pages) {
    const uint64_t bytes = memory_.bytes() < layout::view_bytes_max ? memory_.bytes() : layout::view_bytes_max;
    if (pages > bytes / layout::view_page_bytes - next_page_) return 0;
    if (!memory_.back(next_page_ * layout::view_page_bytes, pages * layout::view_page_bytes)) return 0;
    const uint64_t first = next_page_;
    next_page_ += pages;
    put(offsetof(Header, used_bytes), used_bytes());
    return first;
  }

  uint32_t take_cells(Cells& kind, layout::ViewKind of) {
    if (kind.first == 0) {
      const uint64_t page = take_pages(1);
      if (page == 0) return 0;
      // The first cell of the page on top.
      for (uint64_t n = layout::view_page_cells / kind.cells; n-- > 0;) {
        const uint64_t at = page * layout::view_page_bytes + n * kind.cells * layout::view_cell_bytes;
        put(at, layout::view_kind_bits(of));
        give_cells(kind, at);
      }
    }
    const uint32_t cell = kind.first;
    kind.first = static_cast<uint32_t>(memory_.word(at_cell(cell) + free_link(kind)));
    return cell;
  }
  void give_cells(Cells& kind, uint64_t at) {
    put(at + free_link(kind), kind.first);
    kind.first = static_cast<uint32_t>(at / layout::view_cell_bytes);
  }
  // The link stands in the third word: the second one, parent or handle, says 0 of a free row.
  static constexpr uint64_t free_link(const Cells&) { return 16; }

  Cells& chunks_for(size_t bytes) { return layout::view_chunk_cells_for(bytes) == 1 ? small_chunks_ : chunks_; }
  // 0: there is no text, it is too long, or there is no room.
  uint32_t put_chunk(std::string_view text) {
    if (text.empty() || text.size() > layout::view_chunk_bytes) return 0;
    const uint32_t cell = take_cells(chunks_for(text.size()), layout::ViewKind::none);
    for (size_t i = 0; cell != 0 && i < layout::view_words_for(text.size()); i++)
      put(at_cell(cell) + i * 8, layout::view_text_word(text, i));
    return cell;
  }
  void give_chunk(uint32_t cell, size_t bytes) { give_cells(chunks_for(bytes), at_cell(cell)); }
  bool has_text(uint32_t cell, std::string_view text) const {
    for (size_t i = 0; i < layout::view_words_for(text.size()); i++)
      if (memory_.word(at_cell(cell) + i * 8) != layout::view_text_word(text, i)) return false;
    return true;
  }

  bool write_name(uint32_t cell, layout::ViewName row, std::string_view name) {
    row.length = static_cast<uint8_t>(name.size());
    row.unused = 0;
    for (uint64_t& word : row.text) word = 0;
    const bool in_row = name.size() <= layout::ViewName::inline_bytes;
    const uint64_t at = at_cell(cell);
    begin(at);
    for (size_t i = 0; in_row && i < layout::view_words_for(name.size()); i++)
      row.text[i] = layout::view_text_word(name, i);
    if (!in_row) row.text[0] = put_chunk(name);
    const bool has_room = in_row || row.text[0] != 0;
    if (!has_room) row.parent = row.length = 0;
    put_row(at, row);
    end(at, layout::ViewKind::name);
    return has_room;
  }
  void free_name(uint32_t cell) {
    const uint64_t at = at_cell(cell);
    const size_t length = memory_.word(at + offsetof(layout::ViewName, epoch)) >> 32 & 0xff;
    begin(at);
    put(at + offsetof(layout::ViewName, parent), 0);
    put(at + offsetof(layout::ViewName, epoch), 0);
    if (length > layout::ViewName::inline_bytes)
      give_chunk(static_cast<uint32_t>(memory_.word(at + offsetof(layout::ViewName, text))), length);
    give_cells(names_, at);
    end(at, layout::ViewKind::name);
  }

  uint64_t hash(uint64_t parent, std::string_view name) const {
    return layout::view_hash(word_of_header(offsetof(Header, hash_key)), word_of_header(offsetof(Header, hash_key) + 8),
                             parent, name);
  }

  // As the header has it; 0: no room.
  uint64_t make_index(uint32_t bits) {
    const uint64_t page = take_pages(layout::view_index_bytes(bits) / layout::view_page_bytes);
    return page == 0 ? 0 : page << 8 | bits;
  }
  template <class Use>
  bool for_entries(uint64_t index, uint64_t hash, Use use) {
    uint64_t bucket = hash & ((uint64_t{1} << (index & 0xff)) - 1);
    for (int side = 0; side < 2; side++, bucket ^= 1) {
      const uint64_t base = (index >> 8) * layout::view_page_bytes + bucket * layout::view_bucket_bytes;
      for (uint32_t i = 0; i < layout::view_bucket_entries; i++)
        if (use(base + (i & ~1u) * 4, i % 2 * 32)) return true;
    }
    return false;
  }
  uint32_t entry_at(uint64_t at, uint32_t shift) const { return static_cast<uint32_t>(memory_.word(at) >> shift); }
  void set_entry(uint64_t at, uint32_t shift, uint32_t entry) {
    const uint64_t others = memory_.word(at) & ~(uint64_t{UINT32_MAX} << shift);
    memory_.release(at, others | uint64_t{entry} << shift);
  }
  static uint32_t entry_of(uint64_t hash, uint32_t cell) {
    return layout::view_tag_of(hash) << layout::view_cell_bits | cell;
  }

  bool insert(uint64_t index, uint64_t hash, uint32_t cell) {
    return for_entries(index, hash, [&](uint64_t at, uint32_t shift) {
      if (entry_at(at, shift) != 0) return false;
      set_entry(at, shift, entry_of(hash, cell));
      return true;
    });
  }
  void remove(uint64_t index, uint64_t hash, uint32_t cell) {
    for_entries(index, hash, [&](uint64_t at, uint32_t shift) {
      if (entry_at(at, shift) != entry_of(hash, cell)) return false;
      set_entry(at, shift, 0);
      return true;
    });
  }

  // Some buckets move at each insertion, so none is long. Until then both are searched.
  void grow_a_little() {
    constexpr int buckets_at_once = 4;
    const uint64_t index = word_of_header(offsetof(Header, index)), bits = index & 0xff;
    const uint64_t old = word_of_header(offsetof(Header, old_index));
    if (old == 0) return begin_growth(index);
    const uint64_t end_of_old = uint64_t{1} << (old & 0xff);
    for (int i = 0; i < buckets_at_once && moved_ < end_of_old; i++, moved_++) move_bucket(old, index);
    if (moved_ == end_of_old && bits > 0) memory_.release(offsetof(Header, old_index), 0);
  }
  void begin_growth(uint64_t index) {
    constexpr uint64_t full_of_16 = 9;  // two neighbours of 16 overflow once in some thousand then
    const auto bits = static_cast<uint32_t>(index & 0xff);
    if (count_ < full_of_16 << bits || bits >= layout::view_index_bits_max) return;
    const uint64_t next = make_index(bits + 1);
    if (next == 0) return;
    moved_ = 0;
    // The old one first: who reads the new one finds it too.
    memory_.release(offsetof(Header, old_index), index);
    memory_.release(offsetof(Header, index), next);
  }
  void move_bucket(uint64_t old, uint64_t index) {
    const uint64_t base = (old >> 8) * layout::view_page_bytes + moved_ * layout::view_bucket_bytes;
    for (uint32_t i = 0; i < layout::view_bucket_entries; i++) {
      const uint32_t cell = layout::view_cell_of(entry_at(base + (i & ~1u) * 4, i % 2 * 32));
      char text[layout::ViewName::text_max + 8];
      if (cell != 0) insert(index, hash(memory_.word(at_cell(cell) + 8), text_of(cell, text)), cell);
    }
  }
  std::string_view text_of(uint32_t cell, char* text) const {
    const uint64_t at = at_cell(cell);
    const size_t length = memory_.word(at + offsetof(layout::ViewName, epoch)) >> 32 & 0xff;
    const uint64_t row_text = at + offsetof(layout::ViewName, text);
    const bool in_row = length <= layout::ViewName::inline_bytes;
    const uint64_t from = in_row ? row_text : at_cell(static_cast<uint32_t>(memory_.word(row_text)));
    for (size_t i = 0; i < layout::view_words_for(length); i++) {
      const uint64_t word = memory_.word(from + i * 8);
      __builtin_memcpy(text + i * 8, &word, 8);
    }
    return {text, length};
  }

  Memory& memory_;
  uint64_t next_page_ = 1, incarnation_ = 0, moved_ = 0;
  size_t count_ = 0;
  Cells names_{1}, inodes_{2}, small_chunks_{1}, chunks_{layout::view_chunk_cells};
};

}  // namespace fusewire::kernel
