#include "gate/dispatch/descriptors.h"

#include <sys/sysmacros.h>

#include "abi/leader_protocol.h"
#include "abi/ring.h"
#include "gate/dispatch/known_descriptors.h"
#include "gate/dispatch/mounts.h"
#include "gate/dispatch/process.h"
#include "gate/native.h"

namespace fusewire::gate {

namespace {

uint64_t memfd_device = 0;

// Sockets known to be devices, by inode: inode numbers of living sockets are unique, and a daemon asks at every
// request.
constexpr size_t known_devices = 16;
std::atomic<uint64_t> device_inode[known_devices];

bool is_shadow(const struct stat& st) {
  return st.st_dev == memfd_device && (st.st_mode & S_IFMT) == S_IFREG && (st.st_mode & 07777) == abi::shadow_mode;
}

bool has_device_address(int fd) {
  sockaddr_un address{};
  int length = sizeof address;
  if (raw_syscall(SYS_getsockname, fd, native::of(&address), native::of(&length)) != 0) return false;
  constexpr std::string_view prefix = abi::device_address_prefix;
  const size_t front = offsetof(sockaddr_un, sun_path) + 1 + prefix.size();
  return address.sun_family == AF_UNIX && static_cast<size_t>(length) >= front && address.sun_path[0] == 0 &&
         std::string_view(address.sun_path + 1, prefix.size()) == prefix;
}

bool is_device(int fd, uint64_t inode) {
  const std::atomic<uint64_t>& cached = device_inode[inode % known_devices];
  if (cached.load(std::memory_order_relaxed) == inode) return true;
  if (!has_device_address(fd)) return false;
  device_inode[inode % known_devices] = inode;
  return true;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_behind_special_file(const struct stat& st) {
  const auto type = st.st_mode & S_IFMT;
  return (type == S_IFIFO || type == S_IFCHR || type == S_IFBLK) && (st.st_mode & 07777) == abi::behind_mode;
}

// The name in "/<directory>/<name>[ (deleted)]".
bool parse_object_path(std::string_view path, VirtualFile& file) {
  const size_t slash = path.rfind('/');
  return slash != std::string_view::npos && parse_shadow_name(path.substr(slash + 1), file);
}

}  // namespace

void descriptors_start() {
  memfd_device = memory_device();
  if (memfd_device != 0) return;
  constexpr unsigned close_on_exec = 1;  // MFD_CLOEXEC
  const auto fd = static_cast<int>(
      with_room(process(), [] { return long{native::memfd_create("fusewire-probe", close_on_exec)}; }));
  struct stat st {};
  if (fd < 0 || native::fstat(fd, &st) != 0) die("cannot make a memfd, which virtual descriptors need");
  memfd_device = st.st_dev;
  native::close(fd);
}

bool parse_shadow_link(std::string_view link, VirtualFile& file) {
  constexpr std::string_view front = "/memfd:";
  return link.starts_with(front) && parse_shadow_name(link.substr(front.size()), file);
}

bool parse_shadow_name(std::string_view link, VirtualFile& file) {
  constexpr std::string_view prefix = abi::shadow_name_prefix;
  if (!link.starts_with(prefix)) return false;
  link.remove_prefix(prefix.size());
  size_t digits = 0;
  const uint64_t leader = parse_decimal(link, &digits);
  if (digits == 0 || leader != leader_pid() || digits == link.size() || link[digits] != ':') return false;
  link.remove_prefix(digits + 1);
  const uint64_t connection = parse_decimal(link, &digits);
  if (digits == 0 || digits == link.size() || link[digits] != ':') return false;
  link.remove_prefix(digits + 1);
  uint64_t token = 0;
  size_t n = 0;
  while (n < link.size() && n < 16 && hex_digit(link[n]) >= 0)
    token = token << 4 | static_cast<uint64_t>(hex_digit(link[n++]));
  if (n != 16) return false;
  file = {static_cast<uint32_t>(connection), token};
  return true;
}

Descriptor identify(int fd, VirtualFile& file) {
  struct stat st;
  return identify(fd, file, st);
}

Descriptor identify(int fd, VirtualFile& file, struct stat& st) {
  st.st_mode = 0;
  const bool may_be_virtual = possible.virtual_file.load(std::memory_order_relaxed);
  const bool may_be_device = possible.device.load(std::memory_order_relaxed);
  if (fd < 0 || (!may_be_virtual && !may_be_device) || is_known_native(fd)) return Descriptor::native;
  if (is_known_virtual(fd, file)) return Descriptor::virtual_file;
  const uint32_t look = look_begins();
  // What looks like a shadow and has no token is another namespace's, or has been replaced between the two looks.
  constexpr int looks = 8;
  for (int i = 0; i < looks; i++) {
    if (native::fstat(fd, &st) != 0) return Descriptor::native;
    if (may_be_device && S_ISSOCK(st.st_mode) && is_device(fd, st.st_ino)) return Descriptor::device;
    if (!is_shadow(st)) expect_virtual(fd, false);
    if (!stands_for_virtual(st) && (may_be_device || !S_ISSOCK(st.st_mode))) found_native(fd, look);
    if (!may_be_virtual || !is_shadow(st)) return Descriptor::native;
    Text<128> link;
    if (native::descriptor_path(fd, link) == 0 && parse_shadow_link(link.view(), file)) {
      found_virtual(fd, file, look);
      return Descriptor::virtual_file;
    }
  }
  return Descriptor::native;
}

struct stat identity_of(const struct statx& st) {
  struct stat identity {};
  identity.st_dev = makedev(st.stx_dev_major, st.stx_dev_minor);
  identity.st_ino = st.stx_ino;
  identity.st_nlink = st.stx_nlink;
  identity.st_mode = st.stx_mode;
  return identity;
}

bool stands_for_virtual(const struct stat& st) { return is_shadow(st) || is_behind_special_file(st); }

bool has_virtual_inode(int fd, VirtualFile& file) {
  struct stat st;
  return has_virtual_inode(fd, file, st);
}

bool has_virtual_inode(int fd, VirtualFile& file, struct stat& st) {
  const Descriptor kind = identify(fd, file, st);
  if (kind != Descriptor::native || st.st_mode == 0) return kind == Descriptor::virtual_file;
  if (!is_behind_special_file(st)) return false;
  PathText path;
  return native::descriptor_path(fd, path) == 0 && parse_object_path(path.view(), file);
}

}  // namespace fusewire::gate
