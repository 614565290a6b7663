#include "daemon/file_system.h"

namespace fusewire::daemon {

uint64_t FileSystem::wanted_capabilities() const { return 0; }
void FileSystem::started(const Negotiated&) {}
void FileSystem::stopped() {}
void FileSystem::forget(NodeId, uint64_t) {}

Result<Entry> FileSystem::lookup(const Context&, NodeId, std::string_view) { return error(Errno::enosys); }
Result<AttributesFor> FileSystem::get_attributes(const Context&, NodeId, std::optional<FileHandle>) {
  return error(Errno::enosys);
}
Result<AttributesFor> FileSystem::set_attributes(const Context&, NodeId, const AttributeChange&) {
  return error(Errno::enosys);
}
Result<size_t> FileSystem::readlink(const Context&, NodeId, std::span<char>) { return error(Errno::enosys); }
Result<Entry> FileSystem::mknod(const Context&, NodeId, std::string_view, uint32_t, uint32_t) {
  return error(Errno::enosys);
}
Result<Entry> FileSystem::mkdir(const Context&, NodeId, std::string_view, uint32_t) { return error(Errno::enosys); }
Result<Entry> FileSystem::symlink(const Context&, NodeId, std::string_view, std::string_view) {
  return error(Errno::enosys);
}
Result<Entry> FileSystem::link(const Context&, NodeId, NodeId, std::string_view) { return error(Errno::enosys); }
Result<void> FileSystem::unlink(const Context&, NodeId, std::string_view) { return error(Errno::enosys); }
Result<void> FileSystem::rmdir(const Context&, NodeId, std::string_view) { return error(Errno::enosys); }
Result<void> FileSystem::rename(const Context&, NodeId, std::string_view, NodeId, std::string_view, uint32_t) {
  return error(Errno::enosys);
}
Result<Opened> FileSystem::open(const Context&, NodeId, uint32_t, bool) { return error(Errno::enosys); }
Result<Created> FileSystem::create(const Context&, NodeId, std::string_view, uint32_t, uint32_t) {
  return error(Errno::enosys);
}
Result<Created> FileSystem::tmpfile(const Context&, NodeId, uint32_t, uint32_t) { return error(Errno::enosys); }
Result<size_t> FileSystem::read(const Context&, NodeId, FileHandle, uint64_t, std::span<std::byte>) {
  return error(Errno::enosys);
}
Result<size_t> FileSystem::write(const Context&, NodeId, FileHandle, uint64_t, std::span<const std::byte>, WriteFlags) {
  return error(Errno::enosys);
}
Result<void> FileSystem::flush(const Context&, NodeId, FileHandle) { return error(Errno::enosys); }
Result<void> FileSystem::release(const Context&, NodeId, FileHandle, uint32_t) { return error(Errno::enosys); }
Result<void> FileSystem::fsync(const Context&, NodeId, FileHandle, bool) { return error(Errno::enosys); }
Result<void> FileSystem::fallocate(const Context&, NodeId, FileHandle, uint64_t, uint64_t, uint32_t) {
  return error(Errno::enosys);
}
Result<uint64_t> FileSystem::lseek(const Context&, NodeId, FileHandle, uint64_t, uint32_t) {
  return error(Errno::enosys);
}
Result<uint64_t> FileSystem::copy_file_range(const Context&, NodeId, FileHandle, uint64_t, NodeId, FileHandle, uint64_t,
                                             uint64_t, uint64_t) {
  return error(Errno::enosys);
}
Result<Opened> FileSystem::opendir(const Context&, NodeId, uint32_t) { return error(Errno::enosys); }
Result<void> FileSystem::readdir(const Context&, NodeId, FileHandle, uint64_t, DirectoryWriter&) {
  return error(Errno::enosys);
}
Result<void> FileSystem::readdirplus(const Context&, NodeId, FileHandle, uint64_t, DirectoryPlusWriter&) {
  return error(Errno::enosys);
}
Result<void> FileSystem::releasedir(const Context&, NodeId, FileHandle) { return error(Errno::enosys); }
Result<void> FileSystem::fsyncdir(const Context&, NodeId, FileHandle, bool) { return error(Errno::enosys); }
Result<FileSystemStatus> FileSystem::statfs(const Context&, NodeId) { return error(Errno::enosys); }
Result<void> FileSystem::syncfs(const Context&) { return error(Errno::enosys); }
Result<void> FileSystem::access(const Context&, NodeId, uint32_t) { return error(Errno::enosys); }
Result<void> FileSystem::setxattr(const Context&, NodeId, std::string_view, std::span<const std::byte>, uint32_t) {
  return error(Errno::enosys);
}
Result<size_t> FileSystem::getxattr(const Context&, NodeId, std::string_view, std::span<std::byte>) {
  return error(Errno::enosys);
}
Result<size_t> FileSystem::listxattr(const Context&, NodeId, std::span<std::byte>) { return error(Errno::enosys); }
Result<void> FileSystem::removexattr(const Context&, NodeId, std::string_view) { return error(Errno::enosys); }
Result<FileLock> FileSystem::get_lock(const Context&, NodeId, FileHandle, uint64_t, const FileLock&) {
  return error(Errno::enosys);
}
Result<void> FileSystem::set_lock(const Context&, NodeId, FileHandle, uint64_t, const FileLock&, bool, bool) {
  return error(Errno::enosys);
}
Result<uint64_t> FileSystem::bmap(const Context&, NodeId, uint64_t, uint32_t) { return error(Errno::enosys); }
Result<IoctlAnswer> FileSystem::ioctl(const Context&, NodeId, FileHandle, uint32_t, uint64_t,
                                      std::span<const std::byte>, std::span<std::byte>) {
  return error(Errno::enosys);
}
Result<uint32_t> FileSystem::poll(const Context&, NodeId, FileHandle, uint32_t) { return error(Errno::enosys); }

}  // namespace fusewire::daemon
