#include "filesystems/control_fs.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "wire/protocol.h"

namespace fusewire::filesystems {

using daemon::AttributesFor;
using daemon::Entry;
using daemon::Errno;
using daemon::error;
using daemon::FileHandle;
using daemon::NodeId;
using daemon::Opened;
using daemon::Result;

namespace {

constexpr uint32_t limit_max = 65535;
constexpr uint32_t root_mode = S_IFDIR | 0755;

// What a node is: the root, or one of these of a connection. The node id is (connection + 1) * 8 + kind.
enum class Kind : uint64_t { directory = 0, waiting, abort, max_background, congestion_threshold };

struct File {
  Kind kind;
  std::string_view name;
  uint32_t mode;
};
constexpr File files[] = {
    {Kind::waiting, "waiting", S_IFREG | 0400},
    {Kind::abort, "abort", S_IFREG | 0200},
    {Kind::max_background, "max_background", S_IFREG | 0600},
    {Kind::congestion_threshold, "congestion_threshold", S_IFREG | 0600},
};

NodeId node_of(uint32_t connection, Kind kind) {
  return NodeId{(uint64_t{connection} + 1) * 8 + static_cast<uint64_t>(kind)};
}
uint32_t connection_of(NodeId node) { return static_cast<uint32_t>(static_cast<uint64_t>(node) / 8 - 1); }
Kind kind_of(NodeId node) { return Kind{static_cast<uint64_t>(node) % 8}; }

bool well_formed(NodeId node) {
  auto id = static_cast<uint64_t>(node);
  return id >= 8 && id / 8 - 1 <= UINT32_MAX && id % 8 <= static_cast<uint64_t>(Kind::congestion_threshold);
}

uint32_t mode_of(Kind kind) {
  for (const File& file : files) {
    if (file.kind == kind) return file.mode;
  }
  return S_IFDIR | 0500;
}

std::optional<ConnectionStatus> find(ConnectionsView& view, uint32_t id) {
  for (const auto& connection : view.list()) {
    if (connection.id == id) return connection;
  }
  return std::nullopt;
}

Result<AttributesFor> attributes_of(ConnectionsView& view, NodeId node) {
  AttributesFor out;
  out.attributes.ino = static_cast<uint64_t>(node);
  if (node == NodeId::root) {
    out.attributes.mode = root_mode;
    out.attributes.nlink = static_cast<uint32_t>(2 + view.list().size());
    return out;
  }
  if (!well_formed(node)) return error(Errno::estale);
  auto connection = find(view, connection_of(node));
  if (!connection) return error(Errno::estale);
  out.attributes.mode = mode_of(kind_of(node));
  out.attributes.nlink = kind_of(node) == Kind::directory ? 2 : 1;
  out.attributes.uid = connection->uid;
  out.attributes.gid = connection->gid;
  return out;
}

// A number as kstrtoul takes it with base 0: an optional '+', 0x or 0 before it, one newline behind it.
Result<uint64_t> parse_number(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.starts_with('+')) text.remove_prefix(1);
  int base = 10;
  if (text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text[0] == '0') {
    base = 8;
    text.remove_prefix(1);
  }
  uint64_t value = 0;
  auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (failed == std::errc::result_out_of_range) return error(Errno::erange);
  if (failed != std::errc() || end != text.data() + text.size()) return error(Errno::einval);
  return value;
}

}  // namespace

Result<Entry> ControlFs::lookup(const Context&, NodeId parent, std::string_view name) {
  NodeId node = NodeId::none;
  if (parent == NodeId::root) {
    for (const auto& connection : view_.list()) {
      if (std::to_string(connection.id) == name) node = node_of(connection.id, Kind::directory);
    }
  } else if (well_formed(parent) && kind_of(parent) == Kind::directory) {
    for (const File& file : files) {
      if (file.name == name) node = node_of(connection_of(parent), file.kind);
    }
  } else {
    return error(Errno::enotdir);
  }
  if (node == NodeId::none) return error(Errno::enoent);
  auto attributes = attributes_of(view_, node);
  if (!attributes) return error(Errno::enoent);
  return Entry{node, 0, attributes->attributes, {}, {}};
}

Result<AttributesFor> ControlFs::get_attributes(const Context&, NodeId node, std::optional<FileHandle>) {
  return attributes_of(view_, node);
}

Result<AttributesFor> ControlFs::set_attributes(const Context&, NodeId node, const daemon::AttributeChange& change) {
  if (change.mode || change.uid || change.gid) return error(Errno::eperm);
  return attributes_of(view_, node);
}

