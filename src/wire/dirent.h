// Directory records as READDIR and READDIRPLUS carry them: header, name, zero padding to 8 bytes. Readers walk bytes
// that nobody has checked; writers fill a reply buffer. Freestanding; borrow their span, keep no copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "wire/bytes.h"
#include "wire/protocol.h"

namespace fusewire::wire {

// The longest name Linux takes from a daemon (FUSE_NAME_MAX: PATH_MAX without its NUL).
inline constexpr uint32_t name_max = 4095;

enum class WalkStep : uint8_t {
  record,    // a record was read
  end,       // no whole record is left; a partial one at the end is ignored (K191)
  bad_name,  // a name of length 0, above name_max or with a '/': the whole buffer is EIO to the program (K191)
};

// What a file may be called.
inline bool name_fits(std::string_view name) {
  return !name.empty() && name.size() <= name_max && index_of(name, '/') == std::string_view::npos;
}

namespace dirent_detail {

// Walks records whose fixed part is Record and whose name length stands in header_of(record).namelen.
template <typename Record>
class Reader {
 public:
  explicit Reader(Bytes records) : rest_(records) {}

  // One record. The name borrows the buffer. After end or bad_name every further call says the same.
  WalkStep next(Record& record, std::string_view& name) {
    if (rest_.size() < sizeof(Record)) return WalkStep::end;
    record = load<Record>(rest_);
    const uint32_t length = header_of(record).namelen;
    if (length == 0 || length > name_max) return WalkStep::bad_name;
    const size_t size = record_align(sizeof(Record) + length);
    if (size > rest_.size()) return WalkStep::end;
    const std::string_view found = text_of(rest_.subspan(sizeof(Record), length));
    if (!name_fits(found)) return WalkStep::bad_name;
    name = found;
    rest_ = rest_.subspan(size);
    return WalkStep::record;
  }

  // Bytes not yet walked.
  size_t remaining() const { return rest_.size(); }

 private:
  static const Dirent& header_of(const Dirent& record) { return record; }
  static const Dirent& header_of(const Direntplus& record) { return record.dirent; }

  Bytes rest_;
};

}  // namespace dirent_detail

using DirentReader = dirent_detail::Reader<Dirent>;
using DirentplusReader = dirent_detail::Reader<Direntplus>;

enum class AddResult : uint8_t {
  added,
  full,      // does not fit; nothing was written, earlier records stand
  bad_name,  // no kernel would take it (K191); nothing was written
};

namespace dirent_detail {

class Writer {
 public:
  explicit Writer(MutableBytes buffer) : buffer_(buffer) {}

  // The records so far: the payload of the reply.
  size_t size() const { return used_; }
  Bytes written() const { return buffer_.first(used_); }

 protected:
  template <typename Record>
  AddResult append(const Record& record, std::string_view name) {
    if (!name_fits(name)) return AddResult::bad_name;
    const size_t size = record_align(sizeof(Record) + name.size());
    if (size > buffer_.size() - used_) return AddResult::full;
    std::byte* const at = buffer_.data() + used_;
    __builtin_memcpy(at, &record, sizeof(Record));
    __builtin_memcpy(at + sizeof(Record), name.data(), name.size());
    __builtin_memset(at + sizeof(Record) + name.size(), 0, size - sizeof(Record) - name.size());
    used_ += size;
    return AddResult::added;
  }

 private:
  MutableBytes buffer_;
  size_t used_ = 0;
};

}  // namespace dirent_detail

// The daemon's half fills a READDIR reply. `off` is where the next READDIR goes on after this record; type is d_type,
// st_mode >> 12.
class DirentWriter : public dirent_detail::Writer {
 public:
  using Writer::Writer;

  AddResult add(uint64_t ino, uint64_t off, uint32_t type, std::string_view name) {
    return append(Dirent{ino, off, static_cast<uint32_t>(name.size()), type}, name);
  }
};

// The same for READDIRPLUS. A record whose entry.nodeid is 0 gives no lookup count and caches nothing (K060).
class DirentplusWriter : public dirent_detail::Writer {
 public:
  using Writer::Writer;

  AddResult add(const EntryOut& entry, uint64_t ino, uint64_t off, uint32_t type, std::string_view name) {
    return append(Direntplus{entry, {ino, off, static_cast<uint32_t>(name.size()), type}}, name);
  }
};

}  // namespace fusewire::wire
