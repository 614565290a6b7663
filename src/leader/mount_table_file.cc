#include "leader/mount_table_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "abi/unique_fd.h"
#include "leader/file_size_limit.h"

namespace fusewire::leader {
namespace {

constexpr size_t table_bytes = (sizeof(abi::MountTable) + 4095) & ~size_t{4095};
constexpr int read_attempts = 1000;

std::string text(const char* field, size_t room) { return std::string(field, ::strnlen(field, room)); }

std::expected<abi::MountTable*, std::string> map(int fd, int protection, const std::string& path) {
  void* memory = ::mmap(nullptr, table_bytes, protection, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    return std::unexpected(fmt::format("cannot map the mount table {}: {}", path, std::strerror(errno)));
  return static_cast<abi::MountTable*>(memory);
}

// The entries are read before the generation is read again. The thread sanitizer knows no fences, and sees no races
// between processes either.
void loads_before_loads() {
#ifndef __SANITIZE_THREAD__
  std::atomic_thread_fence(std::memory_order_acquire);
#endif
}

const abi::ConnectionEntry* find_connection(const abi::MountTable& table, uint32_t id) {
  for (const abi::ConnectionEntry& entry : table.connection)
    if ((entry.in_use != 0 || entry.host_pid != 0) && entry.id == id) return &entry;
  return nullptr;
}

void add_connection(MountInfo& info, const abi::ConnectionEntry& entry) {
  const abi::MountStatistics& statistics = entry.statistics;
  info.connection = entry.id;
  info.daemon_pid = entry.daemon_pid;
  info.host_pid = entry.host_pid;
  info.names = statistics.names.load(std::memory_order_relaxed);
  info.inodes = statistics.inodes.load(std::memory_order_relaxed);
  info.cache_bytes = statistics.cache_bytes.load(std::memory_order_relaxed);
  info.hits = statistics.hits.load(std::memory_order_relaxed);
  info.requests = statistics.requests.load(std::memory_order_relaxed);
  info.replies = statistics.replies.load(std::memory_order_relaxed);
  info.rejected = statistics.rejected.load(std::memory_order_relaxed);
  info.forgets = statistics.forgets.load(std::memory_order_relaxed);
  info.waiting = statistics.waiting.load(std::memory_order_relaxed);
  info.max_background = statistics.max_background.load(std::memory_order_relaxed);
  info.congestion_threshold = statistics.congestion_threshold.load(std::memory_order_relaxed);
  info.open_files = statistics.open_files.load(std::memory_order_relaxed);
}

MountInfo copy_entry(const abi::MountTable& table, size_t index) {
  const abi::MountEntry& entry = table.entry[index];
  MountInfo info{.state = abi::MountState{entry.state},
                 .id = entry.id,
                 .connection = entry.connection,
                 .user_id = entry.user_id,
                 .view = entry.view,
                 .path = text(table.path[index], sizeof table.path[index]),
                 .type = text(entry.type, sizeof entry.type),
                 .source = text(entry.source, sizeof entry.source)};
  if (const abi::ConnectionEntry* connection = find_connection(table, entry.connection))
    add_connection(info, *connection);
  return info;
}

bool is_mounted(const abi::MountTable& table, uint32_t connection) {
  for (const abi::MountEntry& entry : table.entry)
    if (abi::MountState{entry.state} != abi::MountState::free && entry.connection == connection) return true;
  return false;
}

void copy_entries(const abi::MountTable& table, std::vector<MountInfo>& entries) {
  for (size_t i = 0; i < abi::mount_entries; ++i)
    if (abi::MountState{table.entry[i].state} != abi::MountState::free) entries.push_back(copy_entry(table, i));
  std::sort(entries.begin(), entries.end(), [](const MountInfo& a, const MountInfo& b) { return a.id < b.id; });
  for (const abi::ConnectionEntry& connection : table.connection) {
    if (connection.in_use == 0 || is_mounted(table, connection.id)) continue;
    MountInfo opened{.state = abi::MountState::opened, .view = connection.view};
    add_connection(opened, connection);
    entries.push_back(opened);
  }
}

// Of each mount in the native file system: its name, and what it covers.
void write_covered(abi::MountTable& table) {
  abi::Covered& covered = table.covered;
  covered.names = covered.inodes = covered.devices = {};
  covered.native_first = 1;
  for (size_t i = 0; i < abi::mount_entries; ++i) {
    const abi::MountEntry& entry = table.entry[i];
    if (!abi::is_mounted(entry) || entry.parent != 0) continue;
    if (entry.cover == abi::Cover::unknown) covered.native_first = 0;
    if (entry.cover == abi::Cover::own_device) covered.devices.add(abi::hash_of(entry.covered_device));
    covered.inodes.add(abi::hash_of(entry.covered_inode));
    const std::string path = text(table.path[i], sizeof table.path[i]);
    covered.names.add(abi::hash_of(std::string_view(path).substr(path.rfind('/') + 1)));
  }
}

}  // namespace

std::expected<MountTableFile, std::string> MountTableFile::create(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  // All of it now: a file system that is full later would end the writer by SIGBUS.
  const NoFileSizeLimit none;
  const int error = fd ? ::posix_fallocate(fd.get(), 0, table_bytes) : errno;
  if (error != 0)
    return std::unexpected(fmt::format("cannot make the mount table {}: {}{}", path, std::strerror(error),
                                       error == EFBIG ? " (raise the limit: ulimit -f unlimited)" : ""));
  auto table = map(fd.get(), PROT_READ | PROT_WRITE, path);
  if (!table) return std::unexpected(table.error());
  (*table)->version = abi::mount_table_version;
  (*table)->leader_pid = static_cast<uint32_t>(::getpid());
  (*table)->magic = abi::mount_table_magic;
  return MountTableFile(*table);
}

std::expected<MountTableFile, std::string> MountTableFile::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return std::unexpected(fmt::format("cannot open the mount table {}: {}", path, std::strerror(errno)));
  struct stat status;
  if (::fstat(fd.get(), &status) != 0 || status.st_size != static_cast<off_t>(table_bytes))
    return std::unexpected(fmt::format("{} is not a mount table of this version of fusewire", path));
  auto table = map(fd.get(), PROT_READ, path);
  if (!table) return std::unexpected(table.error());
  MountTableFile file(*table);
  if (file.table().magic != abi::mount_table_magic || file.table().version != abi::mount_table_version)
    return std::unexpected(fmt::format("{} is not a mount table of this version of fusewire", path));
  return file;
}

MountTableFile::MountTableFile(MountTableFile&& other) noexcept : table_(std::exchange(other.table_, nullptr)) {}

MountTableFile::~MountTableFile() {
  if (table_) ::munmap(table_, table_bytes);
}

void MountTableFile::change(const std::function<void(abi::MountTable&)>& change) {
  table_->generation.fetch_add(1, std::memory_order_acq_rel);
  change(*table_);
  uint32_t mounted = 0;
  for (const abi::MountEntry& entry : table_->entry) mounted += abi::is_mounted(entry) ? 1 : 0;
  table_->mounted = mounted;
  write_covered(*table_);
  table_->generation.fetch_add(1, std::memory_order_release);
}

std::vector<MountInfo> read_entries(const abi::MountTable& table) {
  std::vector<MountInfo> entries;
  // A writer that died in the middle leaves the generation odd for ever: then what stands there is the best there is.
  for (int attempt = 0; attempt < read_attempts; ++attempt) {
    const uint32_t before = table.generation.load(std::memory_order_acquire);
    entries.clear();
    copy_entries(table, entries);
    loads_before_loads();
    if (before % 2 == 0 && table.generation.load(std::memory_order_relaxed) == before) break;
    ::sched_yield();
  }
  return entries;
}

}  // namespace fusewire::leader
