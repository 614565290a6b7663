#include "filesystems/chunked_data.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <vector>

namespace fusewire::filesystems {
namespace {

// The part of [offset, offset + length) that lies in one chunk.
struct Piece {
  uint64_t index;
  uint64_t start;  // in the chunk
  uint64_t length;
};

Piece first_piece(uint64_t offset, uint64_t length) {
  uint64_t start = offset % ChunkedData::chunk_bytes;
  return {offset / ChunkedData::chunk_bytes, start, std::min(length, ChunkedData::chunk_bytes - start)};
}

}  // namespace

ChunkedData::~ChunkedData() { budget_.give_back(allocated_); }

size_t ChunkedData::read(uint64_t offset, std::span<std::byte> buffer) const {
  if (offset >= size_) return 0;
  size_t wanted = std::min<uint64_t>(buffer.size(), size_ - offset);
  for (size_t done = 0; done < wanted;) {
    Piece piece = first_piece(offset + done, wanted - done);
    std::byte* to = buffer.data() + done;
    auto found = chunks_.find(piece.index);
    uint64_t stored = 0;
    if (found != chunks_.end() && piece.start < found->second.capacity) {
      stored = std::min(piece.length, found->second.capacity - piece.start);
      std::memcpy(to, found->second.bytes.get() + piece.start, stored);
    }
    std::memset(to + stored, 0, piece.length - stored);
    done += piece.length;
  }
  return wanted;
}

size_t ChunkedData::write(uint64_t offset, std::span<const std::byte> data) {
  size_t done = 0;
  while (done < data.size()) {
    Piece piece = first_piece(offset + done, data.size() - done);
    if (!reserve(piece.index, piece.start + piece.length)) break;
    std::memcpy(chunks_[piece.index].bytes.get() + piece.start, data.data() + done, piece.length);
    done += piece.length;
  }
  if (done > 0) extend(offset + done);
  return done;
}

void ChunkedData::truncate(uint64_t size) {
  if (size < size_) {
    Piece last = first_piece(size, chunk_bytes);
    uint64_t first_unused = last.start == 0 ? last.index : last.index + 1;
    for (auto it = chunks_.lower_bound(first_unused); it != chunks_.end();) drop(it++);
    if (last.start != 0) zero(size, last.length);
  }
  size_ = size;
}

bool ChunkedData::allocate(uint64_t offset, uint64_t length) {
  if (length > allocated_ + (budget_.limit() - budget_.used())) return false;
  std::vector<uint64_t> made;
  for (uint64_t done = 0; done < length;) {
    Piece piece = first_piece(offset + done, length - done);
    bool is_new = !chunks_.contains(piece.index);
    if (!reserve(piece.index, piece.start + piece.length)) {
      for (uint64_t index : made) drop(chunks_.find(index));
      return false;
    }
    if (is_new) made.push_back(piece.index);
    done += piece.length;
  }
  return true;
}

void ChunkedData::punch(uint64_t offset, uint64_t length) {
  auto it = chunks_.lower_bound(offset / chunk_bytes);
  for (; it != chunks_.end() && it->first * chunk_bytes < offset + length;) {
    uint64_t start = it->first * chunk_bytes;
    if (start >= offset && start + chunk_bytes <= offset + length) {
      drop(it++);
      continue;
    }
    uint64_t from = std::max(start, offset);
    zero(from, std::min(start + chunk_bytes, offset + length) - from);
    ++it;
  }
}

void ChunkedData::zero(uint64_t offset, uint64_t length) {
  auto it = chunks_.lower_bound(offset / chunk_bytes);
  for (; it != chunks_.end() && it->first * chunk_bytes < offset + length; ++it) {
    uint64_t start = it->first * chunk_bytes;
    uint64_t from = std::max(start, offset) - start;
    uint64_t to = std::min(offset + length - start, it->second.capacity);
    if (from < to) std::memset(it->second.bytes.get() + from, 0, to - from);
  }
}

std::optional<uint64_t> ChunkedData::next_data(uint64_t offset) const {
  if (offset >= size_) return std::nullopt;
  for (auto it = chunks_.lower_bound(offset / chunk_bytes); it != chunks_.end(); ++it) {
    uint64_t start = it->first * chunk_bytes;
    if (offset >= start + it->second.capacity) continue;
    uint64_t data = std::max(offset, start);
    return data < size_ ? std::optional(data) : std::nullopt;
  }
  return std::nullopt;
}

std::optional<uint64_t> ChunkedData::next_hole(uint64_t offset) const {
  if (offset >= size_) return std::nullopt;
  for (uint64_t at = offset; at < size_;) {
    auto found = chunks_.find(at / chunk_bytes);
    uint64_t start = at / chunk_bytes * chunk_bytes;
    if (found == chunks_.end() || at - start >= found->second.capacity) return at;
    at = start + found->second.capacity;
  }
  return size_;
}

// A chunk grows in powers of two, so that appending byte by byte copies little.
bool ChunkedData::reserve(uint64_t index, uint64_t capacity) {
  auto found = chunks_.find(index);
  uint64_t old = found == chunks_.end() ? 0 : found->second.capacity;
  if (capacity <= old) return true;
  uint64_t grown = std::bit_ceil(std::max(capacity, page_bytes));
  if (!budget_.take(grown - old)) {
    grown = (capacity + page_bytes - 1) / page_bytes * page_bytes;
    if (!budget_.take(grown - old)) return false;
  }
  std::unique_ptr<std::byte[]> bytes(new (std::nothrow) std::byte[grown]);
  if (!bytes) {
    budget_.give_back(grown - old);
    return false;
  }
  if (old > 0) std::memcpy(bytes.get(), found->second.bytes.get(), old);
  std::memset(bytes.get() + old, 0, grown - old);
  chunks_[index] = Chunk{std::move(bytes), grown};
  allocated_ += grown - old;
  return true;
}

void ChunkedData::drop(Chunks::iterator chunk) {
  allocated_ -= chunk->second.capacity;
  budget_.give_back(chunk->second.capacity);
  chunks_.erase(chunk);
}

}  // namespace fusewire::filesystems
