#include "daemon/convert.h"

namespace fusewire::daemon {
namespace {

struct SplitTime {
  uint64_t seconds;
  uint32_t nanoseconds;
};

SplitTime split(Timeout timeout) {
  if (timeout.count() <= 0) return {0, 0};
  constexpr uint64_t second = 1'000'000'000;
  auto all = static_cast<uint64_t>(timeout.count());
  return {all / second, static_cast<uint32_t>(all % second)};
}

timespec time_of(uint64_t seconds, uint32_t nanoseconds) {
  return {static_cast<time_t>(seconds), nanoseconds < 1'000'000'000 ? nanoseconds : 999'999'999L};
}

}  // namespace

wire::Attr to_wire(const Attributes& a) {
  wire::Attr out{};
  out.ino = a.ino;
  out.size = a.size;
  out.blocks = a.blocks;
  out.atime = static_cast<uint64_t>(a.atime.tv_sec);
  out.mtime = static_cast<uint64_t>(a.mtime.tv_sec);
  out.ctime = static_cast<uint64_t>(a.ctime.tv_sec);
  out.atimensec = static_cast<uint32_t>(a.atime.tv_nsec);
  out.mtimensec = static_cast<uint32_t>(a.mtime.tv_nsec);
  out.ctimensec = static_cast<uint32_t>(a.ctime.tv_nsec);
  out.mode = a.mode;
  out.nlink = a.nlink;
  out.uid = a.uid;
  out.gid = a.gid;
  out.rdev = a.rdev;
  out.blksize = a.block_size;
  return out;
}

wire::EntryOut to_wire(const Entry& entry) {
  wire::EntryOut out{};
  auto name = split(entry.entry_timeout);
  auto attributes = split(entry.attributes_timeout);
  out.nodeid = static_cast<uint64_t>(entry.node);
  out.generation = entry.generation;
  out.entry_valid = name.seconds;
  out.entry_valid_nsec = name.nanoseconds;
  out.attr_valid = attributes.seconds;
  out.attr_valid_nsec = attributes.nanoseconds;
  out.attr = to_wire(entry.attributes);
  return out;
}

wire::AttrOut to_wire(const AttributesFor& attributes) {
  wire::AttrOut out{};
  auto timeout = split(attributes.timeout);
  out.attr_valid = timeout.seconds;
  out.attr_valid_nsec = timeout.nanoseconds;
  out.attr = to_wire(attributes.attributes);
  return out;
}

wire::OpenOut to_wire(const Opened& opened) { return {static_cast<uint64_t>(opened.handle), opened.flags, 0}; }

wire::StatfsOut to_wire(const FileSystemStatus& status) {
  wire::StatfsOut out{};
  out.st.blocks = status.blocks;
  out.st.bfree = status.blocks_free;
  out.st.bavail = status.blocks_available;
  out.st.files = status.files;
  out.st.ffree = status.files_free;
  out.st.bsize = status.block_size;
  out.st.frsize = status.fragment_size;
  out.st.namelen = status.name_max;
  return out;
}

AttributeChange from_wire(const wire::SetattrIn& in) {
  AttributeChange change;
  auto has = [&](uint32_t bit) { return (in.valid & bit) != 0; };
  if (has(wire::fattr::mode)) change.mode = in.mode & 07777;
  if (has(wire::fattr::uid)) change.uid = in.uid;
  if (has(wire::fattr::gid)) change.gid = in.gid;
  if (has(wire::fattr::size)) change.size = in.size;
  if (has(wire::fattr::atime)) change.atime = {has(wire::fattr::atime_now), time_of(in.atime, in.atimensec)};
  if (has(wire::fattr::mtime)) change.mtime = {has(wire::fattr::mtime_now), time_of(in.mtime, in.mtimensec)};
  if (has(wire::fattr::ctime)) change.ctime = time_of(in.ctime, in.ctimensec);
  if (has(wire::fattr::fh)) change.handle = FileHandle{in.fh};
  change.kill_suidgid = has(wire::fattr::kill_suidgid);
  return change;
}

FileLock from_wire(const wire::FileLock& lock) {
  return {lock.start, lock.end, static_cast<int>(lock.type), static_cast<pid_t>(lock.pid)};
}

wire::FileLock to_wire(const FileLock& lock) {
  return {lock.start, lock.end, static_cast<uint32_t>(lock.type), static_cast<uint32_t>(lock.pid)};
}

}  // namespace fusewire::daemon
