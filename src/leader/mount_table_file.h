// MountTableFile: the mapping of a namespace's mount table, for its one writer (the leader) and for hosted readers.
// The mapping is shared with children of fork; hosts write only the statistics of their own connection.
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

  // Changes entries under the generation: readers see all of it or nothing. Recounts `mounted`, and writes `covered`
  // anew.
  void change(const std::function<void(abi::MountTable&)>& change);

 private:
  explicit MountTableFile(abi::MountTable* table) : table_(table) {}
  abi::MountTable* table_;
};

struct MountInfo {  // a copy of one MountEntry with its connection, checked
  abi::MountState state{};
  uint32_t id = 0;
  uint32_t connection = 0, daemon_pid = 0, host_pid = 0, user_id = 0, view = 0;
  std::string path{}, type{}, source{};
  uint64_t names = 0, inodes = 0, cache_bytes = 0;
  uint64_t hits = 0, requests = 0, replies = 0, rejected = 0, forgets = 0;
  uint32_t waiting = 0, max_background = 0, congestion_threshold = 0, open_files = 0;
};

// A consistent copy of the mounts in the order in which they were made, then of the connections that have none.
std::vector<MountInfo> read_entries(const abi::MountTable& table);

}  // namespace fusewire::leader
