#include "kernel/readdir.h"

#include "kernel/attributes.h"
#include "kernel/buffer.h"
#include "kernel/lookup.h"
#include "wire/dirent.h"

namespace fusewire::kernel {

namespace {

// struct linux_dirent64: u64 ino, s64 off, u16 reclen, u8 type, name with NUL, padded to 8 bytes.
class DirentOutput {
 public:
  explicit DirentOutput(std::span<std::byte> to) : to_(to) {}

  bool add(const wire::Dirent& dirent, std::string_view name) {
    const size_t length = (name_offset + name.size() + 1 + 7) & ~size_t{7};
    if (length > to_.size() - used_) return false;
    std::byte* const at = to_.data() + used_;
    const auto record_length = static_cast<uint16_t>(length);
    const auto type = static_cast<uint8_t>(dirent.type);
    __builtin_memset(at, 0, length);
    __builtin_memcpy(at, &dirent.ino, 8);
    __builtin_memcpy(at + 8, &dirent.off, 8);
    __builtin_memcpy(at + 16, &record_length, 2);
    __builtin_memcpy(at + 18, &type, 1);
    __builtin_memcpy(at + name_offset, name.data(), name.size());
    used_ += length;
    return true;
  }
  size_t used() const { return used_; }

 private:
  static constexpr size_t name_offset = 19;
  std::span<std::byte> to_;
  size_t used_ = 0;
};

struct ReadVersions {
  uint64_t attr_version;
  uint64_t evict_counter;
};

bool is_dot(std::string_view name) { return name == "." || name == ".."; }

// fuse_direntplus_link: the entry becomes a dentry, its lookup is counted. An error: it is to be forgotten.
Result<void> link_entry(File& file, const wire::EntryOut& entry, std::string_view name, ReadVersions versions) {
  Superblock& sb = file.sb;
  Dentry& directory = *file.dentry;
  if (entry.nodeid == 0 || is_dot(name)) return {};
  if (invalid_nodeid(entry.nodeid) || !valid_attr(entry.attr)) return error(Errno::eio);
  Ref<Dentry> dentry = sb.find_dentry(directory, name);
  if (dentry) {
    Inode* inode = dentry->inode;
    const bool same = inode && inode->nodeid == entry.nodeid;
    if (!same || inode->stale(entry.generation, entry.attr.mode)) {
      if (same) sb.make_bad(*inode);
      sb.invalidate(*dentry);
      dentry = {};
    } else if (inode->bad) {
      return error(Errno::eio);
    }
  }
  if (dentry) {
    Inode& inode = *dentry->inode;
    inode.count_lookup();
    const uint64_t valid_until = sb.deadline(entry.attr_valid, entry.attr_valid_nsec);
    change_attributes(inode, entry.attr, nullptr, valid_until, versions.attr_version, 0);
  } else {
    auto made = sb.make_dentry(directory, name);
    if (!made) return error(made.error());
    auto inode = sb.get_inode(entry, versions.attr_version, versions.evict_counter);
    // get_inode has given the lookup back already.
    if (!inode) return {};
    auto spliced = sb.splice(**made, **inode);
    // The inode counts the lookup and gives it back when it goes.
    if (!spliced) return {};
    dentry = *spliced;
  }
  if (sb.has(wire::init_flag::readdirplus_auto)) dentry->inode->made_by_readdirplus = true;
  sb.changed(*dentry->inode);
  sb.set_timeout(*dentry, entry);
  dentry->epoch = sb.connection.epoch();
  return {};
}

// parse_dirfile.
Result<void> take_dirents(File& file, std::span<const std::byte> records, DirentOutput& output) {
  wire::DirentReader reader(records);
  wire::Dirent dirent{};
  std::string_view name;
  for (;;) {
    const wire::WalkStep step = reader.next(dirent, name);
    if (step == wire::WalkStep::end) return {};
    if (step == wire::WalkStep::bad_name) return error(Errno::eio);
    if (!output.add(dirent, name)) return error(Errno::einval);
    file.position = dirent.off;
  }
}

// parse_dirplusfile: entries that do not fit any more are linked all the same (K064).
Result<void> take_direntsplus(File& file, std::span<const std::byte> records, DirentOutput& output,
                              ReadVersions versions) {
  wire::DirentplusReader reader(records);
  wire::Direntplus record{};
  std::string_view name;
  bool over = false;
  for (;;) {
    const wire::WalkStep step = reader.next(record, name);
    if (step == wire::WalkStep::bad_name) return error(Errno::eio);
    if (step == wire::WalkStep::end) break;
    if (!over) over = !output.add(record.dirent, name);
    if (!over) file.position = record.dirent.off;
    if (!link_entry(file, record.entry, name, versions)) file.sb.connection.queue_forget(record.entry.nodeid, 1);
  }
  return over ? error(Errno::einval) : Result<void>();
}

// fuse_use_readdirplus (K192, K193).
bool wants_plus(File& file) {
  Superblock& sb = file.sb;
  if (!sb.has(wire::init_flag::do_readdirplus)) return false;
  if (!sb.has(wire::init_flag::readdirplus_auto)) return true;
  const bool advised = file.inode->advise_readdirplus;
  file.inode->advise_readdirplus = false;
  if (advised) sb.changed(*file.inode);
  return advised || file.position == 0;
}

size_t request_size(File& file, size_t room) {
  const size_t limit = size_t{file.sb.connection.negotiated().max_pages} * abi::page_size;
  const size_t at_least = room < abi::page_size ? abi::page_size : room;
  return at_least < limit ? at_least : limit;
}

Task<Result<size_t>> send_readdir(File& file, Caller& caller, bool plus, std::span<std::byte> to) {
  wire::ReadIn in{};
  in.fh = file.fh;
  in.offset = file.position;
  in.size = static_cast<uint32_t>(to.size());
  in.flags = file.flags;
  Args args;
  args.opcode = plus ? wire::Opcode::readdirplus : wire::Opcode::readdir;
  args.nodeid = file.inode->nodeid;
  args.add_in(in);
  args.add_out_bytes(to, true);
  auto sent = co_await file.sb.connection.send(args, caller);
  co_return sent;
}

}  // namespace

Task<Result<size_t>> read_directory(File& file, Caller& caller, std::span<std::byte> to) {
  Superblock& sb = file.sb;
  Inode& inode = *file.inode;
  if (file.is_path()) co_return error(Errno::ebadf);
  if (!inode.is_dir()) co_return error(Errno::enotdir);
  if (inode.bad) co_return error(Errno::eio);
  if (inode.dead) co_return error(Errno::enoent);
  auto position = co_await file.position_lock.exclusive(sb.ready(), caller);
  if (!position) co_return error(position.error());
  SleepLock::Guard hold;
  if (sb.has(wire::init_flag::parallel_dirops)) {
    auto guard = co_await inode.lock.shared(sb.ready(), caller);
    if (!guard) co_return error(guard.error());
    hold = std::move(*guard);
  } else {
    auto guard = co_await inode.lock.exclusive(sb.ready(), caller);
    if (!guard) co_return error(guard.error());
    hold = std::move(*guard);
  }
  const bool plus = wants_plus(file);
  const ReadVersions versions{sb.connection.attr_version(), sb.connection.evict_counter()};
  Buffer buffer(sb.kmalloc(), request_size(file, to.size()));
  if (!buffer) co_return error(Errno::enomem);
  auto got = co_await send_readdir(file, caller, plus, buffer.span());
  invalidate_attributes(inode, abi::statx_atime);
  if (!got) co_return error(got.error());
  DirentOutput output(to);
  const std::span<const std::byte> records(buffer.data(), *got);
  const Result<void> taken =
      plus ? take_direntsplus(file, records, output, versions) : take_dirents(file, records, output);
  // What was filled counts; an error then shows at the next call.
  if (output.used() == 0 && !taken) co_return error(taken.error());
  co_return output.used();
}

}  // namespace fusewire::kernel
