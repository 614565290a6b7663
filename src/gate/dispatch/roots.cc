#include "gate/dispatch/roots.h"

#include <sys/mman.h>

#include <new>

#include "gate/native.h"

namespace fusewire::gate {

namespace {

// Index 0 is the namespace's root.
constexpr uint32_t roots_max = 256;
GATE_LARGE std::atomic<PathText*> roots[roots_max];
std::atomic<uint32_t> root_count{1};

// No path is below it: where a root cannot be named, no mount is seen.
constexpr std::string_view nowhere = "//";

// The index of a root's text; 0: no memory.
uint32_t index_of(std::string_view path) {
  for (uint32_t i = 1; i < root_count.load(); i++) {
    const PathText* known = roots[i].load();
    if (known != nullptr && known->view() == path) return i;
  }
  const long at = map_aside(sizeof(PathText), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  if (at < 0 && at > -4096) return 0;
  auto* text = new (reinterpret_cast<void*>(at)) PathText;
  text->assign(path);
  const uint32_t index = root_count++;
  if (index >= roots_max) {
    root_count = roots_max;
    raw_syscall(SYS_munmap, at, sizeof(PathText));
    return 0;
  }
  roots[index] = text;
  return index;
}

struct Identity {
  uint64_t device = 0, inode = 0;
  bool operator==(const Identity&) const = default;
};

Identity identity_of(const struct stat& st) { return {st.st_dev, st.st_ino}; }

// The namespace's root, known from the first change on.
Identity namespaces_root;

void note_namespaces_root(const Process& p) {
  struct stat st;
  if (p.root != 0 || raw_syscall(SYS_stat, native::of("/"), native::of(&st)) < 0) return;
  namespaces_root = identity_of(st);
}

// Where the directory lies, from the namespace's root. The kernel names a directory outside of the present root by its
// whole path; the one by which programs leave their root again is known.
PathText place_of(const Process& p, int directory) {
  PathText path;
  struct stat st;
  if (native::fstat(directory, &st) == 0 && identity_of(st) == namespaces_root) return path;
  if (native::descriptor_path(directory, path) != 0 || !path.view().starts_with('/')) {
    path.assign(nowhere);
    return path;
  }
  if (path.length() == 1) path.clear();
  PathText whole;
  if (p.virtual_root.fd < 0) whole.add(root_of(p));
  whole.add(path.view());
  return whole;
}

}  // namespace

std::string_view root_of(const Process& p) {
  const PathText* text = roots[p.root.load()].load();
  return text == nullptr ? std::string_view() : text->view();
}

bool virtual_root(VirtualFile& root) {
  if (!possible.virtual_root.load(std::memory_order_relaxed)) return false;
  const VirtualRoot& own = process().virtual_root;
  root = {own.connection, own.token};
  return own.fd >= 0;
}

void leave_virtual_root(Process& p) {
  const int fd = p.virtual_root.fd.exchange(-1);
  if (fd >= 0) forget_internal(p, fd);
}

bool as_seen(std::string_view absolute, std::string_view& seen) {
  seen = absolute;
  if (VirtualFile root; virtual_root(root)) return false;
  if (root_count.load(std::memory_order_relaxed) == 1) return true;
  const std::string_view root = root_of(process());
  if (root.empty()) return true;
  if (!absolute.starts_with(root)) return false;
  seen.remove_prefix(root.size());
  return seen.starts_with('/');
}

PathText in_namespaces_root(std::string_view seen) {
  PathText path;
  path.add(root_of(process())).add(seen);
  return path;
}

void inherit_root(Process& p, std::string_view root) { p.root = index_of(root); }

long change_root(const char* path) {
  Process& p = process();
  note_namespaces_root(p);
  const long directory = with_room(p, [&] { return long{native::open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)}; });
  if (directory < 0) return directory;
  const PathText place = place_of(p, static_cast<int>(directory));
  native::close(static_cast<int>(directory));
  if (place.overflowed()) return -ENAMETOOLONG;
  const uint32_t index = place.empty() ? 0 : index_of(place.view());
  if (!place.empty() && index == 0) return -ENOMEM;
  const long r = raw_syscall(SYS_chroot, native::of(path));
  if (r == 0) {
    p.root = index;
    leave_virtual_root(p);
  }
  return r;
}

}  // namespace fusewire::gate
