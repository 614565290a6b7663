// MountTableFile: the mapping of a namespace's mount table, for its one writer (the leader) and for hosted readers.
// The mapping is shared with children of fork; hosts write only the statistics of their own entry.
// Thread rule: one writer; readers are free.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "abi/mount_table.h"

namespace fusewire::leader {

class MountTableFile {
 public:
  // Makes the file (0600) with an empty table. A sentence for a person when it fails.
  static std::expected<MountTableFile, std::string> create(const std::string& path);
  // Maps an existing table read-only; checks size, magic and version.
  static std::expected<MountTableFile, std::string> open(const std::string& path);
  MountTableFile(MountTableFile&& other) noexcept;
  ~MountTableFile();

  abi::MountTable& table() { return *table_; }
  const abi::MountTable& table() const { return *table_; }

  // Changes entries under the generation: readers see all of it or nothing. Recounts `mounted`.
  void change(const std::function<void(abi::MountTable&)>& change);

 private:
  explicit MountTableFile(abi::MountTable* table) : table_(table) {}
  abi::MountTable* table_;
};

struct MountInfo {  // a copy of one MountEntry, checked
  abi::MountState state;
  uint32_t connection, daemon_pid, host_pid, user_id;
  std::string path, type, source;
  uint64_t requests, replies, rejected, forgets;
  uint32_t waiting, max_background, congestion_threshold, open_files;
};

// A consistent copy of the entries in use, in the order of the table.
std::vector<MountInfo> read_entries(const abi::MountTable& table);

}  // namespace fusewire::leader
