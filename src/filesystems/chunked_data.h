// The bytes of one memory file: chunks of up to 64 KiB, made when first written, so that a sparse file costs what it
// holds and a small file costs a page. Not locked: the owner's lock guards it, and its budget.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>

namespace fusewire::filesystems {

// Memory that the files of one file system share, in bytes.
class SpaceBudget {
 public:
  explicit SpaceBudget(uint64_t limit) : limit_(limit) {}

  bool take(uint64_t bytes) {
    if (bytes > limit_ - used_) return false;
    used_ += bytes;
    return true;
  }
  void give_back(uint64_t bytes) { used_ -= bytes; }
  uint64_t limit() const { return limit_; }
  uint64_t used() const { return used_; }

 private:
  uint64_t limit_;
  uint64_t used_ = 0;
};

class ChunkedData {
 public:
  static constexpr uint64_t chunk_bytes = 64 * 1024;
  static constexpr uint64_t page_bytes = 4096;

  explicit ChunkedData(SpaceBudget& budget) : budget_(budget) {}
  ChunkedData(const ChunkedData&) = delete;
  ChunkedData& operator=(const ChunkedData&) = delete;
  ~ChunkedData();

  uint64_t size() const { return size_; }
  uint64_t allocated() const { return allocated_; }  // bytes taken from the budget

  // Bytes read; holes read as zeros; 0 at and behind the end.
  size_t read(uint64_t offset, std::span<std::byte> buffer) const;

  // Bytes written: fewer than asked, even 0, when the budget or memory is used up. Extends the file.
  size_t write(uint64_t offset, std::span<const std::byte> data);

  void truncate(uint64_t size);

  // Makes sure that writes in the range find their memory; false, with nothing changed, when there is not enough.
  // Does not change the size.
  bool allocate(uint64_t offset, uint64_t length);
  void extend(uint64_t size) { size_ = size > size_ ? size : size_; }

  // Zeroes the range, and gives whole chunks back.
  void punch(uint64_t offset, uint64_t length);
  // Zeroes the range, keeping its memory.
  void zero(uint64_t offset, uint64_t length);

  // The first byte at or behind offset that is data (a hole); nothing when offset is not inside the file, or no data
  // follows. The end of the file counts as a hole.
  std::optional<uint64_t> next_data(uint64_t offset) const;
  std::optional<uint64_t> next_hole(uint64_t offset) const;

 private:
  // Invariant: bytes behind the file's size are zero.
  struct Chunk {
    std::unique_ptr<std::byte[]> bytes;
    uint64_t capacity = 0;  // a multiple of page_bytes; what lies behind it reads as zeros
  };
  using Chunks = std::map<uint64_t, Chunk>;  // by offset / chunk_bytes

  bool reserve(uint64_t index, uint64_t capacity);
  void drop(Chunks::iterator chunk);

  SpaceBudget& budget_;
  Chunks chunks_;
  uint64_t size_ = 0;
  uint64_t allocated_ = 0;
};

}  // namespace fusewire::filesystems
