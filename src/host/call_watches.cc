// inotify_add_watch on a file of the mount, F_NOTIFY on a directory.
#include <fcntl.h>
#include <sys/inotify.h>

#include "host/call_parts.h"

namespace fusewire::host {
namespace {

using kernel::Errno;
using kernel::Task;

// A directory that cannot be read is watched too: its names are mirrored as they are met.
Task<kernel::Result<int>> mirror(Call& call, syscall::OpenFile& file) {
  kernel::Inode& inode = *file.inode;
  if (call.watches->mirrors(inode)) co_return 0;
  if (!inode.is_dir()) co_return call.watches->add(inode, nullptr);
  Watches::Filling names(*call.watches, inode);
  auto listed = co_await call.mount->sys_list_names(call.caller, file, names);
  if (!listed && listed.error() == Errno::eintr) co_return kernel::error(Errno::eintr);
  co_return call.watches->mirrors(inode) ? 0 : call.watches->add(inode, &names);
}

}  // namespace

Task<Number> run_watch(Call& call) {
  const uint32_t flags = arg32(call, 0);
  const bool follow = (flags & IN_DONT_FOLLOW) == 0, only_directory = (flags & IN_ONLYDIR) != 0;
  auto found = co_await call.mount->sys_watch(call.caller, place1(call), follow, only_directory, call.leave);
  if (!found) co_return kernel::error(found.error());
  auto mirrored = co_await mirror(call, **found);
  std::expected<UniqueFd, int> fd = std::unexpected(mirrored ? *mirrored : -static_cast<int>(mirrored.error()));
  if (mirrored && *mirrored == 0) fd = call.watches->reach(*(*found)->inode);
  call.mount->release(**found);
  co_return handed(call, std::move(fd), 0);
}

Task<Number> run_notify(Call& call) {
  syscall::OpenFile& file = file_of(call);
  const uint32_t mask = arg32(call, 0);
  if (file.is_path()) co_return kernel::error(Errno::ebadf);
  if ((mask & ~DN_MULTISHOT) == 0) {
    call.file->notice.reset();
    co_return Number(0);
  }
  if (!file.inode->is_dir()) co_return kernel::error(Errno::enotdir);
  auto mirrored = co_await mirror(call, file);
  int error = mirrored ? *mirrored : -static_cast<int>(mirrored.error());
  if (error == 0) {
    const auto fd = call.watches->reach(*file.inode);
    error = fd ? call.notices->add(call.file->notice, call.file->owner, mask, *fd) : fd.error();
  }
  if (error < 0) co_return kernel::error(static_cast<Errno>(-error));
  call.file->owner.set_descriptor(static_cast<int>(arg32(call, 1)));
  co_return Number(0);
}

}  // namespace fusewire::host