// No page cache: each read asks anew, and writes arrive as they were made. The modes hold even where the mount does not
// check them.
Result<Opened> ControlFs::open(const Context& context, NodeId node, uint32_t flags, bool) {
  auto file = attributes_of(view_, node);
  if (!file) return error(file.error());
  if (kind_of(node) == Kind::directory || node == NodeId::root) return error(Errno::eisdir);
  bool owner = context.uid == file->attributes.uid;
  uint32_t allowed = owner ? file->attributes.mode : 0;
  uint32_t access = flags & O_ACCMODE;
  bool may_read = (allowed & S_IRUSR) || access == O_WRONLY;
  bool may_write = (allowed & S_IWUSR) || access == O_RDONLY;
  if (context.uid != 0 && !(may_read && may_write)) return error(Errno::eacces);
  std::lock_guard lock(mutex_);
  return Opened{FileHandle{++last_handle_}, wire::fopen_flag::direct_io};
}

Result<void> ControlFs::release(const Context&, NodeId, FileHandle handle, uint32_t) {
  std::lock_guard lock(mutex_);
  waiting_.erase(static_cast<uint64_t>(handle));
  return {};
}

// Empty for a connection that is no more (K230).
std::string ControlFs::value_of(NodeId node, FileHandle handle, bool from_start) {
  auto connection = find(view_, connection_of(node));
  if (!connection) return {};
  uint32_t value = 0;
  switch (kind_of(node)) {
    case Kind::max_background:
      value = connection->max_background;
      break;
    case Kind::congestion_threshold:
      value = connection->congestion_threshold;
      break;
    default: {
      std::lock_guard lock(mutex_);
      uint32_t& taken = waiting_[static_cast<uint64_t>(handle)];
      if (from_start) taken = connection->waiting;
      value = taken;
    }
  }
  return std::to_string(value) + "\n";
}

Result<size_t> ControlFs::read(const Context&, NodeId node, FileHandle handle, uint64_t offset,
                               std::span<std::byte> buffer) {
  if (!well_formed(node)) return error(Errno::estale);
  if (kind_of(node) == Kind::abort || kind_of(node) == Kind::directory) return error(Errno::einval);
  std::string text = value_of(node, handle, offset == 0);
  if (offset >= text.size()) return 0;
  size_t bytes = std::min<size_t>(buffer.size(), text.size() - offset);
  std::memcpy(buffer.data(), text.data() + offset, bytes);
  return bytes;
}

Result<size_t> ControlFs::write(const Context&, NodeId node, FileHandle, uint64_t offset,
                                std::span<const std::byte> data, daemon::WriteFlags) {
  if (!well_formed(node)) return error(Errno::estale);
  uint32_t id = connection_of(node);
  Result<void> done;
  if (kind_of(node) == Kind::abort) {
    // As on Linux, a connection that is gone already is no error.
    if (find(view_, id)) done = view_.abort(id);
  } else if (kind_of(node) == Kind::max_background || kind_of(node) == Kind::congestion_threshold) {
    if (offset != 0) return error(Errno::einval);
    auto value = parse_number({reinterpret_cast<const char*>(data.data()), data.size()});
    if (!value) return error(value.error());
    if (*value > limit_max) return error(Errno::einval);
    auto number = static_cast<uint32_t>(*value);
    bool background = kind_of(node) == Kind::max_background;
    if (find(view_, id)) {
      done = view_.set_limits(id, background ? std::optional(number) : std::nullopt,
                              background ? std::nullopt : std::optional(number));
    }
  } else {
    return error(Errno::einval);
  }
  if (!done) return error(done.error());
  return data.size();
}

Result<Opened> ControlFs::opendir(const Context&, NodeId node, uint32_t) {
  if (node != NodeId::root && (!well_formed(node) || kind_of(node) != Kind::directory)) return error(Errno::enotdir);
  return Opened{};
}

// Offsets: 1 and 2 are "." and ".."; behind them a connection's id + 3, or a file's kind + 3. Ids ascend, so a walk
// stays right while connections come and go.
Result<void> ControlFs::readdir(const Context&, NodeId node, FileHandle, uint64_t offset,
                                daemon::DirectoryWriter& writer) {
  if (offset < 1 && !writer.add(".", static_cast<uint64_t>(node), S_IFDIR, 1)) return {};
  if (offset < 2 && !writer.add("..", static_cast<uint64_t>(NodeId::root), S_IFDIR, 2)) return {};
  if (node != NodeId::root) {
    for (const File& file : files) {
      uint64_t next = static_cast<uint64_t>(file.kind) + 3;
      auto ino = static_cast<uint64_t>(node_of(connection_of(node), file.kind));
      if (next > offset && !writer.add(file.name, ino, file.mode, next)) break;
    }
    return {};
  }
  auto connections = view_.list();
  std::sort(connections.begin(), connections.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  for (const auto& connection : connections) {
    uint64_t next = uint64_t{connection.id} + 3;
    auto ino = static_cast<uint64_t>(node_of(connection.id, Kind::directory));
    if (next > offset && !writer.add(std::to_string(connection.id), ino, S_IFDIR, next)) break;
  }
  return {};
}

Result<daemon::FileSystemStatus> ControlFs::statfs(const Context&, NodeId) { return daemon::FileSystemStatus{}; }

}  // namespace fusewire::filesystems
