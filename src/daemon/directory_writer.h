// Where readdir puts its entries. Borrow the reply's buffer; live for one call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "wire/dirent.h"

namespace fusewire::daemon {

struct Entry;

class DirectoryWriter {
 public:
  explicit DirectoryWriter(std::span<std::byte> buffer) : records_(buffer) {}

  // next: the offset from which a later readdir goes on behind this entry; mode: its file type (S_IFMT bits count).
  // False: full; the entry was not added, and the caller stops.
  bool add(std::string_view name, uint64_t ino, uint32_t mode, uint64_t next);

  size_t size() const { return records_.size(); }
  bool bad_name() const { return bad_name_; }  // a name that no kernel would take was left out: the answer is EIO

 private:
  wire::DirentWriter records_;
  bool bad_name_ = false;
};

class DirectoryPlusWriter {
 public:
  explicit DirectoryPlusWriter(std::span<std::byte> buffer) : records_(buffer) {}

  // As above. An entry that was added counts as one lookup of entry.node, unless that is NodeId::none ("." and "..").
  bool add(std::string_view name, const Entry& entry, uint64_t next);

  size_t size() const { return records_.size(); }
  bool bad_name() const { return bad_name_; }

 private:
  wire::DirentplusWriter records_;
  bool bad_name_ = false;
};

}  // namespace fusewire::daemon
