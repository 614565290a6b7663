// The control file system (fusectl, fs/fuse/control.c; checklist K230-K232): a directory for each connection, with the
// files waiting, abort, max_background and congestion_threshold. It keeps nothing: every answer comes from the view.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/file_system.h"

namespace fusewire::filesystems {

struct ConnectionStatus {
  uint32_t id = 0;  // the directory's name
  uint32_t uid = 0, gid = 0;
  uint32_t waiting = 0;
  uint32_t max_background = 0, congestion_threshold = 0;
};

// The connections there are, and what can be done to them. Its functions may be called from any thread.
class ConnectionsView {
 public:
  virtual ~ConnectionsView() = default;
  virtual std::vector<ConnectionStatus> list() = 0;
  virtual daemon::Result<void> abort(uint32_t id) = 0;
  // What is not given stays as it is.
  virtual daemon::Result<void> set_limits(uint32_t id, std::optional<uint32_t> max_background,
                                          std::optional<uint32_t> congestion_threshold) = 0;
};

// Mount it with default_permissions: the modes are the protection. Everything may be called by many threads at once.
class ControlFs final : public daemon::FileSystem {
 public:
  explicit ControlFs(ConnectionsView& view) : view_(view) {}

  daemon::Result<daemon::Entry> lookup(const Context&, daemon::NodeId parent, std::string_view name) override;
  daemon::Result<daemon::AttributesFor> get_attributes(const Context&, daemon::NodeId node,
                                                       std::optional<daemon::FileHandle>) override;
  // Truncation succeeds and does nothing, so that "echo 1 > abort" works.
  daemon::Result<daemon::AttributesFor> set_attributes(const Context&, daemon::NodeId node,
                                                       const daemon::AttributeChange& change) override;
  daemon::Result<daemon::Opened> open(const Context&, daemon::NodeId node, uint32_t flags, bool) override;
  daemon::Result<void> release(const Context&, daemon::NodeId, daemon::FileHandle handle, uint32_t) override;
  daemon::Result<size_t> read(const Context&, daemon::NodeId node, daemon::FileHandle handle, uint64_t offset,
                              std::span<std::byte> buffer) override;
  daemon::Result<size_t> write(const Context&, daemon::NodeId node, daemon::FileHandle, uint64_t offset,
                               std::span<const std::byte> data, daemon::WriteFlags) override;
  daemon::Result<daemon::Opened> opendir(const Context&, daemon::NodeId node, uint32_t) override;
  daemon::Result<void> readdir(const Context&, daemon::NodeId node, daemon::FileHandle, uint64_t offset,
                               daemon::DirectoryWriter& writer) override;
  daemon::Result<void> releasedir(const Context&, daemon::NodeId, daemon::FileHandle) override { return {}; }
  daemon::Result<daemon::FileSystemStatus> statfs(const Context&, daemon::NodeId) override;

 private:
  std::string value_of(daemon::NodeId node, daemon::FileHandle handle, bool from_start);

  ConnectionsView& view_;
  std::mutex mutex_;
  uint64_t last_handle_ = 0;
  std::unordered_map<uint64_t, uint32_t> waiting_;  // by handle: the count taken when its read began
};

}  // namespace fusewire::filesystems
